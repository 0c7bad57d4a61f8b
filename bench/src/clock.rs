//! The clock of the measurements, and the core they run on.

use nix::time::{ClockId, clock_gettime};

/// Time that this thread has spent on a core, in nanoseconds: what others do on the core in between does not count.
///
/// # Panics
/// When the system has no such clock.
#[must_use]
pub fn thread_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has a clock of thread CPU time");
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec()).unwrap_or(0)
}

/// Thread CPU time of `work` in nanoseconds, one reading of the clock included.
pub fn timed(work: impl FnOnce()) -> u64 {
    let start = thread_ns();
    work();
    thread_ns() - start
}

/// What a reading of the clock costs at least, in nanoseconds: to be taken off where single turns are timed.
#[must_use]
pub fn reading_ns() -> u64 {
    (0..1000).map(|_| timed(|| {})).min().unwrap_or(0)
}

/// Pins this thread to the last core, which interrupts and other work tend to leave alone. Its number, or `None` where
/// the system does not allow it.
#[must_use]
pub fn pin() -> Option<usize> {
    let core = core_affinity::get_core_ids()?.into_iter().max_by_key(|core| core.id)?;
    core_affinity::set_for_current(core).then_some(core.id)
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
}
