//! Persistence under threads: whatever is read was written for that key, and a set never holds a key twice.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ringlead_pick::{Sticky, StickyKey, StickySpec};
use ringlead_wire::Ip;

/// Four keys a place, so that entries are replaced all the time.
const KEYS: u32 = 64;
const STEPS: u32 = 300_000;
/// Servers that each key may have; the server's number names its key.
const SERVERS: u32 = 4;

/// Keys that differ in both halves of the address and in the salt, so that a mixture would be nobody's.
fn key(sticky: &Sticky, n: u32) -> StickyKey {
    let half = |x: u32| u64::from(x + 1) * 0x0101_0101_0101_0101;
    let address = (u128::from(half(n)) << 64) | u128::from(half(n));
    sticky.key(Ip::from_v6(address.to_be_bytes()), n)
}

/// A few steps of one worker from `seed` on.
fn churn(sticky: &Sticky, seed: u32) {
    let mut x = seed;
    for step in 0..STEPS {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (n, now) = ((x >> 16) % KEYS, step / 64);
        if x >> 31 == 0 {
            sticky.put(&key(sticky, n), n * SERVERS + (x >> 8) % SERVERS, now);
        } else if let Some(server) = sticky.get(&key(sticky, n), now) {
            assert_eq!(server / SERVERS, n, "server {server} was never key {n}'s");
        }
    }
}

/// What a listing shows, each entry checked to be of one key.
fn listed(sticky: &Sticky, now: u32) -> Vec<u32> {
    let mut keys = Vec::new();
    sticky.visit(0, usize::MAX, now, |e| {
        let octets = e.source.octets();
        assert!(octets.iter().all(|&o| u32::from(o) == e.salt + 1), "{e:?}");
        assert_eq!(e.server / SERVERS, e.salt, "{e:?}");
        keys.push(e.salt);
    });
    keys
}

#[test]
fn nobody_reads_a_mixture() {
    let spec =
        StickySpec { entries: 16, prefix_v4: 32, prefix_v6: 128, timeout_ticks: 1_000_000, seed: [9; 16] };
    let sticky = Sticky::new(&spec).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers = [1, 2, 3].map(|seed| {
            let sticky = &sticky;
            scope.spawn(move || churn(sticky, seed))
        });
        let control = scope.spawn(|| {
            let mut server = 0;
            while !done.load(Ordering::Relaxed) {
                listed(&sticky, STEPS / 64);
                server = (server + 1) % (KEYS * SERVERS);
                sticky.forget_server(server);
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        control.join().unwrap();
    });
    assert_unique(&listed(&sticky, STEPS / 64));
    // Nothing is stuck: every key can be written, and every place is used.
    for n in 0..KEYS {
        assert!(sticky.put(&key(&sticky, n), n * SERVERS, STEPS / 64));
        assert_eq!(sticky.get(&key(&sticky, n), STEPS / 64), Some(n * SERVERS));
    }
    let keys = listed(&sticky, STEPS / 64);
    assert_unique(&keys);
    assert_eq!(keys.len(), sticky.capacity());
}

fn assert_unique(keys: &[u32]) {
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "a key is there twice: {keys:?}");
}

#[test]
fn two_writers_of_one_key_leave_one_entry() {
    // Places enough, so that a second entry would stay to be seen.
    let spec =
        StickySpec { entries: 1 << 19, prefix_v4: 32, prefix_v6: 128, timeout_ticks: 9, seed: [9; 16] };
    let (sticky, start) = (Sticky::new(&spec).unwrap(), Barrier::new(2));
    let put = |n: u32| {
        sticky.put(&sticky.key(Ip::from_v4_bits(n), 1), n, 0);
    };
    // One goes up and one goes down, so they meet somewhere in every chunk that they begin about together.
    let chunks = || {
        (0..400).map(|chunk| chunk * 500..chunk * 500 + 500).inspect(|_| {
            start.wait();
        })
    };
    thread::scope(|scope| {
        scope.spawn(|| chunks().flatten().for_each(put));
        scope.spawn(|| chunks().flat_map(Iterator::rev).for_each(put));
    });
    let mut keys = Vec::new();
    sticky.visit(0, usize::MAX, 0, |e| keys.push(e.server));
    assert_unique(&keys);
    assert!(keys.len() > 150_000, "{}", keys.len());
}

#[test]
fn a_key_in_use_is_never_missed_while_its_server_changes() {
    let spec = StickySpec { entries: 8, prefix_v4: 32, prefix_v6: 128, timeout_ticks: 1_000, seed: [9; 16] };
    let sticky = Sticky::new(&spec).unwrap();
    let stays = key(&sticky, 1);
    assert!(sticky.put(&stays, SERVERS, 0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for step in 0..STEPS {
                sticky.put(&stays, SERVERS + step % SERVERS, step / 1_000);
            }
        });
        for _ in 0..STEPS {
            let server = sticky.get(&stays, 0).unwrap();
            assert_eq!(server / SERVERS, 1);
        }
    });
}
