//! The headers of one returned frame, by etherparse: independent of the packet path's own parser.

use crate::sum;
use etherparse::{
    Ethernet2HeaderSlice, Ipv4HeaderSlice, Ipv6HeaderSlice, SingleVlanHeaderSlice, TcpHeaderSlice,
};
use std::net::SocketAddr;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const IPV6_FRAGMENT: u8 = 44;

/// A transport protocol that carries stamps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// The protocol number in an IP header.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// A frame's headers. Offsets lie inside the frame; bytes behind [`end`](Self::end) are Ethernet padding.
#[derive(Clone, Copy, Debug)]
pub struct Parsed<'a> {
    frame: &'a [u8],
    /// Bytes of Ethernet header and tags; an outer header may stand between these and `l3`.
    l2: usize,
    l3: usize,
    l4: usize,
    payload: usize,
    end: usize,
    vlan: Option<u16>,
    v4: bool,
    protocol: u8,
    fragment: bool,
    src: SocketAddr,
    dst: SocketAddr,
}

/// Why a frame has no [`Parsed`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unparsed {
    /// Neither IPv4 nor IPv6: ARP and the like.
    NotIp,
    /// A header is cut off or contradicts itself; the words say which.
    Malformed(&'static str),
}

impl<'a> Parsed<'a> {
    /// Parses a frame without FCS. Checksums are not looked at.
    ///
    /// # Errors
    /// See [`Unparsed`].
    #[inline]
    pub fn new(frame: &'a [u8]) -> Result<Self, Unparsed> {
        let ethernet =
            Ethernet2HeaderSlice::from_slice(frame).map_err(|_| Unparsed::Malformed("Ethernet header"))?;
        let mut ether_type = ethernet.ether_type().0;
        let (mut l3, mut vlan) = (14, None);
        while TAGS.contains(&ether_type) && l3 < 22 {
            let tag = SingleVlanHeaderSlice::from_slice(&frame[l3..])
                .map_err(|_| Unparsed::Malformed("VLAN tag"))?;
            vlan = vlan.or(Some(tag.vlan_identifier().value()));
            ether_type = tag.ether_type().0;
            l3 += 4;
        }
        match ether_type {
            IPV4 => ipv4(frame, l3, l3, vlan),
            IPV6 => ipv6(frame, l3, l3, vlan),
            _ => Err(Unparsed::NotIp),
        }
    }

    /// The packet that begins `skipped` bytes into this one's payload and ends with it, or before.
    ///
    /// # Errors
    /// See [`Unparsed`].
    pub(crate) fn inside(&self, skipped: usize) -> Result<Self, Unparsed> {
        let (frame, l3) = (&self.frame[..self.end], self.payload + skipped);
        match frame.get(l3).map(|first| first >> 4) {
            Some(4) => ipv4(frame, self.l2, l3, self.vlan),
            Some(6) => ipv6(frame, self.l2, l3, self.vlan),
            _ => Err(Unparsed::NotIp),
        }
    }

    /// Where the frame goes: the destination MAC address.
    #[must_use]
    pub fn destination_mac(&self) -> [u8; 6] {
        self.frame.first_chunk().copied().unwrap_or_default()
    }

    /// Outermost VLAN id, None when untagged.
    #[must_use]
    pub const fn vlan(&self) -> Option<u16> {
        self.vlan
    }

