//! The ports' groups: who takes, gives back and sweeps at the same moment.

use loom::sync::Arc;
use loom::thread;
use ringlead_flow::Tick;
use ringlead_flow::snat::{Mapping, PortSpace, SnatPool, SnatRandom};
use ringlead_wire::{Ip, Protocol};

use crate::model_once;

const TCP: Protocol = Protocol::Tcp;
const NOW: Tick = Tick(1_000_000);
const Q: u32 = SnatPool::QUARANTINE;
/// Enough for a round to begin and for a quarantine to be over.
const PASS: u32 = Q + 30;

/// Two pools of the same two ports, as an old and a new configuration have them.
fn pools() -> [Arc<SnatPool>; 2] {
    let space = std::sync::Arc::new(PortSpace::new(Ip::from_v4([192, 0, 2, 1])));
    [(); 2].map(|()| Arc::new(SnatPool::new(vec![space.clone()], 64..=65, 1).unwrap()))
}

fn take(pool: &SnatPool, seed: u64) -> Option<Mapping> {
    pool.take(0, TCP, true, &mut SnatRandom::new([seed, 2, 3, 4]))
}

/// Both ports can be had, each once, after the quarantine of all that was given back by then.
fn assert_nothing_lost(pool: &SnatPool, from: Tick) {
    for pass in 1..4 {
        pool.tick(0, from.plus(pass * PASS), 9);
    }
    let ports = [take(pool, 1), take(pool, 1)].map(|mapping| mapping.map(|m| m.port));
    assert!([[Some(64), Some(65)], [Some(65), Some(64)]].contains(&ports), "{ports:?}");
    assert_eq!(take(pool, 1), None);
}

#[test]
fn two_pools_never_give_one_port_to_two() {
    for seed in [1, 2] {
        model_once(4, move || {
            let [old, new] = pools();
            let other = thread::spawn(move || [take(&old, 1), take(&old, 1)]);
            let mine = take(&new, seed);
            let [a, b] = other.join().unwrap();
            let mut ports: Vec<u16> = [a, b, mine].into_iter().flatten().map(|m| m.port).collect();
            ports.sort_unstable();
            assert_eq!(ports, [64, 65]);
        });
    }
}

#[test]
fn a_port_that_is_given_back_while_a_sweep_passes_waits_and_is_not_lost() {
    model_once(4, || {
        let [pool, _] = pools();
        let [a, b] = [take(&pool, 1).unwrap(), take(&pool, 1).unwrap()];
        pool.give_back(a.ip, a.port, TCP);
        pool.tick(0, NOW, 9);
        let giver = pool.clone();
        let giver = thread::spawn(move || giver.give_back(b.ip, b.port, TCP));
        // Frees `a`; `b` has just come.
        pool.tick(0, NOW.plus(PASS), 9);
        giver.join().unwrap();
        let got = take(&pool, 1).unwrap();
        assert_eq!((got.port, take(&pool, 1)), (a.port, None));
        pool.give_back(got.ip, got.port, TCP);
        assert_nothing_lost(&pool, NOW.plus(PASS));
    });
}

/// One pool's sweep after the other's would end a quarantine at once, if either took it for its own turn.
#[test]
fn two_sweeps_at_once_do_not_shorten_the_quarantine() {
    model_once(4, || {
        let [old, new] = pools();
        let [a, b] = [take(&old, 1).unwrap(), take(&old, 1).unwrap()];
        old.give_back(a.ip, a.port, TCP);
        let sweeper = old.clone();
        let sweeper = thread::spawn(move || {
            sweeper.tick(0, NOW.plus(1), 9);
            sweeper.give_back(b.ip, b.port, TCP);
        });
        new.tick(0, NOW, 9);
        sweeper.join().unwrap();
        for tick in [NOW.plus(31), NOW.plus(Q - 1)] {
            old.tick(0, tick, 9);
            assert_eq!(take(&old, 1), None);
        }
        assert_nothing_lost(&new, NOW.plus(Q));
    });
}

/// And neither do two that both come when a quarantine is over: what is given back meanwhile has its own.
#[test]
fn two_sweeps_that_free_a_port_free_no_other() {
    model_once(4, || {
        let [old, new] = pools();
        let [a, b] = [take(&old, 1).unwrap(), take(&old, 1).unwrap()];
        old.give_back(a.ip, a.port, TCP);
        old.tick(0, NOW, 9);
        old.give_back(b.ip, b.port, TCP);
        let sweeper = old.clone();
        let sweeper = thread::spawn(move || sweeper.tick(0, NOW.plus(PASS + 1), 9));
        new.tick(0, NOW.plus(PASS), 9);
        sweeper.join().unwrap();
        let got = take(&new, 1).unwrap();
        assert_eq!((got.port, take(&old, 1)), (a.port, None));
        new.give_back(got.ip, got.port, TCP);
        assert_nothing_lost(&new, NOW.plus(PASS));
    });
}

#[test]
fn a_port_that_was_never_used_is_not_lost_to_a_search_in_vain() {
    model_once(4, || {
        let [pool, _] = pools();
        let [a, _b] = [take(&pool, 1).unwrap(), take(&pool, 1).unwrap()];
        let giver = pool.clone();
        let giver = thread::spawn(move || giver.never_used(a.ip, a.port, TCP));
        let mine = take(&pool, 1);
        giver.join().unwrap();
        assert!(mine.is_none_or(|m| m.port == a.port));
        // At the latest when a round begins, a search looks for itself again.
        pool.tick(0, NOW, 9);
        assert_eq!(mine.or_else(|| take(&pool, 1)), Some(a));
        assert_eq!(take(&pool, 1), None);
    });
}
