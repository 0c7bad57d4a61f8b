//! Least flows: the exact minimum, fair among equals, never a full member.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use ringlead_pick::{Cursor, LeastFlows};

/// Whether `a` has less (flows + 1) / weight than `b`, by other arithmetic than the product's.
fn better(a: (u32, u16), b: (u32, u16)) -> bool {
    let ratio = |(load, weight): (u32, u16)| {
        let (load, weight) = (u128::from(load) + 1, u128::from(weight));
        (load / weight, (load % weight) * u128::from(u64::MAX) / weight)
    };
    ratio(a) < ratio(b)
}

#[test]
fn flows_follow_weights() {
    let weights = [3, 1, 0, 4];
    let pool = LeastFlows::new(&weights);
    let mut loads = [0_u32; 4];
    let mut cursor = Cursor::default();
    for _ in 0..800 {
        loads[pool.pick(|m| loads[m], |_| true, &mut cursor).unwrap()] += 1;
    }
    assert_eq!(loads, [300, 100, 0, 400]);
}

#[test]
fn the_largest_loads_and_weights_do_not_overflow() {
    let pool = LeastFlows::new(&[u16::MAX, 1]);
    let mut cursor = Cursor::default();
    assert_eq!(pool.pick(|_| u32::MAX, |_| true, &mut cursor), Some(0));
    assert_eq!(
        pool.pick(|m| [u32::MAX, 65_537][m], |_| true, &mut cursor),
        Some(0),
        "65 537 a weight: even less"
    );
    assert_eq!(pool.pick(|m| [u32::MAX, 65_535][m], |_| true, &mut cursor), Some(1));
}

#[test]
fn equals_take_turns() {
    // Flows that end at once leave every load at zero; 1 and 3 are full, 4 is busier.
    let pool = LeastFlows::new(&[1; 6]);
    let mut cursor = Cursor::default();
    let picks: Vec<_> = (0..6)
        .map(|_| pool.pick(|m| u32::from(m == 4), |m| m != 1 && m != 3, &mut cursor).unwrap())
        .collect();
    assert_eq!(picks, [0, 2, 5, 0, 2, 5]);
}

#[test]
fn workers_that_see_the_same_loads_do_not_herd() {
    let pool = LeastFlows::new(&[1; 8]);
    let picks: Vec<_> = (0..8).map(|w| pool.pick(|_| 5, |_| true, &mut Cursor::new(w)).unwrap()).collect();
    assert_eq!(picks, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn nobody_is_nobody() {
    let mut cursor = Cursor::new(3);
    assert_eq!(LeastFlows::new(&[]).pick(|_| 0, |_| true, &mut cursor), None);
    assert_eq!(LeastFlows::new(&[0, 0]).pick(|_| 0, |_| true, &mut cursor), None);
    assert_eq!(LeastFlows::new(&[1, 1]).pick(|_| 0, |_| false, &mut cursor), None);
    assert_eq!(cursor, Cursor::new(3), "no turn is lost");
}

#[test]
fn a_cursor_survives_a_smaller_pool() {
    let mut cursor = Cursor::new(100);
    assert_eq!(LeastFlows::new(&[1, 1, 1]).pick(|_| 0, |_| true, &mut cursor), Some(1));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_better_may(
        members in prop::collection::vec((prop_oneof![1 => Just(0_u16), 3 => 1_u16..=300], prop_oneof![0_u32..600, any::<u32>()], any::<bool>()), 0..30),
        start in any::<usize>(),
    ) {
        let weights: Vec<u16> = members.iter().map(|m| m.0).collect();
        let picked = LeastFlows::new(&weights).pick(|m| members[m].1, |m| members[m].2, &mut Cursor::new(start));
        let able: Vec<_> = members.iter().filter(|m| m.0 > 0 && m.2).collect();
        prop_assert_eq!(picked.is_some(), !able.is_empty());
        if let Some(picked) = picked {
            let (weight, load, may) = members[picked];
            prop_assert!(may && weight > 0);
            prop_assert!(!able.iter().any(|m| better((m.1, m.0), (load, weight))), "{} of {:?}", picked, members);
        }
    }
}
