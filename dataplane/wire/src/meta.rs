//! What the packet path knows of a frame after one look at its headers.

use crate::ip::Ip;

/// What a frame is, as far as the load balancer cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Kind {
    /// A whole TCP segment.
    Tcp,
    /// A whole UDP datagram.
    Udp,
    /// An ICMP or ICMPv6 error that embeds (the start of) a TCP or UDP packet.
    IcmpError,
    /// ICMP that is no error (echo, ND …).
    Icmp,
    /// A fragment (an atomic IPv6 fragment counts as whole, RFC 6946); ports are 0.
    Fragment,
    /// Another transport; ports are 0.
    #[default]
    Other,
}

/// TCP flag bits as they stand in byte 13 of the header (RFC 9293 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// ACK.
    pub const ACK: u8 = 0x10;

    /// A first SYN: SYN without ACK, RST or FIN.
    #[inline]
    #[must_use]
    pub const fn is_syn(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::SYN
    }

    /// An ACK that opens and ends nothing: without SYN, RST or FIN.
    #[inline]
    #[must_use]
    pub const fn is_plain_ack(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::ACK
    }

    /// Whether RST is set.
    #[inline]
    #[must_use]
    pub const fn is_rst(self) -> bool {
        self.0 & Self::RST != 0
    }

    /// Whether FIN is set.
    #[inline]
    #[must_use]
    pub const fn is_fin(self) -> bool {
        self.0 & Self::FIN != 0
    }
}

/// The parsed headers of one frame. Offsets count from the frame's first byte.
///
/// For [`Kind::IcmpError`] `src`, `dst`, the ports and `proto` are the *reversed embedded* tuple: an error that is about a
/// packet X → Y reads as if Y had answered X. It then classifies and looks up exactly like a packet of that flow
/// which moves in the error's own direction; the outer header is found again at `l3`.
///
/// It fills a cache line, so that finding one in a burst is a shift.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub struct Meta {
    /// Source address.
    pub src: Ip,
    /// Destination address.
    pub dst: Ip,
    /// Source port, host order; 0 when there is none.
    pub sport: u16,
    /// Destination port, host order; 0 when there is none.
    pub dport: u16,
    /// Where the IP header starts: 14, 18 or 22.
    pub l3: u16,
    /// Where the transport header starts (for an ICMP error: the ICMP header).
    pub l4: u16,
    /// Where the IP packet ends; bytes behind it are Ethernet padding.
    pub end: u16,
    /// For an ICMP error: where the embedded IP header starts, else 0.
    pub inner_l3: u16,
    /// For an ICMP error: where the embedded transport header starts, else 0.
    pub inner_l4: u16,
    /// VLAN tags' control information (PCP, DEI, VID), outermost first; 0 when absent.
    pub vlan: [u16; 2],
    /// How many VLAN tags the frame has: 0, 1 or 2.
    pub vlans: u8,
    /// Transport protocol number: 6, 17, 1, 58 … (for an ICMP error: the embedded packet's).
    pub proto: u8,
    /// IPv4 TTL or IPv6 hop limit, of the outer header.
    pub ttl: u8,
    /// TCP flags, 0 for others.
    pub flags: TcpFlags,
    /// What it is.
    pub kind: Kind,
    /// Whether the outer header is IPv4.
    pub v4: bool,
    /// Whether an IPv4 header has options or an IPv6 header has extension headers.
    pub options: bool,
}
