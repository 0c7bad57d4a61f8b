//! What a look-up costs: `cargo run --release -p ringlead-flow --example lookup [FLOWS…]`.
//!
//! Tuples of both sides in random order over all flows, as nanoseconds of this thread's processor time: of every
//! short stretch the least of several rounds, of those the mean. So neighbours on the machine count for little.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement")]
#![allow(unsafe_code, reason = "one system call: std has no clock of processor time")]

use std::hint::black_box;

use ringlead_flow::{
    FlowSpec, FlowTable, Hit, Inserted, Link, Packed, Profile, ServerId, Sizes, Tick, Tuple,
};
use ringlead_wire::{Ip, TcpFlags};

const LOOKUPS: usize = 1 << 20;
const STRETCH: usize = 1024;
const ROUNDS: usize = 15;
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
    let start = nanos();
    for n in 0..count {
        assert!(matches!(table.insert(&spec(n, v4), NOW), Inserted::New(_)), "flow {n} did not fit");
    }
    let insert = (nanos() - start) / flows as f64;
    let tuples: Vec<Tuple> =
        order(count).map(|(n, side)| if side { server(n, v4) } else { client(n, v4) }).collect();
    let packed: Vec<Packed> = tuples.iter().map(Packed::from).collect();
    let mut hits = [Hit::NONE; 64];
    let mut burst = |tuples: &[Packed]| {
        let found = table.lookup_burst(tuples, &mut hits, NOW);
        assert_eq!(found.count_ones() as usize, black_box(tuples).len());
    };
    let by_64 = cost(&packed, |stretch| stretch.chunks(64).for_each(&mut burst));
    let by_32 = cost(&packed, |stretch| stretch.chunks(32).for_each(&mut burst));
    let singly = cost(&tuples, |stretch| {
        for tuple in stretch {
            assert!(black_box(table.lookup(tuple, NOW)).is_some());
        }
    });
    let bytes = FlowTable::bytes_for(flows) as f64 / flows as f64;
    let family = if v4 { 4 } else { 6 };
    println!(
        "{flows:>10} {family:>3} {by_64:>7.1} {by_32:>7.1} {singly:>7.1} {insert:>9.1} {bytes:>7.1} (v4 + v6)"
    );
}

/// What one look-up costs, in ns.
fn cost<T: Copy + Default>(tuples: &[T], mut work: impl FnMut(&[T])) -> f64 {
    // As in life: the tuples were just parsed.
    let mut fresh = vec![T::default(); STRETCH];
    let mut least = vec![f64::INFINITY; tuples.len() / STRETCH];
    for _ in 0..ROUNDS {
        for (stretch, least) in tuples.chunks(STRETCH).zip(&mut least) {
            fresh.copy_from_slice(stretch);
            let start = nanos();
            work(black_box(&fresh));
            *least = least.min(nanos() - start);
        }
    }
    least.iter().sum::<f64>() / tuples.len() as f64
}

/// This thread's processor time.
fn nanos() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to a timespec that lives on this stack.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
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
        account: None,
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
