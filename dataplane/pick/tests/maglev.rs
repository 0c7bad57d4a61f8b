//! Maglev: full, balanced, the same everywhere, and little moves when the set changes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Instant;

use proptest::prelude::*;
use ringlead_pick::{FrontHash, Maglev, Member, SIZES, default_size};
use ringlead_wire::Ip;

/// `n` servers of weight 1 at 10.0.x.y:80.
fn members(n: u16) -> Vec<Member> {
    let hash = FrontHash::new([1; 16]);
    (0..n)
        .map(|i| {
            let [hi, lo] = i.to_be_bytes();
            Member { identity: hash.server(Ip::from_v4([10, 0, hi, lo]), 80), weight: 1 }
        })
        .collect()
}

fn shares(table: &Maglev) -> BTreeMap<u16, usize> {
    let mut shares = BTreeMap::new();
    for &m in table.slots() {
        *shares.entry(m).or_default() += 1;
    }
    shares
}

#[test]
fn sizes_are_prime_and_the_default_is_a_hundred_slots_a_server() {
    for size in SIZES {
        assert!((2..size).take_while(|d| d * d <= size).all(|d| size % d != 0), "{size}");
    }
    assert!(SIZES.is_sorted());
    let expected = [(0, 127), (1, 127), (2, 251), (5, 509), (100, 16_381), (655, 65_537), (5_000, 65_537)];
    for (servers, size) in expected {
        assert_eq!(default_size(servers), size, "{servers} servers");
    }
    assert_eq!(default_size(usize::MAX), 65_537);
}

#[test]
fn equal_weights_get_equal_shares() {
    let table = Maglev::build(&members(100), 65_537);
    let shares = shares(&table);
    assert_eq!(shares.len(), 100);
    assert!(shares.values().all(|&s| s == 655 || s == 656), "{shares:?}");
}

#[test]
fn shares_follow_weights() {
    let mut set = members(3);
    set[0].weight = 256;
    set[1].weight = 128;
    set[2].weight = 0;
    let shares = shares(&Maglev::build(&set, 65_537));
    assert_eq!(shares.get(&2), None);
    assert!(shares[&0].abs_diff(2 * shares[&1]) <= 2, "{shares:?}");
}

#[test]
fn one_of_a_hundred_leaving_moves_at_most_one_percent_of_the_survivors_slots() {
    let all = members(100);
    let before = Maglev::build(&all, 65_537);
    let mut worst = 0;
    for gone in [0_u16, 13, 50, 99] {
        let mut left = all.clone();
        left[usize::from(gone)].weight = 0;
        let after = Maglev::build(&left, 65_537);
        let moved = before.slots().iter().zip(after.slots()).filter(|&(&b, &a)| b != gone && b != a).count();
        worst = worst.max(moved);
    }
    println!("{worst} of 64 882 slots of survivors moved");
    assert!(worst <= 648, "{worst}");
}

#[test]
fn an_empty_set_serves_nobody() {
    for set in [vec![], vec![Member { identity: 1, weight: 0 }]] {
        let table = Maglev::build(&set, 127);
        assert_eq!(table.pick(0), None);
        assert_eq!(table.pick_again(u64::MAX, 3), None);
    }
}

#[test]
fn a_size_that_is_not_listed_becomes_the_next_one() {
    for (asked, used) in [(0, 127), (128, 251), (65_536, 65_537), (u32::MAX, 65_537)] {
        assert_eq!(Maglev::build(&members(2), asked).slots().len(), used);
    }
}

#[test]
fn the_first_and_the_last_hash_have_slots() {
    let table = Maglev::build(&members(2), 127);
    assert_eq!(table.slot(0), 0);
    assert_eq!(table.slot(u64::MAX), 126);
    assert_eq!(table.pick(u64::MAX), Some(usize::from(table.slots()[126])));
}

#[test]
fn trying_again_reaches_other_members() {
    let table = Maglev::build(&members(3), 509);
    let tried: std::collections::BTreeSet<_> = (0..32).filter_map(|n| table.pick_again(42, n)).collect();
    assert_eq!(tried.len(), 3);
    assert_eq!(table.pick_again(42, 0), table.pick(42));
}

#[test]
fn building_the_largest_table_takes_milliseconds() {
    let set = members(1_000);
    #[allow(clippy::disallowed_methods, reason = "a test may read the clock")]
    let start = Instant::now();
    let table = Maglev::build(&set, 65_537);
    println!("65 537 slots x 1000 members: {:?}", start.elapsed());
    assert_eq!(shares(&table).len(), 1_000);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_members_does_not_matter(
        set in prop::collection::btree_map(any::<u64>(), 0_u16..=256, 1..60),
        seed in any::<u64>(),
    ) {
        let set: Vec<_> = set.into_iter().map(|(identity, weight)| Member { identity, weight }).collect();
        let mut shuffled = set.clone();
        shuffled.sort_by_key(|m| m.identity.wrapping_mul(seed | 1));
        let (a, b) = (Maglev::build(&set, 509), Maglev::build(&shuffled, 509));
        let named = |t: &Maglev, of: &[Member]| -> Vec<u64> {
            t.slots().iter().map(|&m| of[usize::from(m)].identity).collect()
        };
        prop_assert_eq!(named(&a, &set), named(&b, &shuffled));
    }

    #[test]
    fn shares_follow_any_weights_to_within_a_part_of_a_round(
        weights in prop::collection::vec(1_u16..=256, 1..50),
    ) {
        let set: Vec<_> = members(50).into_iter().zip(&weights).map(|(m, &weight)| Member { weight, ..m }).collect();
        let shares = shares(&Maglev::build(&set, 16_381));
        let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        for (i, &w) in (0_u16..).zip(&weights) {
            let due = 16_381.0 * f64::from(w) / sum;
            let got = shares.get(&i).copied().unwrap_or(0) as f64;
            // Each of the n members may miss one slot in the last round; the others share those by weight.
            let slack = 2.0 + weights.len() as f64 * f64::from(w) / sum;
            prop_assert!((got - due).abs() <= slack, "member {} of weight {}: {} slots, {} due", i, w, got, due);
        }
    }
}
