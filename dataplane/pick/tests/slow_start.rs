//! Slow start: from a tenth to all, never down.

use std::time::Duration;

use proptest::prelude::*;
use ringlead_pick::slow_start;

#[test]
fn it_is_a_line_from_a_tenth_to_all() {
    let ramp = Duration::from_secs(30);
    for (seconds, weight) in [(0, 10), (3, 19), (15, 55), (27, 91), (30, 100), (31, 100)] {
        assert_eq!(slow_start(100, Duration::from_secs(seconds), ramp), weight, "after {seconds} s");
    }
    assert_eq!(slow_start(100, ramp - Duration::from_nanos(1), ramp), 99);
}

#[test]
fn the_ends_hold() {
    let second = Duration::from_secs(1);
    assert_eq!(slow_start(0, Duration::ZERO, second), 0);
    assert_eq!(slow_start(1, Duration::ZERO, second), 1);
    assert_eq!(slow_start(9, Duration::ZERO, second), 1);
    assert_eq!(slow_start(u16::MAX, Duration::ZERO, second), 6_553);
    assert_eq!(slow_start(7, Duration::ZERO, Duration::ZERO), 7);
    assert_eq!(slow_start(u16::MAX, Duration::MAX - Duration::from_nanos(1), Duration::MAX), u16::MAX - 1);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_never_falls_and_stays_within_its_bounds(
        weight in any::<u16>(),
        ramp in 0_u64..100_000,
        times in prop::collection::vec(0_u64..120_000, 2..20),
    ) {
        let mut times = times;
        times.sort_unstable();
        let at = |ms: u64| slow_start(weight, Duration::from_millis(ms), Duration::from_millis(ramp));
        let weights: Vec<u16> = times.iter().map(|&ms| at(ms)).collect();
        prop_assert!(weights.is_sorted(), "{:?}", weights);
        let least = (weight / 10).max(1).min(weight);
        prop_assert!(weights.iter().all(|w| (least..=weight).contains(w)), "{:?}", weights);
        prop_assert_eq!(at(ramp), weight);
        if ramp > 0 {
            prop_assert_eq!(at(0), least);
        }
    }
}
