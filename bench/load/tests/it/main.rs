//! Loads against small servers on the loopback, each good at one fault.
//!
//! None depends on how fast the machine is: counts are bounded by totals, and time limits are either far away or meant
//! to be hit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests report by panicking")]

mod honest;
mod http;
mod report;
mod rr;
mod servers;
mod tcp;

use std::time::Duration;

use ringlead_load::{ErrorClass, Outcome, Pace, Rate, Settings};

/// A closed loop of so many requests, without a limit of time that could be met.
fn closed(server: &servers::Server, concurrency: u32, total: u64) -> Settings {
    let mut settings = Settings::new(server.address, Pace::Closed { concurrency });
    (settings.total, settings.duration, settings.timeout) = (Some(total), LONG, LONG);
    settings
}

/// An open loop of so many requests, which may be as late as it likes.
fn open(server: &servers::Server, per_second: f64, total: u64) -> Settings {
    let rate = Rate::new(per_second).unwrap();
    let mut settings = closed(server, 1, total);
    settings.pace = Pace::Open { rate, in_flight_max: 1000, lag_max: LONG };
    settings
}

/// Longer than any of these runs, and short enough to end one that hangs.
const LONG: Duration = Duration::from_secs(60);

/// That the accounts close, whatever went wrong.
#[track_caller]
fn closes(outcome: &Outcome) {
    assert_eq!(outcome.planned, outcome.started + outcome.not_started + outcome.too_late, "{outcome:?}");
    assert_eq!(outcome.started, outcome.ok + outcome.failed, "{outcome:?}");
    assert_eq!(outcome.failed, outcome.errors.values().sum::<u64>(), "{outcome:?}");
    assert_eq!((outcome.latency.count, outcome.service.count), (outcome.ok, outcome.ok));
    let sum = |count: fn(&ringlead_load::Sample) -> u64| outcome.samples.iter().map(count).sum::<u64>();
    assert_eq!(sum(|s| s.planned), outcome.planned);
    assert_eq!(sum(|s| s.ok), outcome.ok);
    assert_eq!(sum(|s| s.failed), outcome.failed);
    assert_eq!(sum(|s| s.bytes_received), outcome.bytes_received);
    assert!(outcome.samples.is_sorted_by(|a, b| a.second < b.second));
}

/// That all requests failed, and by this class.
#[track_caller]
fn all_failed_by(outcome: &Outcome, class: ErrorClass) {
    closes(outcome);
    assert_eq!(outcome.ok, 0);
    assert_eq!(outcome.errors.keys().collect::<Vec<_>>(), [&class], "{outcome:?}");
    assert!(!outcome.is_clean());
}
