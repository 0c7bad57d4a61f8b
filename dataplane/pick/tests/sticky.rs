//! Source persistence: prefixes, time, bounded sets, listings.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;
use ringlead_pick::sticky::{ENTRIES_MAX, TIMEOUT_TICKS_MAX};
use ringlead_pick::{Sticky, StickyError, StickyKey, StickySpec};
use ringlead_wire::Ip;

const SPEC: StickySpec =
    StickySpec { entries: 1_024, prefix_v4: 32, prefix_v6: 128, timeout_ticks: 100, seed: [3; 16] };

fn table(spec: &StickySpec) -> Sticky {
    Sticky::new(spec).unwrap()
}

/// One set: every key competes for its eight places.
fn one_set() -> Sticky {
    table(&StickySpec { entries: 8, ..SPEC })
}

fn ip(text: &str) -> Ip {
    text.parse::<IpAddr>().unwrap().into()
}

fn client(sticky: &Sticky, n: u32) -> StickyKey {
    sticky.key(Ip::from_v4_bits(0x0a00_0000 + n), 1)
}

#[test]
fn a_client_keeps_its_server() {
    let sticky = table(&SPEC);
    let key = sticky.key(ip("198.51.100.7"), 1);
    assert_eq!(sticky.get(&key, 0), None);
    assert!(sticky.put(&key, 42, 0));
    assert_eq!(sticky.get(&key, 0), Some(42));
    assert!(sticky.put(&key, 43, 0));
    assert_eq!(sticky.get(&key, 0), Some(43), "the last one counts");
    assert_eq!(sticky.len(0), 1, "one key has one entry");
    assert_eq!(sticky.get(&sticky.key(ip("198.51.100.8"), 1), 0), None);
    assert_eq!(sticky.get(&sticky.key(ip("198.51.100.7"), 2), 0), None, "another service");
}

#[test]
fn services_stay_apart_also_within_a_set() {
    let sticky = one_set();
    for salt in 0..8 {
        assert!(sticky.put(&sticky.key(ip("198.51.100.7"), salt), salt * 10, 0));
    }
    for salt in 0..8 {
        assert_eq!(sticky.get(&sticky.key(ip("198.51.100.7"), salt), 0), Some(salt * 10));
    }
}

#[test]
fn clients_of_one_prefix_go_together() {
    let sticky = table(&StickySpec { prefix_v4: 24, prefix_v6: 56, ..SPEC });
    for (first, same, other) in [
        ("198.51.100.7", "198.51.100.255", "198.51.101.7"),
        ("2001:db8:1:200::7", "2001:db8:1:2ff:ffff::", "2001:db8:1:300::7"),
        ("0.0.0.1", "0.0.0.0", "0.0.1.0"),
    ] {
        assert!(sticky.put(&sticky.key(ip(first), 1), 5, 0));
        assert_eq!(sticky.get(&sticky.key(ip(same), 1), 0), Some(5), "{same}");
        assert_eq!(sticky.get(&sticky.key(ip(other), 1), 0), None, "{other}");
    }
    assert_eq!(sticky.get(&sticky.key(ip("::"), 1), 0), None, "no IPv4 address is like it");
}

#[test]
fn the_shortest_and_the_longest_prefixes() {
    let sticky = table(&StickySpec { prefix_v4: 1, prefix_v6: 1, ..SPEC });
    assert!(sticky.put(&sticky.key(ip("10.0.0.1"), 1), 4, 0));
    assert_eq!(sticky.get(&sticky.key(ip("127.255.255.255"), 1), 0), Some(4));
    assert_eq!(sticky.get(&sticky.key(ip("128.0.0.0"), 1), 0), None);
    assert_eq!(sticky.get(&sticky.key(ip("2001:db8::1"), 1), 0), None, "the families stay apart");
    let sticky = table(&SPEC);
    assert!(sticky.put(&sticky.key(ip("2001:db8::1"), 1), 6, 0));
    assert_eq!(sticky.get(&sticky.key(ip("2001:db8::"), 1), 0), None);
}

