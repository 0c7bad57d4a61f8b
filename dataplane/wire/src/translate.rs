//! IPv6 to IPv4 and back (RFC 7915) for packets of flows whose both ends are known: addresses and ports are given, none
//! is mapped by algorithm (RFC 6052).
//!
//! Whole TCP segments and UDP datagrams are translated in place: the new IP header is written directly before the
//! transport header, and the caller moves the frame's head to it and writes the Ethernet header, whose EtherType has
//! changed. ICMP errors change their size twice and are built into a buffer ([`icmp_error`]).
//!
//! None always means: not to be translated, nothing changed, drop it.

use crate::bytes::{array, put, word};
use crate::checksum::{Delta, Sum, never_zero};
use crate::ip::Ip;
use crate::meta::{Kind, Meta};
use crate::parse::transport::UDP;
use crate::translate::header::{Fields, V4_LEN, V6_LEN, addresses, ipv4_header, ipv6_header};

mod header;
mod icmp;
mod kinds;

pub use icmp::{ICMP_ERROR_LEN_MAX, IcmpEnds, icmp_error};

/// How many bytes a frame gains at its head before [`to_v6`]: enough for every VLAN stack that it may leave with.
pub const GROWTH: usize = 20 + 8;

/// Both ends of a packet after the translation. Addresses are of the family that it gets; ports are in host order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    /// Source address.
    pub src: Ip,
    /// Destination address.
    pub dst: Ip,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
}

/// The IP packet's length in bytes once it is translated, to be held against the MTU before: IPv4 options and IPv6
/// extension headers do not count, they are lost. For whole TCP and UDP packets, of either family.
#[inline]
#[must_use]
pub fn translated_len(meta: &Meta) -> usize {
    let header = if meta.v4 { V6_LEN } else { V4_LEN };
    usize::from(meta.end.saturating_sub(meta.l4)) + header
}

/// Makes an IPv6 packet one of IPv4 (RFC 7915 §5.1) and returns where in the frame its header starts: the caller cuts
/// the frame's head so that its Ethernet header fits before it. There is room for any.
///
/// Traffic class becomes TOS, the hop limit less one the TTL. Hop-by-hop, routing (without segments left) and destination
/// headers are left out. Up to 1260 bytes may be fragmented on the way and carry `id`, longer ones may not.
///
/// None for other kinds than TCP and UDP, IPv4 packets, ends that are not IPv4, and packets with an authentication or a
/// fragment header.
#[inline]
#[must_use]
pub fn to_v4(frame: &mut [u8], meta: &Meta, ends: &Ends, id: u16) -> Option<usize> {
    if meta.v4 || !is_whole(meta) || !is_family(ends, true) || (meta.options && !can_skip(frame, meta)) {
        return None;
    }
    let l4 = usize::from(meta.l4);
    let start = l4.checked_sub(V4_LEN)?;
    let fields = Fields::read(frame, meta.l3.into(), false)?.routed();
    let old = addresses(frame, meta.l3.into(), false)?;
    let body = frame.get_mut(l4..meta.end.into())?;
    let header = ipv4_header(&fields, meta.proto, body.len(), id, (ends.src, ends.dst))?;
    transport(body, meta.proto, ends, old);
    put(frame, start, header);
    Some(start)
}

/// Makes an IPv4 packet one of IPv6 (RFC 7915 §4.1) and returns where in the frame its header starts, as [`to_v4`] does.
///
/// The frame has gained `grown` bytes at its head since `meta` was read: [`GROWTH`] is always enough, 20 where the VLAN
/// stack does not grow. TOS becomes traffic class, the TTL less one the hop limit; the flow label is 0. Options are left
/// out (a source route never gets here, parsing refuses it). UDP without a checksum gets one (RFC 7915 §4.5).
///
/// None for other kinds than TCP and UDP, IPv6 packets, ends that are not IPv6, and where there is no room for the header.
#[inline]
#[must_use]
pub fn to_v6(frame: &mut [u8], meta: &Meta, grown: usize, ends: &Ends) -> Option<usize> {
    if !meta.v4 || !is_whole(meta) || !is_family(ends, false) {
        return None;
    }
    let l3 = grown.checked_add(meta.l3.into())?;
    let (l4, end) = (grown.checked_add(meta.l4.into())?, grown.checked_add(meta.end.into())?);
    let start = l4.checked_sub(V6_LEN)?;
    let fields = Fields::read(frame, l3, true)?.routed();
    let old = addresses(frame, l3, true)?;
    let body = frame.get_mut(l4..end)?;
    let header = ipv6_header(&fields, meta.proto, body.len(), (ends.src, ends.dst))?;
    transport(body, meta.proto, ends, old);
    if meta.proto == UDP && word(body, 6) == Some(0) {
        complete_udp(body, ends);
    }
    put(frame, start, header);
    Some(start)
}

const fn is_whole(meta: &Meta) -> bool {
    matches!(meta.kind, Kind::Tcp | Kind::Udp)
}

fn is_family(ends: &Ends, v4: bool) -> bool {
    ends.src.is_v4() == v4 && ends.dst.is_v4() == v4
}

/// Whether only such extension headers stand between the IPv6 header and the transport header as may be left out (RFC
/// 7915 §5.1). Their lengths were checked when `meta` was read.
#[cold]
fn can_skip(frame: &[u8], meta: &Meta) -> bool {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const DESTINATION_OPTIONS: u8 = 60;
    let (mut at, l4) = (usize::from(meta.l3) + V6_LEN, usize::from(meta.l4));
    let Some(mut next) = frame.get(usize::from(meta.l3) + 6).copied() else { return false };
    while at < l4 {
        let Some([following, len, _, segments_left]) = array(frame, at) else { return false };
        match next {
            HOP_BY_HOP | DESTINATION_OPTIONS => {}
            ROUTING if segments_left == 0 => {}
            _ => return false,
        }
        at += (usize::from(len) + 1) * 8;
        next = following;
    }
    at == l4
}

/// Rewrites both ports of the TCP or UDP header in `body`, and its checksum by the difference of the pseudo headers
/// (RFC 7915 §4.1, §5.1) where it is there: length and protocol are the same in both.
#[inline]
fn transport(body: &mut [u8], proto: u8, ends: &Ends, old: (Ip, Ip)) {
    let ([s0, s1], [d0, d1]) = (ends.sport.to_be_bytes(), ends.dport.to_be_bytes());
    let ports = [s0, s1, d0, d1];
    let Some(old_ports) = array::<4>(body, 0) else { return };
    // An IPv4 address may be summed in its mapped form: 0xffff is the other zero of one's complement.
    let delta = Delta::default()
        .sixteen(old.0.octets(), ends.src.octets())
        .sixteen(old.1.octets(), ends.dst.octets())
        .four(old_ports, ports);
    put(body, 0, ports);
    let at = if proto == UDP { 6 } else { 16 };
    let Some(field) = word(body, at) else { return };
    let checksum = if proto == UDP { delta.apply_udp(field) } else { delta.apply(field) };
    put(body, at, checksum.to_be_bytes());
}

/// Gives a datagram the checksum that IPv6 asks for (RFC 7915 §4.5).
#[cold]
fn complete_udp(body: &mut [u8], ends: &Ends) {
    let Some(length) = word(body, 4) else { return };
    let Some(datagram) = body.get(..length.into()) else { return };
    let pseudo = Sum::default().bytes(&ends.src.octets()).bytes(&ends.dst.octets());
    let sum = pseudo.word(UDP.into()).word(length).bytes(datagram);
    put(body, 6, never_zero(sum.checksum()).to_be_bytes());
}
