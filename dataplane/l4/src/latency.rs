//! How long frames are on their way through a worker, in fixed buckets with one writer.

use crate::counters::Count;

/// Upper bounds of the buckets in nanoseconds, inclusive: three a decade, from 1 µs to 100 ms. What took longer is in one more.
pub const BOUNDS_NS: [u64; 16] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
];

/// Frames by how long they took.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [Count; BOUNDS_NS.len() + 1],
    sum_ns: Count,
}

/// What a [`Latency`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyCounts {
    /// Frames by bucket, not cumulative: as many as [`BOUNDS_NS`], and those beyond the last.
    pub buckets: [u64; BOUNDS_NS.len() + 1],
    /// Nanoseconds of all frames together.
    pub sum_ns: u64,
}

impl Latency {
    /// Counts the frames of one turn, all by the same time: the clock is read around the turn, not for each frame. Only the
    /// owning worker may call it.
    #[inline]
    pub fn record(&self, ns: u64, frames: u64) {
        if let Some(bucket) = self.buckets.get(BOUNDS_NS.partition_point(|bound| *bound < ns)) {
            bucket.add(frames);
        }
        self.sum_ns.add(ns.wrapping_mul(frames));
    }

    /// What has been counted by now.
    #[must_use]
    pub fn get(&self) -> LatencyCounts {
        let mut counts = LatencyCounts { sum_ns: self.sum_ns.get(), ..LatencyCounts::default() };
        for (into, bucket) in counts.buckets.iter_mut().zip(&self.buckets) {
            *into = bucket.get();
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_the_last_has_no_bound() {
        let latency = Latency::default();
        for (ns, frames) in
            [(0, 1), (1_000, 2), (1_001, 4), (100_000_000, 8), (100_000_001, 16), (u64::MAX, 0)]
        {
            latency.record(ns, frames);
        }
        let counts = latency.get();
        assert_eq!((counts.buckets[0], counts.buckets[1]), (3, 4));
        assert_eq!((counts.buckets[15], counts.buckets[16]), (8, 16));
        assert_eq!(counts.buckets.iter().sum::<u64>(), 31);
        assert_eq!(counts.sum_ns, 2 * 1_000 + 4 * 1_001 + 8 * 100_000_000 + 16 * 100_000_001);
    }

    #[test]
    fn bounds_rise() {
        assert!(BOUNDS_NS.is_sorted_by(|a, b| a < b));
    }
}
