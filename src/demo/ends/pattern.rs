//! Bytes that look random, differ between streams, and are the same again for the same seed.

/// A stream of bytes (Marsaglia's xorshift64).
#[derive(Debug, Clone)]
pub(super) struct Pattern(u64);

impl Pattern {
    /// The stream of this seed.
    pub(super) fn new(seed: u64) -> Self {
        // Never 0, where xorshift would stay; the odd factor keeps seeds apart.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 63)
    }

    /// Fills `bytes` with what comes next.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for place in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            place.copy_from_slice(&self.0.to_le_bytes()[..place.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_and_repeat() {
        let take = |seed| {
            let mut bytes = [0; 100];
            Pattern::new(seed).fill(&mut bytes);
            bytes
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
        assert_ne!(take(0), [0; 100]);
    }
}
