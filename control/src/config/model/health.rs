//! `[health.NAME]`: is a server answering?

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::health::{FlapRule, Probe};

/// `[health.NAME]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckConfig {
    /// NAME.
    pub name: String,
    /// `type`, with what is asked and which answer is good; `None`: nothing is asked, health is reported.
    pub probe: Option<Arc<Probe>>,
    /// `interval` from one check of a server to its next, 100 ms to 1 h.
    pub interval: Duration,
    /// `interval-changing`: the same while the last check speaks against the server's state, 100 ms to the interval.
    pub interval_changing: Option<Duration>,
    /// `timeout` of one check, 10 ms to the interval.
    pub timeout: Duration,
    /// `rise`: good checks in a row that bring a server up, 1 to 100.
    pub rise: u32,
    /// `fall`: bad checks in a row that take it down, 1 to 100.
    pub fall: u32,
    /// `flaps`, 0 (never) to 100, with `flap-window` and `flap-hold-max`, 1 s to 1 h, and `flap-hold`, 1 s to 5 min: when a server
    /// that comes and goes is held down.
    pub flaps: FlapRule,
    /// `port` to check instead of the server's own; not 0.
    pub port: Option<u16>,
    /// `passive`: what clients' connections show counts, too; never where nothing is asked.
    pub passive: Option<PassiveConfig>,
    /// `unreported`, where nothing is asked: whether servers that nobody reports on are taken for up.
    pub unreported_up: bool,
    /// `via`.
    pub via: Via,
}

/// How a check goes to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Via {
    /// To its own address, by the kernel's stack.
    #[default]
    Direct,
    /// To the addresses of the services that use it, as their clients' packets go. Only of type tcp, and of pools whose services
    /// are of the modes dsr and tunnel.
    ServicePath {
        /// `probe-source`, of the family of all those addresses; `None`: the address that the kernel takes towards the server,
        /// which is then of that family.
        source: Option<IpAddr>,
    },
}

/// `passive` of `[health.NAME]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PassiveConfig {
    /// `errors`: connections that fail, 1 to 1 000 000.
    pub errors: u32,
    /// `window` in which they do, 1 s to 10 min.
    pub window: Duration,
}
