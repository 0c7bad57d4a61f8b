//! What a search for a port costs, in groups looked at, and how evenly it chooses.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use ringlead_wire::{Ip, Protocol};

use crate::Tick;
use crate::snat::{Mapping, PortSpace, SnatPool, SnatRandom};
use crate::step::hook::on_step;

const TCP: Protocol = Protocol::Tcp;

fn pool(addresses: u8, workers: usize) -> SnatPool {
    let spaces = (0..addresses).map(|n| Arc::new(PortSpace::new(Ip::from_v4([10, 0, 0, n])))).collect();
    SnatPool::new(spaces, 1024..=65535, workers).unwrap()
}

/// Counts the groups that this thread's searches look at.
fn looks() -> Rc<Cell<usize>> {
    let count = Rc::new(Cell::new(0));
    let counter = count.clone();
    on_step(move || counter.set(counter.get() + 1));
    count
}

fn take_all(pool: &SnatPool, worker: usize, random: &mut SnatRandom) -> Vec<Mapping> {
    std::iter::from_fn(|| pool.take(worker, TCP, true, random)).collect()
}

#[test]
fn a_search_in_a_pool_nine_tenths_full_looks_at_two_groups() {
    let (pool, mut random) = (pool(4, 2), SnatRandom::new([1, 2, 3, 4]));
    let size = 4 * 64_512 / 2;
    for _ in 0..size * 9 / 10 {
        pool.take(1, TCP, true, &mut random).unwrap();
    }
    let (looks, mut most) = (looks(), 0);
    for _ in 0..10_000 {
        let before = looks.get();
        let Mapping { ip, port } = pool.take(1, TCP, true, &mut random).unwrap();
        most = most.max(looks.get() - before);
        pool.never_used(ip, port, TCP);
    }
    assert!(looks.get() < 20_000 && most <= 16, "{} in all, {most} at most", looks.get());
    on_step(|| ());
}

#[test]
fn a_search_in_a_full_pool_looks_at_every_group_once_and_the_next_at_none() {
    let (pool, mut random) = (pool(4, 2), SnatRandom::new([1, 2, 3, 4]));
    for _ in 0..4 * 64_512 / 2 {
        pool.take(0, TCP, true, &mut random).unwrap();
    }
    let looks = looks();
    assert_eq!(pool.take(0, TCP, true, &mut random), None);
    assert!((2016..=2016 + 16).contains(&looks.get()), "{}", looks.get());
    looks.set(0);
    for _ in 0..100 {
        assert_eq!(pool.take(0, TCP, true, &mut random), None);
    }
    assert_eq!(looks.get(), 0);
    on_step(|| ());
}

/// However large a pool is, a packet waits for a few thousand looks; after some such searches the pool is known to be full.
#[test]
fn a_search_in_a_large_full_pool_is_cut_short_and_goes_on_with_the_next() {
    let (pool, mut random) = (pool(40, 1), SnatRandom::new([1, 2, 3, 4]));
    for space in &pool.spaces {
        for group in space.groups(TCP) {
            while group.take(u64::MAX, 0).is_some() {}
        }
    }
    let looks = looks();
    let mut each = || {
        looks.set(0);
        assert_eq!(pool.take(0, TCP, true, &mut random), None);
        looks.get()
    };
    let most = 16_384 + 16;
    let all: usize = (0..3).map(|_| each()).inspect(|looks| assert!(*looks <= most, "{looks}")).sum();
    assert!(all >= 40 * 1008, "{all}: every group");
    assert_eq!(each(), 0, "known to be full");
    pool.never_used(Ip::from_v4([10, 0, 0, 20]), 2000, TCP);
    let mapping = pool.take(0, TCP, true, &mut random);
    assert_eq!(mapping, Some(Mapping { ip: Ip::from_v4([10, 0, 0, 20]), port: 2000 }));
    on_step(|| ());
}

