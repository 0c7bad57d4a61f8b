//! The declared answer when no server can take a packet: silence or a TCP reset, limited in rate.

use crate::drops::Reason;
use crate::emit;
use crate::tables::OnNoServer;
use crate::worker::Worker;
use ringlead_io::Port;
use ringlead_wire::reset;

/// Answers a worker makes a millisecond at most, so that a flood is not reflected at line rate.
pub(crate) const ANSWERS_PER_MS: u32 = 16;

/// Gives the declared answer to a frame of the burst; returns the reason its drop is counted under.
pub(crate) fn no_server<P: Port>(
    worker: &mut Worker<P>,
    how: OnNoServer,
    queue: usize,
    frame: usize,
) -> Reason {
    if how == OnNoServer::Drop || worker.answers_left == 0 {
        return Reason::NoServer;
    }
    let Some(mut answer) = worker.frames.alloc() else { return Reason::NoFrame };
    let (Some(asked), Some(meta)) = (worker.burst.frames.get(frame), worker.burst.metas.get(frame)) else {
        worker.frames.free(answer);
        return Reason::NoServer;
    };
    let mut bytes = [0_u8; reset::RESET_LEN_MAX];
    let made = reset::tcp_reset(worker.frames.bytes(asked), meta, &mut bytes)
        .and_then(|len| bytes.get(..len))
        .is_some_and(|bytes| worker.frames.copy_in(&mut answer, bytes));
    if !made {
        worker.frames.free(answer);
        return Reason::NoServer;
    }
    worker.answers_left -= 1;
    worker.tally.made += 1;
    emit::send_answer(worker, queue, answer);
    Reason::Answered
}
