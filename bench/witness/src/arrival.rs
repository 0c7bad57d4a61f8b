//! What the judge is told of each frame, what it says of it, and how much it remembers.

use crate::findings::Direction;
use crate::stamp::Stamp;

/// How much a witness remembers. Memory: 24 bytes a flow and direction, besides 12 bytes a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Flows that it can follow, numbered from 0; at most [`FLOWS_MAX`](crate::stamp::FLOWS_MAX).
    pub flows: u32,
    /// Whether it follows replies too.
    pub replies: bool,
    /// Packets of flows from this one on may be dropped on the way: that is no loss. What of them comes is judged.
    pub may_vanish_from: u32,
    /// Examples kept of each kind.
    pub examples: usize,
    /// Moves kept one by one.
    pub moves: usize,
    /// Runs of missing packets kept one by one, a direction.
    pub gaps: usize,
}

impl Limits {
    /// For so many flows, none of which may vanish: no replies, 16 examples, 1000 moves, 4096 gaps.
    #[must_use]
    pub const fn flows(flows: u32) -> Self {
        Self { flows, replies: false, may_vanish_from: u32::MAX, examples: 16, moves: 1000, gaps: 4096 }
    }
}

/// What an interface leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Servers: what arrives goes forward.
    Servers,
    /// Clients: what arrives is a reply.
    Clients,
    /// Both: what is addressed to the packet's client is a reply.
    Both,
}

/// Where and when a frame came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// The receiving interface, by the caller's numbering: that of [`Server::interface`](crate::Server::interface).
    pub interface: u16,
    /// What that interface leads to.
    pub end: End,
    /// When, in nanoseconds since the trial's start; one reading a burst will do.
    pub at_ns: u64,
}

/// What a frame turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// A packet of this trial, in whatever state; its latency is [`Stamp::latency_ns`].
    Ours {
        /// Its stamp.
        stamp: Stamp,
        /// Which way it went.
        direction: Direction,
        /// Whether it came for the first time, as far as can be told.
        first: bool,
    },
    /// A fragment: its packet is not whole yet.
    Fragment,
    /// A frame of a service or server that is no packet of this trial: a finding.
    Wrong,
    /// Nothing to do with the services, and no finding.
    Foreign,
}