#[test]
fn an_unused_entry_ends_and_a_used_one_goes_on() {
    // Also across the wrap of the ticks.
    for start in [0, u32::MAX - 120] {
        let sticky = table(&SPEC);
        let (used, unused) = (client(&sticky, 1), client(&sticky, 2));
        let at = |ticks: u32| start.wrapping_add(ticks);
        assert!(sticky.put(&used, 1, start) && sticky.put(&unused, 2, start));
        assert_eq!(sticky.get(&used, at(99)), Some(1));
        assert_eq!(sticky.get(&unused, at(100)), None);
        assert_eq!((sticky.len(at(100)), sticky.len(at(99))), (1, 2));
        assert_eq!(sticky.get(&used, at(198)), Some(1));
        assert_eq!(sticky.get(&used, at(298)), None);
        assert!(sticky.put(&unused, 3, at(298)));
        assert_eq!(sticky.get(&unused, at(298)), Some(3), "an ended entry can begin again");
    }
}

#[test]
fn a_lagging_clock_neither_ends_nor_shortens_an_entry() {
    let sticky = table(&SPEC);
    let key = client(&sticky, 1);
    assert!(sticky.put(&key, 1, 50));
    assert_eq!(sticky.get(&key, 40), Some(1));
    assert!(sticky.put(&key, 1, 30));
    assert_eq!(sticky.get(&key, 149), Some(1), "tick 50 still counts");
}

#[test]
fn a_full_set_gives_up_its_least_recently_used() {
    let sticky = one_set();
    for n in 0..8 {
        assert!(sticky.put(&client(&sticky, n), n, n));
    }
    // 0 and 2 are used again, so 1 and then 3 are the oldest; putting counts as a use too.
    assert_eq!(sticky.get(&client(&sticky, 0), 20), Some(0));
    assert!(sticky.put(&client(&sticky, 2), 2, 20));
    assert!(sticky.put(&client(&sticky, 100), 100, 21));
    assert!(sticky.put(&client(&sticky, 101), 101, 21));
    let left: Vec<u32> = (0..8).filter(|&n| sticky.get(&client(&sticky, n), 22).is_some()).collect();
    assert_eq!(left, [0, 2, 4, 5, 6, 7]);
    assert_eq!(sticky.len(22), 8);
}

#[test]
fn free_places_are_taken_before_any_entry() {
    let sticky = one_set();
    for n in 0..8 {
        assert!(sticky.put(&client(&sticky, n), n, 0));
    }
    assert_eq!(sticky.forget_server(5), 1);
    assert!(sticky.put(&client(&sticky, 50), 50, 0));
    let left = (0..8).filter(|&n| sticky.get(&client(&sticky, n), 0).is_some()).count();
    assert_eq!(left, 7);
}

#[test]
fn a_server_is_forgotten_with_all_its_clients() {
    let sticky = table(&SPEC);
    for n in 0..300 {
        assert!(sticky.put(&client(&sticky, n), n % 3, 0));
    }
    let of_two = (0..300).filter(|&n| sticky.get(&client(&sticky, n), 0) == Some(2)).count();
    assert!(of_two > 90, "{of_two}");
    assert_eq!(sticky.forget_server(2), of_two);
    assert_eq!(sticky.forget_server(2), 0);
    for n in 0..300 {
        let server = sticky.get(&client(&sticky, n), 0);
        assert!(server.is_none_or(|s| s == n % 3 && s != 2), "{n}: {server:?}");
    }
    assert!(!sticky.is_empty(0));
    assert!(sticky.forget_server(0) + sticky.forget_server(1) > 180);
    assert!(sticky.is_empty(0));
}

#[test]
fn a_listing_in_slices_shows_every_entry_once() {
    let sticky = table(&StickySpec { prefix_v4: 24, ..SPEC });
    for n in 0_u8..200 {
        assert!(sticky.put(&sticky.key(Ip::from_v4([10, 0, n, 99]), 7), u32::from(n), u32::from(n / 100)));
    }
    for slice in [1, 3, 10_000] {
        let mut shown = BTreeMap::new();
        let (mut from, mut slices) = (Some(0), 0);
        while let Some(set) = from {
            from = sticky.visit(set, slice, 5, |e| {
                assert_eq!((e.salt, e.idle_ticks), (7, 5 - e.server / 100));
                assert_eq!(shown.insert(e.server, e.source), None, "shown twice: {e:?}");
            });
            slices += 1;
        }
        assert_eq!(slices, 128_usize.div_ceil(slice));
        assert_eq!(shown.len(), sticky.len(5));
        assert!(shown.len() > 190);
        assert!(shown.iter().all(|(&n, &source)| source == ip(&format!("10.0.{n}.0"))), "{shown:?}");
    }
    assert_eq!(
        sticky.visit(0, usize::MAX, 100, |e| assert_eq!(e.idle_ticks, 99)),
        None,
        "the older half ended"
    );
    assert_eq!(sticky.visit(129, 1, 5, |_| unreachable!()), None);
    assert_eq!(sticky.visit(usize::MAX, usize::MAX, 5, |_| unreachable!()), None);
}

