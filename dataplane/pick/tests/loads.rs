//! Live flow counts: nothing is lost between threads, and a limit holds exactly.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use ringlead_pick::Loads;

#[test]
fn counts_go_up_and_down_and_stop_at_their_ends() {
    let loads = Loads::new(3);
    loads.add(1);
    loads.add(1);
    loads.sub(1);
    loads.sub(2);
    assert_eq!([0, 1, 2].map(|s| loads.get(s)), [0, 1, 0]);
    loads.add(2);
    assert_eq!(loads.get(2), 1, "a flow less than none left no debt");
    loads.set(0, u32::MAX);
    loads.add(0);
    assert_eq!(loads.get(0), u32::MAX);
    loads.sub(0);
    assert_eq!(loads.get(0), u32::MAX - 1);
}

#[test]
fn ids_beyond_the_capacity_are_not_counted() {
    let loads = Loads::new(2);
    assert_eq!(loads.capacity(), 2);
    for server in [2, u32::MAX] {
        loads.add(server);
        loads.sub(server);
        loads.set(server, 7);
        assert!(!loads.add_below(server, 10));
        assert_eq!(loads.get(server), 0);
    }
    assert_eq!([0, 1].map(|s| loads.get(s)), [0, 0]);
}

#[test]
fn a_limit_is_never_passed() {
    let loads = Loads::new(1);
    assert!(!loads.add_below(0, 0));
    assert!(loads.add_below(0, 1));
    assert!(!loads.add_below(0, 1));
    loads.sub(0);
    let given = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    given.fetch_add(u32::from(loads.add_below(0, 30_000)), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!((given.into_inner(), loads.get(0)), (30_000, 30_000));
}

#[test]
fn no_count_is_lost_between_threads() {
    let loads = Loads::new(1);
    loads.set(0, 200_000);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..100_000).for_each(|_| loads.add(0)));
            scope.spawn(|| (0..100_000).for_each(|_| loads.sub(0)));
        }
    });
    assert_eq!(loads.get(0), 200_000);
}
