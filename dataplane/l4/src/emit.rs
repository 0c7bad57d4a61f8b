//! Stage: every frame of the burst gets its next owner: a port, the waiting room, or the free list with a named reason.

use crate::answer;
use crate::burst::{Egress, Fate};
use crate::drops::{Drop, Reason};
use crate::hold::{HELD_NS, HeldFrame};
use crate::rewrite::UNTAGGED;
use crate::tables::ServiceId;
use crate::verdict::Verdict;
use crate::worker::Worker;
use ringlead_flow::Side;
use ringlead_io::{Frame, Frames, Port};
use ringlead_wire::rewrite as wire;

/// Gives every frame of the burst away.
#[inline(never)]
pub(crate) fn emit<P: Port>(worker: &mut Worker<P>, queue: usize, now_ns: u64) {
    let mut frames = std::mem::take(&mut worker.burst.frames);
    for (place, frame) in frames.drain(..).enumerate() {
        if P::NOTES {
            note(worker, queue, place, &frame);
        }
        let l3 = worker.burst.metas.get(place).map_or(0, |meta| meta.l3);
        match worker.burst.fates.get(place).copied() {
            Some(Fate::Ready(port)) => queue_up(worker, frame, port, 0),
            Some(Fate::Send(egress)) => send(worker, frame, l3, egress),
            Some(Fate::Hold(neighbour)) => {
                let held = HeldFrame { frame, l3, neighbour, until_ns: now_ns + HELD_NS };
                if let Err(held) = worker.held.push(held) {
                    refuse(worker, held.frame, Reason::HoldFull);
                }
            }
            Some(Fate::Drop(reason)) => {
                charge(worker, place, reason);
                drop_frame(worker, frame, reason);
            }
            Some(Fate::Answer(reason, made)) => {
                charge(worker, place, reason.into());
                answer::tell(worker, queue, place, &frame, made);
                drop_frame(worker, frame, reason.into());
            }
            Some(Fate::Pending) | None => {
                debug_assert!(false, "a stage left a frame without a fate");
                drop_frame(worker, frame, Reason::NotOurs.into());
            }
        }
    }
}

/// Counts a frame that is about to be dropped for the service of its flow, or else for the one that it asked for.
#[cold]
fn charge<P: Port>(worker: &Worker<P>, place: usize, reason: Drop) {
    let Some(reason) = reason.of_service() else { return };
    let burst = &*worker.burst;
    let live = burst.live.iter().take(burst.lives).position(|&live| usize::from(live) == place);
    let Some(live) = live else { return };
    let slot = match burst.hit(live) {
        Some(hit) => worker.tables.service(ServiceId::from_u32(hit.service())).map(|service| service.id.slot),
        None => {
            let miss = burst.misses.iter().position(|&miss| usize::from(miss) == live);
            miss.and_then(|miss| burst.wanted.get(miss).copied().flatten())
        }
    };
    if let Some(slot) = slot {
        worker.counters.drop_of_service(slot, reason);
    }
}

/// Counts a frame of the burst as dropped that goes on as one of our own.
#[cold]
pub(crate) fn count_drop<P: Port>(worker: &mut Worker<P>, place: usize, reason: Reason) {
    charge(worker, place, reason.into());
    worker.tally.dropped += 1;
    if let Some(count) = worker.dropped.get_mut(Drop::from(reason).index()) {
        *count += 1;
    }
}

/// Labels a frame for its next hop and queues it on its port.
#[inline(never)]
pub(crate) fn send<P: Port>(worker: &mut Worker<P>, mut frame: Frame, l3: u16, egress: Egress) {
    let src = worker.macs.get(usize::from(egress.port())).copied().unwrap_or_default();
    if !label(&mut worker.frames, &mut frame, l3, egress, src) {
        return refuse(worker, frame, Reason::NoRoom);
    }
    queue_up(worker, frame, egress.port(), 4 * egress.vlans());
}

/// Queues a frame on its port, of whose bytes `tags` are VLAN tags.
#[inline]
fn queue_up<P: Port>(worker: &mut Worker<P>, frame: Frame, port: u8, tags: usize) {
    let local = worker.egress.get(usize::from(port)).copied().unwrap_or(u8::MAX);
    let Some(queue) = worker.queues.get_mut(usize::from(local)) else {
        return refuse(worker, frame, Reason::NoPort);
    };
    if frame.len() > queue.frame_max + tags {
        return refuse(worker, frame, Reason::TooBig);
    }
    if let Err(full) = queue.out.try_push(frame) {
        make_room(worker, usize::from(local), full.element());
    }
}

