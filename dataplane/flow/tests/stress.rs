//! Many threads at a small table: few keys, few entries, reuse all the time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "a test")]
#![cfg(not(loom))]
#![allow(missing_docs, reason = "a test")]

mod support;

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::thread;

use ringlead_flow::{Flow, FlowTable, Inserted, Link, ServerId, Side, Tick, Tuple};
use support::{ACK, client, link, lookup_bursts, new, server, spec, table};

const THREADS: u32 = 4;
const ROUNDS: u32 = 200_000;
const CLIENTS: u32 = 40;
/// Fewer than clients, so that some flows want the same.
const SERVERS: u32 = 30;
const ENTRIES: usize = 24;

/// Xorshift: what a thread does next.
struct Dice(u32);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 >> 7) % sides
    }
}

/// Every field of the flow is of the client that its number names.
fn assert_whole(flow: &Flow, tuple: &Tuple, v4: bool) {
    let n = flow.server_id.0;
    assert_eq!((flow.client, flow.service), (client(n, v4), n ^ 0xffff));
    assert_eq!(flow.server, Some(server(n % SERVERS, v4)));
    let expected = if matches!(flow.side, Side::Client) { Some(flow.client) } else { flow.server };
    assert_eq!(expected, Some(*tuple));
    let [d, c, b, a, ..] = flow.link.mac;
    assert!(
        flow.link == Link::NONE || flow.link == link(u32::from_be_bytes([a, b, c, d])),
        "{:?}",
        flow.link
    );
}

#[derive(Default)]
struct Tally {
    new: AtomicUsize,
    ended: AtomicUsize,
    taken: AtomicUsize,
    full: AtomicUsize,
    existing: AtomicUsize,
    found: AtomicUsize,
}

fn churn(table: &FlowTable, seed: u32, v4: bool, clock: &AtomicU32, tally: &Tally) {
    let mut dice = Dice(seed);
    let mut mine: Vec<Flow> = Vec::new();
    for round in 0..ROUNDS {
        let now = Tick(clock.load(Relaxed));
        let n = dice.roll(CLIENTS);
        match dice.roll(16) {
            0..5 => {
                let new = table.insert(&spec(client(n, v4), Some(server(n % SERVERS, v4)), n), now);
                match new {
                    Inserted::New(flow) => {
                        tally.new.fetch_add(1, Relaxed);
                        assert_whole(&flow, &client(n, v4), v4);
                        mine.push(flow);
                    }
                    Inserted::Existing(flow) => {
                        tally.existing.fetch_add(1, Relaxed);
                        assert_whole(&flow, &client(n, v4), v4);
                        mine.push(flow);
                    }
                    Inserted::TupleTaken => _ = tally.taken.fetch_add(1, Relaxed),
                    Inserted::Full => _ = tally.full.fetch_add(1, Relaxed),
                    Inserted::Contended => {}
                }
            }
            5..8 => {
                let flow = if mine.is_empty() { continue } else { mine.swap_remove(n as usize % mine.len()) };
                tally.ended.fetch_add(usize::from(table.remove(&flow).is_some()), Relaxed);
            }
            8 => {
                // Stale ones too: they must hit nobody else.
                let Some(flow) = mine.get(n as usize % mine.len().max(1)) else { continue };
                table.touch(flow, ACK, now);
                table.set_link(flow, link(dice.roll(1 << 20)));
            }
            9 => {
                let shard = dice.roll(64) as usize % table.shards();
                table.age(shard, now, 8, &mut |gone| {
                    assert_whole(&gone.flow, &gone.flow.client, v4);
                    tally.ended.fetch_add(1, Relaxed);
                });
                if round % 64 == 0 {
                    // Some flows expire: the Lb timer of established flows is 1200 ticks.
                    clock.fetch_add(601, Relaxed);
                }
            }
            _ => {
                let tuples = [0, 1, 2, 3].map(|i| {
                    let n = (n + i) % CLIENTS;
                    if i % 2 == 0 { client(n, v4) } else { server(n % SERVERS, v4) }
                });
                for (tuple, flow) in tuples.iter().zip(&lookup_bursts(table, &tuples, now)) {
                    if let Some(flow) = flow {
                        assert_whole(flow, tuple, v4);
                        tally.found.fetch_add(1, Relaxed);
                    }
                }
            }
        }
    }
}

