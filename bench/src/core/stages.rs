//! Parts of a turn by themselves, and the port without a turn.

use crate::core::cell::replies;
use crate::core::clock;
use crate::core::round::Task;
use crate::core::world::{CHUNKS, LAN, Lane, Segment, WAN};
use ringlead_flow::{Flow, Tick, Tuple};
use ringlead_io::port::BURST;
use ringlead_io::{FrameList, MemPort, Port};
use ringlead_l4::Worker;
use ringlead_l4::tables::Mode;
use ringlead_wire::{Ip, Meta, parse, rewrite};
use std::hint::black_box;

/// How far ahead a stage that runs alone fetches headers, as the packet path does.
const AHEAD: usize = 8;
/// Ethernet addresses to write.
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 0, 0xa1]];

/// From which port to which frames go when only clients send.
pub(super) const CLIENTS_ONLY: &[(usize, usize)] = &[(WAN, LAN)];

/// From which port to which frames go.
pub(super) const fn routes(mode: Mode) -> &'static [(usize, usize)] {
    if replies(mode) { &[(WAN, LAN), (LAN, WAN)] } else { CLIENTS_ONLY }
}

/// The port alone: what bursts cost that go from one ring to the other untouched.
pub(super) fn floor(worker: &mut Worker<MemPort>, routes: &[(usize, usize)], turns: usize) -> u64 {
    let mut list = FrameList::new();
    clock::timed(|| {
        for _ in 0..turns {
            for &(from, to) in routes {
                for (queue, receive) in [(from, true), (to, false)] {
                    let Some((frames, port)) = worker.frames_and_port(queue) else { continue };
                    black_box(if receive { port.rx(frames, &mut list) } else { port.tx(frames, &mut list) });
                }
            }
        }
    })
}

pub(super) fn parse_alone(task: &Task<'_>, lane: &mut Lane) -> u64 {
    lane.write(task.traffic, CHUNKS);
    let mut metas = [Meta::default(); BURST];
    let frames = &*lane.worker.frames();
    clock::timed(|| {
        for burst in lane.idle.chunks(BURST) {
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

pub(super) fn lookup_alone(task: &Task<'_>, lane: &mut Lane) -> u64 {
    lane.write(task.traffic, CHUNKS);
    let tuples: Vec<Tuple> = metas(lane).iter().map(Tuple::from).collect();
    let now = Tick::from_nanos(task.now_ns);
    let mut found: [Option<Flow>; BURST] = [None; BURST];
    let mut hits = 0;
    let time = clock::timed(|| {
        for burst in tuples.chunks(BURST) {
            task.table.lookup_burst(burst, &mut found, now);
            hits += usize::from(black_box(&found)[BURST - 1].is_some());
        }
    });
    assert_eq!(hits, CHUNKS / BURST, "look-ups that miss are no measure");
    time
}

pub(super) fn rewrite_alone(task: &Task<'_>, lane: &mut Lane) -> u64 {
    let sent = lane.write(task.traffic, CHUNKS);
    let metas = metas(lane);
    let targets: Vec<(Ip, u16)> =
        sent.iter().map(|&(segment, flow)| task.traffic.target(segment, flow)).collect();
    let translated = replies(task.mode);
    let mut idle = std::mem::take(&mut lane.idle);
    let frames = lane.worker.frames();
    let time = clock::timed(|| {
        let work = sent.iter().zip(&metas).zip(&targets);
        for (n, ((&(segment, _), meta), &(ip, port))) in work.enumerate() {
            if let Some(frame) = idle.get(n + AHEAD) {
                frames.prefetch(frame);
            }
            let bytes = frames.bytes_mut(&mut idle[n]);
            if translated {
                match segment {
                    Segment::Ask | Segment::First => rewrite::to_server(bytes, meta, ip, port),
                    Segment::Answer => rewrite::to_client(bytes, meta, ip, port),
                }
                rewrite::decrement_ttl(bytes, meta);
            }
            rewrite::set_ethernet(bytes, MACS[0], MACS[1]);
        }
    });
    lane.idle = idle;
    time
}

/// The headers of all idle frames.
fn metas(lane: &mut Lane) -> Vec<Meta> {
    let frames = &*lane.worker.frames();
    let meta = |frame| parse(frames.bytes(frame)).expect("what was written can be parsed");
    lane.idle.iter().map(meta).collect()
}
