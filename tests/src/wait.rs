//! Waiting for what must come true, with a limit.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long to rest between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `condition` holds and returns the time that took.
///
/// # Panics
/// When it does not hold within `limit`; the message names `what` was awaited.
#[track_caller]
pub fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    loop {
        if condition() {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < limit, "waited {limit:?} in vain: {what}");
        sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_when_the_condition_holds() {
        let mut looks = 0;
        wait_until(Duration::from_secs(5), "the third look", || {
            looks += 1;
            looks == 3
        });
        assert_eq!(looks, 3);
    }

    #[test]
    #[should_panic(expected = "in vain: what never comes")]
    fn gives_up_at_the_limit() {
        wait_until(Duration::from_millis(50), "what never comes", || false);
    }
}
