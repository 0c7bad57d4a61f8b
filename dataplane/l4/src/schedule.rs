//! Stage: misses only. Pick a server and make the flow, or give the declared answer.

use crate::answer;
use crate::burst::Fate;
use crate::drops::Reason;
use crate::tables::{Chooser, Pool, Server, Service, Tables, Way};
use crate::tunnel::Entrance;
use crate::worker::Worker;
use ringlead_flow::{Flow, FlowSpec, FlowTable, Hit, Inserted, Link, Packed, ServerId, Tick, Tuple};
use ringlead_io::Port;
use ringlead_pick::Cursor;
use ringlead_wire::{Kind, Meta, checksum};
use std::sync::Arc;

/// How many servers are tried when the reply's addresses and ports are already another flow's.
const CHOICES: u32 = 4;

/// Serves every miss of the burst: picks all servers and asks for the memory that the inserts will need, then inserts.
#[inline(never)]
pub(crate) fn schedule<P: Port>(worker: &mut Worker<P>, queue: usize) {
    let misses = worker.burst.misses.len();
    for miss in 0..misses {
        pick_ahead(worker, miss);
    }
    for miss in 0..misses {
        schedule_one(worker, queue, miss);
    }
}

/// What scheduling one packet came to.
enum Outcome {
    /// It has a flow now; `true`: this packet made it.
    Flow(Flow, bool),
    /// Forward it to this server without an entry.
    Stateless(ServerId),
    /// No server takes it: the declared answer.
    NoServer,
    /// Drop it.
    Drop(Reason),
}

/// Makes the algorithm's own choice for a miss. Only a packet that may make a flow takes a turn of round-robin: what comes
/// between must not lead every other client to the same server.
fn pick_ahead<P: Port>(worker: &mut Worker<P>, miss: usize) {
    let burst = &mut *worker.burst;
    let Some(picked) = burst.picked.get_mut(miss) else { return };
    *picked = None;
    let Some((place, slot)) = miss_of(&burst.misses, &burst.wanted, miss) else { return };
    let (Some(service), Some(key)) = (worker.tables.services.get(slot), burst.keys.get(place)) else {
        return;
    };
    let meta = burst.live.get(place).and_then(|&frame| burst.metas.get(usize::from(frame)));
    if !service.pool.chooser.recomputes() && !meta.is_some_and(begins) {
        return;
    }
    let mut cursor = worker.cursors.get_mut(usize::from(service.pool.index));
    let tuple = key.tuple();
    *picked = pick(&worker.tables, &service.pool, &tuple, 0, &mut cursor);
    if service.delivery.is_two_sided()
        && let Some(server) = picked.and_then(|id| worker.tables.server(id))
    {
        worker.flows.prefetch(&Packed::from(&answers(server, &tuple)));
    }
}

/// Whether a packet begins a conversation, as far as it shows.
fn begins(meta: &Meta) -> bool {
    meta.kind == Kind::Udp || meta.kind == Kind::Tcp && meta.flags.is_syn()
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
    let request =
        Request { tables, flows: &worker.flows, service, tuple, meta, link, picked, now: worker.tick };
    let fate = match request.choose(&mut cursor) {
        Outcome::Flow(flow, new) => {
            if new {
                worker.tally.flows_created += 1;
                worker.counters.add_server_flows(flow.server_id.0, 1);
                worker.counters.service(slot).inspect(|counters| counters.flows.add(1));
            }
            if let Some(hit) = burst.hits.get_mut(place) {
                *hit = Hit::from(&flow);
                burst.found |= 1 << place;
                burst.new |= u64::from(new) << place;
            }
            Fate::Pending
        }
        Outcome::Stateless(server) => {
            worker.tally.stateless += 1;
            without_flow(worker, queue, frame, slot, server)
        }
        Outcome::NoServer => {
            let answer = service.on_no_server;
            Fate::Drop(answer::no_server(worker, answer, queue, frame).into())
        }
        Outcome::Drop(reason) => Fate::Drop(reason.into()),
    };
    if let Some(decided) = worker.burst.fates.get_mut(frame) {
        *decided = fate;
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
    let mut entrance = Entrance {
        tables: &worker.tables,
        neighbours: &worker.shared.neighbours,
        frames: &mut worker.frames,
        frame_max: &worker.frame_max,
        next_id: &mut worker.next_id,
    };
    entrance.enter(frame, meta, slot, server)
}

/// One packet that asks for a server.
struct Request<'a> {
    tables: &'a Tables,
    flows: &'a FlowTable,
    service: &'a Service,
    tuple: &'a Tuple,
    meta: &'a Meta,
    link: Link,
    /// The algorithm's own choice, made ahead.
    picked: Option<ServerId>,
    now: Tick,
}

