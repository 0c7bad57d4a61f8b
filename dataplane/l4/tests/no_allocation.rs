//! The packet path allocates nothing: a counting allocator watches turns and ticks.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests report by panicking, and count small numbers"
)]

use ringlead_l4::tables::OnNoServer;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

#[path = "it/rig.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod rig;
use rig::*;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller keeps alloc's contract, which is the system's.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
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
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    body();
    ALLOCATIONS.load(Ordering::Relaxed) - before
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
