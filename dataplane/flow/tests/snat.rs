//! Who holds which port.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "a test")]
#![cfg(not(loom))]
#![allow(missing_docs, reason = "a test")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;

use ringlead_flow::Tick;
use ringlead_flow::snat::{Mapping, PortSpace, PortUsage, SnatError, SnatPool, SnatRandom, Usage};
use ringlead_wire::{Ip, Protocol};

const TCP: Protocol = Protocol::Tcp;
const UDP: Protocol = Protocol::Udp;
const Q: u32 = SnatPool::QUARANTINE;
/// The clock wraps on the way.
const NOW: Tick = Tick(u32::MAX - 3 * Q);

fn space(n: u8) -> Arc<PortSpace> {
    Arc::new(PortSpace::new(ip(n)))
}

/// Below 100 IPv4.
fn ip(n: u8) -> Ip {
    if n < 100 {
        Ip::from_v4([192, 0, 2, n])
    } else {
        Ip::from_v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n])
    }
}

fn random(n: u64) -> SnatRandom {
    SnatRandom::new([n, 2, 3, 4])
}

/// Ports of one address and worker: few enough to use them all.
fn small() -> SnatPool {
    SnatPool::new(vec![space(1)], 1024..=1151, 1).unwrap()
}

fn take_all(pool: &SnatPool, worker: usize, protocol: Protocol, v4: bool) -> Vec<Mapping> {
    let mut random = random(1);
    std::iter::from_fn(|| pool.take(worker, protocol, v4, &mut random)).collect()
}

#[test]
fn a_drawn_port_is_taken_if_it_is_free_and_another_one_if_not() {
    let pool = small();
    let mut random = random(1);
    let drawn = pool.draw(0, TCP, true, &mut random);
    assert!(drawn.is_some());
    let [first, second] = [(); 2].map(|()| pool.take_drawn(0, TCP, true, drawn, &mut random).unwrap());
    pool.never_used(first.ip, first.port, TCP);
    // What was drawn last is neither, and first is free again: the draw decides.
    assert_eq!(pool.take_drawn(0, TCP, true, drawn, &mut random), Some(first));
    assert_ne!(first, second);
    let udp = pool.take_drawn(0, UDP, true, drawn, &mut random);
    assert!(udp.is_some(), "a draw of the other transport's ports is no hindrance");
    assert_eq!((pool.usage().tcp.used, pool.usage().udp.used), (2, 1));
    while pool.take(0, TCP, true, &mut random).is_some() {}
    assert_eq!(pool.draw(0, TCP, true, &mut random), None, "known to be dry");
    assert_eq!(pool.take_drawn(0, TCP, true, drawn, &mut random), None);
}

#[test]
fn every_port_of_the_range_is_taken_once_by_its_worker() {
    for (range, workers) in [(1024..=1151, 1), (1000..=2000, 3), (1..=65_535, 4), (40_001..=40_200, 2)] {
        let pool =
            SnatPool::new(vec![space(101), space(2), space(1), space(100)], range.clone(), workers).unwrap();
        let mut all = BTreeSet::new();
        for (worker, protocol, v4) in
            (0..workers).flat_map(|w| [(w, TCP, true), (w, UDP, true), (w, TCP, false), (w, UDP, false)])
        {
            for Mapping { ip, port } in take_all(&pool, worker, protocol, v4) {
                assert_eq!((usize::from(port / 64) % workers, ip.is_v4()), (worker, v4));
                assert!(range.contains(&port) && all.insert((protocol, ip, port)), "{protocol} {ip} {port}");
            }
        }
        assert_eq!(all.len(), range.len() * 4 * 2);
        let full = PortUsage { total: range.len() * 4, used: range.len() * 4, quarantined: 0 };
        assert_eq!(pool.usage(), Usage { tcp: full, udp: full });
    }
}

#[test]
fn a_worker_or_family_that_is_not_there_gets_nothing() {
    let pool = small();
    assert_eq!(pool.take(1, TCP, true, &mut random(1)), None);
    assert_eq!(pool.take(0, TCP, false, &mut random(1)), None);
    pool.tick(1, NOW, 100);
    let v6 = SnatPool::new(vec![space(100)], 1024..=1151, 1).unwrap();
    assert_eq!(v6.take(0, UDP, true, &mut random(1)), None);
    assert!(v6.take(0, UDP, false, &mut random(1)).is_some());
}

