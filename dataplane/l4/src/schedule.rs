//! Stage: misses only. Pick a server and make the flow, or give the declared answer.

use crate::answer;
use crate::burst::Fate;
use crate::choose::{Outcome, Request, Sources, ahead, answers, begins};
use crate::drops::Reason;
use crate::tables::{Delivery, Service, protocol};
use crate::tunnel::Entrance;
use crate::worker::Worker;
use ringlead_flow::snat::Mapping;
use ringlead_flow::{Link, Packed, ServerId, Tuple};
use ringlead_io::Port;
use ringlead_wire::mss::clamp_mss;
use ringlead_wire::{Kind, checksum};
use std::sync::Arc;

/// Serves every miss of the burst: picks all servers and asks for the memory that the inserts will need, then inserts.
#[inline(never)]
pub(crate) fn schedule<P: Port>(worker: &mut Worker<P>, queue: usize) {
    let misses = worker.burst.misses.len();
    worker.burst.sources = false;
    for miss in 0..misses {
        pick_ahead(worker, miss);
    }
    if worker.burst.sources {
        (0..misses).for_each(|miss| take_ahead(worker, miss));
    }
    for miss in 0..misses {
        schedule_one(worker, queue, miss);
    }
}

/// Makes the algorithm's own choice for a miss. Only a packet that may make a flow takes a turn of round-robin: what comes
/// between must not lead every other client to the same server.
fn pick_ahead<P: Port>(worker: &mut Worker<P>, miss: usize) {
    let burst = &mut *worker.burst;
    let (Some(picked), Some(drawn), Some(taken)) =
        (burst.picked.get_mut(miss), burst.drawn.get_mut(miss), burst.taken.get_mut(miss))
    else {
        return;
    };
    (*picked, *drawn, *taken) = (None, None, None);
    let Some((place, slot)) = miss_of(&burst.misses, &burst.wanted, miss) else { return };
    let (Some(service), Some(key)) = (worker.tables.services.get(slot), burst.keys.get(place)) else {
        return;
    };
    let meta = burst.live.get(place).and_then(|&frame| burst.metas.get(usize::from(frame)));
    if !service.recomputes() && !meta.is_some_and(begins) {
        return;
    }
    let mut cursor = worker.cursors.get_mut(usize::from(service.pool.index));
    let tuple = key.tuple();
    *picked = ahead(&worker.tables, &worker.shared.loads, service, &tuple, worker.tick, &mut cursor);
    let Some(server) = picked.and_then(|id| worker.tables.server(id)) else { return };
    match &service.delivery {
        Delivery::Nat => worker.flows.prefetch(&Packed::from(&answers(server, &tuple))),
        Delivery::Snat(ports) => {
            let Some(protocol) = protocol(tuple.proto) else { return };
            let v4 = server.ip.is_v4();
            *drawn = ports.draw(worker.config.index, protocol, v4, &mut worker.random);
            burst.sources |= drawn.is_some();
        }
        Delivery::Dsr | Delivery::Tunnel(_) => {}
    }
}

/// Takes the source port that was chosen for a miss, and asks for the memory that the insert will need for it: the port is
/// half of the key of the server's packets.
fn take_ahead<P: Port>(worker: &mut Worker<P>, miss: usize) {
    let burst = &mut *worker.burst;
    let Some((taken, drawn)) = burst.taken.get_mut(miss).zip(burst.drawn.get(miss).copied().flatten()) else {
        return;
    };
    let Some((place, slot)) = miss_of(&burst.misses, &burst.wanted, miss) else { return };
    let (Some(service), Some(key), Some(server)) = (
        worker.tables.services.get(slot),
        burst.keys.get(place),
        burst.picked.get(miss).copied().flatten().and_then(|id| worker.tables.server(id)),
    ) else {
        return;
    };
    let tuple = key.tuple();
    let (Delivery::Snat(ports), Some(protocol)) = (&service.delivery, protocol(tuple.proto)) else { return };
    let v4 = server.ip.is_v4();
    *taken = ports.take_drawn(worker.config.index, protocol, v4, Some(drawn), &mut worker.random);
    if let Some(ours) = *taken {
        let answers = Packed::from(&Tuple { dst: ours.ip, dport: ours.port, ..answers(server, &tuple) });
        // A flow with a tuple of each family has both among the IPv6 ones.
        let widened = if tuple.is_v4() == v4 { None } else { answers.widened() };
        worker.flows.prefetch(&widened.unwrap_or(answers));
    }
}

/// A miss that wants a service: its place in `live`, and the service's slot.
fn miss_of(misses: &[u8], wanted: &[Option<u16>], miss: usize) -> Option<(usize, u16)> {
    let (live, slot) = misses.get(miss).zip(wanted.get(miss).copied().flatten())?;
    Some((usize::from(*live), slot))
}

