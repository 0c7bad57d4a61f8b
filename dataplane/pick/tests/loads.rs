//! Live flow counts: nothing is lost between threads, and a limit holds exactly.

use std::sync::Barrier;
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
    let (given, start) = (AtomicU32::new(0), Barrier::new(4));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..300_000 {
                    given.fetch_add(u32::from(loads.add_below(0, 1_000_000)), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!((given.into_inner(), loads.get(0)), (1_000_000, 1_000_000));
}

#[test]
fn no_count_is_lost_between_threads() {
    let (loads, start) = (Loads::new(1), Barrier::new(4));
    // So many that the takers never find zero, where a flow less would be none.
    loads.set(0, 600_000);
    let work = |change: fn(&Loads)| {
        start.wait();
        (0..300_000).for_each(|_| change(&loads));
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| work(|loads| loads.add(0)));
            scope.spawn(|| work(|loads| loads.sub(0)));
        }
    });
    assert_eq!(loads.get(0), 600_000);
}

#[test]
fn a_flow_is_counted_while_it_is_made_and_kept_if_it_was() {
    let loads = Loads::new(2);
    assert_eq!(loads.count(0, Some(1), || (true, loads.get(0))), Some(1), "counted before it is made");
    assert_eq!(loads.count(0, Some(1), || unreachable!("no room")), None::<()>);
    assert_eq!((loads.count(0, None, || (false, 'a')), loads.get(0)), (Some('a'), 1));
    assert_eq!((loads.count(1, Some(5), || (false, 'b')), loads.get(1)), (Some('b'), 0));
    // An id that is not counted has no limit that could be kept, and none is no reason not to serve.
    assert_eq!(loads.count(2, None, || (true, 'c')), Some('c'));
    assert_eq!(loads.count(2, Some(5), || (true, 'd')), None);
}
