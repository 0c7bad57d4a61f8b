//! Bytes that both ends can compute by themselves, and a digest, so that a transfer is compared exactly.

/// An endless sequence of bytes given by a seed: byte *i* depends on the seed and *i* alone, so that any part can be
/// made or checked without the parts before.
#[derive(Debug, Clone, Copy)]
pub struct Pattern {
    seed: u64,
}

impl Pattern {
    /// The sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Fills `part` with the sequence's bytes from `offset` on.
    pub fn fill(self, offset: u64, part: &mut [u8]) {
        let mut word = self.word(offset / 8).to_le_bytes();
        for (at, byte) in (offset..).zip(part) {
            let within = usize::from((at % 8).to_le_bytes()[0]);
            if within == 0 {
                word = self.word(at / 8).to_le_bytes();
            }
            *byte = word[within];
        }
    }

    /// Where `part`, said to be the sequence from `offset` on, differs first.
    #[must_use]
    pub fn first_difference(self, offset: u64, part: &[u8]) -> Option<u64> {
        let mut expected = vec![0; part.len()];
        self.fill(offset, &mut expected);
        (offset..).zip(part.iter().zip(&expected)).find(|(_, (got, want))| got != want).map(|(at, _)| at)
    }

    /// SplitMix64 at position `index`.
    fn word(self, index: u64) -> u64 {
        let mut z = self.seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// FNV-1a over 64 bits: enough to notice any loss, doubling or change of order by accident.
#[derive(Debug, Clone, Copy)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The digest of what was added so far.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_the_whole() {
        let mut whole = [0; 100];
        Pattern::new(7).fill(0, &mut whole);
        for cut in 0..100 {
            let mut parts = [0; 100];
            let (left, right) = parts.split_at_mut(cut);
            Pattern::new(7).fill(0, left);
            Pattern::new(7).fill(u64::try_from(cut).unwrap(), right);
            assert_eq!(parts, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_changed_byte_is_found_where_it_is() {
        let mut part = [0; 64];
        Pattern::new(1).fill(1000, &mut part);
        assert_eq!(Pattern::new(1).first_difference(1000, &part), None);
        part[13] ^= 1;
        assert_eq!(Pattern::new(1).first_difference(1000, &part), Some(1013));
    }

    #[test]
    fn digest_is_fnv_1a() {
        let mut digest = Digest::default();
        digest.update(b"foobar"); // the vector of the FNV draft, appendix C
        assert_eq!(digest.value(), 0x8594_4171_f739_67e8);
    }
}
