//! Monotonic time, read once a turn.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Nanoseconds of `CLOCK_MONOTONIC`: never steps, stands still in suspend.
pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    now.as_secs() * 1_000_000_000 + u64::from(now.subsec_nanos())
}
