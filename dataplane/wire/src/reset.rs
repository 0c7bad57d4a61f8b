//! The RST that answers a TCP segment (RFC 9293 §3.10.7.1), built from the segment alone, and the one that it becomes for those
//! whom it was sent to.

use crate::bytes::{array, array_mut, put};
use crate::checksum::{Delta, Sum};
use crate::meta::{Kind, Meta, TcpFlags};

/// Longest reset: Ethernet with two tags, IPv6, TCP without options.
pub const RESET_LEN_MAX: usize = 22 + 40 + 20;

const TCP: u8 = 6;
const TCP_LEN: u16 = 20;
const V6_LEN: u16 = 40;
/// TTL and hop limit of what this node sends itself (RFC 1700's default).
const TTL: u8 = 64;

/// Writes the reset that answers `frame` into `out` and returns its length, VLAN tags and Ethernet addresses mirrored.
///
/// None when `frame` is no whole TCP segment, is a RST itself (those are never answered), or `out` is too short
/// ([`RESET_LEN_MAX`] is always enough). The frame may be below Ethernet's 60 bytes; ports pad it.
#[must_use]
pub fn tcp_reset(frame: &[u8], meta: &Meta, out: &mut [u8]) -> Option<usize> {
    if meta.kind != Kind::Tcp || meta.flags.is_rst() {
        return None;
    }
    let l3 = usize::from(meta.l3);
    let ip_len: usize = if meta.v4 { 20 } else { 40 };
    let len = l3 + ip_len + usize::from(TCP_LEN);
    let out = out.get_mut(..len)?;
    out.fill(0);
    ethernet(frame, l3, out)?;
    let addresses = if meta.v4 { ipv4(frame, l3, out)? } else { ipv6(frame, l3, out)? };
    tcp(frame, meta, l3 + ip_len, addresses, out)?;
    Some(len)
}

/// Makes a segment the reset of its own connection, for those whom it was sent to, and returns where it ends then: its first
/// bytes up to there. Addresses, ports, IP options and its numbers stay; payload and TCP options go.
///
/// Its sequence number is what its receiver expects next, unless something before it was lost (then the receiver says so, RFC
/// 5961 §3.2) or had come already (a repetition, a keepalive: then the receiver ignores the reset). The acknowledgment stays
/// because a client whose SYN is being answered goes by that alone (RFC 9293 §3.10.7.3).
///
/// None, and nothing is changed, when `frame` is no whole TCP segment or a RST itself.
#[must_use]
pub fn into_reset(frame: &mut [u8], meta: &Meta) -> Option<u16> {
    if meta.kind != Kind::Tcp || meta.flags.is_rst() {
        return None;
    }
    let (l3, l4) = (usize::from(meta.l3), usize::from(meta.l4));
    let [ports0, ports1, ports2, ports3, q0, q1, q2, q3, a0, a1, a2, a3, ..] = array::<20>(frame, l4)?;
    let len = meta.l4.checked_sub(meta.l3)?.checked_add(TCP_LEN)?;
    let addresses = if meta.v4 {
        let old = array::<2>(frame, l3 + 2).map(u16::from_be_bytes)?;
        let checksum = array::<2>(frame, l3 + 10).map(u16::from_be_bytes)?;
        let (source, destination) = (array::<4>(frame, l3 + 12)?, array::<4>(frame, l3 + 16)?);
        put(frame, l3 + 2, len.to_be_bytes());
        put(frame, l3 + 10, Delta::default().word(old, len).apply(checksum).to_be_bytes());
        Sum::default().four(source).four(destination)
    } else {
        let (source, destination) = (array::<16>(frame, l3 + 8)?, array::<16>(frame, l3 + 24)?);
        put(frame, l3 + 4, len.checked_sub(V6_LEN)?.to_be_bytes());
        Sum::default().bytes(&source).bytes(&destination)
    };
    let (ack, flags) = if meta.flags.0 & TcpFlags::ACK != 0 {
        ([a0, a1, a2, a3], TcpFlags::RST | TcpFlags::ACK)
    } else {
        ([0; 4], TcpFlags::RST)
    };
    let header = array_mut::<20>(frame, l4)?;
    *header = [0; 20];
    put(header, 0, [ports0, ports1, ports2, ports3, q0, q1, q2, q3]);
    put(header, 8, ack);
    put(header, 12, [0x50, flags]);
    complete(header, addresses);
    Some(meta.l4 + TCP_LEN)
}

