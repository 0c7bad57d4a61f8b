//! The nodes that share services of layer l7: which of them is this one, and which of their flows are its own.

use super::Plan;
use crate::config::ServiceConfig;
use ringlead_flow::ServerId;
use std::collections::BTreeSet;

impl Plan {
    /// This node, as one of a service's nodes.
    pub(super) fn own_node(&self, service: &ServiceConfig) -> Option<ServerId> {
        let pool = self.config.pools.get(service.pool)?;
        self.server_id(pool, pool.servers.get(service.own_node?)?)
    }

    /// Every server that is this node itself.
    #[must_use]
    pub fn own_nodes(&self) -> BTreeSet<ServerId> {
        self.config.services.iter().filter_map(|service| self.own_node(service)).collect()
    }

    /// Whether the steering program has tables of nodes, which follow who is up.
    #[must_use]
    pub fn has_nodes(&self) -> bool {
        self.config.services.iter().any(|service| service.own_node.is_some())
    }
}
