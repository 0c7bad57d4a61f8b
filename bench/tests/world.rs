//! What is measured is what is meant.
#![allow(clippy::unwrap_used, reason = "a test")]

use ringlead_bench::args::Args;
use ringlead_bench::plan::Column;
use ringlead_bench::world::{CHUNKS, LAN, Side, WAN, World};
use ringlead_bench::{measure, report};
use ringlead_flow::{Tick, Tuple};
use ringlead_l4::tables::Mode;
use ringlead_wire::{checksum, parse};

const FLOWS: usize = 500;

/// Parses all idle frames, which also finds damage.
fn tuples(world: &mut World) -> Vec<Tuple> {
    let frames = &*world.worker.frames();
    let tuple = |frame| {
        let meta = parse(frames.bytes(frame)).unwrap();
        assert!(checksum::transport_checksum_ok(frames.bytes(frame), &meta));
        Tuple::from(&meta)
    };
    world.idle.iter().map(tuple).collect()
}

#[test]
fn every_packet_belongs_to_a_flow_and_half_of_nat_is_replies() {
    for mode in [Mode::Nat, Mode::Dsr] {
        let mut world = World::new(mode, FLOWS);
        for v6 in [false, true] {
            let sent = world.write(v6, CHUNKS);
            let replies = sent.iter().filter(|(side, _)| *side == Side::Server).count();
            assert_eq!(replies, if mode == Mode::Nat { CHUNKS / 2 } else { 0 });
            let used: std::collections::BTreeSet<usize> = sent.iter().map(|(_, flow)| *flow).collect();
            assert_eq!(used.len(), FLOWS, "all flows take part");
            let now = Tick::from_nanos(world.now_ns(false));
            for tuple in tuples(&mut world) {
                assert_eq!(tuple.is_v4(), !v6);
                assert!(world.shared.flows.lookup(&tuple, now).is_some(), "{tuple}");
            }
        }
    }
}

#[test]
fn turns_rewrite_as_the_targets_say_and_burst_by_burst() {
    let mut world = World::new(Mode::Nat, FLOWS);
    for burst in [64, 32] {
        world.feed(false, CHUNKS, burst);
        let now_ns = world.now_ns(false);
        assert_eq!(world.worker.turn(now_ns), 2 * burst, "both queues, a burst each");
        measure::counted_turns(&mut world.worker, now_ns, CHUNKS / (2 * burst) - 1);
        assert_eq!(world.worker.turn(now_ns), 0, "the rings were emptied by just so many turns");
        world.collect(CHUNKS);
        let sent = tuples(&mut world);
        let service = world.traffic(false).target(Side::Server, 0);
        // What the wan port sent comes first: replies, which come from the service now.
        assert!(sent[..CHUNKS / 2].iter().all(|tuple| (tuple.src, tuple.sport) == service));
        assert!(sent[CHUNKS / 2..].iter().all(|tuple| tuple.dport == 8080));
    }
    assert_eq!((WAN, LAN), (0, 1));
}

#[test]
fn refresh_writes_every_flow_and_its_absence_none() {
    let mut world = World::new(Mode::Dsr, FLOWS);
    let last_seen = |world: &mut World, refresh| {
        let now_ns = world.now_ns(refresh);
        world.feed(false, CHUNKS, 64);
        measure::counted_turns(&mut world.worker, now_ns, CHUNKS / 64);
        world.collect(CHUNKS);
        let found = tuples(world);
        let seen =
            |tuple| world.shared.flows.lookup(tuple, Tick::from_nanos(now_ns)).unwrap().state.last_seen();
        let seen: Vec<Tick> = found.iter().map(seen).collect();
        assert!(seen.iter().all(|tick| *tick == seen[0]));
        (seen[0], Tick::from_nanos(now_ns))
    };
    let (start, now) = last_seen(&mut world, false);
    assert_eq!(start, now);
    for round in 1..4 {
        let (seen, now) = last_seen(&mut world, true);
        assert_eq!((seen, seen.since(start)), (now, round), "each round is a tick later");
        let (kept, earlier) = last_seen(&mut world, false);
        assert_eq!((kept, earlier), (seen, start), "a turn in an earlier tick writes nothing");
    }
}

#[test]
#[should_panic(expected = "packets were lost")]
fn a_lost_packet_ends_the_run() {
    let mut world = World::new(Mode::Dsr, 1);
    let (frames, port) = world.worker.frames_and_port(LAN).unwrap();
    port.caps_mut().frame_max = 60;
    let _ = frames;
    world.feed(false, 64, 64);
    let now_ns = world.now_ns(false);
    measure::counted_turns(&mut world.worker, now_ns, 1);
    world.collect(64);
}

#[test]
fn a_run_has_a_figure_in_every_place() {
    let args = Args { flows: vec![100], rounds: 2, ..Args::default() };
    let results = measure::all(&args);
    assert_eq!(results.len(), 4);
    for result in &results {
        for column in 0..Column::ALL.len() {
            assert_eq!(result.rounds[column].len(), 2);
            assert!(result.best(column) > 0.0 && result.best(column).is_finite());
        }
        assert!(result.noise(0) >= 1.0);
        let [p50, p99, p999, max] = result.turns;
        assert!(0 < p50 && p50 <= p99 && p99 <= p999 && p999 <= max);
    }
    let (tables, json) = (report::tables(&results), report::json(&results));
    assert!(Column::ALL.iter().all(|column| tables.contains(column.name()) && json.contains(column.name())));
    assert_eq!(json.lines().count(), 4);
    assert!(json.lines().all(|line| line.matches('{').count() == 3 && line.matches('}').count() == 3));
}

#[test]
fn counted_turns_count_packets() {
    let args = Args::read(["--callgrind-cell", "nat6", "10", "150"].map(str::to_owned)).unwrap();
    assert_eq!(measure::counted(&args.counted.unwrap()), 150 * 128);
}
