//! The outer headers as arrays, each in one piece.

use crate::bytes::put;
use crate::checksum::fold;
use crate::tunnel::{Inner, Outer};

/// TTL and hop limit of what this node sends itself (RFC 1700's default).
const TTL: u8 = 64;

/// RFC 791 §3.1, at the start of `place`; `length` counts this header.
#[inline]
pub(super) fn ipv4<const N: usize>(
    place: &mut [u8; N],
    outer: &Outer<[u8; 4]>,
    inner: &Inner,
    length: u16,
    proto: u8,
    id: impl FnOnce() -> u16,
) {
    let (flags, id) = if inner.dont_fragment { (0x40, 0) } else { (0, id()) };
    let [source, destination] = [outer.src, outer.dst].map(|ip| u64::from(u32::from_be_bytes(ip)));
    let first =
        0x45 << 56 | u64::from(inner.tos) << 48 | u64::from(length) << 32 | u64::from(id) << 16 | flags << 8;
    let second = u64::from(TTL) << 24 | u64::from(proto) << 16;
    // As words of 32 bits: 2^16 is 1 to a sum that carries around, so words of 16 bits give the same.
    let sum = (first >> 32) + (first & 0xffff_ffff) + second + source + destination;
    let checksum = u64::from(!fold(sum));
    let second = (second | checksum) << 32 | source;
    put(place, 0, first.to_be_bytes());
    put(place, 8, second.to_be_bytes());
    put(place, 16, outer.dst);
}

/// RFC 8200 §3, at the start of `place`; `length` does not count this header.
#[inline]
pub(super) fn ipv6<const N: usize>(
    place: &mut [u8; N],
    outer: &Outer<[u8; 16]>,
    inner: &Inner,
    length: u16,
    next: u8,
) {
    let first = 0x6000_0000 | (u32::from(inner.tos) << 20) | flow_label(outer.entropy);
    let second = u32::from(length) << 16 | u32::from(next) << 8 | u32::from(TTL);
    put(place, 0, (u64::from(first) << 32 | u64::from(second)).to_be_bytes());
    put(place, 8, outer.src);
    put(place, 24, outer.dst);
}

/// RFC 768, without a checksum.
#[inline]
pub(super) const fn udp(entropy: u16, port: u16, length: u16) -> [u8; 8] {
    ((entropy as u64 | 0xc000) << 48 | (port as u64) << 32 | (length as u64) << 16).to_be_bytes()
}

/// GUE variant 0: a data message without extensions and flags.
#[inline]
pub(super) const fn gue(proto: u8) -> [u8; 4] {
    [0, proto, 0, 0]
}

/// Twenty bits, different for every entropy and never 0, which would say "no label" (RFC 6437 §2, RFC 6438 §3).
///
/// Multiplying 1..=65536 by an odd number is one to one modulo 2^20, and spreads the values over all the bits.
#[inline]
const fn flow_label(entropy: u16) -> u32 {
    (entropy as u32 + 1).wrapping_mul(0x9_e379) & 0xf_ffff
}
