//! How long checks take, by pool and result.

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Upper bounds of the buckets in seconds, inclusive.
const BOUNDS_S: [f64; 13] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Shared by all checks; clones count together.
#[derive(Debug, Clone)]
pub struct CheckTimes(Family<Labels, Histogram, fn() -> Histogram>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    pool: Arc<str>,
    result: &'static str,
}

impl Default for CheckTimes {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(BOUNDS_S)))
    }
}

const fn word(passed: bool) -> &'static str {
    if passed { "passed" } else { "failed" }
}

impl CheckTimes {
    /// A check of a server of this pool has ended.
    pub(super) fn record(&self, pool: &Arc<str>, passed: bool, took: Duration) {
        let labels = Labels { pool: Arc::clone(pool), result: word(passed) };
        self.0.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Forgets pools.
    pub(super) fn forget<'p>(&self, pools: impl Iterator<Item = &'p Arc<str>>) {
        for pool in pools.collect::<BTreeSet<_>>() {
            for result in [true, false].map(word) {
                self.0.remove(&Labels { pool: Arc::clone(pool), result });
            }
        }
    }

    /// Writes the family.
    pub(crate) fn write(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (name, help) =
            ("ringlead_health_check_duration_seconds", "How long checks took that passed or failed.");
        self.0.encode(encoder.encode_descriptor(name, help, None, MetricType::Histogram)?)
    }
}
