//! `[pool.NAME]`: servers, and how one is chosen.

use std::net::SocketAddr;
use std::time::Duration;

use ringlead_pick::HashBy;
use serde::{Deserialize, Serialize};

/// `[pool.NAME]`: servers of one IP family that can stand in for each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolConfig {
    /// NAME.
    pub name: String,
    /// `algorithm` with its options.
    pub algorithm: Algorithm,
    /// `slow-start`, 1 s to 1 h, never with maglev: how long a server that becomes eligible takes to its full weight.
    pub slow_start: Option<Duration>,
    /// `min-servers`, 1 to the servers that are no backups: with fewer of those eligible the backups join. 1 by default.
    pub servers_min: usize,
    /// `on-server-down`: what becomes of the established flows of a server whose checks fail.
    pub on_server_down: OnServerDown,
    /// `health`: an index into [`Config::checks`]; `None`: never checked, always up.
    pub health: Option<usize>,
    /// `agent`: an index into [`Config::checks`], of a check of type agent; `None`: no agent is asked.
    pub agent: Option<usize>,
    /// `server`: 1 to 1000, names and addresses all different, at least one of them no backup.
    pub servers: Vec<ServerConfig>,
}

/// How a pool chooses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// By the flow's hash; every node chooses alike.
    Maglev {
        /// `table-size`, one of [`ringlead_pick::SIZES`]; `None`: [`ringlead_pick::default_size`].
        size: Option<u32>,
        /// `hash`: what of a flow decides.
        hash: HashBy,
    },
    /// In turn, by weight.
    RoundRobin,
    /// The fewest flows for its weight.
    LeastFlows,
    /// Of two at random, the one with fewer flows for its weight.
    RandomTwo,
}

impl Algorithm {
    /// As the file and status write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Maglev { .. } => "maglev",
            Self::RoundRobin => "round-robin",
            Self::LeastFlows => "least-flows",
            Self::RandomTwo => "random-2",
        }
    }
}

/// What becomes of a server's established flows when its checks fail. SYNs and datagrams choose again in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnServerDown {
    /// They wait for the server to come back.
    #[default]
    Keep,
    /// The next segment is answered with a TCP reset.
    Reset,
    /// The next packet goes to another server, where that can be computed from it (maglev, not with snat or persistence); else
    /// it is answered with a reset.
    Reselect,
}

/// One `server` of a pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerConfig {
    /// `name`, unique in the pool.
    pub name: String,
    /// `address`; port 0 = the one that the client asked for. Never with nat; with dsr and tunnel only where the service has it,
    /// too; with snat and of nodes always.
    pub address: SocketAddr,
    /// `weight`, 1 to 256.
    pub weight: u16,
    /// `state`: where it starts when no operator said otherwise.
    pub state: OperatorState,
    /// `max-flows`, 1 to 100 million, never with maglev: at so many it gets no new one. `None`: any number.
    pub flows_max: Option<u32>,
    /// `backup`: gets flows only while fewer than [`servers_min`](PoolConfig::servers_min) others are eligible.
    pub backup: bool,
}

/// What an operator wants of a server; health is another matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorState {
    /// Takes flows.
    #[default]
    Ready,
    /// Takes no new flows but those of sticky clients; established flows go on.
    Drain,
    /// Takes no new flow at all; established flows go on.
    Offline,
    /// Takes no new flow at all, and established ones are reset with their next packet. Only by command.
    Closed,
}

impl OperatorState {
    /// As the file, commands and status write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Offline => "offline",
            Self::Closed => "closed",
        }
    }

    /// Whether new flows of clients that it is known to go there.
    #[must_use]
    pub const fn admits(self) -> bool {
        matches!(self, Self::Ready | Self::Drain)
    }
}
