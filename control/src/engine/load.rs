//! How busy workers are: a poll loop always shows 100 % CPU, so it is measured by the time of turns that moved frames.

use ringlead_l4::counters::Counters;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One sample a second is kept for a minute.
const SAMPLES_MAX: usize = 61;
const EVERY: Duration = Duration::from_secs(1);

/// (busy, idle) nanoseconds of each worker, at one moment.
type Sample = Vec<(u64, u64)>;

/// The last minute of every worker.
#[derive(Debug)]
pub(super) struct LoadMeter {
    workers: usize,
    samples: VecDeque<Sample>,
    last: Option<Instant>,
}

impl LoadMeter {
    pub(super) fn new(workers: usize) -> Self {
        Self { workers, samples: VecDeque::with_capacity(SAMPLES_MAX), last: None }
    }

    /// Takes a sample when the last one is a second old.
    pub(super) fn sample(&mut self, counters: &[Arc<Counters>]) {
        let now = Instant::now();
        if self.last.is_some_and(|last| now.duration_since(last) < EVERY) {
            return;
        }
        self.last = Some(now);
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(counters.iter().map(|c| (c.busy_ns.get(), c.idle_ns.get())).collect());
    }

    /// The share of time a worker was busy over the last `seconds`, 0 to 1; 0 while there are no two samples.
    pub(super) fn load(&self, worker: usize, seconds: usize) -> f64 {
        debug_assert!(worker < self.workers, "no such worker");
        let at = |back: usize| {
            let index = self.samples.len().checked_sub(1)?.saturating_sub(back);
            self.samples.get(index)?.get(worker).copied()
        };
        let (Some((busy, idle)), Some((busy_then, idle_then))) = (at(0), at(seconds)) else { return 0.0 };
        let (busy, idle) = (busy.saturating_sub(busy_then), idle.saturating_sub(idle_then));
        if busy + idle == 0 {
            return 0.0;
        }
        Duration::from_nanos(busy).as_secs_f64() / Duration::from_nanos(busy + idle).as_secs_f64()
    }
}