/// Queues an answer on the queue that its question came from; it is labelled already. `what` it is, for those who write
/// it down.
pub(crate) fn send_answer<P: Port>(worker: &mut Worker<P>, queue: usize, frame: Frame, what: &'static str) {
    if P::NOTES
        && let Some(q) = worker.queues.get_mut(queue)
    {
        q.port.note(&worker.frames, &frame, &Verdict::Answer(what));
    }
    make_room(worker, queue, frame);
}

/// Puts a frame at the end of a queue's way out, which may have to be emptied first.
#[inline(never)]
fn make_room<P: Port>(worker: &mut Worker<P>, queue: usize, frame: Frame) {
    let Some(q) = worker.queues.get_mut(queue) else {
        return refuse(worker, frame, Reason::NoPort);
    };
    if q.out.is_full() {
        worker.tally.sent += q.port.tx(&mut worker.frames, &mut q.out) as u64;
    }
    if let Err(full) = q.out.try_push(frame) {
        refuse(worker, full.element(), Reason::TxFull);
    }
}

/// Hands what is queued to the rings and tells the kernel, once a queue and turn.
#[inline]
pub(crate) fn flush<P: Port>(worker: &mut Worker<P>) {
    for q in &mut worker.queues {
        if !q.out.is_empty() {
            worker.tally.sent += q.port.tx(&mut worker.frames, &mut q.out) as u64;
        }
        q.port.kick();
    }
}

/// Drops a frame that was to be sent or held, and takes that verdict back where verdicts are written down.
#[cold]
fn refuse<P: Port>(worker: &mut Worker<P>, frame: Frame, reason: Reason) {
    if P::NOTES
        && let Some(q) = worker.queues.first_mut()
    {
        q.port.note(&worker.frames, &frame, &Verdict::Dropped(reason.into()));
    }
    drop_frame(worker, frame, reason.into());
}

/// Gives a frame back and counts why.
#[inline]
pub(crate) fn drop_frame<P: Port>(worker: &mut Worker<P>, frame: Frame, reason: Drop) {
    worker.frames.free(frame);
    worker.tally.dropped += 1;
    if let Some(count) = worker.dropped.get_mut(reason.index()) {
        *count += 1;
    }
}

/// Writes the Ethernet header of the next hop, with its VLAN tags in place of those the frame came with.
fn label(frames: &mut Frames, frame: &mut Frame, l3: u16, egress: Egress, src: u64) -> bool {
    if egress.vlans() == 0 && l3 == UNTAGGED {
        wire::set_macs(frames.bytes_mut(frame), egress.mac, src);
        return true;
    }
    let l3 = usize::from(l3);
    let Some(&[high, low]) = frames.bytes(frame).get(..l3).and_then(|h| h.last_chunk::<2>()) else {
        return false;
    };
    let tags = egress.vlan();
    let tags = tags.get(..egress.vlans()).unwrap_or(&tags);
    let [[_, _, dst @ ..], [_, _, src @ ..]] = [egress.mac, src].map(u64::to_be_bytes);
    let (header, len) = wire::ethernet_header(tags, dst, src, u16::from_be_bytes([high, low]));
    let moved =
        if len > l3 { frames.grow_head(frame, len - l3) } else { frames.shrink_head(frame, l3 - len) };
    let place = frames.bytes_mut(frame).get_mut(..len);
    match (moved, place, header.get(..len)) {
        (true, Some(place), Some(header)) => {
            place.copy_from_slice(header);
            true
        }
        _ => false,
    }
}

/// Tells a driver that writes it down what was decided.
fn note<P: Port>(worker: &mut Worker<P>, queue: usize, place: usize, frame: &Frame) {
    let burst = &*worker.burst;
    let live = burst.live.iter().take(burst.lives).position(|&l| usize::from(l) == place);
    let flow = live.and_then(|k| burst.hit(k));
    let new = live.is_some_and(|k| burst.new >> k & 1 != 0);
    let tables = &*worker.tables;
    let names = flow.map(|flow| {
        let service = tables.service(ServiceId::from_u32(flow.service()));
        let server = tables.server(flow.server_id()).map_or("?", |s| &*s.name);
        (
            service.map_or("?", |s| &*s.name),
            service.map_or("?", |s| s.delivery.mode().name()),
            server,
            flow.side(),
        )
    });
    let verdict = match (burst.fates.get(place), names) {
        (Some(Fate::Drop(reason)), _) => Verdict::Dropped(*reason),
        (Some(Fate::Answer(reason, _)), _) => Verdict::Dropped((*reason).into()),
        (Some(Fate::Hold(_)), _) => Verdict::Held,
        (_, Some((service, mode, server, Side::Client))) => Verdict::ToServer { service, mode, server, new },
        (_, Some((service, _, server, Side::Server))) => Verdict::ToClient { service, server },
        (_, None) => Verdict::Stateless,
    };
    if let Some(q) = worker.queues.get_mut(queue) {
        q.port.note(&worker.frames, frame, &verdict);
    }
}
