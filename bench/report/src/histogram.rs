//! A latency distribution, as much of it as a chart and a table need.

use crate::Unit;
use serde::{Deserialize, Serialize};

/// Steps each time the distance to 100 % halves: what HdrHistogram's own tools print.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// A distribution of values.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Histogram {
    /// What was measured, and under which load.
    pub name: String,
    /// The unit of its values.
    #[serde(default)]
    pub unit: Unit,
    /// How many values there are.
    pub count: u64,
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub stddev: f64,
    /// Points of the distribution, rising, the last at 100 %.
    pub percentiles: Vec<Percentile>,
}

/// A point of a distribution: `count` values are at most `value`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Percentile {
    /// 0 to 100.
    pub percentile: f64,
    /// The value.
    pub value: u64,
    /// How many values are at most this.
    pub count: u64,
}

impl Histogram {
    /// The distribution of a recorder of nanoseconds.
    #[must_use]
    pub fn of_ns(name: impl Into<String>, recorded: &hdrhistogram::Histogram<u64>) -> Self {
        let steps =
            recorded.iter_quantiles(TICKS_PER_HALF_DISTANCE).map(|step| step.quantile_iterated_to() * 100.0);
        let mut at: Vec<f64> = steps.collect();
        if !recorded.is_empty() {
            at.extend(Self::SHOWN);
        }
        at.sort_by(f64::total_cmp);
        at.dedup();
        let percentiles = at.into_iter().map(|percentile| point(recorded, percentile)).collect();
        Self {
            name: name.into(),
            unit: Unit::Ns,
            count: recorded.len(),
            min: if recorded.is_empty() { 0 } else { recorded.min() },
            max: recorded.max(),
            mean: recorded.mean(),
            stddev: recorded.stdev(),
            percentiles,
        }
    }

    /// The percentiles that tables show; each is a point of every distribution that has values.
    pub const SHOWN: [f64; 7] = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 100.0];

    /// The value that this many percent do not exceed: the first point at or above it. `None` without values.
    #[must_use]
    pub fn at(&self, percentile: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        self.percentiles.iter().find(|point| point.percentile >= percentile - 1e-9).map(|point| point.value)
    }
}

fn point(recorded: &hdrhistogram::Histogram<u64>, percentile: f64) -> Percentile {
    let value = recorded.value_at_quantile(percentile / 100.0).min(recorded.max());
    Percentile { percentile, value, count: recorded.count_between(0, value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_the_recorders_own() {
        let mut recorded = hdrhistogram::Histogram::<u64>::new(3).unwrap();
        for value in 1..=10_000 {
            recorded.record(value).unwrap();
        }
        let histogram = Histogram::of_ns("one to ten thousand", &recorded);
        assert_eq!((histogram.count, histogram.min), (10_000, 1));
        for percentile in Histogram::SHOWN {
            assert_eq!(
                histogram.at(percentile),
                Some(recorded.value_at_quantile(percentile / 100.0)),
                "{percentile}"
            );
        }
        assert!(histogram.percentiles.windows(2).all(|pair| {
            pair[0].percentile < pair[1].percentile
                && pair[0].value <= pair[1].value
                && pair[0].count <= pair[1].count
        }));
        let last = histogram.percentiles.last().unwrap();
        assert_eq!((last.percentile, last.value, last.count), (100.0, histogram.max, 10_000));
    }

    #[test]
    fn without_values_nothing_is_known() {
        let histogram = Histogram::of_ns("none", &hdrhistogram::Histogram::<u64>::new(3).unwrap());
        assert_eq!((histogram.count, histogram.min, histogram.at(50.0)), (0, 0, None));
    }
}
