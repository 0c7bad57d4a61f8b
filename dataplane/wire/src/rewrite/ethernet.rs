//! The Ethernet header: addresses in place, and whole headers for a changed VLAN stack.

use crate::bytes::{array, put};
use crate::meta::Meta;
use crate::parse::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN};

/// Sets both Ethernet addresses.
#[inline]
pub fn set_ethernet(frame: &mut [u8], dst: [u8; 6], src: [u8; 6]) {
    let ([d0, d1, d2, d3, d4, d5], [s0, s1, s2, s3, s4, s5]) = (dst, src);
    put(frame, 0, [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5]);
}

/// As [`set_ethernet`], with the addresses as numbers of 48 bits.
#[inline]
pub fn set_macs(frame: &mut [u8], dst: u64, src: u64) {
    let [d0, d1, d2, d3, d4, d5, s0, s1] = (dst << 16 | src >> 32).to_be_bytes();
    let [.., s2, s3, s4, s5] = src.to_be_bytes();
    put(frame, 0, [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5]);
}

/// The whole header of a frame without tags, with the addresses as numbers of 48 bits.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "a number is cut into halves")]
pub fn set_header(frame: &mut [u8], dst: u64, src: u64, ethertype: u16) {
    let [a, b, c, d, e, f, g, h] = (dst << 16 | src >> 32).to_be_bytes();
    let ([i, j, k, l], [m, n]) = ((src as u32).to_be_bytes(), ethertype.to_be_bytes());
    put(frame, 0, [a, b, c, d, e, f, g, h, i, j, k, l, m, n]);
}

/// The source address as a number of 48 bits; 0 where the frame ends before it.
#[inline]
#[must_use]
pub fn source_mac(frame: &[u8]) -> u64 {
    array::<8>(frame, 6).map_or(0, |bytes| u64::from_be_bytes(bytes) >> 16)
}

/// The EtherType of the packet itself, behind all tags.
#[inline]
#[must_use]
pub const fn ethertype(meta: &Meta) -> u16 {
    if meta.v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 }
}

/// An Ethernet header with `tags` (control information, outermost first, the first two count), and its length: 14,
/// 18 or 22.
///
/// A single tag is an 802.1Q one (0x8100); of two the outer is an 802.1ad one (0x88a8).
#[inline]
#[must_use]
pub fn ethernet_header(tags: &[u16], dst: [u8; 6], src: [u8; 6], ethertype: u16) -> ([u8; 22], usize) {
    let mut header = [0; 22];
    set_ethernet(&mut header, dst, src);
    let mut at = 12;
    let tags = tags.get(..2).unwrap_or(tags);
    for (depth, tag) in tags.iter().enumerate() {
        let outer = depth == 0 && tags.len() == 2;
        let kind = if outer { ETHERTYPE_QINQ } else { ETHERTYPE_VLAN };
        put(&mut header, at, kind.to_be_bytes());
        put(&mut header, at + 2, tag.to_be_bytes());
        at += 4;
    }
    put(&mut header, at, ethertype.to_be_bytes());
    (header, at + 2)
}
