//! The outer headers as arrays, each in one piece.

use crate::checksum::Sum;
use crate::tunnel::{Inner, Outer};

/// TTL and hop limit of what this node sends itself (RFC 1700's default).
const TTL: u8 = 64;

/// RFC 791 §3.1; `length` counts this header.
#[inline]
pub(super) fn ipv4(outer: &Outer, inner: &Inner, length: u16, proto: u8) -> [u8; 20] {
    let (flags, id) = if inner.dont_fragment { (0x40, 0) } else { (0, outer.id) };
    let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (outer.src.last4(), outer.dst.last4());
    let ([l0, l1], [i0, i1]) = (length.to_be_bytes(), id.to_be_bytes());
    let checksum = Sum::default()
        .four([0x45, inner.tos, l0, l1])
        .four([i0, i1, flags, 0])
        .four([TTL, proto, 0, 0])
        .four([s0, s1, s2, s3])
        .four([d0, d1, d2, d3])
        .checksum();
    let [c0, c1] = checksum.to_be_bytes();
    [0x45, inner.tos, l0, l1, i0, i1, flags, 0, TTL, proto, c0, c1, s0, s1, s2, s3, d0, d1, d2, d3]
}

/// RFC 8200 §3 up to the addresses, and the addresses; `length` does not count this header.
#[inline]
pub(super) fn ipv6(outer: &Outer, inner: &Inner, length: u16, next: u8) -> ([u8; 8], [u8; 32]) {
    let first = 0x6000_0000 | (u32::from(inner.tos) << 20) | flow_label(outer.entropy);
    let ([f0, f1, f2, f3], [l0, l1]) = (first.to_be_bytes(), length.to_be_bytes());
    let mut addresses = [0; 32];
    let (source, destination) = addresses.split_at_mut(16);
    source.copy_from_slice(&outer.src.octets());
    destination.copy_from_slice(&outer.dst.octets());
    ([f0, f1, f2, f3, l0, l1, next, TTL], addresses)
}

/// RFC 768, without a checksum.
#[inline]
pub(super) const fn udp(entropy: u16, port: u16, length: u16) -> [u8; 8] {
    let ([s0, s1], [d0, d1]) = ((entropy | 0xc000).to_be_bytes(), port.to_be_bytes());
    let [l0, l1] = length.to_be_bytes();
    [s0, s1, d0, d1, l0, l1, 0, 0]
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