#[test]
fn whether_a_port_is_free_is_known_from_the_first_group_that_has_one() {
    let (pool, mut random) = (pool(1, 2), SnatRandom::new([1, 2, 3, 4]));
    let looks = looks();
    let looked = || {
        looks.set(0);
        (pool.has_free(0, TCP, true), looks.get())
    };
    assert_eq!(looked(), (true, 1), "of 504 groups");
    take_all(&pool, 0, &mut random);
    assert_eq!(looked(), (false, 504));
    pool.never_used(Ip::from_v4([10, 0, 0, 0]), 1024 + 2 * 64, TCP);
    assert_eq!(looked(), (true, 2));
    assert!(pool.has_free(1, TCP, true) && pool.has_free(0, Protocol::Udp, true));
    assert!(!pool.has_free(0, TCP, false), "no IPv6 address");
    assert!(!pool.has_free(2, TCP, true), "no such worker");
    on_step(|| ());
}

#[test]
fn a_search_in_vain_in_the_middle_of_a_round_does_not_hide_what_the_rest_of_it_frees() {
    let (pool, mut random) = (pool(1, 1), SnatRandom::new([1, 2, 3, 4]));
    let held = take_all(&pool, 0, &mut random);
    let last = held.iter().find(|mapping| mapping.port == 65_535).unwrap();
    pool.give_back(last.ip, last.port, TCP);
    pool.tick(0, Tick(1000), 9999);
    let over = Tick(1000 + SnatPool::QUARANTINE + 30);
    pool.tick(0, over, 1);
    assert_eq!(pool.take(0, TCP, true, &mut random), None);
    pool.tick(0, over, 9999);
    assert_eq!(pool.take(0, TCP, true, &mut random), Some(*last));
}

/// Ports come back by and by while there are more flows than ports: no take looks far.
#[test]
fn what_a_sweep_frees_in_a_full_pool_is_found_at_once() {
    let (pool, mut random) = (pool(4, 1), SnatRandom::new([1, 2, 3, 4]));
    let mut held = take_all(&pool, 0, &mut random);
    assert_eq!(held.len(), 4 * 64_512);
    let (looks, mut taken, mut now) = (looks(), 0, Tick(1000));
    for round in 0..200 {
        for _ in 0..100 {
            let Mapping { ip, port } = held.swap_remove((round * 7919) % held.len());
            pool.give_back(ip, port, TCP);
        }
        now = now.plus(4);
        for _ in 0..4 {
            pool.tick(0, now, 500);
            let found = take_all(&pool, 0, &mut random);
            taken += found.len();
            held.extend(found);
        }
    }
    // A round looks for itself once, at all 4032 groups and 16 more; there are no more than 200 / 7.5 of them.
    let rounds = 200 / 7 + 1;
    assert!(taken > 10_000, "{taken}");
    assert!(looks.get() < rounds * 4100 + taken * 40, "{} for {taken}", looks.get());
    on_step(|| ());
}

#[test]
fn rfc6056_every_port_of_an_empty_pool_is_as_likely_as_any_other() {
    for (range, workers) in [(1024..=65_535, 1), (1000..=40_077, 3)] {
        let space = Arc::new(PortSpace::new(Ip::from_v4([10, 0, 0, 1])));
        let pool = SnatPool::new(vec![space], range.clone(), workers).unwrap();
        let mut random = SnatRandom::new([5, 6, 7, 8]);
        for worker in 0..workers {
            let own: Vec<u16> =
                range.clone().filter(|port| usize::from(port / 64) % workers == worker).collect();
            let mut counts = vec![0_u32; 65_536];
            for _ in 0..100_000 {
                let Mapping { ip, port } = pool.take(worker, TCP, true, &mut random).unwrap();
                counts[usize::from(port)] += 1;
                pool.never_used(ip, port, TCP);
            }
            assert_eq!(own.iter().map(|port| counts[usize::from(*port)]).sum::<u32>(), 100_000);
            let expected = 100_000.0 / own.len() as f64;
            let chi: f64 = own
                .iter()
                .map(|port| (f64::from(counts[usize::from(*port)]) - expected).powi(2) / expected)
                .sum();
            let freedom = (own.len() - 1) as f64;
            // Five standard deviations.
            assert!((chi - freedom).abs() < 5.0 * (2.0 * freedom).sqrt(), "{chi} of {freedom}");
        }
    }
}
