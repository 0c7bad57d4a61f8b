//! Stage: flows of servers that end theirs: of those that are down where their pool says so, and of those that an operator
//! has closed.

use crate::answer;
use crate::burst::Fate;
use crate::drops::Reason;
use crate::emit;
use crate::parse::narrow;
use crate::tables::{Ends, ServiceId, Tables};
use crate::worker::Worker;
use ringlead_flow::{Flow, Hit, Phase, ServerId, Side, State, Tick};
use ringlead_io::Port;
use ringlead_wire::reset::into_reset;
use ringlead_wire::{Kind, Meta, TcpFlags};

/// How long a flow stays after the last segment of it that was answered with a reset. Whoever sent data while the reset was on
/// its way takes that for an old one (RFC 5961 §3.2) and says so, and then gets another with the right number: for that the
/// flow must still be known.
const LINGER: u32 = 2 * Tick::PER_SECOND;

/// Lets go of the flows of the burst whose server ends them. Nothing is paid for it while no server does.
#[inline]
pub(crate) fn end<P: Port>(worker: &mut Worker<P>, queue: usize) {
    if worker.tables.ends_flows {
        end_some(worker, queue);
    }
}

/// What becomes of one packet of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// It goes on.
    Keep,
    /// The flow ends, and the packet is as one of none.
    ChooseAgain,
    /// It is answered with a reset, and its receiver gets one.
    Reset,
}

#[inline(never)]
fn end_some<P: Port>(worker: &mut Worker<P>, queue: usize) {
    let mut left = worker.burst.found;
    while left != 0 {
        let k = left.trailing_zeros() as usize;
        left &= left - 1;
        let Some(&place) = worker.burst.live.get(k) else { break };
        let place = usize::from(place);
        // What has been decided already was by tables that do not know its service.
        if !matches!(worker.burst.fates.get(place), Some(Fate::Pending)) {
            continue;
        }
        let (Some(hit), Some(meta)) = (worker.burst.hit(k), worker.burst.metas.get(place)) else { continue };
        match step(&worker.tables, hit, meta) {
            Step::Keep => {}
            Step::ChooseAgain => {
                if let Some(gone) = worker.flows.remove(hit) {
                    worker.tables.give_port_back(&gone.flow);
                    worker.shared.ends.left(&worker.tables, &gone);
                    worker.shared.loads.sub(gone.flow.server_id.0);
                    worker.counters.flows_ended.add(1);
                }
                worker.burst.found &= !(1 << k);
                worker.burst.misses.push(narrow(k));
            }
            Step::Reset => {
                let flow = hit.flow();
                reset(worker, queue, place, &flow);
            }
        }
    }
}

/// Answers a packet of a flow with a reset, and sends one on in its place, so that its receiver does not wait for ever if it
/// has nothing to say itself. Only the answer counts for the budget: what goes on is no more than had come.
fn reset<P: Port>(worker: &mut Worker<P>, queue: usize, place: usize, flow: &Flow) {
    let what = "tcp reset, the flow's server is down or closed";
    let reason = match answer::reset(worker, queue, place, Reason::ServerClosed, what) {
        Ok(()) => {
            worker.flows.reset(flow, worker.tick);
            if is_reachable(worker, flow) && goes_on_as_reset(worker, place) {
                // Two frames by the books: the one that came is dropped, and the one that goes on was made here.
                emit::count_drop(worker, place, Reason::FlowReset);
                worker.tally.made += 1;
                return;
            }
            Reason::FlowReset
        }
        Err(why) => why,
    };
    if let Some(fate) = worker.burst.fates.get_mut(place) {
        *fate = Fate::Drop(reason.into());
    }
}

/// Whether the way to whom a flow's packet goes is known: a reset for a server that is gone does not wait for it, where packets of
/// others may have to.
fn is_reachable<P: Port>(worker: &Worker<P>, flow: &Flow) -> bool {
    flow.side == Side::Server || {
        let server = worker.tables.server(flow.server_id);
        server.is_some_and(|server| worker.shared.neighbours.hop(server.neighbour).is_resolved())
    }
}

/// Makes a frame of the burst a reset from its sender to its receiver; the stages that follow send it on as they would have sent
/// the segment that it was.
fn goes_on_as_reset<P: Port>(worker: &mut Worker<P>, place: usize) -> bool {
    let burst = &mut *worker.burst;
    let (Some(frame), Some(meta)) = (burst.frames.get_mut(place), burst.metas.get_mut(place)) else {
        return false;
    };
    let Some(end) = into_reset(worker.frames.bytes_mut(frame), meta) else { return false };
    meta.end = end;
    meta.flags = TcpFlags(TcpFlags::RST);
    worker.frames.set_len(frame, end.into())
}

/// What becomes of a segment in the middle of a flow's connection.
pub(crate) fn of_segment(tables: &Tables, flow: &Flow) -> Step {
    let segment = Meta { kind: Kind::Tcp, flags: TcpFlags(TcpFlags::ACK), ..Meta::default() };
    if tables.ends_flows { step(tables, &Hit::from(flow), &segment) } else { Step::Keep }
}

fn step(tables: &Tables, hit: &Hit, meta: &Meta) -> Step {
    let ends = tables.server(hit.server_id()).map_or(Ends::Keep, |server| server.ends);
    let is_client = hit.side() == Side::Client;
    match (ends, meta.kind) {
        (Ends::Keep, _) => Step::Keep,
        // What the server has still said is no harm, and the client's next datagram goes elsewhere.
        (Ends::Reset | Ends::Reselect, Kind::Udp) if is_client => Step::ChooseAgain,
        // An end that resets its connection tells the other one.
        (Ends::Reset | Ends::Reselect, Kind::Tcp) if meta.flags.is_rst() => Step::Keep,
        (Ends::Reset | Ends::Reselect, Kind::Tcp) if is_client && meta.flags.is_syn() => Step::ChooseAgain,
        (Ends::Reset, Kind::Tcp) => Step::Reset,
        (Ends::Reselect, Kind::Tcp) if !recomputes(tables, hit) => Step::Reset,
        (Ends::Reselect, Kind::Tcp) if is_client => Step::ChooseAgain,
        _ => Step::Keep,
    }
}

/// Whether a segment in the middle of a connection finds another server; else it would be dropped, and its sender wait.
fn recomputes(tables: &Tables, hit: &Hit) -> bool {
    tables.service(ServiceId::from_u32(hit.service())).is_some_and(|service| service.recomputes())
}

/// Whether the sweep may end a flow: both ends were answered, or had said that they are done, and have been silent since. Where
/// only one has spoken, what was sent to the other may have been lost or refused: then the flow has its own timer's time
/// to hear of it.
pub(crate) fn is_over(tables: &Tables, server: ServerId, state: State, now: Tick) -> bool {
    let resets = |ends| matches!(ends, Ends::Reset | Ends::Reselect);
    let told = match state.phase() {
        Phase::Closed => true,
        Phase::Reset => state.is_reset_to_all(),
        Phase::Opening | Phase::Established | Phase::HalfClosed | Phase::Datagram => false,
    };
    told && tables.ends_flows
        && now.since(state.last_seen()) > LINGER
        && tables.server(server).is_some_and(|server| resets(server.ends))
}
