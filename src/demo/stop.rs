//! Ctrl-C, and waiting for what must come true without ever missing it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// The rest between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Why the demo did not come to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Somebody asked it to stop.
    Stopped,
    /// Something could not be done; the text says what and why.
    Failed(String),
}

/// What a step of the demo comes to.
pub(super) type Step<T> = Result<T, Trouble>;

/// Makes the trouble of something that failed.
pub(super) fn failed<T>(text: impl Into<String>) -> Step<T> {
    Err(Trouble::Failed(text.into()))
}

/// Adds what was being done to an error.
pub(super) trait During<T> {
    /// The value, or the error as trouble with `doing` in front of it.
    fn during(self, doing: &str) -> Step<T>;
}

impl<T, E: std::fmt::Display> During<T> for Result<T, E> {
    fn during(self, doing: &str) -> Step<T> {
        self.map_err(|error| Trouble::Failed(format!("{doing}: {error}")))
    }
}

/// Whether somebody asked the demo to stop. The signal only sets a mark: every wait looks at it and returns, and the
/// guards on the way out remove what there is.
#[derive(Debug, Clone)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Takes SIGINT, SIGTERM and SIGHUP from now on.
    ///
    /// Handlers, not a blocked mask: children inherit a mask, and a daemon that cannot hear SIGTERM cannot be stopped.
    ///
    /// # Errors
    /// When the kernel does not let it.
    pub(super) fn on_signals() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let mut asked = Vec::new();
        {
            let _inside = runtime.enter();
            for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
                asked.push(signal(kind)?);
            }
        }
        let this = Self(Arc::new(AtomicBool::new(false)));
        for mut one in asked {
            let stop = this.clone();
            runtime.spawn(async move {
                if one.recv().await.is_some() {
                    stop.0.store(true, Ordering::Relaxed);
                }
            });
        }
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(this)
    }

    /// Trouble once somebody asked to stop.
    ///
    /// # Errors
    /// [`Trouble::Stopped`].
    pub(super) fn check(&self) -> Step<()> {
        if self.0.load(Ordering::Relaxed) { Err(Trouble::Stopped) } else { Ok(()) }
    }

    /// Looks until `look` returns something and returns that; `what` is named when `limit` passes first.
    ///
    /// # Errors
    /// [`Trouble::Stopped`], the time passed, or what `look` says.
    pub(super) fn await_some<T>(
        &self,
        limit: Duration,
        what: &str,
        mut look: impl FnMut() -> Step<Option<T>>,
    ) -> Step<T> {
        let begin = Instant::now();
        loop {
            self.check()?;
            if let Some(found) = look()? {
                return Ok(found);
            }
            if begin.elapsed() >= limit {
                return failed(format!("waited {} s in vain for {what}", limit.as_secs_f32()));
            }
            thread::sleep(PAUSE);
        }
    }

    /// As [`Self::await_some`], for a condition.
    ///
    /// # Errors
    /// As [`Self::await_some`].
    pub(super) fn await_true(
        &self,
        limit: Duration,
        what: &str,
        mut look: impl FnMut() -> Step<bool>,
    ) -> Step<()> {
        self.await_some(limit, what, || Ok(look()?.then_some(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Stop {
        Stop(Arc::new(AtomicBool::new(false)))
    }

    #[test]
    fn a_wait_ends_with_what_it_finds_or_at_its_limit() {
        let mut looks = 0;
        let found = quiet().await_some(Duration::from_secs(5), "the third look", || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found, Ok(3));
        let never = quiet().await_true(Duration::from_millis(30), "what never comes", || Ok(false));
        assert!(matches!(never, Err(Trouble::Failed(text)) if text.contains("what never comes")));
    }

    #[test]
    fn a_request_to_stop_ends_every_wait() {
        let stop = quiet();
        stop.0.store(true, Ordering::Relaxed);
        assert_eq!(stop.await_true(Duration::from_secs(60), "nothing", || Ok(false)), Err(Trouble::Stopped));
    }
}
