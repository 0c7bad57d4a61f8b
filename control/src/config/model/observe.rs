//! `[observe]`: what is told of what happens, and where.

use std::net::SocketAddr;
use std::path::PathBuf;

/// `[observe]`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObserveConfig {
    /// `metrics`: where `/metrics`, `/healthz` and `/readyz` are served over HTTP, to whoever may connect; `None`: nowhere.
    /// A TCP port that no service has, on an address of this node or on all of them.
    pub metrics: Option<SocketAddr>,
    /// `log`.
    pub log: LogConfig,
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
