//! The packet path allocates nothing: a counting allocator watches turns and ticks.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests report by panicking, and count small numbers"
)]

use ringlead_flow::snat::{PortSpace, SnatPool};
use ringlead_l4::tables::{Chooser, Delivery, OnNoServer, Server, Tables};
use ringlead_pick::{LeastFlows, RandomTwo, RoundRobin, Sticky, StickySpec};
use std::sync::Arc;

#[path = "../../io/tests/support/counting.rs"]
mod counting;
use counting::allocations;
#[path = "it/rig.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod rig;
use rig::*;
#[path = "it/mixed.rs"]
mod mixed;
use mixed::*;

#[test]
fn a_turn_and_a_tick_allocate_nothing() {
    use ringlead_wire::TcpFlags;
    use ringlead_wire::build::Packet;
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1, "the counter counts");

    let plan = Plan { on_no_server: OnNoServer::Reset, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    let mut kinds: Vec<Vec<u8>> = Vec::new();
    for service in [NAT4, DSR4] {
        for n in 0..8 {
            let client = format!("198.51.100.7:{}", 1000 + n);
            kinds.push(from_client(Packet::udp(&client, service)).build());
            kinds.push(from_client(Packet::tcp(&client, service).flags(TcpFlags::SYN).vlan(5)).build());
        }
    }
    kinds.push(Packet::udp("198.51.100.7:1", "192.0.2.200:1").build());
    kinds.push(Packet::udp(server_address(0, false), "198.51.100.99:1").build());
    kinds.push(vec![0; 60]);
    let inject = |rig: &mut Rig| {
        for frame in &kinds {
            let (memory, port) = rig.worker.frames_and_port(WAN).unwrap();
            assert!(port.inject(memory, frame));
        }
    };
    for round in 0..3 {
        inject(&mut rig);
        let now = rig.now;
        let (turns, ticks) = (allocations(|| _ = rig.worker.turn(now)), allocations(|| rig.worker.tick(now)));
        assert_eq!((turns, ticks), (0, 0), "round {round}: new flows, then known ones");
        rig.turn();
    }
    // Servers in a VLAN.
    (0..3).for_each(|server| rig.resolve_in(server, ringlead_wire::Vid::new(20)));
    inject(&mut rig);
    let now = rig.now;
    assert_eq!(allocations(|| _ = rig.worker.turn(now)), 0);
    assert!(rig.turn().iter().any(|(_, frame)| frame[12..16] == [0x81, 0, 0, 20]));
    // Held frames, and resets for want of servers.
    rig.shared.neighbours.set(ringlead_l4::neighbours::NeighbourId(0), None);
    inject(&mut rig);
    assert_eq!(allocations(|| _ = rig.worker.turn(10 * SECOND)), 0);
    rig.publish(tables_with(&plan, 2, &[]));
    inject(&mut rig);
    let now = rig.now + 12 * SECOND;
    assert_eq!(allocations(|| rig.worker.tick(now)), 0);
    assert_eq!(allocations(|| _ = rig.worker.turn(now)), 0);
    rig.turn();
}

/// Both families' packets of services whose servers are of the other one, ICMP errors about them, answers and frames that
/// wait included.
#[test]
fn translation_allocates_nothing() {
    use ringlead_wire::build::Packet;
    let (mut rig, _) = mixed_rig(&Plan::default(), |ports| ports[LAN].caps_mut().frame_max = 1514);
    let (mut asks, mut answers) = (Vec::new(), Vec::new());
    for (client, service, v4) in [("198.51.100.7", NAT46, true), ("2001:db8:c::7", NAT64, false)] {
        for n in 0..8 {
            let client =
                if v4 { format!("{client}:{}", 1000 + n) } else { format!("[{client}]:{}", 1000 + n) };
            let ask = from_client(Packet::udp(&client, service).payload([5; 40]));
            asks.push(ask.clone().vlan(5).build());
            asks.push(ask.clone().ttl(1).build());
            asks.push(ask.clone().payload(vec![0; 1600]).build());
            let (_, frame) = rig.one(WAN, &ask);
            let at = &frame[if v4 { 14 + 40.. } else { 14 + 20.. }];
            let ours = u16::from_be_bytes([at[0], at[1]]);
            let ours = if v4 { format!("[{OURS6}]:{ours}") } else { format!("{OURS4}:{ours}") };
            let (server, router) = (server_of(&frame), if v4 { "fd02::1" } else { "10.2.0.1" });
            let answer = Packet::udp(server_address(server, v4), &ours);
            answers.push(from_server(server, answer).build());
            let asked = Packet::udp(&ours, server_address(server, v4)).payload([5; 40]).ip();
            let to = if v4 { OURS6 } else { OURS4 };
            let kind = if v4 { 1 } else { 3 };
            answers.push(from_server(server, Packet::icmp_error(router, to, kind, 1, 0, &asked)).build());
        }
    }
    for round in 0..4 {
        for (port, frames) in [(WAN, &asks), (LAN, &answers)] {
            for frame in frames {
                let (memory, port) = rig.worker.frames_and_port(port).unwrap();
                assert!(port.inject(memory, frame));
            }
        }
        let now = rig.now;
        let (turns, ticks) = (allocations(|| _ = rig.worker.turn(now)), allocations(|| rig.worker.tick(now)));
        assert_eq!((turns, ticks), (0, 0), "round {round}");
        let sent = rig.turn().len();
        assert_eq!(sent, [64, 64, 64, 48][round], "{:?}", rig.drops());
        if round == 2 {
            (0..6).for_each(|n| rig.shared.neighbours.set(ringlead_l4::neighbours::NeighbourId(n), None));
        }
    }
    assert_eq!((rig.counters().flows_created.get(), rig.counters().held.get()), (16, 32));
}

