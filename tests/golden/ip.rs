//! A frame taken apart by etherparse: who sends what to whom, whether its checksums hold, and what else it says.

use etherparse::checksum::Sum16BitWords;
use etherparse::{
    Icmpv6Slice, LaxNetSlice, LaxSlicedPacket, SingleVlanSlice, SlicedPacket, TcpSlice, UdpSlice,
};
use std::net::{IpAddr, SocketAddr};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// An Ethernet frame with an IP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) to: [u8; 6],
    pub(crate) from: [u8; 6],
    /// EtherType and control of each VLAN tag, the outer first.
    pub(crate) tags: Vec<(u16, [u8; 2])>,
    pub(crate) ip: Ip,
    /// What is behind the IP packet.
    pub(crate) padding: Vec<u8>,
}

/// An IP packet, or the begin of one that an ICMP error quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ip {
    pub(crate) bytes: Vec<u8>,
    /// Where the transport header begins.
    l4: usize,
    pub(crate) protocol: u8,
    /// Whether it is all there.
    whole: bool,
    ends: (IpAddr, IpAddr),
}

impl Frame {
    /// None when etherparse cannot read it to its transport header.
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        SlicedPacket::from_ethernet(frame).ok()?.transport?;
        let (mut tags, mut l3) = (Vec::new(), 14);
        let mut ethertype = u16::from_be_bytes([frame[12], frame[13]]);
        while matches!(ethertype, 0x8100 | 0x88a8) {
            let tag = SingleVlanSlice::from_slice(&frame[l3..]).ok()?;
            tags.push((ethertype, [frame[l3], frame[l3 + 1]]));
            ethertype = tag.ether_type().0;
            l3 += 4;
        }
        let bytes = &frame[l3..];
        let length = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        let end = if ethertype == 0x0800 { length(2) } else { 40 + length(4) };
        let ip = Ip::of(&bytes[..end])?;
        let padding = bytes[end..].to_vec();
        Some(Self { to: frame[..6].try_into().ok()?, from: frame[6..12].try_into().ok()?, tags, ip, padding })
    }
}

