//! Weighted round-robin: exact shares, smooth order, bounded length, cursors that survive a change.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use ringlead_pick::round_robin::SEQUENCE_MAX;
use ringlead_pick::{Cursor, RoundRobin};

fn turns(rr: &RoundRobin, n: usize) -> Vec<usize> {
    let mut cursor = Cursor::default();
    (0..n).map(|_| rr.next(&mut cursor).unwrap()).collect()
}

#[test]
fn equal_weights_take_turns() {
    let rr = RoundRobin::new(&[10, 10, 10]);
    assert_eq!(turns(&rr, 7), [0, 1, 2, 0, 1, 2, 0]);
    assert_eq!(rr.sequence().len(), 3, "the weights' common divisor is taken out");
}

#[test]
fn a_heavy_server_is_spread_over_the_round() {
    assert_eq!(turns(&RoundRobin::new(&[5, 1, 1]), 7), [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn nobody_with_weight_is_nobody() {
    for weights in [&[][..], &[0, 0]] {
        let mut cursor = Cursor::new(3);
        assert_eq!(RoundRobin::new(weights).next(&mut cursor), None);
    }
    assert_eq!(turns(&RoundRobin::new(&[0, 2, 0, 2]), 4), [1, 3, 1, 3]);
}

#[test]
fn workers_start_at_different_servers() {
    let rr = RoundRobin::new(&[1, 1, 1]);
    let firsts: Vec<_> = (0..4).map(|w| rr.next(&mut Cursor::new(w)).unwrap()).collect();
    assert_eq!(firsts, [0, 1, 2, 0]);
}

#[test]
fn a_cursor_survives_a_shorter_sequence() {
    let mut cursor = Cursor::default();
    let long = RoundRobin::new(&[1; 100]);
    for _ in 0..99 {
        let _ = long.next(&mut cursor);
    }
    assert_eq!(RoundRobin::new(&[1, 1]).next(&mut cursor), Some(1));
    assert_eq!(RoundRobin::new(&[]).next(&mut cursor), None);
    assert_eq!(RoundRobin::new(&[1]).next(&mut cursor), Some(0));
}

#[test]
fn the_longest_sequence_is_bounded() {
    let mut weights = [255; 1_000];
    weights[7] = 256;
    weights[8] = 1;
    let rr = RoundRobin::new(&weights);
    let length = u64::try_from(rr.sequence().len()).unwrap();
    assert!(length <= SEQUENCE_MAX + 1_000, "{length}");
    assert!(rr.sequence().contains(&8), "a light server is not forgotten");
}

#[test]
fn a_server_that_may_not_loses_its_turn() {
    let rr = RoundRobin::new(&[1, 1, 1]);
    let mut cursor = Cursor::default();
    let served: Vec<_> = (0..6).map(|_| rr.next_where(&mut cursor, |s| s != 1).unwrap()).collect();
    assert_eq!(served, [0, 2, 0, 2, 0, 2]);
    assert_eq!(rr.next_where(&mut cursor, |_| false), None);
    assert_eq!(RoundRobin::new(&[0, 0]).next_where(&mut cursor, |_| true), None);
}

#[test]
fn beyond_the_turns_that_are_tried_everyone_is_found_evenly() {
    // Server 0 has 16 000 turns and is full; the others are far apart.
    let mut weights = [1_u16; 101];
    weights[0] = 16_000;
    let rr = RoundRobin::new(&weights);
    let mut cursor = Cursor::default();
    let mut served = [0_u32; 101];
    let asked = std::cell::Cell::new(0);
    for _ in 0..10_000 {
        asked.set(0);
        let may = |s: usize| {
            asked.set(asked.get() + 1);
            s != 0
        };
        served[rr.next_where(&mut cursor, may).unwrap()] += 1;
        assert!(asked.get() <= 64 + 101, "{}", asked.get());
    }
    assert_eq!(served[0], 0);
    assert!(served[1..].iter().all(|&n| (50..200).contains(&n)), "{served:?}");
    assert_eq!(rr.next_where(&mut cursor, |s| s == 77), Some(77));
    assert_eq!(rr.next_where(&mut cursor, |_| false), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_round_serves_everyone_by_weight_and_never_runs_ahead(weights in prop::collection::vec(0_u16..=64, 1..40)) {
        let sum: u32 = weights.iter().map(|&w| u32::from(w)).sum();
        prop_assume!(sum > 0);
        let rr = RoundRobin::new(&weights);
        let length = u32::try_from(rr.sequence().len()).unwrap();
        let mut served = vec![0_u32; weights.len()];
        for (done, &server) in (1_u32..).zip(rr.sequence()) {
            served[usize::from(server)] += 1;
            for (&w, &s) in weights.iter().zip(&served) {
                let due = f64::from(done) * f64::from(w) / f64::from(sum);
                prop_assert!(f64::from(s) < due + 1.0 + 1e-9, "{} turns of {} due after {}", s, due, done);
            }
        }
        for (&w, &s) in weights.iter().zip(&served) {
            prop_assert_eq!(s * sum, u32::from(w) * length);
        }
    }

    #[test]
    fn where_all_may_the_turns_are_the_same(weights in prop::collection::vec(0_u16..=64, 0..40), start in 0_usize..99) {
        let rr = RoundRobin::new(&weights);
        let (mut a, mut b) = (Cursor::new(start), Cursor::new(start));
        for _ in 0..200 {
            prop_assert_eq!(rr.next(&mut a), rr.next_where(&mut b, |_| true));
        }
        prop_assert_eq!(a, b);
    }

    #[test]
    fn somebody_serves_as_long_as_somebody_may(
        servers in prop::collection::vec((prop_oneof![1 => Just(0_u16), 3 => 1_u16..=3_000], any::<bool>()), 0..40),
    ) {
        let weights: Vec<u16> = servers.iter().map(|s| s.0).collect();
        let may = |s: usize| servers[s].1;
        let some = servers.iter().any(|&(weight, may)| weight > 0 && may);
        let mut cursor = Cursor::default();
        let rr = RoundRobin::new(&weights);
        for _ in 0..20 {
            let served = rr.next_where(&mut cursor, may);
            prop_assert_eq!(served.is_some(), some);
            prop_assert!(served.is_none_or(|s| may(s) && weights[s] > 0), "{:?}", served);
        }
    }
}
