//! IPv4 identifications of what is made here and may be fragmented (RFC 6864): of a tunnel's outer headers and of
//! translated packets.

use ahash::RandomState;
use std::fmt;

/// Counters of a worker.
const COUNTERS: usize = 256;

/// One worker's identifications. No other worker's are among them, so two workers never give one to two datagrams of a pair
/// of addresses; and one of such a pair comes again only after all others of this worker's share (RFC 6864 §4.3).
///
/// Pairs of addresses have counters of their own, as far as there are any, so that a busy pair does not use up those of the
/// others. Each begins somewhere else after every start: what the process before has sent may still be on its way.
pub(crate) struct Identifications {
    next: Box<[u16; COUNTERS]>,
    /// From one of a counter to the next: a power of two, so that a share stays the same where numbers begin again.
    step: u16,
}

impl Identifications {
    /// Of worker `index` of so many. More than 32 768 workers would share.
    pub(crate) fn new(index: usize, workers: usize, seed: [u64; 4]) -> Self {
        let step = workers.max(1).checked_next_power_of_two().map_or(1 << 15, |step| step.min(1 << 15));
        let [k0, k1, k2, k3] = seed;
        let random = RandomState::with_seeds(k0, k1, k2, k3);
        let mut next = Box::new([0; COUNTERS]);
        for (at, next) in next.iter_mut().enumerate() {
            *next = cut(random.hash_one(("identification", at))) / cut(step as u64) * cut(step as u64)
                + cut((index % step) as u64);
        }
        Self { next, step: cut(step as u64) }
    }

    /// The next one for a datagram from `src` to `dst`, whatever its transport.
    #[inline]
    #[allow(clippy::indexing_slicing, reason = "eight bits of 256")]
    pub(crate) fn next(&mut self, src: [u8; 4], dst: [u8; 4]) -> u16 {
        let pair = u32::from_be_bytes(src).wrapping_mul(0x9e37_79b1) ^ u32::from_be_bytes(dst);
        let next = &mut self.next[(pair.wrapping_mul(0x85eb_ca6b) >> 24) as usize];
        let id = *next;
        *next = id.wrapping_add(self.step);
        id
    }
}

impl fmt::Debug for Identifications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifications(one in {})", self.step)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the lower bits are wanted")]
const fn cut(number: u64) -> u16 {
    number as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const SRC: [u8; 4] = [172, 16, 0, 1];
    const DST: [u8; 4] = [10, 0, 0, 1];

    fn all(index: usize, workers: usize, count: usize) -> HashSet<u16> {
        let mut ids = Identifications::new(index, workers, [index as u64; 4]);
        (0..count).map(|_| ids.next(SRC, DST)).collect()
    }

    #[test]
    fn rfc6864_identifications_of_a_pair_come_again_only_after_all_others() {
        for (workers, share) in [(1, 65_536), (2, 32_768), (3, 16_384), (4, 16_384), (64, 1024)] {
            for index in [0, workers - 1] {
                assert_eq!(all(index, workers, share).len(), share, "worker {index} of {workers}");
            }
        }
    }

    /// Also where they begin again from 0, and where workers are no power of two.
    #[test]
    fn rfc6864_workers_never_have_the_same() {
        for workers in [2, 3, 5, 8] {
            let shares: Vec<_> = (0..workers).map(|index| all(index, workers, 70_000)).collect();
            for (a, b) in
                shares.iter().enumerate().flat_map(|(at, a)| shares[at + 1..].iter().map(move |b| (a, b)))
            {
                assert!(a.is_disjoint(b), "{workers} workers");
            }
        }
    }

    #[test]
    fn pairs_count_on_their_own_and_starts_differ() {
        let mut ids = Identifications::new(0, 2, [1; 4]);
        let first = ids.next(SRC, DST);
        for other in 1..=250 {
            ids.next(SRC, [10, 0, 1, other]);
        }
        let later = ids.next(SRC, DST).wrapping_sub(first) / 2;
        assert!((1..16).contains(&later), "{later} of 250 packets to others used up an identification");
        let starts: HashSet<u16> =
            (0..64).map(|seed| Identifications::new(0, 2, [seed; 4]).next(SRC, DST)).collect();
        assert!(starts.len() > 56, "{} of 64 starts are different", starts.len());
    }
}
