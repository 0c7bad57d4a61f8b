//! Parts of a turn by themselves, and the port without a turn.

use crate::core::cell::replies;
use crate::core::clock;
use crate::core::round::Task;
use crate::core::world::{CHUNKS, LAN, Lane, Segment, WAN};
use ringlead_flow::{Hit, Packed, Tick, Tuple};
use ringlead_io::port::BURST;
use ringlead_io::{FrameList, MemPort, Port};
use ringlead_l4::Worker;
use ringlead_l4::tables::Mode;
use ringlead_wire::parse::parse_into;
use ringlead_wire::{Ip, Meta, parse, rewrite};
use std::hint::black_box;

/// How far ahead a stage that runs alone fetches headers, as the packet path does.
const AHEAD: usize = 8;
/// Ethernet addresses to write.
const MACS: [u64; 2] = [0x0200_0000_0101, 0x0200_0000_00a1];

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
                parse_into(frames.bytes(frame), meta).expect("what was written can be parsed");
            }
            black_box(&metas);
        }
    })
}

pub(super) fn lookup_alone(task: &Task<'_>, lane: &mut Lane) -> u64 {
    lane.write(task.traffic, CHUNKS);
    let tuples: Vec<Packed> = metas(lane).iter().map(|meta| Packed::from(&Tuple::from(meta))).collect();
    let now = Tick::from_nanos(task.now_ns);
    let mut hits = [Hit::NONE; BURST];
    let mut full = 0;
    let time = clock::timed(|| {
        for burst in tuples.chunks(BURST) {
            let found = task.table.lookup_burst(burst, &mut hits, now);
            black_box(&hits);
            full += usize::from(found == u64::MAX);
        }
    });
    assert_eq!(full, CHUNKS / BURST, "look-ups that miss are no measure");
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
                let (ip4, ip6, port) = (ip.last4(), ip.octets(), port.to_be_bytes());
                match (segment, meta.v4) {
                    (Segment::Ask | Segment::First, true) => {
                        rewrite::route_to_server_v4(bytes, meta, ip4, port);
                    }
                    (Segment::Ask | Segment::First, false) => {
                        rewrite::route_to_server_v6(bytes, meta, ip6, port);
                    }
                    (Segment::Answer, true) => rewrite::route_to_client_v4(bytes, meta, ip4, port),
                    (Segment::Answer, false) => rewrite::route_to_client_v6(bytes, meta, ip6, port),
                }
            }
            rewrite::set_macs(bytes, MACS[0], MACS[1]);
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
