//! The last thing that a daemon does for its successor.

use super::Failed;
use super::clock::monotonic_ns;
use ringlead_control::admin::{ACKNOWLEDGES, Successor, Taken};
use ringlead_control::engine::Leaving;
use ringlead_control::handover::export;
use ringlead_control::lock::InstanceLock;
use ringlead_control::logs::FlowLog;
use ringlead_control::notify::Notify;
use ringlead_l4::Shared;
use serde_json::{Value, json};
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

/// How long a successor may take to read what it has waited for: a machine may stall.
const TAKEN_MAX: Duration = Duration::from_secs(10);

/// What a successor is given once nothing is in its way.
#[derive(Debug)]
pub(super) struct HandedOver {
    successor: Successor,
    file: Option<File>,
    answer: Value,
    notify: Notify,
    flow_log: FlowLog,
}

impl HandedOver {
    /// Writes up what the workers knew; they have ended. The steering program stays on the ports.
    pub(super) fn write(leaving: Leaving, shared: &Shared) -> Self {
        let begin = monotonic_ns();
        leaving.notify.step();
        let reads = leaving.successor.reads();
        let written = export(&leaving.plan, shared, leaving.stopped_ns, reads, &leaving.file);
        let export_ms = (monotonic_ns() - begin) / 1_000_000;
        let stopped_ns = leaving.stopped_ns;
        let manager = leaving.notify.manager();
        let (file, answer) = match written {
            Ok(done) => {
                let (flows, left_out, clients) = (done.flows, done.left_out, done.clients);
                tracing::info!(event = "hand-over", flows, left_out, clients, export_ms, "written up");
                (
                    Some(leaving.file),
                    json!({ "stopped-ns": stopped_ns, "export-ms": export_ms, "lock": true, "manager": manager, ACKNOWLEDGES: true }),
                )
            }
            Err(error) => {
                tracing::error!(event = "hand-over", %error, "the flows could not be written up; they are lost");
                (
                    None,
                    json!({ "stopped-ns": stopped_ns, "why": error.to_string(), "lock": true, "manager": manager, ACKNOWLEDGES: true }),
                )
            }
        };
        let Leaving { successor, notify, flow_log, .. } = leaving;
        Self { successor, file, answer, notify, flow_log }
    }

    /// Tells the successor that it may go on, and passes the lock on, last of the files; then waits until it has them.
    ///
    /// # Errors
    /// [`Failed::Left`]: it has gone, or does not take them. Nothing can be rolled back by then, as the workers and their sockets
    /// are no more; but the lock can, so that whoever is started next has the node, and the successor does not if it goes on.
    pub(super) fn tell(self, lock: &InstanceLock) -> Result<(), Failed> {
        let files: Vec<_> = self.file.iter().map(AsFd::as_fd).chain([lock.as_fd()]).collect();
        // A manager that listens to the main process alone must know the new one before it hears it.
        if let Some(pid) = self.successor.pid {
            self.notify.main_is(pid);
        }
        let (pid, answered) = (self.successor.pid, self.successor.answer(&self.answer, &files));
        let taken = answered.map(|()| self.successor.await_taken(TAKEN_MAX));
        // Nobody waits for its last lines any more.
        drop(self.flow_log);
        let why = match taken {
            Ok(Taken::Said | Taken::NeverSays) => {
                tracing::info!(event = "stop", "handed over");
                return Ok(());
            }
            Ok(Taken::Gone) => "it ended before it took the flows and the lock".to_owned(),
            Ok(Taken::Withdrawn) => {
                format!("it did not take the flows and the lock within {} s: withdrawn", TAKEN_MAX.as_secs())
            }
            Err(error) => error.to_string(),
        };
        tracing::error!(
            event = "hand-over",
            pid,
            why,
            "the successor has gone; nobody serves until a daemon is started"
        );
        // So the manager sees how this process ends, and not that one.
        self.notify.main_is(i32::try_from(std::process::id()).unwrap_or_default());
        Err(Failed::Left)
    }
}
