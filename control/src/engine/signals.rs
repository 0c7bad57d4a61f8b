//! The signals that mean something.

use super::Engine;
use super::replace::{Lasting, replace};
use crate::logs;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The file's name in the state directory.
const DUMP: &str = "status.json";

/// SIGHUP, SIGTERM, SIGINT, SIGUSR1, SIGUSR2. From their making on, none of them ends the process.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    reopen: Signal,
    dump: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGUSR1: open the log's file anew.
    Reopen,
    /// SIGUSR2: write the status to a file.
    Dump,
}

impl Signals {
    /// Takes the signals over. To be called first of all, on the runtime.
    ///
    /// # Errors
    /// When the runtime cannot listen.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reopen: signal(SignalKind::user_defined1())?,
            dump: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next one; what is cancelled loses none.
    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hangup.recv() => Told::Reload,
            _ = self.reopen.recv() => Told::Reopen,
            _ = self.dump.recv() => Told::Dump,
        }
    }

    /// Waits for SIGTERM or SIGINT.
    pub(super) async fn told_to_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Engine {
    /// Does what a signal asks; `true`: the loop is to end.
    pub(super) async fn on_signal(&mut self, told: Told) -> bool {
        match told {
            Told::Reload => self.reload(None).await,
            Told::Reopen => {
                logs::reopen();
                self.flow_log.reopen();
            }
            Told::Dump => self.dump(),
            Told::Stop => return true,
        }
        false
    }

    /// Writes the status to the state directory, off this thread.
    fn dump(&self) {
        let (reporter, path) = (self.reporter(), self.plan.config().node.state_dir.join(DUMP));
        tokio::task::spawn_blocking(move || {
            let text = serde_json::to_string_pretty(&reporter.status()).map_err(std::io::Error::other);
            let shown = path.display().to_string();
            let written = |text: String| replace(&path, format!("{text}\n").as_bytes(), Lasting::Sometime);
            match text.and_then(written) {
                Ok(()) => tracing::info!(event = "dump", path = shown, "the state was written down"),
                Err(error) => {
                    tracing::error!(event = "dump", path = shown, %error, "the state cannot be written down");
                }
            }
        });
    }
}
