//! Judging allocates nothing, a loss and a duplicate included once their examples are kept; neither does a stamp.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![allow(clippy::wildcard_enum_match_arm, reason = "tests meet few of etherparse's headers")]

mod honest;

use honest::{Plan, at_server, forward, server};
use ringlead_witness::{Checksum, Kind, Latency, Limits, Stamp, Transport, Witness};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

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
fn nothing_is_allocated_a_frame() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1, "the counter counts");
    let plan = Plan { vlan: None, checksum: Checksum::Right, extra: 40, fragmentable: false };
    let limits = Limits { examples: 1, ..Limits::flows(8) };
    let mut witness = Witness::new(honest::expectation(), plan, honest::TRIAL, limits).unwrap();
    let frames: Vec<_> = (0..8)
        .flat_map(|flow| (0..400).map(move |seq| (flow, seq)))
        .filter(|(_, seq)| seq % 90 != 7)
        .map(|(flow, seq)| {
            (forward(flow, &plan.frame(flow, seq), server(flow, 0)).encode(Checksum::Right), flow)
        })
        .collect();
    // The first duplicate is kept in words.
    for _ in 0..2 {
        witness.look(&frames[0].0, &at_server(server(frames[0].1, 0), 1));
    }
    let mut latency = Latency::new();
    let made = allocations(|| {
        for (frame, flow) in &frames {
            let arrival = at_server(server(*flow, 0), 5);
            witness.look(frame, &arrival);
            witness.look(frame, &arrival);
            latency.record(777);
        }
    });
    assert_eq!(made, 0);
    assert_eq!(latency.histogram().len(), witness.so_far().forward.received / 2 - 1);
    assert!(witness.so_far().count(Kind::Duplicate) > 3000);

    let layout = ringlead_witness::Layout::new(Transport::Udp, 8, 1000).unwrap();
    let mut frame = vec![0; 1042];
    layout.fill(&mut frame, 34);
    let write = || {
        layout.write(&mut frame, 34, &Stamp::default());
    };
    assert_eq!(allocations(write), 0);
}