/// A port given back at any tick of a round comes back after one quarantine and before two and a quarter.
#[test]
fn rfc4787_a_port_given_back_stays_unused_for_the_quarantine_and_not_much_longer() {
    for offset in 0..Q + 40 {
        let pool = small();
        let held = take_all(&pool, 0, TCP, true);
        let Mapping { ip, port } = held[usize::try_from(offset).unwrap() % held.len()];
        let mut random = random(2);
        // The other ports of its group are given back all the time, so that its turns come as seldom as can be.
        let mut others = held.iter().filter(|m| m.port != port && m.port / 64 == port / 64);
        let mut waited = None;
        for tick in 0..4 * Q {
            let now = NOW.plus(tick);
            if tick == offset {
                pool.give_back(ip, port, TCP);
            } else if tick % 8 == 0
                && let Some(other) = others.next()
            {
                pool.give_back(other.ip, other.port, TCP);
            }
            pool.tick(0, now, 1000);
            while let Some(mapping) = pool.take(0, TCP, true, &mut random) {
                if mapping.port == port {
                    waited = waited.or(Some(tick - offset));
                }
            }
        }
        let waited = waited.unwrap_or_else(|| panic!("never free again: {offset}"));
        assert!((Q..=2 * Q + Q / 4 + 2).contains(&waited), "after {waited} ticks, given back at {offset}");
    }
}

#[test]
fn a_full_pool_says_so_and_recovers_after_the_quarantine() {
    let pool = small();
    let held = take_all(&pool, 0, UDP, true);
    assert_eq!((held.len(), pool.take(0, UDP, true, &mut random(1))), (128, None));
    assert!(pool.take(0, TCP, true, &mut random(1)).is_some(), "the other transport's are others");
    held.iter().for_each(|m| pool.give_back(m.ip, m.port, UDP));
    assert_eq!(pool.usage().udp, PortUsage { total: 128, used: 0, quarantined: 128 });
    pool.tick(0, NOW, 100);
    pool.tick(0, NOW.plus(Q - 1), 100);
    assert_eq!(pool.take(0, UDP, true, &mut random(1)), None);
    pool.tick(0, NOW.plus(Q + 30), 100);
    assert_eq!(pool.usage().udp, PortUsage { total: 128, used: 0, quarantined: 0 });
    assert_eq!(take_all(&pool, 0, UDP, true).len(), 128);
}

#[test]
fn a_port_that_was_never_used_is_free_at_once_also_in_a_full_pool() {
    let pool = small();
    let held = take_all(&pool, 0, TCP, true);
    let Mapping { ip, port } = held[77];
    pool.never_used(ip, port, UDP);
    assert_eq!(pool.take(0, TCP, true, &mut random(1)), None);
    pool.never_used(ip, port, TCP);
    assert_eq!(pool.take(0, TCP, true, &mut random(1)), Some(held[77]));
}

#[test]
fn giving_back_what_nobody_holds_changes_nothing() {
    let pool = small();
    let (mut now, mut random) = (NOW, random(1));
    let mut pass = |pool: &SnatPool| {
        now = now.plus(Q + 30);
        pool.tick(0, now, 100);
    };
    pool.give_back(ip(1), 1030, TCP);
    pool.never_used(ip(1), 1030, TCP);
    pool.give_back(ip(9), 1030, TCP);
    pool.never_used(ip(9), 1030, TCP);
    assert_eq!(pool.usage(), Usage { tcp: PortUsage { total: 128, ..PortUsage::default() }, ..pool.usage() });
    // Twice, and once more while it is ageing: the next flow keeps its port.
    let Mapping { ip, port } = pool.take(0, TCP, true, &mut random).unwrap();
    pool.give_back(ip, port, TCP);
    pool.give_back(ip, port, TCP);
    pool.never_used(ip, port, TCP);
    assert_eq!(pool.usage().tcp.quarantined, 1);
    pass(&pool);
    pool.give_back(ip, port, TCP);
    pool.never_used(ip, port, TCP);
    assert_eq!(pool.usage().tcp.quarantined, 1);
    pass(&pool);
    assert_eq!(pool.usage().tcp.quarantined, 0);
    assert_eq!(take_all(&pool, 0, TCP, true).len(), 128);
    for _ in 0..4 {
        pass(&pool);
    }
    assert_eq!(pool.usage().tcp.used, 128, "nobody's port was freed");
}

