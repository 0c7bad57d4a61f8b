//! What one worker keeps for one pool: whose turn it is, and its own random numbers.

use crate::maglev::{GAMMA, mix};

/// A worker's place in a pool's turns, and its generator. It outlives a change of the pool's chooser, of whatever
/// algorithm, and is never shared: nothing here is atomic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    pub(crate) turn: usize,
    /// The state of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    state: u64,
}

impl Cursor {
    /// A cursor that starts `worker` turns in and with its own random numbers, so that workers do not all go to the
    /// same server. The same worker gets the same numbers after every start.
    #[must_use]
    pub const fn new(worker: usize) -> Self {
        Self::seeded(worker, 0)
    }

    /// Like [`new`](Self::new), with random numbers that also depend on `seed`: say, the pool, or the start.
    #[must_use]
    pub const fn seeded(worker: usize, seed: u64) -> Self {
        Self { turn: worker, state: mix(mix(seed) ^ worker as u64) }
    }

    /// A random number below `bound`; 0 when `bound` is 0.
    ///
    /// The upper half of the 128-bit product: off from even by at most `bound` in 2^64.
    #[inline]
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let random = mix(self.state);
        self.state = self.state.wrapping_add(GAMMA);
        let scaled = (u128::from(random) * u128::from(bound)) >> 64;
        u32::try_from(scaled).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The first outputs for seed 1234567 of the authors' C code.
        let mut state = 1_234_567_u64;
        let outputs: Vec<u64> = (0..3)
            .map(|_| {
                let out = mix(state);
                state = state.wrapping_add(GAMMA);
                out
            })
            .collect();
        assert_eq!(
            outputs,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn numbers_are_below_the_bound_and_even() {
        let mut cursor = Cursor::new(1);
        assert_eq!(cursor.below(0), 0);
        assert_eq!(cursor.below(1), 0);
        let mut seen = [0_u32; 7];
        for _ in 0..70_000 {
            seen[usize::try_from(cursor.below(7)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&n| n.abs_diff(10_000) < 500), "{seen:?}");
    }

    #[test]
    fn workers_and_seeds_draw_differently_and_repeatably() {
        let draws = |mut c: Cursor| -> Vec<u32> { (0..8).map(|_| c.below(u32::MAX)).collect() };
        let all = [draws(Cursor::new(0)), draws(Cursor::new(1)), draws(Cursor::seeded(0, 1))];
        assert_eq!(all[0], draws(Cursor::seeded(0, 0)));
        assert_ne!(all[0], all[1]);
        assert_ne!(all[0], all[2]);
        assert_ne!(all[1], all[2]);
    }
}
