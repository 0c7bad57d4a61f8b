//! Health checks: is a server answering?
//!
//! Asked from the kernel's own stack (the XDP program leaves the replies to the kernel), one task a check.
//! [`Machine`] decides from results alone, without I/O or clock; [`Checker`] runs the checks and tells changes.
//!
//! Health (up, down) is kept apart from what the operator wants (ready, drain, offline).

mod agent;
mod checker;
mod flaps;
mod kinds;
mod machine;
pub mod passive;
mod probe;
mod recent;
mod times;
mod trust;
mod words;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub use agent::{AgentReply, AgentState, Wish};
pub use checker::{CONNECTS_MAX, Checker, Fallen, Reconciled, SOCKETS_MAX};
pub use flaps::{FlapRule, Flaps};
pub use kinds::{AgentProbe, DnsProbe, HttpProbe, Probe, TlsProbe, UdpProbe};
pub use machine::{Machine, State};
pub use probe::path::{PathProbe, Prober, Road};
pub use recent::{RecentTimes, Spread};
pub use times::CheckTimesShown;
pub use trust::check_ca;
pub use words::in_words;

/// One thing to check, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSpec {
    /// The caller's name for it; opaque here, unique in a list.
    pub id: u32,
    /// The pool whose server it is: how long checks take is counted by pool.
    pub pool: Arc<str>,
    /// Whom to ask; the port means nothing for ICMP.
    pub target: SocketAddr,
    /// What to ask.
    pub probe: Arc<Probe>,
    /// From the start of one check to the start of the next. Shortened at random by up to 10 % so that checks do not
    /// march in step; never lengthened, so that the bound on detection holds. Less than 10 ms is taken as 10 ms.
    pub interval: Duration,
    /// The same while the last result speaks against what is decided; `None`: no other. At most `interval`.
    pub interval_changing: Option<Duration>,
    /// An answer that is not there after this long is a failure. At most `interval`, or checks come later than
    /// asked: the next one starts when the last is decided.
    pub timeout: Duration,
    /// Successes in a row that bring a server which is down up. 0 means 1.
    pub rise: u32,
    /// Failures in a row that take a server which is up down. 0 means 1.
    ///
    /// A server that stops answering is down at most `fall * interval + timeout` later.
    pub fall: u32,
    /// When a server that comes and goes is held down.
    pub flaps: FlapRule,
}

/// A check changed its mind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthEvent {
    /// The check's id.
    pub id: u32,
    /// What was checked: tells an event of a former check from one of its successor with the same id.
    pub target: SocketAddr,
    /// Up or down; of an agent: whether it answered.
    pub up: bool,
    /// The result that decided it: "connected", "connection refused",
    /// "HTTP 503, expected 200-299".
    pub reason: String,
    /// How long that result took.
    pub took: Duration,
    /// For how long it is held down, because it has gone down too often; good checks do not bring it up before that.
    pub held: Option<Duration>,
    /// What an agent said that it had not said before, or why it says nothing any more; `None`: the event is no agent's.
    pub agent: Option<Result<AgentReply, String>>,
}

/// Where a check stands.
#[derive(Debug, Clone)]
pub struct CheckStatus {
    /// What is checked, and how.
    pub spec: CheckSpec,
    /// Unknown before the first result.
    pub state: State,
    /// When `state` was last decided; `None` while unknown.
    pub since: Option<Instant>,
    /// The last result, whether it changed anything or not; `None` before the first.
    pub last: Option<LastResult>,
    /// Results in a row that agree with the last conclusive one.
    pub consecutive: u32,
    /// Whether that last conclusive result was a success.
    pub passing: bool,
}

/// One result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastResult {
    /// When it was known.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// How long the check waited before it, because others had the [`CONNECTS_MAX`] sockets. More than a moment means
    /// that detection is late.
    pub waited: Duration,
    /// What happened.
    pub reason: String,
    /// When the server's certificate ends, if it showed one.
    pub certificate_ends: Option<SystemTime>,
}
