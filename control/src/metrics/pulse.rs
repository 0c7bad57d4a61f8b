//! Whether the daemon lives: its control loop turns and its workers beat.

use crate::engine::monotonic;
use ringlead_l4::counters::Counters;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A worker that has not beaten for so long is silent; it beats at every turn, and turns every millisecond.
pub const WORKER_SILENT: Duration = Duration::from_secs(1);
/// A control loop that has not turned for so long hangs. A reload may take seconds: it waits for the first checks of new
/// servers, for the kernel and for workers, each for a bounded time.
pub const LOOP_SILENT: Duration = Duration::from_secs(20);

/// What the control loop leaves behind as it turns, for those who must not wait for it.
#[derive(Debug)]
pub struct Pulse {
    turned_ns: AtomicU64,
    ready: AtomicBool,
    counters: Arc<[Arc<Counters>]>,
    cores: Vec<usize>,
}

impl Pulse {
    /// Of a daemon that has not started yet; `cores` are its workers', in the order of their counters.
    #[must_use]
    pub fn new(counters: Arc<[Arc<Counters>]>, cores: Vec<usize>) -> Self {
        Self { turned_ns: AtomicU64::new(0), ready: AtomicBool::new(false), counters, cores }
    }

    /// The control loop turns; `ready` once it has started completely.
    pub fn beat(&self, ready: bool) {
        self.turned_ns.store(nanos(monotonic()), Ordering::Relaxed);
        self.ready.store(ready, Ordering::Release);
    }

    /// Whether the daemon has started completely.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// What is not alive, a line each; none while the daemon starts.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.failures_at(monotonic())
    }

    fn failures_at(&self, now: Duration) -> Vec<String> {
        if !self.is_ready() {
            return Vec::new();
        }
        let silence = |beat_ns: u64| now.saturating_sub(Duration::from_nanos(beat_ns));
        let turned = silence(self.turned_ns.load(Ordering::Relaxed));
        let mut failures = Vec::new();
        if turned > LOOP_SILENT {
            failures.push(format!("the control loop has not turned for {} s", turned.as_secs()));
        }
        for (worker, (counters, core)) in self.counters.iter().zip(&self.cores).enumerate() {
            let silent = silence(counters.beat.get());
            if silent > WORKER_SILENT {
                let ms = silent.as_millis();
                failures.push(format!("worker {worker} on core {core} has been silent for {ms} ms"));
            }
        }
        failures
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_worker_and_a_loop_that_hangs_are_told_once_started() {
        let counters: Arc<[Arc<Counters>]> = (0..2).map(|_| Arc::new(Counters::new())).collect();
        let pulse = Pulse::new(Arc::clone(&counters), vec![4, 6]);
        let later = monotonic() + Duration::from_secs(3_600);
        assert!(pulse.failures_at(later).is_empty(), "it only starts");
        pulse.beat(true);
        let now = monotonic();
        counters.iter().for_each(|worker| worker.beat.set(nanos(now)));
        assert!(pulse.failures_at(now).is_empty());
        counters[1].beat.set(nanos(now - Duration::from_millis(1_500)));
        assert_eq!(pulse.failures_at(now), ["worker 1 on core 6 has been silent for 1500 ms"]);
        let failures = pulse.failures_at(now + LOOP_SILENT + Duration::from_secs(1));
        assert_eq!(failures.len(), 3, "{failures:?}");
        assert!(failures[0].starts_with("the control loop has not turned for 2"), "{failures:?}");
    }
}
