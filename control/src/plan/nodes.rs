//! The nodes that share services of layer l7: which of them is this one, and which of their flows are its own.

use super::Plan;
use crate::config::ServiceConfig;
use ringlead_flow::ServerId;
use ringlead_io::steer::{NodeTable, Nodes};
use ringlead_l4::tables::Chooser;
use ringlead_wire::Endpoint;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Plan {
    /// What the front has to know of services of layer l7. A service's slots are those of the last snapshot's very table, so
    /// the program hands to a worker only what that worker forwards.
    pub(super) fn l7_rules(&self) -> BTreeMap<Endpoint, Nodes> {
        let alone = self.config.local.iter().flat_map(|service| &service.listen);
        let mut rules: BTreeMap<Endpoint, Nodes> = alone.map(|&at| (at, Nodes::Alone)).collect();
        let mut made: BTreeMap<usize, Nodes> = BTreeMap::new();
        for service in self.config.services.iter().filter(|service| service.own_node.is_some()) {
            let nodes = made.entry(service.pool).or_insert_with(|| self.nodes(service));
            rules.extend(service.listen.iter().map(|&at| (at, nodes.clone())));
        }
        rules
    }

    /// Whose flows of a service are. A node that takes none, because it drains or is down, leaves them to the others; where
    /// there is none, all are its own: nobody could take them.
    fn nodes(&self, service: &ServiceConfig) -> Nodes {
        let Some(pool) = self.pool_soon(service.pool) else { return Nodes::Alone };
        let Chooser::Maglev { table, .. } = &pool.chooser else { return Nodes::Alone };
        let own = self.own_node(service);
        let this = pool.members.iter().position(|&id| Some(id) == own);
        let key = self.config.dataplane.hash_key;
        let table = NodeTable::new(key, table, this.unwrap_or(usize::MAX));
        Nodes::Several(Arc::new(table.with_guests(self.strays_of(&pool))))
    }

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
