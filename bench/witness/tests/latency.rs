//! Latencies: quantiles, what cannot be left out, and the log that other programs read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use ringlead_witness::latency::LATENCY_NS_MAX;
use ringlead_witness::{IntervalLog, Latency, Stamp};
use std::time::{Duration, SystemTime};

/// Right to three digits.
fn assert_near(got: u64, expected: u64) {
    assert!(got.abs_diff(expected) * 1000 <= expected, "{got} is not {expected}");
}

#[test]
fn quantiles_are_those_of_the_values() {
    let mut latency = Latency::new();
    assert_eq!(latency.summary(), None);
    (1..=1_000_000).for_each(|us| latency.record(us * 1000));
    let summary = latency.summary().unwrap();
    assert_eq!((summary.count, summary.over), (1_000_000, 0));
    let quantiles = [
        (summary.min_ns, 1000),
        (summary.p50_ns, 500_000_000),
        (summary.p90_ns, 900_000_000),
        (summary.p99_ns, 990_000_000),
        (summary.p99_9_ns, 999_000_000),
        (summary.p99_99_ns, 999_900_000),
        (summary.p99_999_ns, 999_990_000),
        (summary.max_ns, 1_000_000_000),
    ];
    quantiles.into_iter().for_each(|(got, expected)| assert_near(got, expected));
    assert!((summary.mean_ns - 500_000_500.0).abs() < 500_000.0);
}

#[test]
fn a_minute_is_the_most_and_longer_is_said() {
    let mut latency = Latency::new();
    [1, LATENCY_NS_MAX, LATENCY_NS_MAX + 1, u64::MAX].into_iter().for_each(|ns| latency.record(ns));
    let summary = latency.summary().unwrap();
    assert_eq!((summary.count, summary.over, summary.min_ns), (4, 2, 1));
    assert_near(summary.max_ns, LATENCY_NS_MAX);
    let mut sum = Latency::new();
    sum.add(&latency);
    sum.add(&latency);
    assert_eq!(sum.summary().map(|summary| (summary.count, summary.over)), Some((8, 4)));
    sum.reset();
    assert_eq!(sum, Latency::new());
}

/// One packet a millisecond, answered in 10 us, but nothing moves from 1 s to 2 s. Counted from the time of sending, all
/// but one packet would look fast; from the planned time the stalled second is there.
#[test]
fn a_stalled_sender_hides_nothing() {
    let mut latency = Latency::new();
    for packet in 0..3000_u64 {
        let planned_ns = packet * 1_000_000;
        let sent_ns = if (1000..2000).contains(&packet) { 2_000_000_000 } else { planned_ns };
        latency.record(Stamp::new(0, 0, 0, planned_ns).latency_ns(sent_ns + 10_000));
    }
    let summary = latency.summary().unwrap();
    assert!(summary.p50_ns < 20_000);
    assert_near(summary.p90_ns, 700_000_000);
    assert_near(summary.max_ns, 1_000_010_000);
}

#[test]
fn the_log_is_read_back() {
    let started = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
    let mut log = IntervalLog::new(Vec::new(), started, "nat,\nv4").unwrap();
    let mut latency = Latency::new();
    let (second, mut written) = (Duration::from_secs(1), Vec::new());
    for interval in 0..3_u32 {
        latency.reset();
        (0..1000_u64).for_each(|n| latency.record((n + 1) * 777 * u64::from(interval + 1)));
        log.write(second * interval, second, Some("forward"), &latency).unwrap();
        written.push(latency.clone());
    }
    assert!(log.write(second, second, Some("two words"), &latency).is_err());
    let bytes = log.finish().unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert!(
        text.starts_with("#[Histogram log format version 1.3]\n#[nat, v4; values in nanoseconds]\n"),
        "{text}"
    );
    assert!(text.contains("#[StartTime: 1700000000.250 (seconds since epoch)]\n"), "{text}");
    assert!(text.contains("#[BaseTime: 1700000000.250 (seconds since epoch)]\n"), "{text}");

    let mut read = 0;
    for entry in IntervalLogIterator::new(&bytes) {
        let LogEntry::Interval(interval) = entry.unwrap() else { continue };
        let expected = written[read].histogram();
        assert_eq!(interval.start_timestamp(), second * u32::try_from(read).unwrap());
        assert_eq!((interval.duration(), interval.tag().unwrap().as_str()), (second, "forward"));
        let encoded = BASE64_STANDARD.decode(interval.encoded_histogram()).unwrap();
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &encoded[..]).unwrap();
        assert_eq!(&histogram, expected);
        read += 1;
    }
    assert_eq!(read, 3);
}