/// Writes the checksum of a TCP header without options or payload; `addresses` are the pseudo-header's.
fn complete(header: &mut [u8; 20], addresses: Sum) {
    let checksum = addresses.word(TCP.into()).word(TCP_LEN).bytes(header.as_slice()).checksum();
    put(header, 16, checksum.to_be_bytes());
}

/// The same tags the other way.
fn ethernet(frame: &[u8], l3: usize, out: &mut [u8]) -> Option<()> {
    put(out, 0, array::<6>(frame, 6)?);
    put(out, 6, array::<6>(frame, 0)?);
    out.get_mut(12..l3)?.copy_from_slice(frame.get(12..l3)?);
    Some(())
}

/// The header the other way, and the sum of its addresses. Don't fragment, and so no identification (RFC 6864 §4.1).
fn ipv4(frame: &[u8], l3: usize, out: &mut [u8]) -> Option<Sum> {
    let (source, destination) = (array::<4>(frame, l3 + 12)?, array::<4>(frame, l3 + 16)?);
    let [length0, length1] = (20 + TCP_LEN).to_be_bytes();
    put(out, l3, [0x45, 0, length0, length1, 0, 0, 0x40, 0, TTL, TCP, 0, 0]);
    put(out, l3 + 12, destination);
    put(out, l3 + 16, source);
    let checksum = Sum::default().bytes(out.get(l3..l3 + 20)?).checksum();
    put(out, l3 + 10, checksum.to_be_bytes());
    Some(Sum::default().four(source).four(destination))
}

/// The header the other way, and the sum of its addresses.
fn ipv6(frame: &[u8], l3: usize, out: &mut [u8]) -> Option<Sum> {
    let (source, destination) = (array::<16>(frame, l3 + 8)?, array::<16>(frame, l3 + 24)?);
    let [length0, length1] = TCP_LEN.to_be_bytes();
    put(out, l3, [0x60, 0, 0, 0, length0, length1, TCP, TTL]);
    put(out, l3 + 8, destination);
    put(out, l3 + 24, source);
    Some(Sum::default().bytes(&source).bytes(&destination))
}

/// The TCP header: with an ACK its number is where the peer expects us, without one the whole segment is acknowledged.
fn tcp(frame: &[u8], meta: &Meta, at: usize, addresses: Sum, out: &mut [u8]) -> Option<()> {
    let segment = array::<20>(frame, meta.l4.into())?;
    let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, ..] = segment;
    let (seq, ack, flags) = if meta.flags.0 & TcpFlags::ACK != 0 {
        ([a0, a1, a2, a3], [0; 4], TcpFlags::RST)
    } else {
        let header_len = u16::from(offset >> 4) * 4;
        let payload = u32::from(meta.end.checked_sub(meta.l4)?.checked_sub(header_len)?);
        let syn_and_fin = u32::from(meta.flags.0 & TcpFlags::SYN != 0) + u32::from(meta.flags.is_fin());
        let next = u32::from_be_bytes([q0, q1, q2, q3]).wrapping_add(payload + syn_and_fin);
        ([0; 4], next.to_be_bytes(), TcpFlags::RST | TcpFlags::ACK)
    };
    let header = array_mut::<20>(out, at)?;
    put(header, 0, [d0, d1, s0, s1]);
    put(header, 4, seq);
    put(header, 8, ack);
    put(header, 12, [0x50, flags]);
    complete(header, addresses);
    Some(())
}