    /// Whether it is IPv4, else IPv6.
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        self.v4
    }

    /// Source address and port; port 0 for fragments and other transports.
    #[must_use]
    pub const fn source(&self) -> SocketAddr {
        self.src
    }

    /// Destination address and port; port 0 for fragments and other transports.
    #[must_use]
    pub const fn destination(&self) -> SocketAddr {
        self.dst
    }

    /// The transport; None for others and for fragments.
    #[inline]
    #[must_use]
    pub const fn transport(&self) -> Option<Transport> {
        match (self.protocol, self.fragment) {
            (6, false) => Some(Transport::Tcp),
            (17, false) => Some(Transport::Udp),
            _ => None,
        }
    }

    /// Whether it is a fragment (RFC 791 §3.2, RFC 8200 §4.5).
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.fragment
    }

    /// The protocol number of the payload, also of a fragment's.
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Ethernet header and VLAN tags.
    #[must_use]
    pub fn ethernet_header(&self) -> &'a [u8] {
        &self.frame[..self.l2]
    }

    /// Where the IP header starts in the frame.
    #[must_use]
    pub const fn l3(&self) -> usize {
        self.l3
    }

    /// Where the transport header starts in the frame.
    #[must_use]
    pub const fn l4(&self) -> usize {
        self.l4
    }

    /// Where the IP packet ends in the frame.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.end
    }

    /// The IP header with its options or extension headers.
    #[must_use]
    pub fn ip_header(&self) -> &'a [u8] {
        &self.frame[self.l3..self.l4]
    }

    /// Transport header and payload.
    #[inline]
    #[must_use]
    pub fn segment(&self) -> &'a [u8] {
        &self.frame[self.l4..self.end]
    }

    /// The transport's payload; for fragments and other transports the IP packet's.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.frame[self.payload..self.end]
    }

    /// TTL or hop limit.
    #[must_use]
    pub fn ttl(&self) -> u8 {
        self.frame[self.l3 + if self.v4 { 8 } else { 7 }]
    }

    /// DSCP and ECN: the whole TOS or traffic class byte.
    #[must_use]
    pub fn tos(&self) -> u8 {
        if self.v4 {
            self.frame[self.l3 + 1]
        } else {
            self.frame[self.l3] << 4 | self.frame[self.l3 + 1] >> 4
        }
    }

    /// IPv4 identification and flag bits (0x40: don't fragment), or IPv6 flow label and 0.
    #[must_use]
    pub fn label(&self) -> (u32, u8) {
        let header = self.ip_header();
        if self.v4 {
            (u32::from(u16::from_be_bytes([header[4], header[5]])), header[6] & 0xe0)
        } else {
            (u32::from_be_bytes([0, header[1] & 0x0f, header[2], header[3]]), 0)
        }
    }

    /// Whether the IPv4 header checksum is right; IPv6 has none.
    #[must_use]
    pub fn ip_checksum_ok(&self) -> bool {
        !self.v4 || sum::sum(self.ip_header()) == 0xffff
    }

    /// The transport checksum field; 0 for fragments and other transports.
    #[must_use]
    pub fn l4_checksum(&self) -> u16 {
        let at = match self.transport() {
            Some(Transport::Tcp) => self.l4 + 16,
            Some(Transport::Udp) => self.l4 + 6,
            None => return 0,
        };
        u16::from_be_bytes([self.frame[at], self.frame[at + 1]])
    }

    /// Whether the transport checksum is right, summed over every byte. Over IPv4 a UDP datagram without one (0) is
    /// not: ask [`l4_checksum`](Self::l4_checksum).
    #[must_use]
    pub fn l4_checksum_ok(&self) -> bool {
        let addresses = if self.v4 { self.l3 + 12..self.l3 + 20 } else { self.l3 + 8..self.l3 + 40 };
        let udp_none = self.protocol == 17 && self.l4_checksum() == 0;
        !udp_none && sum::transport(&self.frame[addresses], self.protocol, self.segment()) == 0xffff
    }

    /// A TCP header's sequence and acknowledgement numbers, as they stand; zeros for others.
    #[inline]
    #[must_use]
    pub fn tcp_numbers(&self) -> [u8; 8] {
        let header = &self.frame[self.l4..self.payload];
        header.get(4..12).and_then(|numbers| numbers.first_chunk()).copied().unwrap_or_default()
    }

    /// The TCP header, options included; empty for others.
    #[must_use]
    pub fn tcp_header(&self) -> &'a [u8] {
        if self.transport() == Some(Transport::Tcp) { &self.frame[self.l4..self.payload] } else { &[] }
    }
}

fn ipv4(frame: &[u8], l2: usize, l3: usize, vlan: Option<u16>) -> Result<Parsed<'_>, Unparsed> {
    let header = Ipv4HeaderSlice::from_slice(&frame[l3..]).map_err(|_| Unparsed::Malformed("IPv4 header"))?;
    let l4 = l3 + header.slice().len();
    let end = l3 + usize::from(header.total_len());
    if end < l4 || end > frame.len() {
        return Err(Unparsed::Malformed("IPv4 total length"));
    }
    transport(Parsed {
        frame,
        l2,
        l3,
        l4,
        payload: l4,
        end,
        vlan,
        v4: true,
        protocol: header.protocol().0,
        fragment: header.is_fragmenting_payload(),
        src: (header.source_addr(), 0).into(),
        dst: (header.destination_addr(), 0).into(),
    })
}

fn ipv6(frame: &[u8], l2: usize, l3: usize, vlan: Option<u16>) -> Result<Parsed<'_>, Unparsed> {
    let header = Ipv6HeaderSlice::from_slice(&frame[l3..]).map_err(|_| Unparsed::Malformed("IPv6 header"))?;
    let (mut l4, mut protocol) = (l3 + 40, header.next_header().0);
    let end = l4 + usize::from(header.payload_length());
    if end > frame.len() {
        return Err(Unparsed::Malformed("IPv6 payload length"));
    }
    let fragment = protocol == IPV6_FRAGMENT;
    if fragment {
        protocol = *frame[..end].get(l4).ok_or(Unparsed::Malformed("IPv6 fragment header"))?;
        l4 += 8;
        if l4 > end {
            return Err(Unparsed::Malformed("IPv6 fragment header"));
        }
    }
    transport(Parsed {
        frame,
        l2,
        l3,
        l4,
        payload: l4,
        end,
        vlan,
        v4: false,
        protocol,
        fragment,
        src: (header.source_addr(), 0).into(),
        dst: (header.destination_addr(), 0).into(),
    })
}

/// Adds the ports and finds the payload.
#[inline]
fn transport(mut packet: Parsed<'_>) -> Result<Parsed<'_>, Unparsed> {
    let segment = packet.segment();
    let header = match packet.transport() {
        None => return Ok(packet),
        Some(Transport::Tcp) => {
            TcpHeaderSlice::from_slice(segment).map_err(|_| Unparsed::Malformed("TCP header"))?.slice().len()
        }
        Some(Transport::Udp) => {
            let length = segment.get(4..6).map(|l| usize::from(u16::from_be_bytes([l[0], l[1]])));
            if segment.len() < 8 || length != Some(segment.len()) {
                return Err(Unparsed::Malformed("UDP length"));
            }
            8
        }
    };
    packet.src.set_port(u16::from_be_bytes([segment[0], segment[1]]));
    packet.dst.set_port(u16::from_be_bytes([segment[2], segment[3]]));
    packet.payload = packet.l4 + header;
    Ok(packet)
}