#[test]
fn a_new_pool_keeps_what_the_old_one_gave_out_and_the_quarantine() {
    let spaces = [space(1), space(2)];
    let old = SnatPool::new(spaces.to_vec(), 1024..=1279, 2).unwrap();
    let held: Vec<_> = (0..2).flat_map(|worker| take_all(&old, worker, TCP, true)).collect();
    assert_eq!(held.len(), 512);
    // Another range, another number of workers, one address less.
    let new = SnatPool::new(vec![spaces[0].clone()], 1088..=1343, 1).unwrap();
    let fresh = take_all(&new, 0, TCP, true);
    assert!(fresh.iter().all(|m| m.port > 1279) && fresh.len() == 64);
    for Mapping { ip, port } in &held {
        new.give_back(*ip, *port, TCP);
        if *ip == spaces[1].ip() {
            spaces[1].give_back(*port, TCP);
        }
    }
    assert_eq!((old.usage().tcp.quarantined, new.usage().tcp.quarantined), (512, 192));
    // Both sweep, one after the other: the quarantine is not shorter for it.
    for tick in (0..Q).step_by(20) {
        (0..2).for_each(|worker| old.tick(worker, NOW.plus(tick), 1000));
        new.tick(0, NOW.plus(tick), 1000);
    }
    assert_eq!(new.take(0, TCP, true, &mut random(1)), None);
    for tick in Q..2 * Q {
        new.tick(0, NOW.plus(tick), 1000);
    }
    assert_eq!(take_all(&new, 0, TCP, true).len(), 192);
}

#[test]
fn the_sweep_keeps_its_budget_and_its_place() {
    let pool = SnatPool::new(vec![space(1), space(100)], 1024..=5119, 1).unwrap();
    for v4 in [true, false] {
        take_all(&pool, 0, UDP, v4).iter().for_each(|m| pool.give_back(m.ip, m.port, UDP));
    }
    // A round is 2 addresses x 2 transports x 64 groups.
    let round = |now: Tick| {
        let mut calls = 0;
        let mut left = pool.usage().udp.quarantined;
        for _ in 0..256 / 16 {
            pool.tick(0, now, 16);
            let now_left = pool.usage().udp.quarantined;
            assert!(left - now_left <= 16 * 64);
            calls += usize::from(now_left < left);
            left = now_left;
        }
        calls
    };
    assert_eq!((round(NOW), round(NOW.plus(Q - 1)), round(NOW.plus(Q + 30))), (0, 0, 8));
    assert_eq!(pool.usage().udp.quarantined, 0);
}

/// A million takes and releases in random order by four workers, each of which gives back what any of them took.
#[test]
fn no_port_is_held_twice_in_a_million_allocations() {
    let pool = SnatPool::new(vec![space(1), space(2), space(100)], 1000..=9000, 4).unwrap();
    let (mut random, mut dice) = (random(1), 0x9e37_79b9_7f4a_7c15_u64);
    let (mut held, mut list, mut now) = (BTreeSet::new(), Vec::new(), NOW);
    let (mut taken, mut dry) = (0, 0);
    while taken < 1_000_000 {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let [a, b, c, ..] = dice.to_le_bytes();
        let (worker, protocol, v4) = (usize::from(a % 4), if b & 1 == 0 { TCP } else { UDP }, b & 6 != 0);
        match c % 16 {
            0..9 => match pool.take(worker, protocol, v4, &mut random) {
                Some(Mapping { ip, port }) => {
                    taken += 1;
                    assert!(held.insert((protocol, ip, port)), "{ip} {port} is held already");
                    list.push((protocol, ip, port));
                }
                None => dry += 1,
            },
            15 if b == 0 => now = now.plus(Q / 8),
            15 => pool.tick(worker, now, 100),
            _ if list.is_empty() => {}
            _ => {
                let at = usize::try_from(dice >> 24).unwrap() % list.len();
                let (protocol, ip, port) = list.swap_remove(at);
                held.remove(&(protocol, ip, port));
                if c % 16 == 9 {
                    pool.never_used(ip, port, protocol);
                } else {
                    pool.give_back(ip, port, protocol);
                }
            }
        }
    }
    let usage = pool.usage();
    assert_eq!(usage.tcp.used + usage.udp.used, held.len());
    assert!(dry > 100, "{dry}");
}