fn schedule_one<P: Port>(worker: &mut Worker<P>, queue: usize, miss: usize) {
    let tables = Arc::as_ref(&worker.tables);
    let burst = &mut *worker.burst;
    let Some((place, slot)) = miss_of(&burst.misses, &burst.wanted, miss) else { return };
    let (Some(service), Some(&frame), Some(key)) =
        (tables.services.get(slot), burst.live.get(place), burst.keys.get(place))
    else {
        return;
    };
    let frame = usize::from(frame);
    let Some(meta) = burst.metas.get(frame) else { return };
    let bytes = burst.frames.get(frame).map_or(&[][..], |f| worker.frames.bytes(f));
    let port = worker.queues.get(queue).map_or(0, |q| q.port_index);
    let link = Link { mac: source_mac(bytes), port, vlans: meta.vlans, vlan: meta.vlan };
    let mut cursor = worker.cursors.get_mut(usize::from(service.pool.index));
    let picked = burst.picked.get(miss).copied().flatten();
    let tuple = &key.tuple();
    let request = Request {
        tables,
        flows: &worker.flows,
        loads: &worker.shared.loads,
        neighbours: &worker.shared.neighbours,
        ends: &worker.shared.ends,
        service,
        tuple,
        meta,
        link,
        picked,
        now: worker.tick,
        now_us: worker.now_us,
        worker: worker.config.index,
    };
    let Some(hit) = burst.hits.get_mut(place) else { return };
    let ahead = burst.taken.get_mut(miss).and_then(Option::take);
    let mut sources = Sources { ahead, random: &mut worker.random };
    let outcome = request.serve(&mut cursor, &mut sources, hit);
    if let Some(left) = sources.ahead {
        give_back(service, left, tuple);
    }
    let fate = match outcome {
        Outcome::Flow(new) => {
            if new {
                worker.tally.flows_created += 1;
                worker.counters.service(slot).inspect(|counters| counters.flows.add(1));
            }
            burst.found |= 1 << place;
            burst.new |= u64::from(new) << place;
            Fate::Pending
        }
        Outcome::Stateless(server) => {
            worker.tally.stateless += 1;
            without_flow(worker, queue, frame, slot, server)
        }
        Outcome::Unknown => {
            let what = "tcp reset, the connection is not known";
            let told = answer::reset(worker, queue, frame, Reason::OwnNode, what);
            Fate::Drop(told.err().unwrap_or(Reason::OwnNode).into())
        }
        Outcome::Refuse(reason) => answer::refuse(worker, service.on_no_server, queue, frame, reason),
        Outcome::Drop(reason) => Fate::Drop(reason.into()),
    };
    if let Some(decided) = worker.burst.fates.get_mut(frame) {
        *decided = fate;
    }
}

/// Frees the port that was taken for a packet whose flow is there by now, or that cannot be served.
#[cold]
fn give_back(service: &Service, left: Mapping, tuple: &Tuple) {
    if let (Delivery::Snat(ports), Some(protocol)) = (&service.delivery, protocol(tuple.proto)) {
        ports.never_used(left.ip, left.port, protocol);
    }
}

/// Sends a packet to its server without an entry.
fn without_flow<P: Port>(
    worker: &mut Worker<P>,
    queue: usize,
    place: usize,
    slot: u16,
    server: ServerId,
) -> Fate {
    let partial = worker.queues.get(queue).is_some_and(|q| q.partial_checksums);
    let burst = &mut *worker.burst;
    let (Some(frame), Some(meta)) = (burst.frames.get_mut(place), burst.metas.get_mut(place)) else {
        return Fate::Drop(Reason::NoServer.into());
    };
    if partial && meta.kind != Kind::IcmpError && checksum::fix_partial(worker.frames.bytes_mut(frame), meta)
    {
        worker.tally.completed_checksums += 1;
    }
    if let (Some(most), Kind::Tcp) = (worker.tables.services.get(slot).and_then(|s| s.mss), meta.kind) {
        clamp_mss(worker.frames.bytes_mut(frame), meta, most);
    }
    let mut entrance = Entrance {
        tables: &worker.tables,
        neighbours: &worker.shared.neighbours,
        frames: &mut worker.frames,
        frame_max: &worker.frame_max,
        macs: &worker.macs,
        ids: &mut worker.ids,
    };
    entrance.enter(frame, meta, slot, server)
}

/// The Ethernet source address; zero for a frame too short to have one, which parsing has dropped already.
#[inline]
pub(crate) fn source_mac(frame: &[u8]) -> [u8; 6] {
    frame.get(6..).and_then(|rest| rest.first_chunk::<6>()).copied().unwrap_or_default()
}
