//! Leaving the node to a successor: nothing is taken away but what it needs for itself.

use super::{Engine, monotonic};
use crate::admin::{ACKNOWLEDGES, STREAM, Successor, TAKEN};
use crate::config::{Config, NodeConfig, PortConfig};
use crate::handover;
use crate::logs::FlowLog;
use crate::notify::Notify;
use crate::plan::Plan;
use ringlead_io::steer::Steering;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// What is in the rings when no socket is steered to any more still leaves.
const LAST_FRAMES: Duration = Duration::from_millis(2);

/// A node that is being left.
#[derive(Debug)]
pub struct Leaving {
    /// Who waits for it.
    pub successor: Successor,
    /// For the stream; empty.
    pub file: File,
    /// The plan in force.
    pub plan: Arc<Plan>,
    /// The steering program; to be dropped, not detached.
    pub steering: Option<Steering>,
    /// When the last frame was steered to the workers, nanoseconds of `CLOCK_MONOTONIC`.
    pub stopped_ns: u64,
    /// To be dropped when the successor has been told: its last lines may take a while.
    pub flow_log: FlowLog,
    /// Who is to hear of the successor.
    pub notify: Notify,
}

/// One process takes the place: others that wait already are sent away, and no more come.
pub(super) fn refuse_others(waiting: &mut mpsc::Receiver<Successor>) {
    waiting.close();
    while let Ok(other) = waiting.try_recv() {
        tracing::warn!(event = "hand-over", pid = other.pid, "refused: {TAKEN}");
        other.refuse(TAKEN);
    }
}

/// What a successor tells of itself, for the one that it wants to follow to compare.
#[must_use]
pub fn introduction(config: &Config) -> Value {
    let mut request: Map<String, Value> =
        places(&config.node).map(|(name, path)| (name.to_owned(), json!(path))).into_iter().collect();
    request.insert("command".to_owned(), json!(crate::admin::HAND_OVER));
    let ports: Vec<String> = config.ports.iter().map(attachment).collect();
    request.insert("ports".to_owned(), json!(ports));
    request.insert(ACKNOWLEDGES.to_owned(), json!(true));
    request.insert(STREAM.to_owned(), json!(handover::VERSION));
    Value::Object(request)
}

/// What both must have in common.
fn places(node: &NodeConfig) -> [(&'static str, &Path); 3] {
    [("state-dir", &node.state_dir), ("control", &node.control), ("bpf-dir", &node.bpf_dir)]
}

/// A port as both must have it: one that the successor lacks would keep its addresses, and a program attached in another way
/// leaves the port bare for a moment, in which the kernel resets clients.
fn attachment(port: &PortConfig) -> String {
    format!("{} (attach = {:?})", port.device, port.attach).to_lowercase()
}

/// Why this successor cannot follow, if so.
fn unfit(config: &Config, successor: &Successor) -> Option<String> {
    let said = |name: &str| successor.arguments.get(name);
    let place = places(&config.node)
        .into_iter()
        .find(|(name, path)| said(name).and_then(Value::as_str).map(Path::new) != Some(*path))
        .map(|(name, path)| format!("`{name}` is {} here", path.display()));
    let ports: Vec<&str> =
        said("ports").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let port = || {
        let mut own = config.ports.iter().map(attachment);
        own.find(|port| !ports.contains(&port.as_str())).map(|port| format!("there is a port on {port} here"))
    };
    let differs = place.or_else(port)?;
    Some(format!("{differs}, which must be the same to take over; stop and start instead"))
}

impl Engine {
    /// A file for the stream, if this successor can follow; else it is told why not, and all goes on.
    pub(super) fn agree(&self, successor: Successor) -> Option<(Successor, File)> {
        if successor.is_gone() {
            tracing::warn!(
                event = "hand-over",
                pid = successor.pid,
                "the successor that asked has gone: serving on"
            );
            return None;
        }
        let refused = match (unfit(self.plan.config(), &successor), handover::memory_file()) {
            (Some(why), _) => why,
            (None, Err(error)) => format!("no memory file for the flows: {error}"),
            // The successor reads the file, which may be the one that is to be undone.
            (None, Ok(file)) => match self.nothing_waits() {
                Ok(()) => return Some((successor, file)),
                Err(why) => why,
            },
        };
        tracing::warn!(event = "hand-over", pid = successor.pid, "refused: {refused}");
        successor.refuse(&refused);
        None
    }

    /// Ends checks and workers; program, maps, addresses and neighbours stay.
    pub(super) async fn leave(mut self, successor: Successor, file: File) -> Leaving {
        tracing::info!(event = "hand-over", pid = successor.pid, "handing over to a successor");
        self.reporting.refuse();
        self.checker.reconcile(Vec::new());
        let stopped_ns = u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX);
        if let Some(steering) = &mut self.node.steering
            && let Err(error) = steering.clear_sockets()
        {
            tracing::error!(event = "hand-over", %error, "frames are still steered to workers that end");
        }
        // Whoever waits for a report's answer gets it meanwhile.
        tokio::time::sleep(LAST_FRAMES).await;
        self.node.stop.store(true, Ordering::Relaxed);
        // From here on nobody keeps house until the successor does.
        self.notify.step();
        let Self { plan, node, flow_log, notify, .. } = self;
        Leaving { successor, file, plan, steering: node.steering, stopped_ns, flow_log, notify }
    }
}
