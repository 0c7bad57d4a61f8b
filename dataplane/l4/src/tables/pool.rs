//! Pools and servers, and the choice among them.

use crate::neighbours::NeighbourId;
use ahash::AHashMap;
use ringlead_flow::ServerId;
use ringlead_pick::{HashBy, LeastFlows, Loads, Maglev, RandomTwo, RoundRobin};
use ringlead_wire::Ip;
use std::sync::Arc;

/// A pool as the packet path sees it: only servers that may get new flows.
#[derive(Debug)]
pub struct Pool {
    /// Its place in the configuration, below [`SERVICES_MAX`]; workers keep their cursors by it.
    pub index: u16,
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The algorithm over `members`.
    pub chooser: Chooser,
    /// The eligible servers, in the chooser's order.
    pub members: Box<[ServerId]>,
    /// The most flows that a server may have, where some may not have any number. Never with maglev, whose choice is the same
    /// on every node.
    pub limits: AHashMap<ServerId, u32>,
    /// Tells its clients from other pools' where they are remembered; the same across snapshots.
    pub salt: u32,
    /// Whether all is as it shall be.
    pub standing: Standing,
}

/// How a pool stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Standing {
    /// Its own servers serve.
    #[default]
    Whole,
    /// Its backups do, too, or alone.
    Backups,
    /// Most of its servers look dead, and it sends where the configuration says for that case.
    Panic,
}

impl Pool {
    /// The most flows that a server may have.
    #[inline]
    #[must_use]
    pub fn limit(&self, id: ServerId) -> Option<u32> {
        if self.limits.is_empty() { None } else { self.limits.get(&id).copied() }
    }

    /// Whether a server may have one more flow.
    #[inline]
    #[must_use]
    pub fn has_room(&self, loads: &Loads, id: ServerId) -> bool {
        self.limit(id).is_none_or(|limit| loads.get(id.0) < limit)
    }
}

/// One address that serves.
#[derive(Clone, Debug)]
pub struct Server {
    /// `POOL/NAME`.
    pub name: Arc<str>,
    /// Its address; port 0 keeps the client's.
    pub ip: Ip,
    /// Its port, host order.
    pub port: u16,
    /// Its next hop.
    pub neighbour: NeighbourId,
    /// Whether its health is down: a UDP packet or a SYN of an existing flow then chooses again.
    pub down: bool,
    /// Whether it takes new flows: a SYN that reuses the ports of a flow that has ended then chooses again.
    pub accepts: bool,
    /// Whether it takes new flows of clients that come back to it; those that drain do.
    pub admits: bool,
    /// What becomes of the flows that it has.
    pub ends: Ends,
}

/// What becomes of a server's flows when their next packet comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ends {
    /// They go on, but for what [`Server::down`] and [`Server::accepts`] say.
    #[default]
    Keep,
    /// TCP segments of either end are answered with a reset, and the other end gets one. Datagrams of clients choose again.
    Reset,
    /// Packets of clients choose again. A TCP segment whose server cannot be computed from it resets both ends.
    Reselect,
}

/// The choice among a pool's eligible servers.
#[derive(Debug)]
pub enum Chooser {
    /// Consistent hashing: the same answer on every node and after every restart.
    Maglev {
        /// From a hash to a member.
        table: Maglev,
        /// What is hashed.
        by: HashBy,
    },
    /// Weighted turns; each worker has its own cursor.
    RoundRobin(RoundRobin),
    /// The fewest flows for its weight.
    LeastFlows(LeastFlows),
    /// The one of two random members that has fewer flows for its weight.
    RandomTwo(RandomTwo),
}

impl Chooser {
    /// Whether a flow's server can be computed again from its addresses alone.
    #[inline]
    #[must_use]
    pub const fn recomputes(&self) -> bool {
        matches!(self, Self::Maglev { .. })
    }

    /// Whether each choice depends on the flows that there are.
    #[inline]
    #[must_use]
    pub const fn counts_flows(&self) -> bool {
        matches!(self, Self::LeastFlows(_) | Self::RandomTwo(_))
    }
}
