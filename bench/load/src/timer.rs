//! Waiting for a point in time more exactly than the runtime's own millisecond.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A kernel timer of its own. It wakes some ten microseconds after its time; `tokio::time` up to a millisecond, which
/// would be the greater part of a measured latency.
pub(crate) struct Timer {
    timer: TimerFd,
    ready: AsyncFd<OwnedFd>,
}

impl Timer {
    /// A timer for the runtime that this is called in.
    pub(crate) fn new() -> io::Result<Self> {
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        // A second name of the same timer: the runtime's registration wants to own what it watches.
        let watched = timer.as_fd().try_clone_to_owned()?;
        #[allow(
            deprecated,
            reason = "unsound only for what may give up its descriptor, which an OwnedFd never does"
        )]
        let ready = AsyncFd::with_interest(watched, Interest::READABLE)?;
        Ok(Self { timer, ready })
    }

    /// Waits until `time`; not at all when it is past.
    pub(crate) async fn until(&self, time: Instant) -> io::Result<()> {
        loop {
            let left = time.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            // Setting the timer forgets an expiry nobody read, so reading it is not needed.
            let expiration = Expiration::OneShot(TimeSpec::from(left));
            self.timer.set(expiration, TimerSetTimeFlags::empty())?;
            self.ready.readable().await?.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn waits_at_least_until_its_time_again_and_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let timer = Timer::new().unwrap();
            let begin = Instant::now();
            for step in 0..50 {
                let due = begin + Duration::from_micros(step * 300);
                timer.until(due).await.unwrap();
                assert!(Instant::now() >= due);
            }
            timer.until(begin).await.unwrap();
        });
    }
}