#[test]
fn entries_are_rounded_up_to_sets_and_clients_spread_over_them() {
    for (asked, given) in [(1, 8), (8, 8), (9, 16), (1_000, 1_000), (1_001, 1_008)] {
        assert_eq!(table(&StickySpec { entries: asked, ..SPEC }).capacity(), given);
    }
    // 2048 neighbours for 4096 places: a set takes 8, and hardly any has more than that to take.
    let sticky = table(&StickySpec { entries: 4_096, ..SPEC });
    for n in 0..2_048 {
        assert!(sticky.put(&client(&sticky, n), n, 0));
    }
    assert!(sticky.len(0) > 1_950, "{}", sticky.len(0));
}

#[test]
fn what_is_out_of_range_is_named() {
    let refused = |spec: StickySpec| Sticky::new(&spec).unwrap_err();
    for entries in [0, ENTRIES_MAX + 1] {
        assert_eq!(refused(StickySpec { entries, ..SPEC }), StickyError::Entries(entries));
    }
    for prefix in [0, 33] {
        assert_eq!(refused(StickySpec { prefix_v4: prefix, ..SPEC }), StickyError::PrefixV4(prefix));
    }
    for prefix in [0, 129] {
        assert_eq!(refused(StickySpec { prefix_v6: prefix, ..SPEC }), StickyError::PrefixV6(prefix));
    }
    for ticks in [0, TIMEOUT_TICKS_MAX + 1] {
        assert_eq!(refused(StickySpec { timeout_ticks: ticks, ..SPEC }), StickyError::Timeout(ticks));
    }
    assert_eq!(StickyError::PrefixV4(33).to_string(), "IPv4 prefix length 33; it must be 1 to 32");
}

#[test]
fn a_key_of_a_larger_table_finds_nothing() {
    let (small, large) = (one_set(), table(&StickySpec { entries: 1 << 16, ..SPEC }));
    let foreign = (0..).map(|n| client(&large, n)).find(|k| !format!("{k:?}").contains("set: 0 ")).unwrap();
    assert!(!small.put(&foreign, 1, 0));
    assert_eq!(small.get(&foreign, 0), None);
}

#[derive(Clone, Debug)]
enum Step {
    Get(u32),
    Put(u32, u32),
    Forget(u32),
    Wait(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u32..14).prop_map(Step::Get),
        4 => (0_u32..14, 0_u32..4).prop_map(|(n, server)| Step::Put(n, server)),
        1 => (0_u32..4).prop_map(Step::Forget),
        1 => (1_u32..120).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_set_does_as_a_least_recently_used_map_of_eight(steps in steps(), start in any::<u32>()) {
        let sticky = one_set();
        // client -> (server, step of the last use); ticks only go up, so no two uses are equally old.
        let mut model: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
        let mut elapsed = 0;
        for step in steps {
            elapsed += 1;
            let now = start.wrapping_add(elapsed);
            match step {
                Step::Get(n) => {
                    let due = model.get_mut(&n).filter(|(_, used)| elapsed - *used < 100);
                    let server = due.map(|(server, used)| {
                        *used = elapsed;
                        *server
                    });
                    prop_assert_eq!(sticky.get(&client(&sticky, n), now), server);
                }
                Step::Put(n, server) => {
                    if !model.contains_key(&n) && model.len() == 8 {
                        let oldest = *model.iter().min_by_key(|(_, (_, used))| *used).unwrap().0;
                        model.remove(&oldest);
                    }
                    model.insert(n, (server, elapsed));
                    prop_assert!(sticky.put(&client(&sticky, n), server, now));
                }
                Step::Forget(server) => {
                    let before = model.len();
                    model.retain(|_, (s, _)| *s != server);
                    prop_assert_eq!(sticky.forget_server(server), before - model.len());
                }
                Step::Wait(ticks) => elapsed += ticks,
            }
            let now = start.wrapping_add(elapsed);
            let live = model.values().filter(|(_, used)| elapsed - used < 100).count();
            prop_assert_eq!(sticky.len(now), live);
        }
    }
}
