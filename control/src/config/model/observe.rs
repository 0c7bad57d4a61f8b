//! `[observe]`: what is told of what happens, and where.

use std::net::SocketAddr;
use std::path::PathBuf;

use ringlead_l4::ends::{Accounts, Why};

/// `[observe]`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObserveConfig {
    /// `metrics`: where `/metrics`, `/healthz` and `/readyz` are served over HTTP, to whoever may connect; `None`: nowhere.
    /// A TCP port that no service has, on an address of this node or on all of them.
    pub metrics: Option<SocketAddr>,
    /// `report`, `report-token-file`; `None`: reports come by the control socket only.
    pub reports: Option<ReportsConfig>,
    /// `log`.
    pub log: LogConfig,
    /// `flow-log`; `None`: none.
    pub flow_log: Option<FlowLogConfig>,
}

impl ObserveConfig {
    /// Whether there is to be room in the flow tables for what flows carry.
    #[must_use]
    pub const fn keeps_accounts(&self) -> bool {
        self.flow_log.is_some()
    }
}

/// Who may report servers' health over HTTP, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReportsConfig {
    /// `report`: a TCP port that neither a service nor `metrics` has, on an address of this node or on all of them.
    pub at: SocketAddr,
    /// `report-token-file`: whose lines are the tokens that are valid, absolute.
    pub tokens: PathBuf,
}

/// `log` of `[observe]`: the daemon's own log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogConfig {
    /// `to`.
    pub to: LogTarget,
    /// `format`; the journal has a form of its own.
    pub format: LogFormat,
    /// `level`: the least that is written.
    pub level: LogLevel,
}

/// `flow-log` of `[observe]`: a line at a flow's end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowLogConfig {
    /// `to`.
    pub to: LogTarget,
    /// `format`; the journal has a form of its own.
    pub format: LogFormat,
    /// `sample`: one flow in so many, at least 1.
    pub sample: u32,
    /// `always`: flows that end so, besides.
    pub always: Vec<Why>,
    /// `count`: of which flows packets and bytes are counted.
    pub count: Accounts,
}

/// Where a log goes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum LogTarget {
    /// Standard error.
    #[default]
    Stderr,
    /// systemd's journal.
    Journal,
    /// A file, absolute; appended to, and opened anew on SIGUSR1.
    File(PathBuf),
}

/// How a line is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// For people: time, level, message, fields.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is written: this and what is worse.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogLevel {
    /// What keeps ringlead from doing what it should.
    Error,
    /// And what it works around.
    Warn,
    /// And what happens.
    #[default]
    Info,
    /// And how.
    Debug,
    /// And every step.
    Trace,
}
