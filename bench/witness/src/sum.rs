//! The Internet checksum (RFC 1071), summed anew over every byte.

/// The ones' complement sum of big-endian 16-bit words, folded; an odd last byte is padded with zero.
#[inline]
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    fold(partial(bytes))
}

/// The sum over a transport segment and its pseudo header (RFC 768, RFC 9293 §3.1, RFC 8200 §8.1), folded.
///
/// It is 0xffff where the checksum in the segment is right.
#[inline]
#[must_use]
pub fn transport(addresses: &[u8], protocol: u8, segment: &[u8]) -> u16 {
    let length = u64::try_from(segment.len()).unwrap_or(u64::MAX) & 0xffff_ffff;
    fold(partial(addresses) + partial(segment) + u64::from(protocol) + (length >> 16) + (length & 0xffff))
}

/// The sum, not yet folded; below 2^49 for anything that fits into memory here.
///
/// Ones' complement sums may be taken in any word size that is a multiple of 16 bits (RFC 1071 §2(B)): 32 bits here.
#[inline]
fn partial(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum = words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum::<u64>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum += u64::from(u32::from_be_bytes(last));
    (sum >> 32) + (sum & 0xffff_ffff)
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "folded to 16 bits first")]
const fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