impl Ip {
    /// The packet in `bytes`, which may be cut off behind its first eight bytes of payload.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let (l4, payload, ends) = match LaxSlicedPacket::from_ip(bytes).ok()?.net? {
            LaxNetSlice::Ipv4(ip) => {
                let header = ip.header();
                let ends = (header.source_addr().into(), header.destination_addr().into());
                (usize::from(header.ihl()) * 4, ip.payload().clone(), ends)
            }
            LaxNetSlice::Ipv6(ip) => {
                let header = ip.header();
                let ends = (header.source_addr().into(), header.destination_addr().into());
                (40 + ip.extensions().slice().len(), ip.payload().clone(), ends)
            }
            LaxNetSlice::Arp(_) => return None,
        };
        let protocol = payload.ip_number.0;
        Some(Self { bytes: bytes.to_vec(), l4, protocol, whole: !payload.incomplete, ends })
    }

    pub(crate) fn v4(&self) -> bool {
        self.ends.0.is_ipv4()
    }

    /// TTL or hop limit.
    pub(crate) fn ttl(&self) -> u8 {
        self.bytes[if self.v4() { 8 } else { 7 }]
    }

    /// DSCP and ECN.
    pub(crate) fn class(&self) -> u8 {
        let [first, second] = [self.bytes[0], self.bytes[1]];
        if self.v4() { second } else { first << 4 | second >> 4 }
    }

    /// Whether no router may fragment it: never one of IPv6.
    pub(crate) fn dont_fragment(&self) -> bool {
        !self.v4() || self.bytes[6] & 0x40 != 0
    }

    /// The IP header's length, options and extension headers included.
    pub(crate) fn header_len(&self) -> usize {
        self.l4
    }

    /// Source and destination, with ports where there are any.
    pub(crate) fn endpoints(&self) -> (SocketAddr, SocketAddr) {
        let port = |at: usize| match self.protocol {
            TCP | UDP => u16::from_be_bytes([self.bytes[self.l4 + at], self.bytes[self.l4 + at + 1]]),
            _ => 0,
        };
        (SocketAddr::new(self.ends.0, port(0)), SocketAddr::new(self.ends.1, port(2)))
    }

    /// The transport header and what follows.
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[self.l4..]
    }

    /// The transport's part without ports and checksum.
    pub(crate) fn body_without_ends(&self) -> Vec<u8> {
        let mut body = self.body().to_vec();
        body[..4].fill(0);
        let checksum = if self.protocol == TCP { 16 } else { 6 };
        if let Some(field) = body.get_mut(checksum..checksum + 2) {
            field.fill(0);
        }
        body
    }

    /// The packet as it is when a SYN of it may offer no larger segment than `most` (RFC 9293 §3.7.1), but for the checksum.
    pub(crate) fn clamped(&self, most: u16) -> Self {
        let mut clamped = self.clone();
        let Ok(segment) = TcpSlice::from_slice(self.body()) else { return clamped };
        let mut at = self.l4 + 20;
        let end = self.l4 + segment.header_len();
        while self.protocol == TCP && segment.syn() && at + 4 <= end {
            match clamped.bytes[at] {
                0 => break,
                1 => at += 1,
                2 => {
                    let offered = u16::from_be_bytes([clamped.bytes[at + 2], clamped.bytes[at + 3]]);
                    clamped.bytes[at + 2..at + 4].copy_from_slice(&offered.min(most).to_be_bytes());
                    at += 4;
                }
                _ => at += usize::from(clamped.bytes[at + 1]).max(2),
            }
        }
        clamped
    }

    /// The packet that an ICMP error is about.
    pub(crate) fn quote(&self) -> Option<Self> {
        let kind = self.body().first()?;
        let error = match self.protocol {
            ICMP => matches!(kind, 3 | 11 | 12),
            ICMPV6 => matches!(kind, 1..=4),
            _ => false,
        };
        error.then(|| Self::of(&self.body()[8..])).flatten()
    }

    /// Whether the checksums of an ICMP error's own headers are right, whatever those of what it quotes are: that may be cut.
    pub(crate) fn checksum_of_own(&self) -> bool {
        let header = !self.v4() || ones_complement(&self.bytes[..usize::from(self.bytes[0] & 15) * 4]) == 0;
        header
            && match (self.protocol, self.ends) {
                (ICMP, _) => ones_complement(self.body()) == 0,
                (ICMPV6, (IpAddr::V6(source), IpAddr::V6(destination))) => {
                    Icmpv6Slice::from_slice(self.body())
                        .is_ok_and(|slice| slice.is_checksum_valid(source.octets(), destination.octets()))
                }
                _ => false,
            }
    }

    /// What a checksum of it says: the IPv4 header's, the transport's, and those of a quoted packet.
    pub(crate) fn wrong_checksum(&self) -> Option<&'static str> {
        if self.v4() && ones_complement(&self.bytes[..usize::from(self.bytes[0] & 15) * 4]) != 0 {
            return Some("IPv4 header checksum");
        }
        if !self.whole {
            return None;
        }
        let right = match (self.protocol, self.ends) {
            (ICMP, _) => ones_complement(self.body()) == 0,
            (ICMPV6, (IpAddr::V6(source), IpAddr::V6(destination))) => Icmpv6Slice::from_slice(self.body())
                .ok()?
                .is_checksum_valid(source.octets(), destination.octets()),
            (TCP, _) => self.tcp_checksum_right()?,
            (UDP, _) => self.udp_checksum_right()?,
            _ => true,
        };
        if !right {
            return Some("transport checksum");
        }
        self.quote().and_then(|quote| quote.wrong_checksum()).map(|_| "a checksum in the quoted packet")
    }

    fn tcp_checksum_right(&self) -> Option<bool> {
        let segment = TcpSlice::from_slice(self.body()).ok()?;
        let sum = match self.ends {
            (IpAddr::V4(from), IpAddr::V4(to)) => segment.calc_checksum_ipv4(from.octets(), to.octets()),
            (IpAddr::V6(from), IpAddr::V6(to)) => segment.calc_checksum_ipv6(from.octets(), to.octets()),
            _ => return None,
        };
        Some(sum.ok()? == segment.checksum())
    }

    /// 0 over IPv4 is "none" (RFC 768); over IPv6 it is an error (RFC 8200 section 8.1).
    fn udp_checksum_right(&self) -> Option<bool> {
        let datagram = UdpSlice::from_slice(self.body()).ok()?;
        if datagram.checksum() == 0 {
            return Some(self.v4());
        }
        let (header, payload) = (datagram.to_header(), datagram.payload());
        let sum = match self.ends {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                header.calc_checksum_ipv4_raw(from.octets(), to.octets(), payload)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                header.calc_checksum_ipv6_raw(from.octets(), to.octets(), payload)
            }
            _ => return None,
        };
        Some(sum.ok()? == datagram.checksum())
    }

    /// The packet without all that nat may change: addresses, ports, TTL, checksums; of a quoted packet, too. A UDP
    /// checksum that is not there stays: it must not appear.
    pub(crate) fn what_nobody_changes(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let (v4, l4) = (self.v4(), self.l4);
        if v4 {
            bytes[8] = 0;
            bytes[10..20].fill(0);
        } else {
            bytes[7] = 0;
            bytes[8..40].fill(0);
        }
        if matches!(self.protocol, TCP | UDP) {
            bytes[l4..l4 + 4].fill(0);
        }
        let checksum = match self.protocol {
            TCP => l4 + 16,
            UDP => l4 + 6,
            _ => l4 + 2,
        };
        if let Some(field) = bytes.get_mut(checksum..checksum + 2)
            && !(self.protocol == UDP && *field == [0, 0])
        {
            field.fill(0xff);
        }
        if let Some(quote) = self.quote() {
            bytes.truncate(l4 + 8);
            bytes.extend(quote.what_nobody_changes());
        }
        bytes
    }
}

fn ones_complement(bytes: &[u8]) -> u16 {
    Sum16BitWords::new().add_slice(bytes).ones_complement()
}
