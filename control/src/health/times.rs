//! How long checks take, by pool and result.
//!
//! Checks end on the control thread, figures are written on another one, for as long as they are long. So nothing is shared by a lock
//! that is held while something is written: the one here guards a pointer, and what it points to is changed in place, or, while
//! somebody writes it, in a copy. `prometheus_client`'s `Family` holds its lock while its text is made.

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets in microseconds, inclusive; one more bucket has the rest.
const BOUNDS_US: [u64; 13] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000,
];
const BUCKETS: usize = BOUNDS_US.len() + 1;

/// Shared by all checks; clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct CheckTimes(Arc<Mutex<Counts>>);

type Counts = Arc<BTreeMap<Labels, Arc<Histogram>>>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Labels {
    pool: Arc<str>,
    result: &'static str,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

impl Histogram {
    fn observe(&self, took: Duration) {
        let place = BOUNDS_US.partition_point(|bound| Duration::from_micros(*bound) < took);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

const fn word(passed: bool) -> &'static str {
    if passed { "passed" } else { "failed" }
}

impl CheckTimes {
    /// A check of a server of this pool has ended.
    pub(super) fn record(&self, pool: &Arc<str>, passed: bool, took: Duration) {
        let labels = Labels { pool: Arc::clone(pool), result: word(passed) };
        let mut counts = self.counts();
        let known = counts.get(&labels).cloned();
        known
            .unwrap_or_else(|| Arc::clone(Arc::make_mut(&mut counts).entry(labels).or_default()))
            .observe(took);
    }

    /// Forgets pools.
    pub(super) fn forget<'p>(&self, pools: impl Iterator<Item = &'p Arc<str>>) {
        let pools: BTreeSet<_> = pools.collect();
        if !pools.is_empty() {
            Arc::make_mut(&mut self.counts()).retain(|labels, _| !pools.contains(&labels.pool));
        }
    }

    /// What there is now, and goes on counting.
    pub(super) fn shown(&self) -> CheckTimesShown {
        CheckTimesShown(Arc::clone(&self.counts()))
    }

    /// Held for as long as it takes to find a place in a map, or, at a pool's first check while figures are written, to copy it.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long checks took, of the pools of one moment. Keeping it makes nobody wait.
#[derive(Debug, Clone, Default)]
pub struct CheckTimesShown(Counts);

impl CheckTimesShown {
    /// Writes the family.
    pub(crate) fn write(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (name, help) =
            ("ringlead_health_check_duration_seconds", "How long checks took that passed or failed.");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        // The encoder knows the last bucket by `f64::MAX`.
        let bounds =
            BOUNDS_US.map(|us| Duration::from_micros(us).as_secs_f64()).into_iter().chain([f64::MAX]);
        for (labels, histogram) in self.0.iter() {
            let counts = histogram.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
            let buckets: Vec<(f64, u64)> = bounds.clone().zip(counts).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let sum = Duration::from_nanos(histogram.sum_ns.load(Ordering::Relaxed)).as_secs_f64();
            family.encode_family(labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use std::sync::mpsc;
    use std::thread;

    #[derive(Debug)]
    struct Page(CheckTimesShown);

    impl Collector for Page {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            self.0.write(&mut encoder)
        }
    }

    fn registry(times: &CheckTimes) -> Registry {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Page(times.shown())));
        registry
    }

    fn text(times: &CheckTimes) -> String {
        let mut page = String::new();
        encode(&mut page, &registry(times)).unwrap();
        page
    }

    #[test]
    fn a_bound_belongs_to_its_bucket_and_what_is_longer_than_all_counts() {
        let (times, pool) = (CheckTimes::default(), Arc::from("app"));
        for us in [500, 501, 7_000_000] {
            times.record(&pool, true, Duration::from_micros(us));
        }
        let page = text(&times);
        let name = "ringlead_health_check_duration_seconds";
        let of = "pool=\"app\",result=\"passed\"";
        for line in [
            format!("{name}_bucket{{le=\"0.0005\",{of}}} 1\n"),
            format!("{name}_bucket{{le=\"0.001\",{of}}} 2\n"),
            format!("{name}_bucket{{le=\"5.0\",{of}}} 2\n"),
            format!("{name}_bucket{{le=\"+Inf\",{of}}} 3\n"),
            format!("{name}_count{{{of}}} 3\n"),
            format!("{name}_sum{{{of}}} 7.001001\n"),
        ] {
            assert!(page.contains(&line), "{line} is not in\n{page}");
        }
        times.forget([&pool].into_iter());
        assert!(!text(&times).contains("app"));
    }

    /// Whoever writes the figures stands still in the middle of a line.
    struct Stalled {
        begun: mpsc::Sender<()>,
        on: mpsc::Receiver<()>,
    }

    impl fmt::Write for Stalled {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            if text.contains("app") {
                let _ = self.begun.send(());
                let _ = self.on.recv();
            }
            Ok(())
        }
    }

    #[test]
    fn figures_that_stall_in_the_writing_stop_no_check() {
        let (times, pool) = (CheckTimes::default(), Arc::from("app"));
        times.record(&pool, true, Duration::from_millis(1));
        let (begun, began) = mpsc::channel();
        let (go_on, on) = mpsc::channel();
        let page = registry(&times);
        let writer = thread::spawn(move || encode(&mut Stalled { begun, on }, &page));
        began.recv().unwrap();
        let (done, ended) = mpsc::channel();
        let control = thread::spawn({
            let times = times.clone();
            move || {
                // The one that is being written, one that is new, and one that goes.
                times.record(&pool, true, Duration::from_millis(1));
                times.record(&pool, false, Duration::from_millis(1));
                times.forget([&Arc::from("other")].into_iter());
                done.send(()).unwrap();
            }
        });
        let waited = ended.recv_timeout(Duration::from_secs(20));
        drop(go_on);
        control.join().unwrap();
        writer.join().unwrap().unwrap();
        assert!(waited.is_ok(), "the control thread waits for whoever writes the figures");
        assert!(text(&times).contains("result=\"failed\""));
    }
}