impl Request<'_> {
    fn choose(&self, cursor: &mut Option<&mut Cursor>) -> Outcome {
        let pool = &*self.service.pool;
        let recomputes = pool.chooser.recomputes();
        if self.meta.kind == Kind::IcmpError {
            // An error never makes a flow; where the server can be computed again, and answers by itself, it needs none.
            let computed = (recomputes && !self.service.delivery.is_two_sided()).then_some(self.picked);
            return computed.flatten().map_or(Outcome::Drop(Reason::IcmpWithoutFlow), Outcome::Stateless);
        }
        if !recomputes && !begins(self.meta) {
            return Outcome::Drop(Reason::UnknownFlow);
        }
        for attempt in 0..CHOICES {
            let mut again = || pick(self.tables, pool, self.tuple, attempt, cursor);
            let Some(id) = (if attempt == 0 { self.picked } else { again() }) else {
                return Outcome::NoServer;
            };
            let Some(server) = self.tables.server(id) else { return Outcome::NoServer };
            match self.flows.insert(&self.spec(id, server), self.now) {
                Inserted::New(flow) => return Outcome::Flow(flow, true),
                Inserted::Existing(flow) => return Outcome::Flow(flow, false),
                Inserted::TupleTaken => {}
                Inserted::Full | Inserted::Contended
                    if recomputes && !self.service.delivery.is_two_sided() =>
                {
                    return Outcome::Stateless(id);
                }
                Inserted::Full => return Outcome::Drop(Reason::TableFull),
                Inserted::Contended => return Outcome::Drop(Reason::Contended),
            }
        }
        Outcome::Drop(Reason::TupleTaken)
    }

    fn spec(&self, id: ServerId, server: &Server) -> FlowSpec {
        FlowSpec {
            client: *self.tuple,
            server: self.service.delivery.is_two_sided().then(|| answers(server, self.tuple)),
            server_id: id,
            service: Way::mark(self.service.id, &self.service.delivery),
            profile: self.service.profile,
            link: self.link,
            first: self.meta.flags,
        }
    }
}

/// The server for a packet; attempt 0 is the algorithm's own choice, later ones are its next.
fn pick(
    tables: &Tables,
    pool: &Pool,
    tuple: &Tuple,
    attempt: u32,
    cursor: &mut Option<&mut Cursor>,
) -> Option<ServerId> {
    let member = match &pool.chooser {
        Chooser::Maglev(table) => {
            let t = tuple;
            let hash = tables.hash.flow(t.src, t.dst, t.sport, t.dport, t.proto);
            table.pick_again(hash, attempt)
        }
        Chooser::RoundRobin(turns) => turns.next(cursor.as_deref_mut()?),
    };
    pool.members.get(member?).copied()
}

/// As the server answers the client.
fn answers(server: &Server, client: &Tuple) -> Tuple {
    let port = if server.port == 0 { client.dport } else { server.port };
    Tuple { src: server.ip, sport: port, dst: client.src, dport: client.sport, proto: client.proto }
}

/// The Ethernet source address; zero for a frame too short to have one, which parsing has dropped already.
#[inline]
pub(crate) fn source_mac(frame: &[u8]) -> [u8; 6] {
    frame.get(6..).and_then(|rest| rest.first_chunk::<6>()).copied().unwrap_or_default()
}
