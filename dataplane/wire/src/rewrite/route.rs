//! Address, port and TTL in one pass: what nearly every packet of nat needs, without looking at anything twice.
//!
//! All of these are for whole TCP segments and UDP datagrams ([`Kind::Tcp`], [`Kind::Udp`]) of the family in the name,
//! whose TTL or hop limit is above 0. Addresses and ports are in network order. The result is that of
//! [`to_server`](super::to_server) or [`to_client`](super::to_client) and [`decrement_ttl`](super::decrement_ttl).

#![allow(
    clippy::indexing_slicing,
    reason = "constants into arrays of fixed size: checked when it is compiled"
)]

use crate::bytes::array_mut;
use crate::checksum::fold;
use crate::meta::{Kind, Meta};

/// Where the fields of an end stand: its IPv4 address, its IPv6 address and its port.
const DESTINATION: (usize, usize, usize) = (16, 24, 2);
const SOURCE: (usize, usize, usize) = (12, 8, 0);

/// Sends an IPv4 packet to a server.
#[inline]
pub fn route_to_server_v4(frame: &mut [u8], meta: &Meta, ip: [u8; 4], port: [u8; 2]) {
    debug_assert!(is_meant(meta, true), "{meta:?}");
    let changed = ipv4::<{ DESTINATION.0 }>(frame, meta.l3, ip);
    transport::<{ DESTINATION.2 }>(frame, meta, port, changed);
}

/// Lets an IPv4 packet come from the service.
#[inline]
pub fn route_to_client_v4(frame: &mut [u8], meta: &Meta, ip: [u8; 4], port: [u8; 2]) {
    debug_assert!(is_meant(meta, true), "{meta:?}");
    let changed = ipv4::<{ SOURCE.0 }>(frame, meta.l3, ip);
    transport::<{ SOURCE.2 }>(frame, meta, port, changed);
}

/// Sends an IPv6 packet to a server.
#[inline]
pub fn route_to_server_v6(frame: &mut [u8], meta: &Meta, ip: [u8; 16], port: [u8; 2]) {
    debug_assert!(is_meant(meta, false), "{meta:?}");
    let changed = ipv6::<{ DESTINATION.1 }>(frame, meta.l3, ip);
    transport::<{ DESTINATION.2 }>(frame, meta, port, changed);
}

/// Lets an IPv6 packet come from the service.
#[inline]
pub fn route_to_client_v6(frame: &mut [u8], meta: &Meta, ip: [u8; 16], port: [u8; 2]) {
    debug_assert!(is_meant(meta, false), "{meta:?}");
    let changed = ipv6::<{ SOURCE.1 }>(frame, meta.l3, ip);
    transport::<{ SOURCE.2 }>(frame, meta, port, changed);
}

fn is_meant(meta: &Meta, v4: bool) -> bool {
    matches!(meta.kind, Kind::Tcp | Kind::Udp) && meta.v4 == v4
}

/// Sums of words in the machine's own order: checksums do not care, as long as all of it is (RFC 1071 §2 B).
type Sum = u64;

/// What one less in the TTL adds to a sum: the TTL is the first byte of its word.
const ROUTED: Sum = 0xffff - u16::from_ne_bytes([1, 0]) as Sum;

/// What replacing `old` by `new` adds to a sum (RFC 1624 eq. 3).
#[inline]
fn four(old: [u8; 4], new: [u8; 4]) -> Sum {
    u64::from(!u32::from_ne_bytes(old)) + u64::from(u32::from_ne_bytes(new))
}

/// The checksum field after a change.
#[inline]
fn apply(field: [u8; 2], changed: Sum) -> [u8; 2] {
    (!fold(changed + u64::from(!u16::from_ne_bytes(field)))).to_ne_bytes()
}

/// Replaces an address and takes one from the TTL; returns what that means to a checksum with a pseudo header.
#[inline]
fn ipv4<const AT: usize>(frame: &mut [u8], l3: u16, new: [u8; 4]) -> Sum {
    let Some(header) = array_mut::<20>(frame, l3.into()) else { return 0 };
    let old = [header[AT], header[AT + 1], header[AT + 2], header[AT + 3]];
    let changed = four(old, new);
    header[8] = header[8].wrapping_sub(1);
    [header[AT], header[AT + 1], header[AT + 2], header[AT + 3]] = new;
    [header[10], header[11]] = apply([header[10], header[11]], changed + ROUTED);
    changed
}

/// As [`ipv4`]; there is no header checksum.
#[inline]
fn ipv6<const AT: usize>(frame: &mut [u8], l3: u16, new: [u8; 16]) -> Sum {
    let Some(header) = array_mut::<40>(frame, l3.into()) else { return 0 };
    header[7] = header[7].wrapping_sub(1);
    let Some(address) = header.get_mut(AT..).and_then(|rest| rest.first_chunk_mut::<16>()) else { return 0 };
    let (old, _) = address.as_chunks::<4>();
    let (words, _) = new.as_chunks::<4>();
    let changed = old.iter().zip(words).map(|(old, new)| four(*old, *new)).sum();
    *address = new;
    changed
}

/// Replaces a port and completes the checksum.
#[inline]
fn transport<const AT: usize>(frame: &mut [u8], meta: &Meta, new: [u8; 2], changed: Sum) {
    let Some(header) = array_mut::<8>(frame, meta.l4.into()) else { return };
    let old = [header[AT], header[AT + 1]];
    let changed = changed + u64::from(!u16::from_ne_bytes(old)) + u64::from(u16::from_ne_bytes(new));
    [header[AT], header[AT + 1]] = new;
    if meta.kind == Kind::Udp {
        // RFC 768: 0 means "none" and stays, and a computed 0 is sent as 0xffff.
        let old = [header[6], header[7]];
        if old != [0, 0] {
            let sum = apply(old, changed);
            [header[6], header[7]] = if sum == [0, 0] { [0xff; 2] } else { sum };
        }
    } else if let Some(field) = array_mut::<2>(frame, usize::from(meta.l4) + 16) {
        *field = apply(*field, changed);
    }
}
