//! Packets for tests and tools, built byte by byte and independent of the parser and the rewriter.
//!
//! Checksums come from etherparse, so a fault in [`checksum`](crate::checksum) cannot hide itself. This module
//! allocates and panics on nonsense: it is no part of the packet path.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests and tools: nonsense is the caller's bug, found at once"
)]

use std::net::{IpAddr, SocketAddr};

use crate::meta::TcpFlags;

mod fields;
mod ip;
mod transport;

/// Ethernet source of a packet that says nothing else.
pub const MAC_SRC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// Ethernet destination of a packet that says nothing else.
pub const MAC_DST: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];

/// What can stand for an address and port in a builder: `"10.0.0.1:80"`, `"[2001:db8::1]:80"`, an address alone
/// (port 0), or the types of the standard library.
pub trait ToEndpoint {
    /// The address and port.
    ///
    /// # Panics
    /// When it is none.
    fn to_endpoint(&self) -> SocketAddr;
}

impl ToEndpoint for str {
    fn to_endpoint(&self) -> SocketAddr {
        let alone = || self.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
        self.parse().or_else(|_| alone()).unwrap_or_else(|_| panic!("no address: {self:?}"))
    }
}

impl ToEndpoint for String {
    fn to_endpoint(&self) -> SocketAddr {
        self.as_str().to_endpoint()
    }
}

impl ToEndpoint for SocketAddr {
    fn to_endpoint(&self) -> SocketAddr {
        *self
    }
}

impl ToEndpoint for IpAddr {
    fn to_endpoint(&self) -> SocketAddr {
        SocketAddr::new(*self, 0)
    }
}

impl<T: ToEndpoint + ?Sized> ToEndpoint for &T {
    fn to_endpoint(&self) -> SocketAddr {
        (**self).to_endpoint()
    }
}

/// How the transport checksum is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Checksum {
    Full,
    None,
    Partial,
}

/// What stands behind the IP headers.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Body {
    Tcp,
    Udp,
    Icmp { kind: u8, code: u8, rest: u32 },
    Raw { proto: u8 },
}

/// A packet being built. Every method returns it changed; [`build`](Self::build) gives the frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct Packet {
    src: SocketAddr,
    dst: SocketAddr,
    body: Body,
    mac: ([u8; 6], [u8; 6]),
    tags: Vec<(u16, u16)>,
    ttl: u8,
    tos: u8,
    id: u32,
    ip_options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    fragment: Option<(u16, bool)>,
    dont_fragment: bool,
    flags: TcpFlags,
    seq: u32,
    ack: u32,
    window: u16,
    tcp_options: Vec<u8>,
    payload: Vec<u8>,
    checksum: Checksum,
}

impl Packet {
    /// A TCP segment, by default a bare ACK.
    pub fn tcp(src: impl ToEndpoint, dst: impl ToEndpoint) -> Self {
        Self::new(&src, &dst, Body::Tcp)
    }

    /// A UDP datagram.
    pub fn udp(src: impl ToEndpoint, dst: impl ToEndpoint) -> Self {
        Self::new(&src, &dst, Body::Udp)
    }

    /// A packet of any other protocol (IANA number); its payload is all there is behind the IP header.
    pub fn raw(src: impl ToEndpoint, dst: impl ToEndpoint, proto: u8) -> Self {
        Self::new(&src, &dst, Body::Raw { proto })
    }

    /// An echo request of the addresses' family.
    pub fn icmp_echo(src: impl ToEndpoint, dst: impl ToEndpoint) -> Self {
        let kind = if src.to_endpoint().is_ipv4() { 8 } else { 128 };
        Self::new(&src, &dst, Body::Icmp { kind, code: 0, rest: 0x0001_0001 }).payload(b"abcdefgh")
    }

    /// An ICMP error. `rest` is the header's second word: the MTU of a "too big" (IPv4: its lower half), the
    /// pointer of a parameter problem, else 0. `embedded` is the quoted packet from its IP header on: the result of
    /// [`ip`](Self::ip).
    pub fn icmp_error(
        src: impl ToEndpoint,
        dst: impl ToEndpoint,
        kind: u8,
        code: u8,
        rest: u32,
        embedded: &[u8],
    ) -> Self {
        Self::new(&src, &dst, Body::Icmp { kind, code, rest }).payload(embedded)
    }

    /// The IP packet alone, as an ICMP error or a tunnel holds it.
    #[must_use]
    pub fn ip(&self) -> Vec<u8> {
        let later = self.fragment.is_some_and(|(offset, _)| offset != 0);
        let body = if later { self.payload.clone() } else { self.transport() };
        self.ip_around(&body)
    }

    /// The Ethernet frame, not padded.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        self.ethernet_around(&self.ip())
    }

    /// The whole datagram cut into frames of at most `size` bytes of IP payload each (rounded down to a multiple of
    /// 8), with the checksum of the whole.
    #[must_use]
    pub fn fragments(&self, size: usize) -> Vec<Vec<u8>> {
        let body = self.transport();
        let size = size / 8 * 8;
        let last = body.len().saturating_sub(1) / size;
        let piece = |(n, bytes): (usize, &[u8])| {
            let offset = u16::try_from(n * size).unwrap_or_else(|_| panic!("datagram too long"));
            let packet = self.clone().fragment(offset, n < last);
            packet.ethernet_around(&packet.ip_around(bytes))
        };
        body.chunks(size).enumerate().map(piece).collect()
    }

    fn new(src: &impl ToEndpoint, dst: &impl ToEndpoint, body: Body) -> Self {
        let (src, dst) = (src.to_endpoint(), dst.to_endpoint());
        assert_eq!(src.is_ipv4(), dst.is_ipv4(), "{src} and {dst} are of two families");
        Self {
            src,
            dst,
            body,
            mac: (MAC_SRC, MAC_DST),
            tags: Vec::new(),
            ttl: 64,
            tos: 0,
            id: 0,
            ip_options: Vec::new(),
            extensions: Vec::new(),
            fragment: None,
            dont_fragment: true,
            flags: TcpFlags(TcpFlags::ACK),
            seq: 0,
            ack: 0,
            window: 65_535,
            tcp_options: Vec::new(),
            payload: Vec::new(),
            checksum: Checksum::Full,
        }
    }
}

/// An ARP request: `sender` asks who has `target` (IPv4 addresses).
///
/// # Panics
/// When either is no IPv4 address.
#[must_use]
pub fn arp_request(sender: impl ToEndpoint, target: impl ToEndpoint) -> Vec<u8> {
    let v4 = |endpoint: SocketAddr| match endpoint.ip() {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(ip) => panic!("ARP knows no {ip}"),
    };
    let mut frame = vec![0xff; 6];
    frame.extend(MAC_SRC);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(MAC_SRC);
    frame.extend(v4(sender.to_endpoint()));
    frame.extend([0; 6]);
    frame.extend(v4(target.to_endpoint()));
    frame
}

/// A length that a header can hold.
fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or_else(|_| panic!("{bytes} bytes do not fit a length field"))
}
