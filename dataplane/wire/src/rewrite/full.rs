//! Full NAT: both addresses, both ports and the TTL in one pass, what nearly every packet of snat needs.
//!
//! The two of a family are for whole TCP segments and UDP datagrams ([`Kind::Tcp`], [`Kind::Udp`]) whose TTL or hop
//! limit is above 0. Addresses and ports are in network order. The result is that of [`to_server`](super::to_server),
//! [`to_client`](super::to_client) and [`decrement_ttl`](super::decrement_ttl).

use crate::bytes::array_mut;
use crate::checksum::fold;
use crate::ip::Ip;
use crate::meta::{Kind, Meta};
use crate::rewrite::{IcmpEdit, icmp_error};

/// Lets an IPv4 packet go from `src` to `dst`, each an address and a port.
#[inline]
pub fn route_between_v4(frame: &mut [u8], meta: &Meta, src: ([u8; 4], [u8; 2]), dst: ([u8; 4], [u8; 2])) {
    debug_assert!(is_meant(meta, true), "{meta:?}");
    let Some(header) = array_mut::<20>(frame, meta.l3.into()) else { return };
    let [_, _, _, _, _, _, _, _, ttl, _, c0, c1, addresses @ ..] = header;
    let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (src.0, dst.0);
    let changed = replace(addresses, [s0, s1, s2, s3, d0, d1, d2, d3]);
    *ttl = ttl.wrapping_sub(1);
    [*c0, *c1] = apply([*c0, *c1], changed + ROUTED);
    transport(frame, meta, src.1, dst.1, changed);
}

/// Lets an IPv6 packet go from `src` to `dst`, each an address and a port.
#[inline]
pub fn route_between_v6(frame: &mut [u8], meta: &Meta, src: ([u8; 16], [u8; 2]), dst: ([u8; 16], [u8; 2])) {
    debug_assert!(is_meant(meta, false), "{meta:?}");
    let Some(header) = array_mut::<40>(frame, meta.l3.into()) else { return };
    let [_, _, _, _, _, _, _, hops, addresses @ ..] = header;
    *hops = hops.wrapping_sub(1);
    let Some((from, to)) = addresses.split_first_chunk_mut::<16>() else { return };
    let Some(to) = to.first_chunk_mut::<16>() else { return };
    let changed = replace(from, src.0) + replace(to, dst.0);
    transport(frame, meta, src.1, dst.1, changed);
}

/// Sends an ICMP error about a packet of full NAT on to the host that really sent that packet (RFC 5508 REQ-4 and
/// REQ-5): both ends of the quote change, and the outer destination. Ports are in host order.
///
/// `outer_src` names the error's sender anew where it is a server that must stay hidden; None leaves it, as for a
/// router between. The TTL stays: [`decrement_ttl`](super::decrement_ttl) is for that. As
/// [`icmp_error`](super::icmp_error) a frame of another kind, or addresses of the other family, change nothing.
pub fn icmp_error_between(
    frame: &mut [u8],
    meta: &Meta,
    outer_src: Option<Ip>,
    outer_dst: Ip,
    quoted_src: (Ip, u16),
    quoted_dst: (Ip, u16),
) {
    let edit = IcmpEdit {
        outer_src,
        outer_dst: Some(outer_dst),
        quoted_src: Some(quoted_src),
        quoted_dst: Some(quoted_dst),
    };
    icmp_error(frame, meta, &edit);
}

fn is_meant(meta: &Meta, v4: bool) -> bool {
    matches!(meta.kind, Kind::Tcp | Kind::Udp) && meta.v4 == v4
}

/// Sums of words in the machine's own order: checksums do not care, as long as all of it is (RFC 1071 §2 B).
type Sum = u64;

/// What one less in the TTL adds to a sum: the TTL is the first byte of its word.
const ROUTED: Sum = 0xffff - u16::from_ne_bytes([1, 0]) as Sum;

/// Puts `new` in its place; returns what that adds to a sum (RFC 1624 eq. 3). `N` is a multiple of 4.
#[inline]
fn replace<const N: usize>(field: &mut [u8; N], new: [u8; N]) -> Sum {
    let (old, _) = field.as_chunks::<4>();
    let (words, _) = new.as_chunks::<4>();
    let word = |word: &[u8; 4]| u32::from_ne_bytes(*word);
    let changed = old.iter().zip(words).map(|(old, new)| u64::from(!word(old)) + u64::from(word(new))).sum();
    *field = new;
    changed
}

/// The checksum field after a change.
#[inline]
fn apply(field: [u8; 2], changed: Sum) -> [u8; 2] {
    (!fold(changed + u64::from(!u16::from_ne_bytes(field)))).to_ne_bytes()
}

/// Replaces both ports and completes the checksum.
#[inline]
fn transport(frame: &mut [u8], meta: &Meta, src: [u8; 2], dst: [u8; 2], changed: Sum) {
    let Some([p0, p1, p2, p3, _, _, c0, c1]) = array_mut::<8>(frame, meta.l4.into()) else { return };
    let mut ports = [*p0, *p1, *p2, *p3];
    let ([s0, s1], [d0, d1]) = (src, dst);
    let changed = changed + replace(&mut ports, [s0, s1, d0, d1]);
    [*p0, *p1, *p2, *p3] = ports;
    if meta.kind == Kind::Udp {
        // RFC 768: 0 means "none" and stays, and a computed 0 is sent as 0xffff.
        if [*c0, *c1] != [0, 0] {
            let sum = apply([*c0, *c1], changed);
            [*c0, *c1] = if sum == [0, 0] { [0xff; 2] } else { sum };
        }
    } else if let Some(field) = array_mut::<2>(frame, usize::from(meta.l4) + 16) {
        *field = apply(*field, changed);
    }
}