const SNAT: &str = "192.0.2.5:80";
const STICKY: &str = "192.0.2.6:80";
const LIMITED: &str = "192.0.2.7:80";

/// The plan's tables and services of the other kinds, on those of its servers that are up: snat by least flows, sticky
/// round-robin, and a limited random choice with a stand-in.
fn more_tables(plan: &Plan, epoch: u64, up: &[usize], ports: &Arc<SnatPool>, sticky: &Arc<Sticky>) -> Tables {
    let weights = vec![1; up.len()];
    let least = pool_of(1, Chooser::LeastFlows(LeastFlows::new(&weights)), up, false);
    let turns = pool_of(2, Chooser::RoundRobin(RoundRobin::new(&weights)), up, false);
    let mut random = pool_of(3, Chooser::RandomTwo(RandomTwo::new(&weights)), up, false);
    random.limits = random.members.iter().map(|id| (*id, 40)).collect();
    let stand_in = pool_of(4, Chooser::RoundRobin(RoundRobin::new(&[1])), &[2], false);
    let on_no_server = plan.on_no_server;
    let extras = [
        Extra { on_no_server, ..Extra::new(SNAT, Delivery::Snat(Arc::clone(ports)), least) },
        Extra { sticky: Some(Arc::clone(sticky)), ..Extra::new(STICKY, Delivery::Nat, turns) },
        Extra { sorry: Some(Arc::new(stand_in)), ..Extra::new(LIMITED, Delivery::Dsr, random) },
    ];
    let ours = OURS4.parse::<std::net::IpAddr>().unwrap().into();
    with_ports(with_extras(tables_with(plan, epoch, up), &extras), ports, &[ours])
}

/// Lets frames arrive, turns until all have been looked at and ticks, without an allocation; what was sent.
fn quietly(rig: &mut Rig, port: usize, frames: &[Vec<u8>], what: &str) -> Vec<(usize, Vec<u8>)> {
    let (mut sent, now) = (Vec::new(), rig.now);
    for frames in frames.chunks(64) {
        for frame in frames {
            let (memory, port) = rig.worker.frames_and_port(port).unwrap();
            assert!(port.inject(memory, frame));
        }
        assert_eq!(allocations(|| _ = rig.worker.turn(now)), 0, "{what}: a turn");
        assert_eq!(allocations(|| rig.worker.tick(now)), 0, "{what}: a tick");
        sent.extend(rig.turn());
    }
    sent
}

