//! The loop of an end's thread: receive, send, tell the kernel, wait.

use crate::board::Board;
use crate::clock::{be_punctual, monotonic_ns, wait};
use crate::ear::Ear;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::station::{Station, Wire};

/// The longest wait: then somebody may have said stop.
const WAIT_MAX_NS: u64 = 1_000_000;
/// Below this a wait is not worth its system calls.
const WAIT_MIN_NS: u64 = 20_000;
/// Turns after the sender's end in which rings may still empty.
const FLUSH_NS: u64 = 100_000_000;

/// The ports of one side, and who listens at them.
#[derive(Debug)]
pub(crate) struct Side<'s, P> {
    /// The ports.
    pub(crate) stations: &'s mut [Station<P>],
    /// Takes in what arrives.
    pub(crate) receiver: Receiver,
    /// Sends; the clients' side only.
    pub(crate) sender: Option<Sender>,
}

/// Sides that one thread serves, each with its ear.
pub(crate) type Crew<'s, P> = Vec<(Side<'s, P>, Ear)>;

/// Serves `crew` until the board says stop. `start_ns` is the trial's start, by the monotonic clock.
pub(crate) fn serve<P: Wire>(crew: &mut Crew<'_, P>, board: &Board, start_ns: u64, busy: bool) {
    be_punctual();
    let mut told = false;
    while !board.stopped() {
        let mut moved = 0;
        for (side, ear) in crew.iter_mut() {
            moved += turn(side, ear, board, start_ns);
        }
        let now_ns = monotonic_ns().saturating_sub(start_ns);
        if !told && crew.iter_mut().all(|(side, _)| finished(side, board, now_ns)) {
            told = true;
            if crew.iter().any(|(side, _)| side.sender.is_some()) {
                board.set_sent_all();
            }
        }
        if moved == 0 && !busy {
            rest(crew, now_ns);
        }
    }
    for (side, ear) in crew.iter_mut() {
        empty(side, ear, board, start_ns);
        side.receiver.finish(side.stations);
        let until = monotonic_ns() + FLUSH_NS;
        while side.stations.iter().any(Station::is_sending) && monotonic_ns() < until {
            side.stations.iter_mut().for_each(Station::begin);
            side.stations.iter_mut().for_each(Station::kick);
        }
    }
}

/// Takes in what came while this thread had no core, which may be more than a turn takes, and sends the answers to it.
fn empty<P: Wire>(side: &mut Side<'_, P>, ear: &mut Ear, board: &Board, start_ns: u64) {
    let until = monotonic_ns() + FLUSH_NS;
    let mut idle = 0;
    // Twice, because a turn leaves the newest for the next.
    while idle < 2 {
        idle = if turn(side, ear, board, start_ns) == 0 { idle + 1 } else { 0 };
        if monotonic_ns() >= until {
            return;
        }
    }
}

#[inline]
fn turn<P: Wire>(side: &mut Side<'_, P>, ear: &mut Ear, board: &Board, start_ns: u64) -> usize {
    side.stations.iter_mut().for_each(Station::begin);
    let mut moved = side.receiver.turn(side.stations, ear, board);
    let now = monotonic_ns();
    // Before the start nothing is due.
    if let Some(sender) = side.sender.as_mut().filter(|_| now >= start_ns) {
        moved += sender.turn(side.stations, now - start_ns);
    }
    side.stations.iter_mut().for_each(Station::kick);
    if let Some(sender) = &mut side.sender {
        sender.sent(board, monotonic_ns().saturating_sub(start_ns));
    }
    moved
}

fn finished<P: Wire>(side: &mut Side<'_, P>, board: &Board, now_ns: u64) -> bool {
    side.sender.as_mut().is_none_or(|sender| sender.finish(side.stations, board, now_ns))
}

/// Waits for frames, until the next one is due to be sent.
fn rest<P: Wire>(crew: &Crew<'_, P>, now_ns: u64) {
    let next = crew.iter().filter_map(|(side, _)| side.sender.as_ref()?.next_in_ns(now_ns)).min();
    let ns = next.unwrap_or(WAIT_MAX_NS).min(WAIT_MAX_NS);
    if ns < WAIT_MIN_NS {
        // The balancer may want this core meanwhile.
        std::thread::yield_now();
        return;
    }
    let lanes = crew.iter().flat_map(|(side, _)| side.stations.iter()).flat_map(|station| &station.lanes);
    wait(lanes.filter_map(|lane| lane.io.poll_fd()), ns);
}
