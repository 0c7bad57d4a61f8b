//! The packet path allocates nothing: a counting allocator watches turns and ticks.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests report by panicking, and count small numbers"
)]

use ringlead_l4::tables::OnNoServer;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[path = "it/rig.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod rig;
use rig::*;
#[path = "it/mixed.rs"]
mod mixed;
use mixed::*;

struct Counting;

thread_local! {
    /// Of this test: others run beside it.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller keeps alloc's contract, which is the system's.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller keeps dealloc's contract, which is the system's.
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations made by `body`.
fn allocations(body: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    body();
    ALLOCATIONS.get() - before
}

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
