//! The measuring itself: interleaved rounds, each column of each row once a round.

use crate::args::{Args, Counted};
use crate::clock;
use crate::plan::{Column, Result, Row};
use crate::world::{CHUNKS, LAN, Side, WAN, World};
use hdrhistogram::Histogram;
use ringlead_flow::{Flow, Tick, Tuple};
use ringlead_io::port::BURST;
use ringlead_io::{FrameList, MemPort, Port};
use ringlead_l4::Worker;
use ringlead_l4::tables::Mode;
use ringlead_wire::{Ip, Meta, parse, rewrite};
use std::hint::black_box;

/// How far ahead a stage that runs alone fetches headers, as the packet path does.
const AHEAD: usize = 8;
/// Ethernet addresses to write where a stage runs alone.
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 0, 0xa1]];

/// Measures every mode with every number of flows, all of them once a round.
#[must_use]
pub fn all(args: &Args) -> Vec<Result> {
    let rounds = args.rounds;
    let pairs = args.flows.iter().flat_map(|&flows| args.modes.iter().map(move |&mode| (mode, flows)));
    let world = |(mode, flows)| (World::new(mode, flows), flows);
    let mut worlds: Vec<(World, usize)> = pairs.map(world).collect();
    let mut cells: Vec<(Result, Histogram<u64>)> = Vec::new();
    for (world, flows) in &worlds {
        for v6 in [false, true] {
            let row = Row { mode: world.mode, v6, flows: *flows };
            let rounds = vec![Vec::with_capacity(rounds); Column::ALL.len()];
            let turn_packets = world.turn_packets(BURST);
            let histogram = Histogram::new(3).expect("three digits are possible");
            cells.push((Result { row, rounds, turn_packets, turns: [0; 4] }, histogram));
        }
    }
    let reading_ns = clock::reading_ns();
    for number in 0..rounds {
        for (n, (result, turns)) in cells.iter_mut().enumerate() {
            let world = &mut worlds[n / 2].0;
            for step in 0..Column::ALL.len() {
                // Whatever comes first finds the caches full of another row's: each column's turn to be that.
                let column = (number + step) % Column::ALL.len();
                let time = round(world, result.row.v6, Column::ALL[column]);
                result.rounds[column].push(time as f64 / CHUNKS as f64);
            }
            single_turns(world, result.row.v6, reading_ns, turns);
        }
    }
    let finish = |(mut result, turns): (Result, Histogram<u64>)| {
        result.turns = [0.5, 0.99, 0.999, 1.0].map(|part| turns.value_at_quantile(part));
        result
    };
    cells.into_iter().map(finish).collect()
}

/// Runs turns of one cell and nothing else, for an instruction counter that looks at [`counted_turns`] alone.
/// Returns how many packets that were.
#[must_use]
pub fn counted(cell: &Counted) -> usize {
    let mut world = World::new(cell.mode, cell.flows);
    let a_turn = world.turn_packets(BURST);
    let mut left = cell.turns;
    while left > 0 {
        let turns = left.min(CHUNKS / a_turn);
        world.feed(cell.v6, turns * a_turn, BURST);
        let now_ns = world.now_ns(false);
        counted_turns(&mut world.worker, now_ns, turns);
        world.collect(turns * a_turn);
        left -= turns;
    }
    cell.turns * a_turn
}

/// Turns, and nothing else: a name for the instruction counter to look for.
#[inline(never)]
pub fn counted_turns(worker: &mut Worker<MemPort>, now_ns: u64, turns: usize) {
    for _ in 0..turns {
        black_box(worker.turn(now_ns));
    }
}

/// Nanoseconds for all frames in one column.
fn round(world: &mut World, v6: bool, column: Column) -> u64 {
    match column {
        Column::Turn { burst, refresh } => {
            world.feed(v6, CHUNKS, burst);
            let (turns, now_ns) = (CHUNKS / world.turn_packets(burst), world.now_ns(refresh));
            let time = clock::timed(|| counted_turns(&mut world.worker, now_ns, turns));
            world.collect(CHUNKS);
            time
        }
        Column::Floor => floor(world, v6),
        Column::Parse => parse_alone(world, v6),
        Column::Lookup => lookup_alone(world, v6),
        Column::Rewrite => rewrite_alone(world, v6),
    }
}

