//! What is measured is what is meant.
#![allow(clippy::unwrap_used, reason = "a test")]

use ringlead_bench::core::cell::{Axis, Cell, Family, Kind, MODES, replies};
use ringlead_bench::core::measure::{STAGES, group, least};
use ringlead_bench::core::plan::Group;
use ringlead_bench::core::round::{Clock, Work, counted_turns, round};
use ringlead_bench::core::world::{CHUNKS, LAN, Segment, Shape, WAN, World};
use ringlead_flow::{Tick, Tuple};
use ringlead_l4::tables::Mode;
use ringlead_wire::{checksum, parse};
use std::collections::BTreeSet;

const FLOWS: usize = 500;

fn shape(mode: Mode, flows: usize) -> Shape {
    Shape {
        mode,
        families: Family::ALL.to_vec(),
        flows,
        services: 1,
        servers: 16,
        workers: 1,
        accounts: false,
    }
}

fn cell(shape: &Shape, family: Family, kind: Kind, workers: usize) -> Cell {
    let Shape { mode, flows, services, servers, accounts, .. } = *shape;
    Cell { axis: Axis::Path, mode, family, flows, services, servers, kind, workers, accounts }
}

/// Parses all idle frames, which also finds damage.
fn tuples(world: &mut World) -> Vec<Tuple> {
    let lane = &mut world.lanes[0];
    let frames = &*lane.worker.frames();
    let tuple = |frame| {
        let meta = parse(frames.bytes(frame)).unwrap();
        assert!(checksum::transport_checksum_ok(frames.bytes(frame), &meta));
        Tuple::from(&meta)
    };
    lane.idle.iter().map(tuple).collect()
}

fn write(world: &mut World, family: Family) -> Vec<(Segment, usize)> {
    let (lanes, traffic) = world.lanes_and_traffic(family);
    lanes[0].write(traffic, CHUNKS)
}

fn feed(world: &mut World, family: Family, burst: usize) {
    let (lanes, traffic) = world.lanes_and_traffic(family);
    lanes[0].feed(traffic, CHUNKS, burst);
}

#[test]
fn every_packet_belongs_to_a_flow_and_half_of_nat_is_replies() {
    for mode in MODES {
        let mut world = World::new(shape(mode, FLOWS));
        for family in Family::ALL {
            let sent = write(&mut world, family);
            let answers = sent.iter().filter(|(segment, _)| *segment == Segment::Answer).count();
            assert_eq!(answers, if replies(mode) { CHUNKS / 2 } else { 0 });
            let used: BTreeSet<usize> = sent.iter().map(|(_, flow)| *flow).collect();
            assert_eq!(used.len(), FLOWS, "all flows take part");
            let now = Tick::from_nanos(world.now_ns(false));
            for (tuple, (segment, flow)) in tuples(&mut world).into_iter().zip(sent) {
                assert_eq!(tuple.is_v4(), !family.is_v6());
                let found = world.shared.flows.lookup(&tuple, now).unwrap();
                assert_eq!(found.client, world.traffic(family).tuple(flow), "{segment:?}");
            }
        }
    }
}

#[test]
fn packets_are_spread_over_all_services_and_servers() {
    for (services, servers) in [(300, 16), (1, 300)] {
        let families = vec![Family::Ipv4];
        let mut world = World::new(Shape { services, servers, families, ..shape(Mode::Nat, 3000) });
        write(&mut world, Family::Ipv4);
        let found = tuples(&mut world);
        let asked: BTreeSet<_> = found.iter().filter(|t| t.dport == 80).map(|t| t.dst).collect();
        let answering: BTreeSet<_> = found.iter().filter(|t| t.sport == 8080).map(|t| t.src).collect();
        assert_eq!((asked.len(), answering.len()), (services, servers));
    }
}

#[test]
fn turns_rewrite_as_the_targets_say_and_burst_by_burst() {
    let mut world = World::new(shape(Mode::Nat, FLOWS));
    for burst in [64, 32] {
        feed(&mut world, Family::Ipv4, burst);
        let now_ns = world.now_ns(false);
        let lane = &mut world.lanes[0];
        assert_eq!(lane.worker.turn(now_ns), 2 * burst, "both queues, a burst each");
        counted_turns(&mut lane.worker, now_ns, CHUNKS / (2 * burst) - 1);
        assert_eq!(lane.worker.turn(now_ns), 0, "the rings were emptied by just so many turns");
        lane.collect(CHUNKS);
        let sent = tuples(&mut world);
        let service = world.traffic(Family::Ipv4).target(Segment::Answer, 0);
        // What the wan port sent comes first: answers, which come from the service now.
        assert!(sent[..CHUNKS / 2].iter().all(|tuple| (tuple.src, tuple.sport) == service));
        assert!(sent[CHUNKS / 2..].iter().all(|tuple| tuple.dport == 8080));
    }
    assert_eq!((WAN, LAN), (0, 1));
}

