//! `ringlead node drain` and `ready`: whether this node wants more traffic.

use super::Engine;
use super::operator::{check_reason, parsed, unix_now};
use crate::plan::NodeDrain;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The command `node`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRequest {
    /// Whether it shall drain; `None`: only tell how it stands.
    pub drain: Option<bool>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Its answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct NodeAnswer {
    /// Whether it drained before.
    pub drained: bool,
    /// Whether it drains now.
    pub drains: bool,
    /// The flows in its table, ended ones that the sweep has not come to included.
    pub flows: usize,
    /// What did not work: the state is in force, but would not survive a restart.
    pub warning: Option<String>,
}

impl Engine {
    /// Does the command `node`.
    pub(super) async fn node_state(&mut self, arguments: &Map<String, Value>) -> Result<NodeAnswer, String> {
        let NodeRequest { drain, reason } = parsed(arguments)?;
        check_reason(reason.as_deref())?;
        self.read_unread().await;
        let drained = self.plan.node_drain().is_some();
        let mut warning = None;
        if let Some(drain) = drain {
            let since = self.plan.node_drain().map_or_else(unix_now, |drain| drain.since);
            let said = drain.then(|| NodeDrain { reason: reason.clone(), since });
            Arc::make_mut(&mut self.plan).set_node_drain(said);
            warning = self.save_said().await.err();
            self.publish_and_steer().await;
            tracing::info!(
                event = "operator",
                node = word(drain),
                was = word(drained),
                reason,
                "told by an operator"
            );
        }
        let drains = self.plan.node_drain().is_some();
        Ok(NodeAnswer { drained, drains, flows: self.node.shared.flows.len(), warning })
    }
}

const fn word(drains: bool) -> &'static str {
    if drains { "drain" } else { "ready" }
}
