//! The clock of all ends, and waiting.

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Nanoseconds of `CLOCK_MONOTONIC`: one clock for all threads.
#[inline]
pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    now.as_secs() * 1_000_000_000 + u64::from(now.subsec_nanos())
}

/// Makes short waits as short as they were asked for: the kernel otherwise adds up to 50 us.
pub(crate) fn be_punctual() {
    // Refused: waits are a little longer, and the lag shows it.
    let _ = nix::sys::prctl::set_timerslack(1000);
}

/// Waits until one of `sockets` has frames, at most `ns` nanoseconds.
pub(crate) fn wait<'a>(sockets: impl Iterator<Item = BorrowedFd<'a>>, ns: u64) {
    let mut waiting: Vec<PollFd<'_>> = sockets.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    let limit = TimeSpec::from_duration(Duration::from_nanos(ns));
    // A wait that was interrupted is as good as one that ended: the next turn looks anyway.
    let _ = ppoll(&mut waiting, Some(limit), None);
}
