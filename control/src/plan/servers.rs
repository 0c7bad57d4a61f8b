//! What control knows of one server: operator state, health, how it is reached.

use super::HopKey;
use crate::config::{OnServerDown, OperatorState, PoolConfig, ServerConfig};
use crate::health::AgentState;
use ringlead_flow::ServerId;
use ringlead_l4::neighbours::NeighbourId;
use ringlead_wire::Protocol;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// What makes a server the same one across reloads.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ServerKey {
    /// The pool's name.
    pub pool: String,
    /// The server's name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
}

impl ServerKey {
    /// The key of a configured server.
    #[must_use]
    pub fn of(pool: &PoolConfig, server: &ServerConfig) -> Self {
        Self { pool: pool.name.clone(), name: server.name.clone(), address: server.address }
    }
}

/// What the checks say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// The pool has no check: taken for up.
    Unchecked,
    /// No check has ended yet: gets no flows.
    Unknown,
    /// Up.
    Up,
    /// Down.
    Down,
}

impl Health {
    /// Whether new flows may go there.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Up | Self::Unchecked)
    }

    /// As status writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// The way to a server, as found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Through this next hop.
    Via(HopKey),
    /// None: it is this node itself, one of the nodes that share a service.
    Itself,
}

impl From<HopKey> for Way {
    fn from(hop: HopKey) -> Self {
        Self::Via(hop)
    }
}

/// How a server is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Not looked up yet.
    Unknown,
    /// Through this next hop.
    Via {
        /// Its place in the neighbour table.
        neighbour: NeighbourId,
        /// The next hop.
        hop: HopKey,
    },
    /// It is this node itself, one of the nodes that share a service.
    Itself,
    /// Not at all, and why.
    Unreachable(String),
}

impl Reach {
    /// Whether this is what the kernel's answer means.
    #[must_use]
    pub fn is(&self, answer: &Result<Way, String>) -> bool {
        match (self, answer) {
            (Self::Via { hop, .. }, Ok(Way::Via(answer))) => hop == answer,
            (Self::Itself, Ok(Way::Itself)) => true,
            (Self::Unreachable(why), Err(answer)) => why == answer,
            (Self::Unknown | Self::Itself | Self::Via { .. } | Self::Unreachable(_), _) => false,
        }
    }

    /// The next hop, if there is one.
    #[must_use]
    pub fn hop(&self) -> Option<HopKey> {
        match self {
            Self::Via { hop, .. } => Some(*hop),
            Self::Unknown | Self::Itself | Self::Unreachable(_) => None,
        }
    }
}

/// One server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerRecord {
    /// Its id, in flows and counters.
    pub id: ServerId,
    /// What identifies it.
    pub key: ServerKey,
    /// What the operator wants.
    pub operator: OperatorState,
    /// Whether that was said by command; else the file says it.
    pub by_command: bool,
    /// What its agent says; `None`: its pool has no agent.
    pub agent: Option<AgentState>,
    /// What the checks say.
    pub health: Health,
    /// Why, in words.
    pub reason: String,
    /// Until when it is held down because it came and went, by the clock of [`Plan::set_time`](super::Plan::set_time); past: it is
    /// not held any more. `None`: it is not.
    pub held_until: Option<Duration>,
    /// How it is reached.
    pub reach: Reach,
    /// Removed from the configuration, but flows may still hold its id.
    pub ghost: bool,
    /// The protocols of the nat services that use it, past ones included while it may have flows of theirs.
    pub nat: BTreeSet<Protocol>,
    /// The same without past ones.
    pub(super) nat_now: BTreeSet<Protocol>,
    /// What its pool says of its flows while it is down; of a ghost: said.
    pub on_down: OnServerDown,
    /// Whether its pool has a health check; of a ghost: had.
    pub checked: bool,
    /// Whether the last snapshot let it get new flows.
    pub(super) was_eligible: bool,
    /// When its slow start began; `None`: it has its full weight.
    pub(super) ramps_since: Option<Duration>,
    /// The epoch of the first snapshot in which it takes no new flow of anybody; `None`: it does.
    pub(super) gone_at: Option<u64>,
    /// Whether clients may be known to it.
    pub(super) remembered: bool,
}

impl ServerRecord {
    pub(super) fn new(id: ServerId, key: ServerKey) -> Self {
        Self {
            id,
            key,
            operator: OperatorState::Ready,
            by_command: false,
            agent: None,
            health: Health::Unknown,
            reason: String::new(),
            held_until: None,
            reach: Reach::Unknown,
            ghost: false,
            nat: BTreeSet::new(),
            nat_now: BTreeSet::new(),
            on_down: OnServerDown::Keep,
            checked: false,
            was_eligible: false,
            ramps_since: None,
            gone_at: None,
            remembered: false,
        }
    }

    /// It is in the configuration (again).
    pub(super) fn keep(&mut self, pool: &PoolConfig, (operator, by_command): (OperatorState, bool)) {
        let checked = pool.health.is_some();
        // Checks go on while it is a ghost, so what they say holds when it comes back.
        self.ghost = false;
        (self.operator, self.by_command) = (operator, by_command);
        self.agent = pool.agent.map(|_| self.agent.take().unwrap_or_default());
        self.on_down = pool.on_server_down;
        self.checked = checked;
        match (checked, self.health) {
            (false, _) => {
                self.health = Health::Unchecked;
                self.reason = "the pool has no health check".to_owned();
            }
            // A pool that gets its first check goes on serving until that says otherwise.
            (true, Health::Unchecked | Health::Unknown) => self.reason = "no check has ended yet".to_owned(),
            (true, Health::Up | Health::Down) => {}
        }
    }

    /// Whether it is steered for flows of a service that does not use it any more.
    #[must_use]
    pub fn answers_past_flows(&self) -> bool {
        self.nat != self.nat_now
    }
}
