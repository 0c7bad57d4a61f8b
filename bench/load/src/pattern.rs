//! Bytes that are alike nowhere, so that bytes in the wrong place show.

use std::sync::LazyLock;

/// Bytes of the pattern before it repeats; a prime, so that no power of two hides a shift.
pub(crate) const LENGTH: usize = 65_521;

/// Twice the pattern: from any offset there are `LENGTH` bytes in a row.
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let once: Vec<u8> = std::iter::repeat_with(|| {
        // xorshift64, Marsaglia 2003
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(LENGTH)
    .collect();
    [once.clone(), once].concat()
});

/// At least one and at most `most` bytes of the endless pattern from `offset`; none when `most` is 0.
pub(crate) fn from(offset: u64, most: u64) -> &'static [u8] {
    let start = usize::try_from(offset % LENGTH as u64).unwrap_or_default();
    let length = usize::try_from(most).unwrap_or(LENGTH).min(LENGTH);
    &BYTES[start..start + length]
}

/// Whether `bytes`, at most a pattern long, are the pattern from `offset`.
pub(crate) fn is(bytes: &[u8], offset: u64) -> bool {
    bytes == from(offset, bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_from_any_offset_and_is_unlike_itself_shifted() {
        let (first, more) = (from(65_000, 600), from(65_300, 300));
        assert_eq!(&first[300..], more);
        assert!(is(from(7, 5000), 7));
        for shift in [1, 4, 256, 1024, 4096, 16_384] {
            assert!(!is(from(7, 5000), 7 + shift), "shifted by {shift}");
        }
        assert_eq!(from(1, u64::MAX).len(), LENGTH);
        assert!(from(9, 0).is_empty());
    }
}