#[test]
fn full_nat_tunnels_persistence_and_choices_by_load_allocate_nothing() {
    use ringlead_wire::TcpFlags;
    use ringlead_wire::build::Packet;
    let plan = Plan { on_no_server: OnNoServer::Unreachable, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    let space = PortSpace::new(OURS4.parse::<std::net::IpAddr>().unwrap().into());
    let ports = Arc::new(SnatPool::new(vec![Arc::new(space)], 20_032..=20_159, 1).unwrap());
    let spec = StickySpec { entries: 1024, prefix_v4: 32, prefix_v6: 64, timeout_ticks: 4000, seed: [3; 16] };
    let sticky = Arc::new(Sticky::new(&spec).unwrap());
    rig.publish(more_tables(&plan, 2, &[0, 1, 2], &ports, &sticky));
    let frames = |clients: std::ops::Range<usize>| -> Vec<Vec<u8>> {
        let services = [SNAT, STICKY, LIMITED, TUNNEL44, TUNNEL46];
        let pairs = clients.flat_map(|n| services.map(|at| (format!("198.51.100.{n}:{}", 1000 + n), at)));
        let packets = pairs.flat_map(|(client, at)| {
            [Packet::udp(&client, at), Packet::tcp(&client, at).flags(TcpFlags::SYN).payload([1; 200])]
        });
        packets.map(|packet| from_client(packet).build()).collect()
    };
    let known = frames(0..40);
    let sent = quietly(&mut rig, WAN, &known, "new flows");
    assert_eq!((sent.len(), ports.usage().udp.used), (400, 40), "drops: {:?}", rig.drops());
    assert_eq!(quietly(&mut rig, WAN, &known, "known flows").len(), 400);
    let ours = |frame: &&(usize, Vec<u8>)| frame.1[26..30] == [10, 2, 0, 250] && frame.1[23] == 17;
    let reply = |(_, frame): &(usize, Vec<u8>)| {
        let (mapping, server) = ends(frame);
        from_server(server_of(frame), Packet::udp(server, mapping)).build()
    };
    let replies: Vec<_> = sent.iter().filter(ours).map(reply).collect();
    assert_eq!(quietly(&mut rig, LAN, &replies, "replies").len(), 40);
    let twice: Vec<_> = frames(250..253).into_iter().flat_map(|frame| [frame.clone(), frame]).collect();
    assert_eq!(quietly(&mut rig, WAN, &twice, "two packets of a new flow at once").len(), 60);
    // Servers go down: datagrams choose again and leave their ports behind.
    rig.publish(more_tables(&plan, 3, &[1, 2], &ports, &sticky));
    quietly(&mut rig, WAN, &known, "a server down");
    assert!(ports.usage().udp.quarantined > 0);
    // More clients than there are ports and places.
    quietly(&mut rig, WAN, &frames(40..250), "exhaustion");
    assert!(rig.drops_of(ringlead_l4::drops::Reason::SnatExhausted) > 0 && rig.counters().made.get() > 0);
    // Flows end, ports come back, clients are known again.
    for _ in 0..60 {
        rig.now += 8 * SECOND;
        let now = rig.now;
        assert_eq!(allocations(|| (0..200).for_each(|_| rig.worker.tick(now))), 0, "ageing");
    }
    assert_eq!((rig.shared.flows.len(), ports.usage().udp.used + ports.usage().udp.quarantined), (0, 0));
    assert_eq!(quietly(&mut rig, WAN, &known, "clients that come back").len(), 400);
}

/// Either end's segments of a server that ends its connections: the answer, and what the other end gets.
#[test]
fn resets_to_both_ends_allocate_nothing() {
    use ringlead_l4::tables::Ends;
    use ringlead_wire::TcpFlags;
    use ringlead_wire::build::Packet;
    let plan = Plan::default();
    let mut rig = Rig::new(&plan);
    let client = |n: usize| format!("198.51.100.7:{}", 1000 + n);
    let ask = |n: usize| from_client(Packet::tcp(client(n), [NAT4, DSR4, TUNNEL44][n % 3])).build();
    let asks: Vec<_> = (0..12).map(ask).collect();
    let servers: Vec<_> = quietly(&mut rig, WAN, &asks, "flows").iter().map(|(_, f)| server_of(f)).collect();
    let answer = |n: usize| Packet::tcp(server_address(servers[n], false), client(n)).flags(TcpFlags::ACK);
    let answers: Vec<_> = (0..12).step_by(3).map(|n| from_server(servers[n], answer(n)).build()).collect();
    let mut tables = tables_with(&plan, 2, &[]);
    tables.servers = tables
        .servers
        .iter()
        .cloned()
        .map(|server| server.map(|s| Server { ends: Ends::Reset, ..s }))
        .collect();
    tables.ends_flows = true;
    rig.publish(tables);
    rig.tick();
    for (port, frames) in [(WAN, &asks), (LAN, &answers)] {
        assert_eq!(quietly(&mut rig, port, frames, "resets").len(), 2 * frames.len());
    }
    assert_eq!(rig.drops_of(ringlead_l4::drops::Reason::FlowReset), 16);
}