/// Times each of a round's turns by itself.
fn single_turns(world: &mut World, v6: bool, reading_ns: u64, turns: &mut Histogram<u64>) {
    world.feed(v6, CHUNKS, BURST);
    let now_ns = world.now_ns(false);
    for _ in 0..CHUNKS / world.turn_packets(BURST) {
        let time = clock::timed(|| counted_turns(&mut world.worker, now_ns, 1));
        turns.record(time.saturating_sub(reading_ns)).expect("the histogram grows");
    }
    world.collect(CHUNKS);
}

/// The port alone: what a burst costs that goes from one ring to the other untouched.
fn floor(world: &mut World, v6: bool) -> u64 {
    world.feed(v6, CHUNKS, BURST);
    let mut list = FrameList::new();
    let routes: &[(usize, usize)] =
        if world.mode == Mode::Nat { &[(WAN, LAN), (LAN, WAN)] } else { &[(WAN, LAN)] };
    let turns = CHUNKS / world.turn_packets(BURST);
    let time = clock::timed(|| {
        for _ in 0..turns {
            for &(from, to) in routes {
                for (queue, receive) in [(from, true), (to, false)] {
                    let Some((frames, port)) = world.worker.frames_and_port(queue) else { continue };
                    black_box(if receive { port.rx(frames, &mut list) } else { port.tx(frames, &mut list) });
                }
            }
        }
    });
    world.collect(CHUNKS);
    time
}

fn parse_alone(world: &mut World, v6: bool) -> u64 {
    world.write(v6, CHUNKS);
    let mut metas = [Meta::default(); BURST];
    let frames = &*world.worker.frames();
    clock::timed(|| {
        for burst in world.idle.chunks(BURST) {
            for (n, (frame, meta)) in burst.iter().zip(&mut metas).enumerate() {
                if let Some(next) = burst.get(n + AHEAD) {
                    frames.prefetch(next);
                }
                if let Ok(parsed) = parse(frames.bytes(frame)) {
                    *meta = parsed;
                }
            }
            black_box(&metas);
        }
    })
}

fn lookup_alone(world: &mut World, v6: bool) -> u64 {
    world.write(v6, CHUNKS);
    let tuples: Vec<Tuple> = metas(world).iter().map(Tuple::from).collect();
    let now = Tick::from_nanos(world.now_ns(false));
    let table = &*world.shared.flows;
    let mut found: [Option<Flow>; BURST] = [None; BURST];
    let mut hits = 0;
    let time = clock::timed(|| {
        for burst in tuples.chunks(BURST) {
            table.lookup_burst(burst, &mut found, now);
            hits += usize::from(black_box(&found)[BURST - 1].is_some());
        }
    });
    assert_eq!(hits, CHUNKS / BURST, "look-ups that miss are no measure");
    time
}

fn rewrite_alone(world: &mut World, v6: bool) -> u64 {
    let sent = world.write(v6, CHUNKS);
    let metas = metas(world);
    let targets: Vec<(Ip, u16)> =
        sent.iter().map(|&(side, flow)| world.traffic(v6).target(side, flow)).collect();
    let nat = world.mode == Mode::Nat;
    let mut idle = std::mem::take(&mut world.idle);
    let frames = world.worker.frames();
    let time = clock::timed(|| {
        let work = sent.iter().zip(&metas).zip(&targets);
        for (n, ((&(side, _), meta), &(ip, port))) in work.enumerate() {
            if let Some(frame) = idle.get(n + AHEAD) {
                frames.prefetch(frame);
            }
            let bytes = frames.bytes_mut(&mut idle[n]);
            if nat {
                match side {
                    Side::Client => rewrite::to_server(bytes, meta, ip, port),
                    Side::Server => rewrite::to_client(bytes, meta, ip, port),
                }
                rewrite::decrement_ttl(bytes, meta);
            }
            rewrite::set_ethernet(bytes, MACS[0], MACS[1]);
        }
    });
    world.idle = idle;
    time
}

/// The headers of all idle frames.
fn metas(world: &mut World) -> Vec<Meta> {
    let frames = &*world.worker.frames();
    let meta = |frame| parse(frames.bytes(frame)).expect("what was written can be parsed");
    world.idle.iter().map(meta).collect()
}
