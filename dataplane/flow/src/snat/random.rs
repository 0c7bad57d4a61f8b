//! Random numbers for choosing ports.

use ahash::RandomState;

/// One worker's generator: a keyed hash of a counter. Neither a clock nor a system call, and without the key nobody can
/// tell the next port from the last ones (RFC 6056 §3.3.1).
#[derive(Debug)]
pub struct SnatRandom {
    key: RandomState,
    count: u64,
}

impl SnatRandom {
    /// With a key: random bits, other ones for each worker.
    #[must_use]
    pub fn new([k0, k1, k2, k3]: [u64; 4]) -> Self {
        Self { key: RandomState::with_seeds(k0, k1, k2, k3), count: 0 }
    }

    /// A number below `end`; 0 when that is 0.
    #[inline]
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        self.count = self.count.wrapping_add(1);
        let scaled = u128::from(self.key.hash_one(self.count)) * u128::from(end);
        #[allow(clippy::cast_possible_truncation, reason = "a fraction of a 32-bit number")]
        let number = (scaled >> 64) as u32;
        number
    }
}
