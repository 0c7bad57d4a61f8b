//! What the daemon says of itself: every `tracing` event as a line of the log, and those that have a name as entries of the ring
//! that `ringlead events` reads.
//!
//! Whoever logs only puts an entry into a bounded queue; a thread of its own writes it. A pipe that nobody reads, a full disk
//! or a journal that hangs costs lines, which are counted and told, and never anybody's time.
//!
//! `tracing` has one subscriber a process, so this module's state is the process's too. Without [`install`] nothing is logged.

mod entry;
mod flows;
#[cfg(test)]
pub(crate) mod heard;
mod journal;
mod kinds;
mod layer;
mod line;
mod orders;
mod ring;
mod sink;
mod stderr;
mod stream;
#[cfg(test)]
#[path = "../../../dataplane/l4/tests/support/flow.rs"]
mod test_flow;
mod writer;

use crate::config::{LogConfig, LogLevel, LogTarget};
use sink::Sink;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock};
use std::time::Duration;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};
use writer::Writer;

pub use entry::Entry;
pub use flows::{FlowLog, Names, PreparedFlows};
pub use kinds::KINDS;
pub use line::tame;
pub use ring::{EventsAnswer, EventsRequest, Ring, WAIT_MAX};
pub use stderr::takes_more;

/// How long the end of the process waits for its last lines.
pub const FLUSH_MAX: Duration = Duration::from_secs(2);

static LOGS: OnceLock<Logs> = OnceLock::new();
static RING: LazyLock<Ring> = LazyLock::new(Ring::default);
static LOST: AtomicU64 = AtomicU64::new(0);

/// The process's log.
struct Logs {
    writer: Writer,
    level: reload::Handle<EnvFilter, Registry>,
    /// What is in force, to open only what changes.
    config: Mutex<LogConfig>,
}

/// Lines that were not written since the start: the queue was full, or writing failed.
#[must_use]
pub fn lines_lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// The last events of this process.
#[must_use]
pub fn ring() -> &'static Ring {
    &RING
}

/// Logs to standard error at level info, or at what `RUST_LOG` says; once a process.
///
/// # Errors
/// When it was done before, or the thread cannot be started.
pub fn install() -> std::io::Result<()> {
    let config = LogConfig::default();
    let (level, handle) = reload::Layer::new(filter(config.level));
    let writer = Writer::start(Sink::stderr(colour()), config.format, &LOST)?;
    let lines = layer::Lines::new(writer.lines(), &LOST).with_filter(level);
    let events = layer::Events::new(&RING).with_filter(LevelFilter::INFO);
    let registry = tracing_subscriber::registry().with(lines).with(events);
    registry.try_init().map_err(std::io::Error::other)?;
    let logs = Logs { writer, level: handle, config: Mutex::new(config) };
    LOGS.set(logs).map_err(|_| std::io::Error::other("the log is there already"))
}

/// A log that has been opened and is not in force yet.
#[derive(Debug)]
pub struct Prepared {
    config: LogConfig,
    /// `None`: the lines go on to where they go.
    sink: Option<Sink>,
}

/// Opens what a configuration names; may wait for the file system.
///
/// # Errors
/// When it cannot be opened: what, why and the fix.
pub fn prepare(config: &LogConfig) -> Result<Prepared, String> {
    let open = LOGS.get().and_then(|logs| logs.config.lock().ok().map(|old| old.to != config.to));
    let sink = match (&config.to, open) {
        (_, None | Some(false)) => None,
        (LogTarget::Stderr, _) => Some(Sink::stderr(colour())),
        (LogTarget::Journal, _) => Some(Sink::journal()?),
        (LogTarget::File(path), _) => Some(Sink::file(path)?),
    };
    Ok(Prepared { config: config.clone(), sink })
}

/// Puts a log into force.
pub fn adopt(prepared: Prepared) {
    let Some(logs) = LOGS.get() else { return };
    let Prepared { config, sink } = prepared;
    // Gone only when the subscriber is.
    let _ = logs.level.reload(filter(config.level));
    logs.writer.become_one(sink, config.format);
    if let Ok(mut old) = logs.config.lock() {
        *old = config;
    }
}

/// Opens the log's file anew, after logrotate has renamed it. What is no file stays as it is.
pub fn reopen() {
    if let Some(logs) = LOGS.get() {
        logs.writer.reopen();
    }
}

/// Waits until everything logged so far is written, [`FLUSH_MAX`] at most.
pub fn flush() {
    if let Some(logs) = LOGS.get() {
        logs.writer.flush(FLUSH_MAX);
    }
}

/// Ours by the level; of the libraries', warnings. `RUST_LOG` is for who looks for something, and stands above.
fn filter(level: LogLevel) -> EnvFilter {
    let (level, others) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::WARN),
    };
    let asked = EnvFilter::try_from_default_env().ok();
    asked.unwrap_or_else(|| EnvFilter::new(format!("{others},ringlead={level}")))
}

fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