#[test]
fn refresh_writes_every_flow_and_its_absence_none() {
    let mut world = World::new(shape(Mode::Dsr, FLOWS));
    let last_seen = |world: &mut World, refresh| {
        let now_ns = world.now_ns(refresh);
        feed(world, Family::Ipv4, 64);
        counted_turns(&mut world.lanes[0].worker, now_ns, CHUNKS / 64);
        world.lanes[0].collect(CHUNKS);
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
fn new_flows_are_made_by_syns_and_are_gone_afterwards() {
    for mode in MODES {
        let mut world = World::new(shape(mode, FLOWS));
        for family in Family::ALL {
            let (now_ns, table) = (world.now_ns(false), world.shared.flows.clone());
            let (lanes, traffic) = world.lanes_and_traffic(family);
            let lane = &mut lanes[0];
            let before = table.len();
            let first = lane.feed_fresh(traffic, 128);
            counted_turns(&mut lane.worker, now_ns, 2);
            lane.collect(128);
            assert_eq!(table.len(), before + 128, "each packet made a flow");
            let start = lane.idle.len() - 128;
            let frames = &*lane.worker.frames();
            for frame in &lane.idle[start..] {
                // Behind the outer headers, where there are some.
                let (ethernet, rest) = frames.bytes(frame).split_at(14);
                let outer = rest.len() - if family.is_v6() { 70 } else { 50 };
                let inner = parse(&[ethernet, &rest[outer..]].concat()).unwrap();
                assert!(inner.flags.is_syn(), "{mode:?}");
            }
            lane.remove_fresh(traffic, &table, first, 128);
            assert_eq!(table.len(), before);
            assert_eq!(lane.feed_fresh(traffic, 128), first + 128, "the next ones are others");
            counted_turns(&mut lane.worker, now_ns, 2);
            lane.collect(128);
            lane.remove_fresh(traffic, &table, first + 128, 128);
        }
    }
}

#[test]
#[should_panic(expected = "a new flow was not made")]
fn a_packet_of_a_known_flow_does_not_pass_for_a_new_one() {
    let mut world = World::new(shape(Mode::Dsr, FLOWS));
    let (now_ns, table) = (world.now_ns(false), world.shared.flows.clone());
    let (lanes, traffic) = world.lanes_and_traffic(Family::Ipv4);
    let first = lanes[0].feed_fresh(traffic, 64);
    counted_turns(&mut lanes[0].worker, now_ns, 1);
    lanes[0].collect(64);
    lanes[0].remove_fresh(traffic, &table, first + 1, 64);
}

#[test]
#[should_panic(expected = "packets were lost")]
fn a_lost_packet_ends_the_run() {
    let shape = shape(Mode::Dsr, 1);
    let cell = cell(&shape, Family::Ipv4, Kind::Existing, 1);
    let mut world = World::new(shape);
    let (_, port) = world.lanes[0].worker.frames_and_port(LAN).unwrap();
    port.caps_mut().frame_max = 60;
    let _ = round(&mut world, &cell, Work::TURN, &Clock::new());
}

#[test]
fn a_group_has_a_figure_in_every_place_on_one_worker_and_on_two() {
    let clock = Clock::new();
    let most = clock.cores.len().min(2);
    for mode in MODES {
        let shape = Shape { workers: most, ..shape(mode, 100) };
        let row = |family, kind, workers| (0, cell(&shape, family, kind, workers));
        let cells = Family::ALL
            .into_iter()
            .flat_map(|family| Kind::ALL.map(|kind| (family, kind)))
            .flat_map(|(family, kind)| (1..=most).map(move |workers| row(family, kind, workers)))
            .collect();
        let wanted = Group { name: "test".to_owned(), worlds: vec![shape.clone()], cells };
        let rows = group(&wanted, 2, &clock, &mut |_| {});
        assert_eq!(rows.len(), 4 * most);
        for row in &rows {
            let (name, single) = (row.cell.name(), row.cell.workers == 1);
            let stages = if single && row.cell.kind == Kind::Existing { STAGES.len() } else { 0 };
            assert_eq!(row.stages.len(), stages, "{name}");
            let figures = row.stages.iter().chain([&row.turn, &row.floor]);
            for times in figures {
                // Two workers need two cores at the same moment, which a busy machine may not have.
                assert!(!times.is_empty() || !single, "{name}");
                assert!(times.iter().all(|ns| *ns > 0.0 && ns.is_finite()), "{name}: {times:?}");
            }
            assert!(!single || least(&row.turn, 2).is_some());
            assert!(!single || row.turns.len() >= 2, "{name}");
        }
    }
}
