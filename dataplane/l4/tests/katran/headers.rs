//! Headers as they lie in a frame, read and written without the code under test.

use ringlead_wire::Ip;

/// Length of an Ethernet header without tags: every frame of the suite has one.
pub(crate) const ETHERNET: usize = 14;
const UDP: usize = 8;

/// A flow's key; of an ICMP error that of the answer it is about, turned round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Flow {
    pub(crate) proto: u8,
    pub(crate) src: Ip,
    pub(crate) dst: Ip,
    pub(crate) sport: u16,
    pub(crate) dport: u16,
}

/// The flow of an IP packet without extension headers.
pub(crate) fn flow_of(packet: &[u8]) -> Flow {
    let v4 = packet[0] >> 4 == 4;
    let (length, proto) =
        if v4 { (usize::from(packet[0] & 15) * 4, packet[9]) } else { (ip_len(v4), packet[6]) };
    let (src, dst) = addresses(packet, v4);
    let behind = &packet[length..];
    if matches!(proto, 1 | 58) {
        let about = flow_of(&behind[8..]);
        let Flow { proto, src, dst, sport, dport } = about;
        return Flow { proto, src: dst, dst: src, sport: dport, dport: sport };
    }
    Flow { proto, src, dst, sport: be16(behind, 0), dport: be16(behind, 2) }
}

/// The outer fields that a balancer chooses for itself: the suite says one way, which others need not go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chosen {
    pub(crate) src: Ip,
    pub(crate) dst: Ip,
    /// Of an outer IPv4 header.
    pub(crate) id: Option<u16>,
    /// Of an outer IPv6 header.
    pub(crate) label: Option<u32>,
    /// Of GUE's UDP header.
    pub(crate) sport: Option<u16>,
    pub(crate) checksum: Option<u16>,
}

impl Chosen {
    pub(crate) fn read(frame: &[u8], gue: bool) -> Self {
        let v4 = is_v4(frame);
        let packet = &frame[ETHERNET..];
        let (src, dst) = addresses(packet, v4);
        let udp = &packet[ip_len(v4)..];
        Self {
            src,
            dst,
            id: v4.then(|| be16(packet, 4)),
            label: (!v4).then(|| u32::from(packet[1] & 15) << 16 | u32::from(be16(packet, 2))),
            sport: gue.then(|| be16(udp, 0)),
            checksum: gue.then(|| be16(udp, 6)),
        }
    }

    /// Puts these into a frame with the same headers, and corrects an IPv4 header's checksum. The source address of GUE
    /// is configured, and stays.
    pub(crate) fn write(&self, frame: &mut [u8], gue: bool) {
        let v4 = is_v4(frame);
        let packet = &mut frame[ETHERNET..];
        if let Some(id) = self.id {
            packet[4..6].copy_from_slice(&id.to_be_bytes());
        }
        if let Some(label) = self.label {
            let [_, high, low @ ..] = label.to_be_bytes();
            packet[1] = packet[1] & 0xf0 | high;
            packet[2..4].copy_from_slice(&low);
        }
        if v4 {
            if !gue {
                packet[12..16].copy_from_slice(&self.src.last4());
            }
            packet[16..20].copy_from_slice(&self.dst.last4());
            packet[10..12].fill(0);
            let checksum = !sum(&packet[..20]);
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        } else {
            if !gue {
                packet[8..24].copy_from_slice(&self.src.octets());
            }
            packet[24..40].copy_from_slice(&self.dst.octets());
        }
        let udp = &mut packet[ip_len(v4)..];
        if let (Some(sport), Some(checksum)) = (self.sport, self.checksum) {
            udp[..2].copy_from_slice(&sport.to_be_bytes());
            udp[6..8].copy_from_slice(&checksum.to_be_bytes());
        }
    }
}

/// `input` as Katran packs it for `to`, every field that it chooses 0 but for the addresses.
pub(crate) fn packed(router: [u8; 6], gue: Option<u16>, input: &[u8], from: Ip, to: Ip) -> Vec<u8> {
    let inner = &input[ETHERNET..];
    let inner_v4 = inner[0] >> 4 == 4;
    let class = if inner_v4 { inner[1] } else { inner[0] << 4 | inner[1] >> 4 };
    let payload = inner.len() + if gue.is_some() { UDP } else { 0 };
    let next = if gue.is_some() {
        17
    } else if inner_v4 {
        4
    } else {
        41
    };
    let be = |length: usize| u16::try_from(length).unwrap().to_be_bytes();

    let mut frame = [router.as_slice(), &input[..6]].concat();
    if to.is_v4() {
        let [high, low] = be(20 + payload);
        frame.extend([8, 0, 0x45, class, high, low, 0, 0, 0, 0, 64, next, 0, 0]);
        frame.extend(from.last4().iter().chain(&to.last4()));
        let checksum = !sum(&frame[ETHERNET..]);
        frame[ETHERNET + 10..][..2].copy_from_slice(&checksum.to_be_bytes());
    } else {
        let [high, low] = be(payload);
        frame.extend([0x86, 0xdd, 0x60 | class >> 4, class << 4, 0, 0, high, low, next, 64]);
        frame.extend(from.octets().iter().chain(&to.octets()));
    }
    if let Some(port) = gue {
        let ([p0, p1], [l0, l1]) = (port.to_be_bytes(), be(payload));
        frame.extend([0, 0, p0, p1, l0, l1, 0, 0]);
    }
    frame.extend(inner);
    frame
}

/// Bytes in front of the inner packet, Ethernet apart.
pub(crate) const fn overhead(gue: bool, v4: bool) -> usize {
    ip_len(v4) + if gue { UDP } else { 0 }
}

pub(crate) fn is_v4(frame: &[u8]) -> bool {
    frame[12..14] == [8, 0]
}

pub(crate) const fn ip_len(v4: bool) -> usize {
    if v4 { 20 } else { 40 }
}

/// Source and destination of an IP header.
pub(crate) fn addresses(packet: &[u8], v4: bool) -> (Ip, Ip) {
    if v4 {
        let at = |from: usize| Ip::from_v4(packet[from..from + 4].try_into().unwrap());
        (at(12), at(16))
    } else {
        let at = |from: usize| Ip::from_v6(packet[from..from + 16].try_into().unwrap());
        (at(8), at(24))
    }
}

pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The ones' complement sum of RFC 1071; 0xffff over what has a right checksum in it.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |&b| u64::from(b)));
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
