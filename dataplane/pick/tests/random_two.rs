//! Two random choices: drawn in proportion to weight, never one twice, the better one serves, full ones never.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use ringlead_pick::{Cursor, RandomTwo};

const PICKS: u32 = 200_000;

fn counts(
    pool: &RandomTwo,
    members: usize,
    load: impl Fn(usize) -> u32,
    may: impl Fn(usize) -> bool,
) -> Vec<u32> {
    let mut counts = vec![0; members];
    let mut cursor = Cursor::new(1);
    for _ in 0..PICKS {
        counts[pool.pick(&load, &may, &mut cursor).unwrap()] += 1;
    }
    counts
}

/// Five standard deviations around what is due: the seed is fixed, so this either holds or never does.
fn assert_share(got: u32, share: f64) {
    let (got, picks) = (f64::from(got), f64::from(PICKS));
    let slack = 5.0 * (picks * share * (1.0 - share)).sqrt() + 1.0;
    assert!((got - picks * share).abs() <= slack, "{got} picks, {} due", picks * share);
}

/// The share of each member when two different ones are drawn by weight and `load` decides; the first of equals.
fn due(weights: &[u16], load: impl Fn(usize) -> u32) -> Vec<f64> {
    let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
    let mut due = vec![0.0; weights.len()];
    for (a, &wa) in weights.iter().enumerate() {
        for (b, &wb) in weights.iter().enumerate().filter(|&(b, &w)| b != a && w > 0) {
            let chance = f64::from(wa) / sum * f64::from(wb) / (sum - f64::from(wa));
            let ratio = |m: usize, w: u16| (f64::from(load(m)) + 1.0) / f64::from(w);
            due[if ratio(b, wb) < ratio(a, wa) { b } else { a }] += chance;
        }
    }
    due
}

#[test]
fn the_first_is_drawn_in_proportion_to_weight() {
    // With flows + 1 = weight all are equal, and the first drawn serves.
    let weights = [1_u16, 2, 0, 4, 8, 1];
    let counts = counts(&RandomTwo::new(&weights), 6, |m| u32::from(weights[m].saturating_sub(1)), |_| true);
    assert_eq!(counts[2], 0);
    for (&got, &weight) in counts.iter().zip(&weights) {
        assert_share(got, f64::from(weight) / 16.0);
    }
}

#[test]
fn the_second_is_drawn_from_the_others_and_the_better_serves() {
    let weights = [5_u16, 0, 3, 1, 1, 6];
    let loads = [1_000_u32, 0, 7, 2, 2, 1];
    let counts = counts(&RandomTwo::new(&weights), 6, |m| loads[m], |_| true);
    for (&got, share) in counts.iter().zip(due(&weights, |m| loads[m])) {
        assert_share(got, share);
    }
    assert_eq!(counts[0], 0, "the worst of all never is the better of two");
}

#[test]
fn two_members_are_always_compared() {
    for (weights, busy) in [([u16::MAX, 1], 0), ([1, u16::MAX], 1)] {
        let load = |m: usize| if m == busy { u32::MAX } else { 0 };
        let counts = counts(&RandomTwo::new(&weights), 2, load, |_| true);
        assert_eq!(counts[busy], 0, "{weights:?}");
    }
}

#[test]
fn two_choices_level_the_load() {
    let pool = RandomTwo::new(&[1; 100]);
    let mut loads = [0_u32; 100];
    let mut cursor = Cursor::new(7);
    for _ in 0..100_000 {
        loads[pool.pick(|m| loads[m], |_| true, &mut cursor).unwrap()] += 1;
    }
    // One choice would leave about 1000 +- 90.
    let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
    assert!(most - least <= 12, "{least}..{most}");
}