#[test]
fn churn_never_mixes_flows_nor_loses_entries() {
    for v4 in [true, false] {
        let table = table(ENTRIES);
        let (clock, tally) = (AtomicU32::new(u32::MAX - 5000), Tally::default());
        thread::scope(|scope| {
            for seed in 1..=THREADS {
                let (table, clock, tally) = (&table, &clock, &tally);
                scope.spawn(move || churn(table, seed.wrapping_mul(0x9e37_79b9), v4, clock, tally));
            }
        });
        let [new_flows, ended, taken, full, existing, found] =
            [&tally.new, &tally.ended, &tally.taken, &tally.full, &tally.existing, &tally.found]
                .map(|n| n.load(Relaxed));
        assert!(new_flows > 1000 && ended > 1000 && found > 1000, "{new_flows} {ended} {found}");
        assert!(taken > 100 && full > 100 && existing > 100, "{taken} {full} {existing}");
        assert_eq!(table.len(), new_flows - ended, "every flow ends once");
        let over = Tick(clock.load(Relaxed)).plus(100_000);
        let mut rest = 0;
        for shard in 0..table.shards() {
            table.age(shard, over, usize::MAX, &mut |_| rest += 1);
        }
        assert_eq!(rest, new_flows - ended);
        assert!(table.is_empty());
        for n in 0..u32::try_from(ENTRIES).unwrap() {
            let _ = new(table.insert(&spec(client(n, v4), Some(server(n, v4)), n), over));
        }
    }
}

/// Ends a test that would else wait for a thread that panicked.
struct NoWaiting;

impl Drop for NoWaiting {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

#[test]
fn inserts_of_one_key_at_the_same_moment_end_with_one_flow() {
    let table = table(64);
    let barrier = Barrier::new(THREADS as usize);
    let news: Vec<AtomicU32> = (0..3000).map(|_| AtomicU32::new(0)).collect();
    thread::scope(|scope| {
        for id in 0..THREADS {
            let (table, barrier, news) = (&table, &barrier, &news);
            scope.spawn(move || {
                let _guard = NoWaiting;
                for n in 0..3000 {
                    barrier.wait();
                    let mut spec = spec(client(n, true), Some(server(n, true)), n);
                    spec.server_id = ServerId(id);
                    let flow = match table.insert(&spec, Tick(1)) {
                        Inserted::New(flow) => {
                            news[n as usize].fetch_add(1, Relaxed);
                            flow
                        }
                        Inserted::Existing(flow) => flow,
                        other => panic!("{other:?}"),
                    };
                    barrier.wait();
                    assert_eq!(table.lookup(&client(n, true), Tick(1)), Some(flow), "all got the same flow");
                    assert_eq!(news[n as usize].load(Relaxed), 1);
                    barrier.wait();
                    let _ = table.remove(&flow);
                }
            });
        }
    });
    assert!(table.is_empty());
}

#[test]
fn a_server_tuple_at_the_same_moment_goes_to_one_client() {
    let table = table(64);
    let barrier = Barrier::new(THREADS as usize);
    let news: Vec<AtomicU32> = (0..3000).map(|_| AtomicU32::new(0)).collect();
    thread::scope(|scope| {
        for id in 0..THREADS {
            let (table, barrier, news) = (&table, &barrier, &news);
            scope.spawn(move || {
                let _guard = NoWaiting;
                for n in 0..3000 {
                    barrier.wait();
                    let me = client(n * THREADS + id, true);
                    let flow = match table.insert(&spec(me, Some(server(n, true)), id), Tick(1)) {
                        Inserted::New(flow) => {
                            news[n as usize].fetch_add(1, Relaxed);
                            Some(flow)
                        }
                        Inserted::TupleTaken => None,
                        other => panic!("{other:?}"),
                    };
                    barrier.wait();
                    assert_eq!(news[n as usize].load(Relaxed), 1);
                    assert_eq!(table.lookup(&me, Tick(1)), flow);
                    let owner = table.lookup(&server(n, true), Tick(1)).unwrap();
                    assert_eq!(flow.is_some(), owner.client == me);
                    barrier.wait();
                    if let Some(flow) = flow {
                        assert!(table.remove(&flow).is_some());
                    }
                }
            });
        }
    });
    assert!(table.is_empty());
}