/// Two workers, and a second pool with shares of its own over the same address, take and give back at the same moment:
/// each port has a flag, which its holder finds down and puts up.
#[test]
fn threads_that_share_an_address_never_hold_one_port() {
    let space = space(1);
    let pools = [(); 2].map(|()| SnatPool::new(vec![space.clone()], 1024..=1279, 2).unwrap());
    let flags: Vec<AtomicU64> = (0..65_536).map(|_| AtomicU64::new(0)).collect();
    let (clock, passed) = (AtomicU32::new(NOW.0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..2_usize {
            let (pools, flags, clock, passed) = (&pools, &flags, &clock, &passed);
            scope.spawn(move || {
                let (mut random, mut held) = (random(thread as u64), Vec::new());
                for round in 0..200_000_usize {
                    // Now both are the same worker of different pools, now other ones.
                    let (pool, worker) = (&pools[thread], if round & 1024 == 0 { 0 } else { thread });
                    if let Some(Mapping { port, .. }) = pool.take(worker, TCP, true, &mut random) {
                        assert_eq!(flags[usize::from(port)].swap(1, SeqCst), 0, "{port} is held twice");
                        held.push(port);
                        passed.fetch_add(1, SeqCst);
                    }
                    if held.len() > 40 || round % 3 == 0 && !held.is_empty() {
                        let port = held.swap_remove(round % held.len());
                        flags[usize::from(port)].store(0, SeqCst);
                        if round % 5 == 0 {
                            pool.never_used(ip(1), port, TCP);
                        } else {
                            pools[1 - thread].give_back(ip(1), port, TCP);
                        }
                    }
                    if round % 16 == 0 {
                        let now = Tick(clock.fetch_add(8, SeqCst));
                        pool.tick(worker, now, 100);
                    }
                }
                // The other thread may still be at work, and get these in time.
                for port in held {
                    flags[usize::from(port)].store(0, SeqCst);
                    pools[thread].give_back(ip(1), port, TCP);
                }
            });
        }
    });
    assert!(passed.into_inner() > 50_000);
    let now = Tick(clock.into_inner());
    for pass in 1..4 {
        (0..2).for_each(|worker| pools[0].tick(worker, now.plus(pass * (Q + 30)), 1000));
    }
    let empty = PortUsage { total: 256, used: 0, quarantined: 0 };
    assert_eq!(pools[0].usage().tcp, empty, "nothing is lost");
    assert_eq!((0..2).map(|worker| take_all(&pools[0], worker, TCP, true).len()).sum::<usize>(), 256);
}

#[test]
fn pools_that_cannot_be_are_refused() {
    let new = |addresses: &[u8], ports, workers| {
        SnatPool::new(addresses.iter().map(|n| space(*n)).collect(), ports, workers).map(|_| ())
    };
    assert_eq!(new(&[], 1..=65_535, 1), Err(SnatError::Addresses(0)));
    assert_eq!(new(&[1, 2, 1], 1..=65_535, 1), Err(SnatError::Twice(ip(1))));
    assert_eq!(new(&[1], 0..=65_535, 1), Err(SnatError::Ports(0..=65_535)));
    #[allow(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    let empty = 2000..=1999;
    assert_eq!(new(&[1], empty.clone(), 1), Err(SnatError::Ports(empty)));
    assert_eq!(new(&[1], 1024..=2047, 0), Err(SnatError::NoWorkers));
    for (ports, workers, share) in
        [(1024..=1086, 1, 63), (1024..=1150, 2, 63), (1024..=2047, 17, 0), (1024..=2047, usize::MAX, 0)]
    {
        let error = SnatError::TooFewPorts { ports: ports.clone(), workers, share };
        assert_eq!(new(&[1], ports, workers), Err(error.clone()));
        assert!(error.to_string().contains("each needs 64 or more"), "{error}");
    }
    assert_eq!(new(&[1], 1024..=1151, 2), Ok(()));
    assert_eq!(new(&[1, 100], 1024..=2047, 16), Ok(()));
    let many: Vec<_> = vec![space(1); SnatPool::ADDRESSES_MAX + 1];
    assert_eq!(SnatPool::new(many, 1..=65_535, 1).map(|_| ()), Err(SnatError::Addresses(4097)));
}

#[test]
fn a_port_is_claimed_exactly_and_what_rests_elsewhere_rests_here() {
    let there = small();
    let held = there.take(0, TCP, true, &mut random(3)).unwrap();
    let ended = there.take(0, TCP, true, &mut random(4)).unwrap();
    there.give_back(ended.ip, ended.port, TCP);
    let here = small();
    assert!(here.claim(held.ip, held.port, TCP));
    assert!(!here.claim(held.ip, held.port, TCP), "it is held");
    assert!(here.claim(held.ip, held.port, UDP), "the transports are apart");
    assert!(!here.claim(held.ip, 1023, TCP) && !here.claim(ip(2), held.port, TCP), "not this pool's");
    for (group, ports) in there.space(ip(1)).unwrap().resting(TCP) {
        assert_eq!((group, ports), (ended.port / 64, 1 << (ended.port % 64)));
        here.space(ip(1)).unwrap().rest(TCP, group, ports | 1 << (held.port % 64));
    }
    here.space(ip(1)).unwrap().rest(TCP, u16::MAX, 1);
    let usage = here.usage().tcp;
    assert_eq!((usage.used, usage.quarantined), (1, 1), "a held port does not rest");
    assert!(!here.claim(ended.ip, ended.port, TCP), "it rests");
    // Its quarantine begins anew: fresh until a turn, and then 60 s.
    let mut now = NOW;
    here.tick(0, now, 1000);
    now = now.plus(Q + 1);
    here.tick(0, now, 1000);
    now = now.plus(Q + 1);
    here.tick(0, now, 1000);
    assert!(here.claim(ended.ip, ended.port, TCP), "it has rested");
}
