//! The TCP maximum segment size (RFC 9293 §3.7.1), lowered in passing so that segments fit into a tunnel.

use crate::bytes::{array, put, word};
use crate::checksum::Delta;
use crate::meta::{Kind, Meta, TcpFlags};

/// Where options start and the checksum stands in a TCP header.
const OPTIONS_AT: usize = 20;
const CHECKSUM_AT: usize = 16;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const MSS_LEN: u8 = 4;

/// The MSS of packets of `mtu` bytes with plain headers (RFC 6691 §2), for a packet in IPv4 or else in IPv6. 0 when
/// the headers alone do not fit.
#[inline]
#[must_use]
pub const fn mss_of_mtu(mtu: u16, v4: bool) -> u16 {
    mtu.saturating_sub(if v4 { 40 } else { 60 })
}

/// Lowers the MSS that a SYN or SYN-ACK announces to `max` bytes and returns whether anything changed.
///
/// Never raises one and never adds one; other segments and frames stay as they are. The checksum is changed by
/// difference: a right one stays right and a wrong one wrong, and a partial one has to be completed before
/// ([`fix_partial`](crate::checksum::fix_partial)). Options are walked until one has an impossible length.
#[inline]
pub fn clamp_mss(frame: &mut [u8], meta: &Meta, max: u16) -> bool {
    let opens = meta.flags.0 & (TcpFlags::SYN | TcpFlags::RST | TcpFlags::FIN) == TcpFlags::SYN;
    if meta.kind != Kind::Tcp || !opens { false } else { clamp(frame, meta, max) }
}

/// Walks the options: each step is at least one byte, and there are at most forty.
#[inline(never)]
fn clamp(frame: &mut [u8], meta: &Meta, max: u16) -> bool {
    let l4 = usize::from(meta.l4);
    let Some([offset]) = array::<1>(frame, l4 + 12) else { return false };
    let end = (l4 + usize::from(offset >> 4) * 4).min(meta.end.into()).min(frame.len());
    let mut at = l4 + OPTIONS_AT;
    let mut delta = Delta::default();
    let mut changed = false;
    while at < end {
        let Some(len) = option_len(frame, at, end) else { break };
        if let Some(old) = mss(frame, at, len).filter(|old| *old > max) {
            put(frame, at + 2, max.to_be_bytes());
            delta = delta.and(difference((at + 2 - l4).is_multiple_of(2), old, max));
            changed = true;
        }
        at += len;
    }
    if changed && let Some(checksum) = word(frame, l4 + CHECKSUM_AT) {
        put(frame, l4 + CHECKSUM_AT, delta.apply(checksum).to_be_bytes());
    }
    changed
}

/// The length of the option at `at`; None behind the last one and where one reaches beyond `end`.
fn option_len(frame: &[u8], at: usize, end: usize) -> Option<usize> {
    let [kind] = array::<1>(frame, at)?;
    match kind {
        END => None,
        NOP => Some(1),
        _ => {
            let [len] = array::<1>(frame, at + 1)?;
            let len = usize::from(len);
            (len >= 2 && at + len <= end).then_some(len)
        }
    }
}

/// The value of the option of `len` bytes at `at`, when it is an MSS.
fn mss(frame: &[u8], at: usize, len: usize) -> Option<u16> {
    let [kind, _, high, low] = array::<4>(frame, at)?;
    (kind == MSS && len == usize::from(MSS_LEN)).then_some(u16::from_be_bytes([high, low]))
}

/// At an odd offset the two bytes lie in two words of the sum, each in the other half (RFC 1071 §2 B).
fn difference(even: bool, old: u16, new: u16) -> Delta {
    if even {
        Delta::default().word(old, new)
    } else {
        Delta::default().word(old.swap_bytes(), new.swap_bytes())
    }
}
