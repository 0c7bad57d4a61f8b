//! How long a server's last good checks took, of every server: less than 10 MB for 10 000 of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// The shortest time that is told from 0, in microseconds.
const SHORTEST_US: u64 = 8;
/// Longer checks count as so long: no timeout is longer.
const LONGEST_US: u64 = 3_600_000_000;
/// With so many checks, half of each time's are forgotten: what was said an hour ago soon weighs nothing.
const CHECKS_MAX: u64 = 1000;

/// One server's, shared by its check and those who ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent(Arc<Mutex<Times>>);

/// `None` before the first good check. Times are told apart by a sixteenth of them.
type Times = Option<Histogram<u16>>;

impl Recent {
    /// A good check has ended.
    pub(super) fn record(&self, took: Duration) {
        let mut times = self.lock();
        if times.is_none() {
            *times = empty();
        }
        let Some(known) = times.as_mut() else { return };
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).min(LONGEST_US);
        // It grows to where this belongs.
        let _ = known.record(us);
        if known.len() >= CHECKS_MAX {
            *times = halved(known);
        }
    }

    /// Begins anew: something else is asked.
    pub(super) fn forget(&self) {
        *self.lock() = None;
    }

    fn spread(&self) -> Option<Spread> {
        let times = self.lock();
        let times = times.as_ref().filter(|times| !times.is_empty())?;
        let at = |quantile| Duration::from_micros(times.value_at_quantile(quantile));
        Some(Spread { checks: times.len(), p50: at(0.5), p99: at(0.99) })
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        // Each change is one value, or one count in it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It grows to its longest check: most need some 300 bytes, and none more than 1000.
fn empty() -> Times {
    let mut times = Histogram::new_with_bounds(SHORTEST_US, 2 * SHORTEST_US, 1).ok()?;
    times.auto(true);
    Some(times)
}

fn halved(times: &Histogram<u16>) -> Times {
    let mut half = empty()?;
    for time in times.iter_recorded() {
        let count = time.count_at_value().div_ceil(2);
        let _ = half.record_n(time.value_iterated_to(), count);
    }
    Some(half)
}

/// How long checks take that pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// The last so many: 1000 at most.
    pub checks: u64,
    /// Half of them took no longer.
    pub p50: Duration,
    /// Of a hundred, 99 took no longer.
    pub p99: Duration,
}

/// Those of all servers that are checked. A copy costs nothing, and asking it makes no check wait for longer than a reading.
#[derive(Debug, Clone, Default)]
pub struct RecentTimes(Arc<BTreeMap<u32, Recent>>);

impl RecentTimes {
    pub(super) fn of_all(all: impl Iterator<Item = (u32, Recent)>) -> Self {
        Self(Arc::new(all.collect()))
    }

    /// Of the check with this id; `None` while none has passed.
    #[must_use]
    pub fn of(&self, id: u32) -> Option<Spread> {
        self.0.get(&id)?.spread()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Within a sixteenth.
    fn is_about(found: Duration, wanted: Duration) -> bool {
        found >= wanted && found <= wanted + wanted / 16 + Duration::from_micros(SHORTEST_US)
    }

    #[test]
    fn the_slowest_of_a_hundred_are_seen_beside_the_others() {
        let recent = Recent::default();
        let all = RecentTimes::of_all([(7, recent.clone())].into_iter());
        assert_eq!(all.of(7), None);
        (0..98).for_each(|_| recent.record(Duration::from_micros(300)));
        (0..2).for_each(|_| recent.record(ms(40)));
        let spread = all.of(7).unwrap();
        assert!(is_about(spread.p50, Duration::from_micros(300)), "{spread:?}");
        assert!(is_about(spread.p99, ms(40)), "{spread:?}");
        assert_eq!((spread.checks, all.of(8)), (100, None));
        recent.forget();
        assert_eq!(all.of(7), None);
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let recent = Recent::default();
        (0..5_000).for_each(|_| recent.record(ms(900)));
        (0..5_000).for_each(|_| recent.record(ms(1)));
        let spread = recent.spread().unwrap();
        assert!((CHECKS_MAX / 2..=CHECKS_MAX).contains(&spread.checks), "{spread:?}");
        assert!(is_about(spread.p99, ms(1)), "{spread:?}");
        recent.record(Duration::from_secs(7200));
        assert!(recent.spread().is_some());
    }

    #[test]
    fn ten_thousand_servers_take_less_than_10_mb_whatever_they_answer() {
        let recent = Recent::default();
        (0..30).for_each(|power| recent.record(Duration::from_micros(1 << power)));
        recent.record(Duration::from_secs(3600));
        let places = recent.lock().as_ref().unwrap().distinct_values();
        let bytes = size_of::<Mutex<Times>>() + 2 * size_of::<usize>() + places * size_of::<u16>();
        let in_the_map = 2 * size_of::<(u32, Recent)>();
        assert!((bytes + in_the_map) * 10_000 < 10_000_000, "{bytes} bytes each");
    }
}
