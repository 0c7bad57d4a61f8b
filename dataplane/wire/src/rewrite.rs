//! Changes in place: addresses, ports, TTL and Ethernet headers, every checksum kept right by difference.
//!
//! All of these read the old values from the frame, not from the [`Meta`], so several may follow each other with the
//! same meta. A checksum that was wrong before is wrong after, by the same amount: nothing here hides damage.

use crate::bytes::{array, array_mut, put, word};
use crate::checksum::Delta;
use crate::fragment::fragment;
use crate::ip::Ip;
use crate::meta::{Kind, Meta};
use crate::parse::transport::{ICMPV6, TCP, UDP};

mod ethernet;
mod full;
mod icmp;
mod route;

pub use ethernet::{ethernet_header, ethertype, set_ethernet, set_header, set_macs, source_mac};
pub use full::{icmp_error_between, route_between_v4, route_between_v6};
pub use icmp::{IcmpEdit, icmp_error, icmp_error_source, icmp_error_to_client, icmp_error_to_server};
pub use route::{route_to_client_v4, route_to_client_v6, route_to_server_v4, route_to_server_v6};

/// Sends the packet to `ip`:`port` (host order): rewrites the destination.
///
/// Later fragments have no port and keep their payload; ICMP and other transports get the address only. `ip` must
/// be of the packet's family and the packet no [`Kind::IcmpError`] (see [`icmp_error_to_server`]); else nothing
/// changes.
#[inline]
pub fn to_server(frame: &mut [u8], meta: &Meta, ip: Ip, port: u16) {
    endpoint(frame, meta, Side::Destination, ip, port);
}

/// Lets the packet come from `ip`:`port` (host order): rewrites the source.
///
/// The rules are those of [`to_server`].
#[inline]
pub fn to_client(frame: &mut [u8], meta: &Meta, ip: Ip, port: u16) {
    endpoint(frame, meta, Side::Source, ip, port);
}

/// Takes one from the TTL or hop limit, as a router does (RFC 1812 §5.3.1). One that is 0 stays 0.
///
/// Whether the packet may go on at all is the caller's decision, before: `meta.ttl <= 1` may not.
#[inline]
pub fn decrement_ttl(frame: &mut [u8], meta: &Meta) {
    let l3 = usize::from(meta.l3);
    if meta.v4 {
        let Some([ttl, proto, c0, c1]) = array_mut::<4>(frame, l3 + 8) else { return };
        let old = u16::from_be_bytes([*ttl, *proto]);
        *ttl = ttl.saturating_sub(1);
        let delta = Delta::default().word(old, u16::from_be_bytes([*ttl, *proto]));
        [*c0, *c1] = delta.apply(u16::from_be_bytes([*c0, *c1])).to_be_bytes();
    } else if let Some(hops) = frame.get_mut(l3 + 7) {
        *hops = hops.saturating_sub(1);
    }
}

/// Which end of a packet is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Source,
    Destination,
}

impl Side {
    /// Where this side's port stands in a TCP or UDP header.
    const fn port_at(self) -> usize {
        match self {
            Self::Source => 0,
            Self::Destination => 2,
        }
    }

    /// Where this side's address stands in an IP header.
    const fn address_at(self, v4: bool) -> usize {
        match (self, v4) {
            (Self::Source, true) => 12,
            (Self::Destination, true) => 16,
            (Self::Source, false) => 8,
            (Self::Destination, false) => 24,
        }
    }
}

#[inline]
fn endpoint(frame: &mut [u8], meta: &Meta, side: Side, ip: Ip, port: u16) {
    debug_assert!(ip.is_v4() == meta.v4 && meta.kind != Kind::IcmpError, "{meta:?} cannot get {ip}");
    if ip.is_v4() != meta.v4 || meta.kind == Kind::IcmpError {
        return;
    }
    let delta = address(frame, meta.l3.into(), meta.v4, side, ip).pseudo;
    let l4 = usize::from(meta.l4);
    match (meta.kind, meta.proto) {
        (Kind::Tcp, _) => tcp(frame, l4, side, port, delta),
        (Kind::Udp, _) => udp(frame, l4, side, port, delta),
        (Kind::Icmp, ICMPV6) => icmpv6(frame, l4, delta),
        (Kind::Fragment, _) => first_fragment(frame, meta, side, port, delta),
        (Kind::Icmp | Kind::Other | Kind::IcmpError, _) => {}
    }
}

