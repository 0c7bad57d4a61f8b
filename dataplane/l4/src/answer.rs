//! What a worker says itself, limited in rate: the declared answer when no server can take a packet, and ICMP errors about
//! packets that cannot go on.

use crate::burst::Fate;
use crate::drops::Reason;
use crate::emit;
use crate::tables::OnNoServer;
use crate::worker::Worker;
use ringlead_flow::Side;
use ringlead_io::{Frame, Port};
use ringlead_wire::Ip;
use ringlead_wire::answer::{MADE_LEN_MAX, Made, icmp_error_made};
use ringlead_wire::reset::{RESET_LEN_MAX, tcp_reset};

/// Answers a worker makes a millisecond at most, so that a flood is not reflected at line rate.
pub(crate) const ANSWERS_PER_MS: u32 = 16;

/// Gives the declared answer to a frame of the burst that cannot be served, and says what becomes of the frame: it is
/// counted under `reason`, or as answered by a reset.
pub(crate) fn refuse<P: Port>(
    worker: &mut Worker<P>,
    how: OnNoServer,
    queue: usize,
    frame: usize,
    reason: Reason,
) -> Fate {
    match how {
        OnNoServer::Drop => Fate::Drop(reason.into()),
        OnNoServer::Reset => {
            let told = reset(worker, queue, frame, reason, "tcp reset, no server is available");
            Fate::Drop(told.map_or_else(|why| why, |()| answered(reason)).into())
        }
        OnNoServer::Unreachable => Fate::Answer(reason, Made::HostUnreachable),
    }
}

/// What a refusal counts as once a reset was sent: where there was no server, that it was answered.
fn answered(reason: Reason) -> Reason {
    if reason == Reason::NoServer { Reason::Answered } else { reason }
}

/// Answers a frame of the burst with a TCP reset. `what` it is, for those who write it down.
///
/// # Errors
/// `otherwise` when none can be made, or there is no answer left; or that there is no free frame.
pub(crate) fn reset<P: Port>(
    worker: &mut Worker<P>,
    queue: usize,
    frame: usize,
    otherwise: Reason,
    what: &'static str,
) -> Result<(), Reason> {
    if worker.answers_left == 0 {
        return Err(otherwise);
    }
    let Some(mut answer) = worker.frames.alloc() else { return Err(Reason::NoFrame) };
    let (Some(asked), Some(meta)) = (worker.burst.frames.get(frame), worker.burst.metas.get(frame)) else {
        worker.frames.free(answer);
        return Err(otherwise);
    };
    let mut bytes = [0_u8; RESET_LEN_MAX];
    let made = tcp_reset(worker.frames.bytes(asked), meta, &mut bytes)
        .and_then(|len| bytes.get(..len))
        .is_some_and(|bytes| worker.frames.copy_in(&mut answer, bytes));
    if !made {
        worker.frames.free(answer);
        return Err(otherwise);
    }
    worker.answers_left -= 1;
    worker.tally.made += 1;
    emit::send_answer(worker, queue, answer, what);
    Ok(())
}

/// Tells the sender of a frame of the burst why it does not go on, in the name of the service, if there is an answer left.
#[cold]
pub(crate) fn tell<P: Port>(worker: &mut Worker<P>, queue: usize, place: usize, frame: &Frame, made: Made) {
    let Some(from) = service_address(worker, place) else { return };
    if worker.answers_left == 0 {
        return;
    }
    let Some(mut answer) = worker.frames.alloc() else { return };
    let mut bytes = [0_u8; MADE_LEN_MAX];
    let meta = worker.burst.metas.get(place);
    let written = meta
        .and_then(|meta| icmp_error_made(worker.frames.bytes(frame), meta, from, made, &mut bytes))
        .and_then(|len| bytes.get(..len))
        .is_some_and(|bytes| worker.frames.copy_in(&mut answer, bytes));
    if !written {
        return worker.frames.free(answer);
    }
    worker.answers_left -= 1;
    worker.tally.made += 1;
    emit::send_answer(worker, queue, answer, in_words(made));
}

/// What an ICMP error says, for those who write it down.
const fn in_words(made: Made) -> &'static str {
    match made {
        Made::TooBig { .. } => "icmp, packet too big",
        Made::TtlExceeded => "icmp, time exceeded",
        Made::PortUnreachable | Made::HostUnreachable | Made::AdminProhibited => "icmp, unreachable",
    }
}

/// The address that a frame's service has: where a client's packet goes to, and what a server's answer will come from. A
/// server of the other family only knows the address of ours that it answers to.
fn service_address<P>(worker: &Worker<P>, place: usize) -> Option<Ip> {
    let burst = &*worker.burst;
    let live = burst.live.iter().take(burst.lives).position(|&l| usize::from(l) == place)?;
    match burst.hit(live) {
        Some(hit) => {
            let flow = hit.flow();
            let ours = flow.server.filter(|_| hit.is_mixed() && flow.side == Side::Server);
            Some(ours.unwrap_or(flow.client).dst)
        }
        None => burst.metas.get(place).map(|meta| meta.dst),
    }
}
