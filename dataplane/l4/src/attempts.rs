//! What clients' attempts to connect show of their servers, counted by server: passive observation of production traffic.
//!
//! Each worker has its own counts, which it alone writes (a load, an add, a store); control reads them at any time. A flow of
//! TCP counts once for each way in which its opening went, and packets of open connections count nowhere, so that an attempt
//! costs and a packet does not.

use crate::burst::Fate;
use crate::worker::Worker;
use ringlead_flow::{Outcome, ServerId, Side};
use ringlead_io::Port;
use ringlead_wire::{Kind, Meta};
use std::sync::atomic::{AtomicU32, Ordering};

/// One worker's counts, by server id.
#[derive(Debug)]
pub struct Attempts {
    servers: Box<[Counts]>,
}

/// Of one server. They wrap.
#[derive(Debug, Default)]
struct Counts {
    answered: AtomicU32,
    unanswered: AtomicU32,
    refused: AtomicU32,
    unreachable: AtomicU32,
}

/// A server's counts. They wrap, so that only differences say something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempted {
    /// Connections that it took.
    pub answered: u32,
    /// Connections whose client repeated its SYN, or whose flow ended, without an answer of the server's.
    pub unanswered: u32,
    /// Connections that it reset at once.
    pub refused: u32,
    /// Connections that an ICMP error said cannot reach it.
    pub unreachable: u32,
}

impl Attempted {
    /// What was counted since `before`.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            answered: self.answered.wrapping_sub(before.answered),
            unanswered: self.unanswered.wrapping_sub(before.unanswered),
            refused: self.refused.wrapping_sub(before.refused),
            unreachable: self.unreachable.wrapping_sub(before.unreachable),
        }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self {
            answered: self.answered.wrapping_add(more.answered),
            unanswered: self.unanswered.wrapping_add(more.unanswered),
            refused: self.refused.wrapping_add(more.refused),
            unreachable: self.unreachable.wrapping_add(more.unreachable),
        }
    }

    /// The attempts that failed.
    #[must_use]
    pub const fn failed(self) -> u32 {
        self.unanswered.saturating_add(self.refused).saturating_add(self.unreachable)
    }
}

impl Attempts {
    /// Zeroes for server ids 0..`servers`; others are not counted.
    #[must_use]
    pub fn new(servers: usize) -> Self {
        Self { servers: (0..servers).map(|_| Counts::default()).collect() }
    }

    /// A server's counts now; zeroes beyond the ids that are counted.
    #[must_use]
    pub fn of(&self, server: ServerId) -> Attempted {
        let get = |count: &AtomicU32| count.load(Ordering::Relaxed);
        self.counts(server).map_or_else(Attempted::default, |counts| Attempted {
            answered: get(&counts.answered),
            unanswered: get(&counts.unanswered),
            refused: get(&counts.refused),
            unreachable: get(&counts.unreachable),
        })
    }

    /// Counts what a flow showed.
    pub(crate) fn note(&self, server: ServerId, outcome: Outcome) {
        let Some(counts) = self.counts(server) else { return };
        add(match outcome {
            Outcome::Answered => &counts.answered,
            Outcome::Unanswered => &counts.unanswered,
            Outcome::Refused => &counts.refused,
        });
    }

    fn note_unreachable(&self, server: ServerId) {
        if let Some(counts) = self.counts(server) {
            add(&counts.unreachable);
        }
    }

    fn counts(&self, server: ServerId) -> Option<&Counts> {
        self.servers.get(usize::try_from(server.0).ok()?)
    }
}

/// Without a locked instruction: only the owning worker writes.
fn add(count: &AtomicU32) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// Counts the burst's ICMP errors that say that a server cannot be reached, by whoever is on the way to it. They are about
/// the client's packet, so they come as if from the server.
#[cold]
#[inline(never)]
pub(crate) fn note_errors<P: Port>(worker: &Worker<P>) {
    let burst = &*worker.burst;
    for live in 0..burst.lives {
        let Some(hit) = burst.hit(live).filter(|hit| hit.side() == Side::Server) else { continue };
        let Some(place) = burst.live.get(live).map(|&place| usize::from(place)) else { continue };
        let (Some(meta), Some(frame)) = (burst.metas.get(place), burst.frames.get(place)) else { continue };
        let pending = matches!(burst.fates.get(place), Some(Fate::Pending));
        if pending
            && meta.kind == Kind::IcmpError
            && is_unreachable(worker.frames.bytes(frame), meta)
            && worker.flows.tell_failure(hit)
        {
            worker.attempts.note_unreachable(hit.server_id());
        }
    }
}

/// Destination unreachable, for whatever reason but the packet's size (RFC 792, code 4; ICMPv6 has a type of its own for that).
fn is_unreachable(frame: &[u8], meta: &Meta) -> bool {
    let (kind, code) = match frame.get(usize::from(meta.l4)..) {
        Some([kind, code, ..]) => (*kind, *code),
        _ => return false,
    };
    if meta.v4 { kind == 3 && code != 4 } else { kind == 1 }
}
