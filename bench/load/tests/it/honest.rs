//! What makes the figures worth believing: stalls are charged, and a client that cannot keep up says so.

use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use ringlead_load::http::{Spec, run};
use ringlead_load::outcome::LatencyFrom;
use ringlead_load::{Invalid, Outcome, Pace, Rate, Settings};

use crate::servers::{Server, answer, http, tcp};
use crate::{LONG, closed, closes, open};

/// Waits for what another thread is about to see.
#[track_caller]
pub(crate) fn eventually(mut seen: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if seen() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("not seen in half a minute");
}

const STALL: Duration = Duration::from_millis(200);

/// Serves one request at a time, and stops for a while at the hundredth.
fn stalling() -> Server {
    let turn = Arc::new(Mutex::new(()));
    http(move |number, _| {
        let _turn = turn.lock().unwrap();
        if number == 100 {
            sleep(STALL);
        }
        answer("200 OK", "")
    })
}

/// Requests that took half of the stall or more.
fn slow(outcome: &Outcome) -> u64 {
    slow_of(&outcome.histograms.latency)
}

fn slow_of(times: &hdrhistogram::Histogram<u64>) -> u64 {
    let half = u64::try_from(STALL.as_nanos() / 2).unwrap();
    times.count_between(half, u64::MAX)
}

/// Coordinated omission: of 1000 requests at 1000 a second, some 200 are due while the server stalls. A closed loop
/// sends none of them and sees one slow request; the open one charges all, half of them with more than half the stall.
#[test]
fn a_stall_is_seen_by_the_open_loop_and_hidden_by_the_closed_one() {
    let server = stalling();
    let outcome = run(&Spec::get(open(&server, 1000.0, 1000), "a", "/")).unwrap();
    closes(&outcome);
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!(outcome.latency_from, LatencyFrom::PlannedTime);
    assert!(slow(&outcome) >= 90, "only {} slow requests", slow(&outcome));
    assert!(outcome.latency.p99_ns >= 150_000_000, "{:?}", outcome.latency);

    let server = stalling();
    let hidden = run(&Spec::get(closed(&server, 1, 1000), "a", "/")).unwrap();
    closes(&hidden);
    assert_eq!(hidden.latency_from, LatencyFrom::OwnStart);
    assert!(hidden.latency.max_ns >= 200_000_000, "it did stall");
    assert!(slow(&hidden) <= 5, "{} slow requests", slow(&hidden));
    assert!(hidden.latency.p99_ns < outcome.latency.p99_ns);
    // The estimate brings some of it back, under its own name.
    let corrected = hidden.corrected.unwrap();
    assert!(
        corrected.count > hidden.latency.count && corrected.p99_ns >= hidden.latency.p99_ns,
        "{corrected:?}"
    );
}

/// On one connection the requests that a stall delays wait at the client. They are charged from their planned time all
/// the same, and the figures from their real start, which look as good as a closed loop's, stand beside.
#[test]
fn a_request_that_waits_for_a_connection_is_charged_for_it() {
    let server = stalling();
    let mut settings = open(&server, 500.0, 500);
    settings.connections_max = Some(1);
    let outcome = run(&Spec::get(settings, "a", "/")).unwrap();
    closes(&outcome);
    assert_eq!((outcome.ok, server.accepted()), (500, 1));
    assert!(slow(&outcome) >= 45, "only {} slow requests", slow(&outcome));
    let from_start = slow_of(&outcome.histograms.service);
    assert!((1..=5).contains(&from_start), "{from_start} slow from their real start");
}

/// The plan's seconds are the plan's, however late its client.
#[test]
fn what_was_due_is_counted_when_it_was_due() {
    let server = http(|_, _| answer("200 OK", ""));
    let mut settings = open(&server, 40.0, 50);
    settings.threads = 2;
    let outcome = run(&Spec::get(settings, "a", "/")).unwrap();
    closes(&outcome);
    let planned: Vec<u64> = outcome.samples.iter().map(|sample| sample.planned).collect();
    assert_eq!(planned[..2], [40, 10], "{planned:?}");
}

fn never_answering() -> Server {
    tcp(|mut stream, _| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

#[test]
fn at_its_cap_the_client_says_so_and_the_run_is_invalid() {
    let server = never_answering();
    let mut settings = open(&server, 500.0, 100);
    let Pace::Open { rate, lag_max, .. } = settings.pace else { unreachable!() };
    settings.pace = Pace::Open { rate, in_flight_max: 7, lag_max };
    settings.timeout = Duration::from_secs(2);
    let outcome = run(&Spec::get(settings, "a", "/")).unwrap();
    closes(&outcome);
    assert_eq!((outcome.planned, outcome.started, outcome.not_started), (100, 7, 93), "{outcome:?}");
    assert_eq!(outcome.invalid, [Invalid::AtCap { not_started: 93 }]);
    assert!(!outcome.is_valid());
}

#[test]
fn a_client_that_falls_behind_its_plan_makes_the_run_invalid() {
    let server = never_answering();
    let mut settings = Settings::new(server.address, Pace::Closed { concurrency: 1 });
    let rate = Rate::new(10e6).unwrap();
    (settings.duration, settings.timeout) = (Duration::from_millis(300), Duration::from_millis(1));
    settings.pace = Pace::Open { rate, in_flight_max: 10, lag_max: Duration::from_millis(1) };
    let outcome = run(&Spec::get(settings, "a", "/")).unwrap();
    closes(&outcome);
    assert_eq!(outcome.planned, 3_000_000);
    assert!(outcome.too_late > 0, "no machine does ten million a second: {outcome:?}");
    assert!(
        outcome.invalid.iter().any(|why| matches!(why, Invalid::FellBehind { .. })),
        "{:?}",
        outcome.invalid
    );
}

#[test]
fn lag_beyond_its_bound_makes_the_run_invalid() {
    let server = http(|_, _| answer("200 OK", ""));
    let mut settings = open(&server, 1000.0, 50);
    let Pace::Open { rate, in_flight_max, .. } = settings.pace else { unreachable!() };
    settings.pace = Pace::Open { rate, in_flight_max, lag_max: Duration::ZERO };
    settings.duration = LONG;
    let outcome = run(&Spec::get(settings, "a", "/")).unwrap();
    closes(&outcome);
    assert_eq!((outcome.ok, outcome.lag.count), (50, 50));
    let bound = matches!(outcome.invalid[..], [Invalid::Lag { bound_ns: 0, p999_ns: 1.. }]);
    assert!(bound, "{:?}", outcome.invalid);
}

/// A report that is written and read is the same.
#[test]
fn an_outcome_survives_json() {
    let server = http(|_, _| answer("404 Not Found", ""));
    let outcome = run(&Spec::get(open(&server, 1000.0, 20), "a", "/")).unwrap();
    let json = serde_json::to_string(&outcome).unwrap();
    assert!(
        json.contains(r#""wrong-status":20"#) && json.contains(r#""latency_from":"planned-time""#),
        "{json}"
    );
    let read: Outcome = serde_json::from_str(&json).unwrap();
    assert_eq!((&read.errors, &read.statuses), (&outcome.errors, &outcome.statuses));
    assert_eq!((read.pace, &read.invalid, &read.samples), (outcome.pace, &outcome.invalid, &outcome.samples));
    assert_eq!((read.planned, read.failed, read.lag.p99_ns), (20, 20, outcome.lag.p99_ns));
}
