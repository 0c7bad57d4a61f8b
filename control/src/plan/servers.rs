//! What control knows of one server: operator state, health, how it is reached.

use super::HopKey;
use crate::config::{CheckConfig, OnServerDown, OperatorState, PanicThen, PoolConfig, ServerConfig};
use crate::health::AgentState;
use ringlead_flow::ServerId;
use ringlead_l4::attempts::Attempted;
use ringlead_l4::neighbours::NeighbourId;
use ringlead_wire::Protocol;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

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

/// Who says what a server's health is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Nobody: the pool has no check, or no check has ended yet.
    Nobody,
    /// A check of this node's.
    Check,
    /// Clients' connections, which failed.
    Passive,
    /// Somebody who reported it.
    Report,
}

impl Source {
    /// As status writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Check => "check",
            Self::Passive => "passive",
            Self::Report => "report",
        }
    }
}

/// What is said of a server's health, by whom, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub health: Health,
    pub reason: String,
    pub source: Source,
}

/// What somebody reported; it counts before what is found here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reported {
    /// Up or down.
    pub up: bool,
    /// Why, in the reporter's words.
    pub reason: Option<String>,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// When it ends.
    pub until: Instant,
}

impl Reported {
    fn found(&self) -> Found {
        let reason =
            self.reason.as_ref().map_or_else(|| "reported".to_owned(), |why| format!("reported: {why}"));
        let health = if self.up { Health::Up } else { Health::Down };
        Found { health, reason, source: Source::Report }
    }
}

/// What finds out whether servers of a pool are up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Finder {
    /// Nothing.
    Nobody,
    /// Checks.
    Check,
    /// Somebody reports; until then they are taken for up, or not.
    Report {
        /// Taken for up.
        up: bool,
    },
}

impl Finder {
    pub(super) fn of(check: Option<&CheckConfig>) -> Self {
        match check {
            None => Self::Nobody,
            Some(check) if check.probe.is_some() => Self::Check,
            Some(check) => Self::Report { up: check.unreported_up },
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
    Unreachable(Unreachable),
}

/// Why a server cannot be reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreachable {
    /// What is in the way.
    pub what: Obstacle,
    /// In words, with what the kernel said.
    pub why: String,
}

/// What is in the way to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// The kernel has no route.
    NoRoute,
    /// Its address is this node's own.
    OwnAddress,
    /// It is to be this node, which does not have its address.
    NotThisNode,
    /// Its route leaves by a device that is no port of ours.
    NoPort,
    /// It is behind a router, and a dsr service needs it beside.
    Router,
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl Reach {
    /// Whether this is what the kernel's answer means.
    #[must_use]
    pub fn is(&self, answer: &Result<Way, Unreachable>) -> bool {
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
    /// What counts: what was reported, or else what is found here.
    pub health: Health,
    /// Why, in words.
    pub reason: String,
    /// Who says so.
    pub source: Source,
    /// What is found here: by checks, or by clients' connections.
    pub(super) found: Found,
    /// What somebody reported.
    pub reported: Option<Reported>,
    /// Whom its pool's panic sends to: `None` while there is none.
    pub panic: Option<PanicThen>,
    /// Whether that leaves it without new flows.
    pub(super) barred: bool,
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
    /// Whether checks ask it; of a ghost: did.
    pub checked: bool,
    /// Whether the last snapshot let it get new flows.
    pub(super) was_eligible: bool,
    /// When its slow start began; `None`: it has its full weight.
    pub(super) ramps_since: Option<Duration>,
    /// The epoch of the first snapshot in which it takes no new flow of anybody; `None`: it does.
    pub(super) gone_at: Option<u64>,
    /// Whether clients may be known to it.
    pub(super) remembered: bool,
    /// What had been counted by its id before it was its; `None`: nobody has looked yet.
    pub attempts_before: Option<Attempted>,
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
            source: Source::Nobody,
            found: Found { health: Health::Unknown, reason: String::new(), source: Source::Nobody },
            reported: None,
            panic: None,
            barred: false,
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
            attempts_before: None,
        }
    }

    /// It is in the configuration (again).
    pub(super) fn keep(
        &mut self,
        pool: &PoolConfig,
        finder: Finder,
        (operator, by_command): (OperatorState, bool),
    ) {
        // Checks go on while it is a ghost, so what they say holds when it comes back.
        self.ghost = false;
        (self.operator, self.by_command) = (operator, by_command);
        self.agent = pool.agent.map(|_| self.agent.take().unwrap_or_default());
        self.on_down = pool.on_server_down;
        self.checked = finder == Finder::Check;
        let nobody =
            |health, reason: &str| Found { health, reason: reason.to_owned(), source: Source::Nobody };
        match (finder, self.found.health) {
            (Finder::Nobody, _) => self.found = nobody(Health::Unchecked, "the pool has no health check"),
            (Finder::Report { up: true }, _) => {
                self.found = nobody(Health::Unchecked, "nobody reports on it: taken for up");
            }
            (Finder::Report { up: false }, _) => {
                self.found = nobody(Health::Unknown, "nobody reports on it");
            }
            // A pool that gets its first check goes on serving until that says otherwise.
            (Finder::Check, health @ (Health::Unchecked | Health::Unknown)) => {
                self.found = nobody(health, "no check has ended yet");
            }
            (Finder::Check, Health::Up | Health::Down) => {}
        }
        self.settle();
    }

    /// Takes over what was found here; returns whether that changed who may get new flows.
    pub(super) fn find(&mut self, found: Found) -> bool {
        self.found = found;
        self.settle()
    }

    /// Takes over what was reported, or that nothing is any more; returns the same.
    pub(super) fn report(&mut self, reported: Option<Reported>) -> bool {
        self.reported = reported;
        self.settle()
    }

    fn settle(&mut self) -> bool {
        let found = self.reported.as_ref().map_or_else(|| self.found.clone(), Reported::found);
        let changed = self.health != found.health;
        (self.health, self.reason, self.source) = (found.health, found.reason, found.source);
        changed
    }

    /// Whether it is up as far as its pool's servers are chosen by that: in a panic that sends to all, checks are disbelieved.
    #[must_use]
    pub fn is_taken_for_up(&self) -> bool {
        let disbelieved = matches!((self.panic, self.health), (Some(PanicThen::All), Health::Down));
        self.is_up() || disbelieved && !self.agent_says_down()
    }

    /// Whether it is steered for flows of a service that does not use it any more.
    #[must_use]
    pub fn answers_past_flows(&self) -> bool {
        self.nat != self.nat_now
    }
}