#[test]
fn full_members_are_passed_over_also_when_hardly_any_is_left() {
    let mut weights = [u16::MAX; 1_000];
    weights[500] = 1;
    weights[900] = 1;
    let pool = RandomTwo::new(&weights);
    let mut cursor = Cursor::default();
    for _ in 0..1_000 {
        assert_eq!(pool.pick(|_| 0, |m| m == 500, &mut cursor), Some(500));
        // Both are found, so the loads decide.
        assert_eq!(pool.pick(|m| u32::from(m == 500), |m| m == 500 || m == 900, &mut cursor), Some(900));
    }
}

#[test]
fn the_same_cursor_picks_the_same() {
    let pool = RandomTwo::new(&[3, 1, 4, 1, 5, 9, 2, 6]);
    let picks = |mut cursor: Cursor| -> Vec<_> {
        (0..64).map(|_| pool.pick(|_| 0, |_| true, &mut cursor).unwrap()).collect()
    };
    assert_eq!(picks(Cursor::new(2)), picks(Cursor::new(2)));
    assert_ne!(picks(Cursor::new(2)), picks(Cursor::new(3)));
}

#[test]
fn nobody_is_nobody_and_one_is_that_one() {
    let mut cursor = Cursor::default();
    for weights in [&[][..], &[0, 0]] {
        assert_eq!(RandomTwo::new(weights).pick(|_| 0, |_| true, &mut cursor), None);
    }
    assert_eq!(RandomTwo::new(&[1, 1]).pick(|_| 0, |_| false, &mut cursor), None);
    assert_eq!(RandomTwo::new(&[0, 3, 0]).pick(|_| 9, |_| true, &mut cursor), Some(1));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn somebody_serves_as_long_as_somebody_may_and_the_worst_only_alone(
        members in prop::collection::vec((prop_oneof![1 => Just(0_u16), 3 => 1_u16..=300], 0_u32..50, prop::bool::weighted(0.3)), 0..40),
        seed in any::<u64>(),
    ) {
        let weights: Vec<u16> = members.iter().map(|m| m.0).collect();
        let able: Vec<usize> = (0..members.len()).filter(|&m| members[m].0 > 0 && members[m].2).collect();
        let ratio = |m: usize| (f64::from(members[m].1) + 1.0) / f64::from(members[m].0);
        let pool = RandomTwo::new(&weights);
        let mut cursor = Cursor::seeded(0, seed);
        for _ in 0..20 {
            let picked = pool.pick(|m| members[m].1, |m| members[m].2, &mut cursor);
            prop_assert_eq!(picked.is_some(), !able.is_empty());
            let Some(picked) = picked else { continue };
            prop_assert!(able.contains(&picked), "{} is not able", picked);
            let others = able.iter().filter(|&&m| m != picked).collect::<Vec<_>>();
            prop_assert!(
                others.is_empty() || others.iter().any(|&&m| ratio(m) >= ratio(picked)),
                "{} is worse than all others", picked
            );
        }
    }
}

/// Told ahead: exactly those that are drawn in many draws.
#[test]
fn the_candidates_are_those_that_are_drawn() {
    let none = |_: usize| false;
    assert!(RandomTwo::new(&[1; 3]).candidates(|_| 0, none).is_empty());
    for weights in [&[1, 1, 1][..], &[1, 0, 2, 1], &[5], &[1, 1], &[3, 1, 1, 1, 2]] {
        let pool = RandomTwo::new(weights);
        for loads in 0..243_usize {
            let load = |m: usize| u32::try_from(loads / 3_usize.pow(u32::try_from(m).unwrap()) % 3).unwrap();
            let may = |m: usize| !(loads + m).is_multiple_of(7);
            let mut cursor = Cursor::new(loads);
            let drawn: std::collections::BTreeSet<usize> =
                (0..300).filter_map(|_| pool.pick(load, may, &mut cursor)).collect();
            let told: Vec<usize> = drawn.into_iter().collect();
            assert_eq!(pool.candidates(load, may), told, "{weights:?} {loads}");
        }
    }
}
