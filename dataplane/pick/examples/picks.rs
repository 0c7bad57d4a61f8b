//! What a choice costs: `cargo run --release -p ringlead-pick --example picks`.
//!
//! Nanoseconds a call, the least of several rounds, so that neighbours on the machine count for little.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement")]

use std::hint::black_box;
use std::time::Instant;

use ringlead_pick::{
    Cursor, FrontHash, HashBy, LeastFlows, Loads, Maglev, Member, RandomTwo, RoundRobin, Sticky, StickyKey,
    StickySpec,
};
use ringlead_wire::Ip;

const CALLS: u32 = 20_000;
const ROUNDS: usize = 15;

fn main() {
    hashes();
    for members in [10, 100, 1_000] {
        choosers(members);
    }
    for entries in [4_096, 1 << 20] {
        sticky(entries);
    }
}

/// The least time of one call of `work`, which is told the call's number.
fn cost(mut work: impl FnMut(u32)) -> f64 {
    let round = |_| {
        #[allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
        let start = Instant::now();
        (0..CALLS).for_each(&mut work);
        start.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

fn show(what: &str, ns: f64) {
    println!("{what:<40} {ns:>8.1} ns");
}

fn hashes() {
    let hash = FrontHash::new([1; 16]);
    let service = Ip::from_v4([192, 0, 2, 10]);
    for by in HashBy::ALL {
        let ns = cost(|n| {
            black_box(hash.flow_by(by, Ip::from_v4_bits(n), service, 40_000, 80, 6));
        });
        show(&format!("hash by {}", by.name()), ns);
    }
}

fn choosers(members: u32) {
    let count = usize::try_from(members).unwrap();
    // Loads as they are in use: shared counts, unequal, and each pick counted.
    let loads = Loads::new(count);
    (0..members).for_each(|m| loads.set(m, 1_000 + m % 7));
    let load = |m: usize| loads.get(u32::try_from(m).unwrap_or(0));
    let may = |m: usize| load(m) < 1_000_000;
    let weights: Vec<u16> = (0..members).map(|m| 100 + u16::try_from(m % 3).unwrap()).collect();
    let mut cursor = Cursor::new(0);

    let identities = (0..members).map(|n| Member { identity: u64::from(n) << 20, weight: 100 });
    let maglev = Maglev::build(&identities.collect::<Vec<_>>(), 65_537);
    let ns = cost(|n| {
        black_box(maglev.pick(u64::from(n) << 40));
    });
    show(&format!("maglev, {members} members"), ns);

    let round_robin = RoundRobin::new(&weights);
    let ns = cost(|_| {
        black_box(round_robin.next_where(&mut cursor, may));
    });
    show(&format!("round-robin with limits, {members} members"), ns);

    let least = LeastFlows::new(&weights);
    let ns = cost(|_| {
        let picked = least.pick(load, may, &mut cursor).unwrap();
        loads.add(u32::try_from(picked).unwrap());
    });
    show(&format!("least-flows and count, {members} members"), ns);

    let two = RandomTwo::new(&weights);
    let ns = cost(|_| {
        let picked = two.pick(load, may, &mut cursor).unwrap();
        loads.add(u32::try_from(picked).unwrap());
    });
    show(&format!("random-2 and count, {members} members"), ns);
}

/// Keys all over the table, half as many as it has entries.
fn sticky(entries: usize) {
    let spec = StickySpec { entries, prefix_v4: 32, prefix_v6: 64, timeout_ticks: 1 << 30, seed: [5; 16] };
    let sticky = Sticky::new(&spec).unwrap();
    let keys = u32::try_from(entries / 2).unwrap();
    let key = |n: u32| -> StickyKey { sticky.key(Ip::from_v4_bits(n.wrapping_mul(0x9e37_79b1) % keys), 1) };
    for n in 0..keys {
        sticky.put(&sticky.key(Ip::from_v4_bits(n), 1), n, 0);
    }
    let mut next = 0;
    let mut step = || {
        next += 1;
        next
    };
    let ns = cost(|n| {
        black_box(key(n));
    });
    show(&format!("sticky key, {entries} entries"), ns);
    let ns = cost(|_| {
        black_box(sticky.get(&key(step()), 0));
    });
    show(&format!("sticky key and get, {entries} entries"), ns);
    let ns = cost(|_| {
        let n = step();
        black_box(sticky.get(&key(n), n));
    });
    show(&format!("sticky key and get, a new tick, {entries}"), ns);
    let ns = cost(|_| {
        let n = step();
        black_box(sticky.put(&sticky.key(Ip::from_v4_bits(n), 2), n, n));
    });
    show(&format!("sticky key and put, {entries} entries"), ns);
}
