//! Every interleaving (up to a number of preemptions) of two threads in the shipped functions of source persistence.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p ringlead-pick --release --test loom`; sets have two places there.
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::Ordering::{AcqRel, Acquire};
use loom::thread;
use ringlead_pick::{Loads, Sticky, StickyKey, StickySpec};
use ringlead_wire::Ip;

fn one_set() -> Arc<Sticky> {
    let spec = StickySpec { entries: 2, prefix_v4: 32, prefix_v6: 128, timeout_ticks: 100, seed: [0; 16] };
    Arc::new(Sticky::new(&spec).unwrap())
}

/// Keys that differ in every word.
fn key(sticky: &Sticky, n: u8) -> StickyKey {
    sticky.key(Ip::from_v6([n; 16]), u32::from(n))
}

/// Tries the interleavings with up to three preemptions, with the threads' roles both ways round: loom only remembers
/// the last access to a word.
fn model(
    before: fn(&Sticky),
    a: fn(&Sticky) -> Option<u32>,
    b: fn(&Sticky) -> Option<u32>,
    after: fn(&Sticky, Option<u32>, Option<u32>),
) {
    for forth in [true, false] {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(move || {
            let sticky = one_set();
            before(&sticky);
            let other = sticky.clone();
            let (of_a, of_b) = if forth {
                let b = thread::spawn(move || b(&other));
                let of_a = a(&sticky);
                (of_a, b.join().unwrap())
            } else {
                let a = thread::spawn(move || a(&other));
                let of_b = b(&sticky);
                (a.join().unwrap(), of_b)
            };
            after(&sticky, of_a, of_b);
        });
    }
}

/// The set holds keys 1 and 2; 1 was used before 2.
fn full(sticky: &Sticky) {
    assert!(sticky.put(&key(sticky, 1), 10, 0));
    assert!(sticky.put(&key(sticky, 2), 20, 1));
}

fn count(sticky: &Sticky) -> usize {
    sticky.len(5)
}

#[test]
fn a_reader_of_a_replaced_entry_gets_its_server_or_nothing() {
    model(
        full,
        |s| s.get(&key(s, 1), 1),
        |s| s.put(&key(s, 3), 30, 5).then_some(0),
        |s, got, _| {
            assert!(got.is_none_or(|server| server == 10), "{got:?}");
            let of_three = s.get(&key(s, 3), 5);
            assert_eq!((of_three, count(s)), (Some(30), 2));
        },
    );
}

#[test]
fn a_reader_of_the_new_entry_gets_its_server_or_nothing() {
    model(
        full,
        |s| s.get(&key(s, 3), 5),
        |s| s.put(&key(s, 3), 30, 5).then_some(0),
        |_, got, put| {
            assert!(got.is_none_or(|server| server == 30), "{got:?}");
            assert_eq!(put, Some(0));
        },
    );
}

#[test]
fn a_listing_shows_no_mixture() {
    model(
        full,
        |s| {
            s.visit(0, usize::MAX, 5, |e| {
                assert_eq!(e.source, Ip::from_v6([u8::try_from(e.salt).unwrap(); 16]));
                assert_eq!(e.server, e.salt * 10);
            });
            None
        },
        |s| s.put(&key(s, 3), 30, 5).then_some(0),
        |_, _, put| assert_eq!(put, Some(0)),
    );
}

#[test]
fn a_reader_of_a_changed_server_finds_the_old_or_the_new() {
    model(
        full,
        |s| s.get(&key(s, 1), 3),
        |s| s.put(&key(s, 1), 11, 3).then_some(0),
        |s, got, put| {
            assert!(matches!(got, Some(10 | 11)), "{got:?}");
            assert_eq!((put, s.get(&key(s, 1), 3)), (Some(0), Some(11)));
        },
    );
}

#[test]
fn two_writers_of_one_key_make_one_entry() {
    model(
        |_| (),
        |s| s.put(&key(s, 1), 10, 0).then_some(10),
        |s| s.put(&key(s, 1), 11, 0).then_some(11),
        |s, a, b| {
            let got = s.get(&key(s, 1), 0);
            assert_eq!(count(s), 1);
            assert!(got.is_some() && (got == a || got == b), "{a:?} {b:?} {got:?}");
        },
    );
}

#[test]
fn writers_of_two_keys_lose_at_most_one() {
    model(
        full,
        |s| s.put(&key(s, 3), 30, 5).then_some(30),
        |s| s.put(&key(s, 4), 40, 5).then_some(40),
        |s, three, four| {
            assert!(three.or(four).is_some());
            assert_eq!((s.get(&key(s, 3), 5), s.get(&key(s, 4), 5)), (three, four));
            assert_eq!(count(s), 2);
        },
    );
}

#[test]
fn what_is_forgotten_stays_so_though_it_is_used() {
    model(
        full,
        |s| s.get(&key(s, 1), 5),
        |s| u32::try_from(s.forget_server(10)).ok(),
        |s, got, forgotten| {
            assert!(got.is_none_or(|server| server == 10));
            assert_eq!(forgotten, Some(1));
            assert_eq!((s.get(&key(s, 1), 5), s.get(&key(s, 2), 5)), (None, Some(20)));
        },
    );
}

#[test]
fn a_place_is_freed_or_rewritten_never_both() {
    model(
        full,
        |s| s.put(&key(s, 3), 30, 5).then_some(30),
        |s| u32::try_from(s.forget_server(10)).ok(),
        |s, put, _| {
            assert_eq!(put, Some(30));
            assert_eq!((s.get(&key(s, 1), 5), s.get(&key(s, 3), 5)), (None, Some(30)));
        },
    );
}

#[test]
fn a_limit_of_flows_holds() {
    loom::model(|| {
        let loads = Arc::new(Loads::new(1));
        let other = loads.clone();
        let b = thread::spawn(move || other.add_below(0, 1));
        let a = loads.add_below(0, 1);
        assert!(a != b.join().unwrap());
        assert_eq!(loads.get(0), 1);
    });
}

/// A worker makes a flow, and another one ends it as soon as it sees it: nothing stays counted.
#[test]
fn a_flow_that_ends_at_once_does_not_stay_counted() {
    for limit in [None, Some(1)] {
        loom::model(move || {
            let (loads, lives) = (Arc::new(Loads::new(1)), Arc::new(AtomicBool::new(false)));
            let other = (loads.clone(), lives.clone());
            let ender = thread::spawn(move || {
                if other.1.swap(false, AcqRel) {
                    other.0.sub(0);
                }
            });
            let made = loads.count(0, limit, || {
                // An exchange, as an insert's last step is.
                (!lives.swap(true, AcqRel), ())
            });
            ender.join().unwrap();
            assert!(made.is_some());
            assert_eq!(loads.get(0), u32::from(lives.load(Acquire)));
        });
    }
}

/// Two workers insert one flow below a limit of one: who loses takes back its place, or had none.
#[test]
fn who_loses_an_insert_leaves_nothing_counted() {
    loom::model(|| {
        let (loads, lives) = (Arc::new(Loads::new(1)), Arc::new(AtomicBool::new(false)));
        let work = |loads: &Loads, lives: &AtomicBool| {
            let made = loads.count(0, Some(1), || (!lives.swap(true, AcqRel), ()));
            assert!(loads.get(0) <= 1);
            made
        };
        let other = (loads.clone(), lives.clone());
        let b = thread::spawn(move || work(&other.0, &other.1));
        let a = work(&loads, &lives);
        assert!(a.or(b.join().unwrap()).is_some());
        assert_eq!(loads.get(0), 1);
    });
}
