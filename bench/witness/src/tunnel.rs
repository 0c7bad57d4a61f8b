//! What a tunnel puts around a packet, taken off by the judge's own hand: IPIP (RFC 2003, RFC 2473, RFC 4213) and GUE
//! (draft-ietf-intarea-gue, variants 0 and 1), IPv4 and IPv6 outside and inside.

use crate::net::Net;
use crate::parsed::{Parsed, Transport, Unparsed};
use std::fmt;
use std::net::SocketAddr;

/// The UDP port that IANA set aside for GUE.
pub const GUE_PORT: u16 = 6080;

const IPV4_INSIDE: u8 = 4;
const IPV6_INSIDE: u8 = 41;
/// Bytes of a GUE header of variant 0 without options.
const GUE_HEADER: usize = 4;

/// How packets are wrapped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Encapsulation {
    /// An IP header directly around the packet (protocol 4 or 41).
    #[default]
    Ipip,
    /// UDP directly around the packet: GUE variant 1.
    Gue,
    /// UDP and a GUE header of four bytes: GUE variant 0.
    GueZero,
}

impl fmt::Display for Encapsulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipip => "ipip",
            Self::Gue => "gue",
            Self::GueZero => "gue-0",
        })
    }
}

/// The tunnel between the balancer and the servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// How packets must be wrapped.
    pub encapsulation: Encapsulation,
    /// The servers' UDP port of GUE.
    pub port: u16,
    /// Where outer source addresses lie; empty: anywhere.
    pub sources: Vec<Net>,
}

impl Default for Tunnel {
    /// IPIP from anywhere; GUE would use [`GUE_PORT`].
    fn default() -> Self {
        Self { encapsulation: Encapsulation::Ipip, port: GUE_PORT, sources: Vec::new() }
    }
}

/// What stood around a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outer {
    /// How it was wrapped.
    pub encapsulation: Encapsulation,
    /// Outer source; the port is 0 without UDP.
    pub source: SocketAddr,
    /// Outer destination; the port is 0 without UDP.
    pub destination: SocketAddr,
    /// Outer TTL or hop limit.
    pub ttl: u8,
    /// Outer DSCP and ECN.
    pub tos: u8,
    /// As of [`Parsed::label`].
    pub label: (u32, u8),
    /// Whether the outer IPv4 header's checksum is right; IPv6 has none.
    pub ip_checksum_ok: bool,
    /// Whether the outer UDP checksum is right or absent, which tunnels may do over IPv6 too (RFC 6935).
    pub udp_checksum_ok: bool,
    /// Whether the packet inside ends where the outer header says.
    pub length_ok: bool,
}

impl Outer {
    /// Takes over what is wrong around another part of the same packet.
    pub(crate) fn add_faults(&mut self, other: &Self) {
        self.ip_checksum_ok &= other.ip_checksum_ok;
        self.udp_checksum_ok &= other.udp_checksum_ok;
        self.length_ok &= other.length_ok;
        self.ttl = self.ttl.min(other.ttl);
    }
}

impl Tunnel {
    /// Takes the outer header off, whichever encapsulation it is of. None: the frame has none.
    ///
    /// The packet's offsets are those in the whole frame: its Ethernet header is the frame's.
    ///
    /// # Errors
    /// Which header is cut off or contradicts itself.
    #[inline]
    pub fn open<'a>(&self, frame: &'a [u8]) -> Option<Result<(Outer, Parsed<'a>), &'static str>> {
        let outside = match Parsed::new(frame) {
            Ok(outside) => outside,
            // Whoever looks at the frame as it is will say what is wrong with it.
            Err(Unparsed::NotIp | Unparsed::Malformed(_)) => return None,
        };
        let udp = outside.transport() == Some(Transport::Udp);
        let ipip = matches!(outside.protocol(), IPV4_INSIDE | IPV6_INSIDE);
        match (ipip, udp && outside.destination().port() == self.port) {
            (true, _) if outside.is_fragment() => Some(Err("outer packet: it is a fragment")),
            (true, _) => Some(opened(&outside, Encapsulation::Ipip, Some(outside.protocol()))),
            (_, true) => Some(gue(&outside)),
            (false, false) => None,
        }
    }
}

/// A variant is told by the first two bits behind UDP: those of an IP version are 01.
fn gue<'a>(outside: &Parsed<'a>) -> Result<(Outer, Parsed<'a>), &'static str> {
    match outside.payload() {
        [first, ..] if first >> 6 == 1 => opened(outside, Encapsulation::Gue, None),
        // No control message, no optional words, no flags.
        [0, protocol, 0, 0, ..] => opened(outside, Encapsulation::GueZero, Some(*protocol)),
        _ => Err("GUE header"),
    }
}

/// `protocol`: what the header before the packet says that it is.
fn opened<'a>(
    outside: &Parsed<'a>,
    encapsulation: Encapsulation,
    protocol: Option<u8>,
) -> Result<(Outer, Parsed<'a>), &'static str> {
    let skipped = if encapsulation == Encapsulation::GueZero { GUE_HEADER } else { 0 };
    let packet = match outside.inside(skipped) {
        Ok(packet) => packet,
        Err(Unparsed::NotIp) => return Err("packet inside the tunnel"),
        Err(Unparsed::Malformed(what)) => return Err(what),
    };
    let named = if packet.is_v4() { IPV4_INSIDE } else { IPV6_INSIDE };
    if protocol.is_some_and(|protocol| protocol != named) {
        return Err("outer header: the protocol is not that of the packet inside");
    }
    let udp = encapsulation != Encapsulation::Ipip;
    let outer = Outer {
        encapsulation,
        source: outside.source(),
        destination: outside.destination(),
        ttl: outside.ttl(),
        tos: outside.tos(),
        label: outside.label(),
        ip_checksum_ok: outside.ip_checksum_ok(),
        udp_checksum_ok: !udp || outside.l4_checksum() == 0 || outside.l4_checksum_ok(),
        length_ok: packet.end() == outside.end(),
    };
    Ok((outer, packet))
}
