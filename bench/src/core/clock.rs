//! The clock of the measurements, and the cores they run on.

use core_affinity::CoreId;
use nix::time::{ClockId, clock_gettime};

/// Time that this thread has spent on a core, in nanoseconds: what others do on the core in between does not count.
///
/// # Panics
/// When the system has no such clock.
#[must_use]
pub fn thread_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has a clock of thread CPU time");
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    part(now.tv_sec()) * 1_000_000_000 + part(now.tv_nsec())
}

/// Thread CPU time of `work` in nanoseconds, one reading of the clock included.
pub fn timed(work: impl FnOnce()) -> u64 {
    let start = thread_ns();
    work();
    thread_ns() - start
}

/// What a reading of the clock costs at least, in nanoseconds: to be taken off where short stretches are timed.
#[must_use]
pub fn reading_ns() -> u64 {
    (0..1000).map(|_| timed(|| {})).min().unwrap_or(0)
}

/// The cores that this process may use, the last one first: interrupts and other work tend to leave it alone.
#[must_use]
pub fn cores() -> Vec<CoreId> {
    let mut cores = core_affinity::get_core_ids().unwrap_or_default();
    cores.sort_by_key(|core| std::cmp::Reverse(core.id));
    cores
}

/// Pins this thread to one of [`cores`], by its place in that list. Whether the system allowed it.
#[must_use]
pub fn pin(cores: &[CoreId], place: usize) -> bool {
    cores.get(place).is_some_and(|core| core_affinity::set_for_current(*core))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_sleep_takes_none() {
        let sum = |n: u64| (0..n).fold(0u64, |sum, i| std::hint::black_box(sum ^ i));
        let work = timed(|| assert_ne!(sum(3_000_001), 1));
        let sleep = timed(|| std::thread::sleep(std::time::Duration::from_millis(50)));
        assert!(work > 500_000, "{work} ns for three million steps");
        assert!(sleep < 20_000_000, "{sleep} ns of a sleep counted");
    }

    #[test]
    fn a_thread_can_be_pinned_to_each_core_and_to_no_other() {
        let cores = cores();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!((0..cores.len()).all(|place| pin(&cores, place)));
                assert!(!pin(&cores, cores.len()));
            });
        });
    }
}
