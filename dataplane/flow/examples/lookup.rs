//! What a look-up costs: `cargo run --release -p ringlead-flow --example lookup [FLOWS…]`.
//!
//! Tuples of both sides in random order over all flows; the least of several rounds of one thread.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used, reason = "a measurement")]

use std::hint::black_box;
use std::time::Instant;

use ringlead_flow::{Flow, FlowSpec, FlowTable, Inserted, Link, Profile, ServerId, Sizes, Tick, Tuple};
use ringlead_wire::{Ip, TcpFlags};

const LOOKUPS: usize = 1 << 20;
const ROUNDS: usize = 9;
const NOW: Tick = Tick(1);

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let sizes = if sizes.is_empty() { vec![100_000, 1_000_000] } else { sizes };
    println!(
        "{:>10} {:>3} {:>7} {:>7} {:>7} {:>9} {:>7}",
        "flows", "ip", "by 64", "by 32", "singly", "insert", "bytes"
    );
    for flows in sizes {
        for v4 in [true, false] {
            measure(flows, v4);
        }
    }
}

fn measure(flows: usize, v4: bool) {
    let table = FlowTable::new(&Sizes { flows_max: flows, workers: 2, seed: [1, 2, 3, 4] }).unwrap();
    let count = u32::try_from(flows).unwrap();
    let start = Instant::now();
    for n in 0..count {
        assert!(matches!(table.insert(&spec(n, v4), NOW), Inserted::New(_)), "flow {n} did not fit");
    }
    let insert = nanos(start) / flows as f64;
    let tuples: Vec<Tuple> =
        order(count).map(|(n, side)| if side { server(n, v4) } else { client(n, v4) }).collect();
    let mut out: Vec<Option<Flow>> = vec![None; 64];
    let [by_64, by_32] = [64, 32].map(|burst| {
        best(|| {
            for tuples in tuples.chunks(burst) {
                table.lookup_burst(tuples, &mut out, NOW);
                assert!(black_box(&out)[..tuples.len()].iter().all(Option::is_some));
            }
        })
    });
    let singly = best(|| {
        for tuple in &tuples {
            assert!(black_box(table.lookup(tuple, NOW)).is_some());
        }
    });
    let bytes = FlowTable::bytes_for(flows) as f64 / flows as f64;
    let family = if v4 { 4 } else { 6 };
    println!(
        "{flows:>10} {family:>3} {by_64:>7.1} {by_32:>7.1} {singly:>7.1} {insert:>9.1} {bytes:>7.1} (v4 + v6)"
    );
}

/// The least time a look-up over several rounds, in ns.
fn best(mut round: impl FnMut()) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        round();
        nanos(start) / LOOKUPS as f64
    });
    times.fold(f64::INFINITY, f64::min)
}

fn nanos(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e9
}

/// Flows and sides in a random order that repeats from run to run.
fn order(count: u32) -> impl Iterator<Item = (u32, bool)> {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (u32::try_from((x >> 16) % u64::from(count)).unwrap_or(0), x & 1 == 1)
    })
    .take(LOOKUPS)
}

fn spec(n: u32, v4: bool) -> FlowSpec {
    FlowSpec {
        client: client(n, v4),
        server: Some(server(n, v4)),
        server_id: ServerId(n),
        service: 0,
        profile: Profile::Lb,
        link: Link { port: 0, ..Link::NONE },
        first: TcpFlags(TcpFlags::ACK),
    }
}

fn client(n: u32, v4: bool) -> Tuple {
    let sport = u16::try_from(n & 0x3fff).unwrap_or(0);
    Tuple { src: ip(0x0a00_0000 | n >> 14, v4), dst: ip(0xc000_0201, v4), sport, dport: 80, proto: 6 }
}

fn server(n: u32, v4: bool) -> Tuple {
    let client = client(n, v4);
    Tuple {
        src: ip(0xac10_0001, v4),
        sport: 8080,
        ..Tuple { dst: client.src, dport: client.sport, ..client }
    }
}

fn ip(n: u32, v4: bool) -> Ip {
    let [a, b, c, d] = n.to_be_bytes();
    if v4 {
        Ip::from_v4([a, b, c, d])
    } else {
        Ip::from_v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d])
    }
}