/// What a changed address means to the checksums above it.
#[derive(Clone, Copy, Default)]
struct Changed {
    /// To one whose pseudo header holds the address.
    pseudo: Delta,
    /// To one that covers the IP header itself, its checksum included: an ICMP error's, when the header is quoted.
    header: Delta,
}

/// Puts `ip` into the IP header at `l3`, an IPv4 header checksum included.
#[inline]
fn address(frame: &mut [u8], l3: usize, v4: bool, side: Side, ip: Ip) -> Changed {
    let at = l3 + side.address_at(v4);
    if !v4 {
        let Some(field) = array_mut::<16>(frame, at) else { return Changed::default() };
        let pseudo = Delta::default().sixteen(*field, ip.octets());
        *field = ip.octets();
        return Changed { pseudo, header: pseudo };
    }
    let Some(field) = array_mut::<4>(frame, at) else { return Changed::default() };
    let pseudo = Delta::default().four(*field, ip.last4());
    *field = ip.last4();
    let Some(field) = array_mut::<2>(frame, l3 + 10) else { return Changed::default() };
    let old = u16::from_be_bytes(*field);
    let new = pseudo.apply(old);
    *field = new.to_be_bytes();
    Changed { pseudo, header: pseudo.word(old, new) }
}

/// Rewrites a port and the checksum of the TCP header at `l4`.
#[inline]
fn tcp(frame: &mut [u8], l4: usize, side: Side, port: u16, delta: Delta) {
    let Some(header) = array_mut::<18>(frame, l4) else { return };
    let old = word(header, side.port_at()).unwrap_or(0);
    let checksum = delta.word(old, port).apply(u16::from_be_bytes([header[16], header[17]]));
    put(header, side.port_at(), port.to_be_bytes());
    put(header, 16, checksum.to_be_bytes());
}

/// Rewrites a port and the checksum of the UDP header at `l4`.
#[inline]
fn udp(frame: &mut [u8], l4: usize, side: Side, port: u16, delta: Delta) {
    let Some(header) = array_mut::<8>(frame, l4) else { return };
    let old = word(header, side.port_at()).unwrap_or(0);
    let checksum = delta.word(old, port).apply_udp(u16::from_be_bytes([header[6], header[7]]));
    put(header, side.port_at(), port.to_be_bytes());
    put(header, 6, checksum.to_be_bytes());
}

/// The ICMPv6 checksum covers the addresses too (RFC 4443 §2.3).
fn icmpv6(frame: &mut [u8], l4: usize, delta: Delta) {
    if let Some(checksum) = word(frame, l4 + 2) {
        put(frame, l4 + 2, delta.apply(checksum).to_be_bytes());
    }
}

/// A first fragment holds the header and so the checksum of the whole datagram; later ones hold neither.
#[cold]
fn first_fragment(frame: &mut [u8], meta: &Meta, side: Side, port: u16, delta: Delta) {
    let first = fragment(frame, meta).is_some_and(|piece| piece.offset == 0);
    let l4 = usize::from(meta.l4);
    match meta.proto {
        TCP if first => tcp(frame, l4, side, port, delta),
        UDP if first => udp(frame, l4, side, port, delta),
        ICMPV6 if first && !meta.v4 => icmpv6(frame, l4, delta),
        _ => {}
    }
}

/// The address of one side in the IP header at `l3`.
#[inline]
fn address_of(frame: &[u8], l3: usize, v4: bool, side: Side) -> Option<Ip> {
    let at = l3 + side.address_at(v4);
    if v4 { array(frame, at).map(Ip::from_v4) } else { array(frame, at).map(Ip::from_v6) }
}
