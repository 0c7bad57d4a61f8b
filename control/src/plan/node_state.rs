//! What operators want of this node itself: to serve, or to be left by its traffic.

use super::{Plan, Said, Weighed};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The node drains: it is not ready for more traffic, and serves what comes. Routers, or whoever leads traffic here, ask for
/// that; connections of services of layer l7 that are new go to the other nodes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeDrain {
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

/// All that operators said and still counts: what is kept over a restart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sayings {
    /// Of servers' states.
    pub servers: Vec<Said>,
    /// Of servers' weights.
    pub weights: Vec<Weighed>,
    /// Of the node; `None`: it serves.
    pub node: Option<NodeDrain>,
}

impl Plan {
    /// Whether the node drains, and why. It is then not ready for more traffic.
    #[must_use]
    pub fn node_drain(&self) -> Option<&NodeDrain> {
        self.node_drain.as_deref()
    }

    /// Lets the node drain, or serve, from the next snapshot on.
    pub fn set_node_drain(&mut self, drain: Option<NodeDrain>) {
        self.node_drain = drain.map(Arc::new);
    }

    /// All that was said and still counts.
    #[must_use]
    pub fn sayings(&self) -> Sayings {
        Sayings {
            servers: self.all_said().cloned().collect(),
            weights: self.weights.values().cloned().collect(),
            node: self.node_drain().cloned(),
        }
    }

    /// Takes over what was said before a restart.
    pub fn remember(&mut self, sayings: Sayings) {
        self.remember_said(sayings.servers);
        let by_server = |weighed: Weighed| ((weighed.pool.clone(), weighed.server.clone()), weighed);
        let fit = sayings.weights.into_iter().filter(|weighed| (1..=256).contains(&weighed.weight));
        self.weights = Arc::new(fit.take(super::SAID_MAX).map(by_server).collect());
        self.set_node_drain(sayings.node);
    }
}
