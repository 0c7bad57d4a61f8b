//! What a worker shares with the other workers and with control.

use crate::attempts::Attempts;
use crate::counters::Counters;
use crate::ends::EndQueue;
use crate::neighbours::Neighbours;
use crate::tables::Tables;
use arc_swap::ArcSwap;
use ringlead_flow::{Flow, FlowTable};
use ringlead_pick::Loads;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The few things that cross threads. All of it is lock-free for workers.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The current snapshot. Control swaps it and keeps the old ones until every worker has acknowledged a later epoch,
    /// so a worker never frees one.
    pub tables: Arc<ArcSwap<Tables>>,
    /// All flows.
    pub flows: Arc<FlowTable>,
    /// Next hops' Ethernet addresses.
    pub neighbours: Arc<Neighbours>,
    /// Live flows by server.
    pub loads: Arc<Loads>,
    /// Flows that ended, for the flow log.
    pub ends: Arc<EndQueue>,
    /// One set a worker.
    pub counters: Arc<[Arc<Counters>]>,
    /// What clients' attempts to connect show of servers: one set a worker.
    pub attempts: Arc<[Arc<Attempts>]>,
    /// Flows that were ended at an operator's word; workers count their own.
    pub ended: Arc<AtomicU64>,
}

impl Shared {
    /// Shared state for `workers` workers, starting from one snapshot.
    #[must_use]
    pub fn new(
        tables: Tables,
        flows: Arc<FlowTable>,
        neighbours: usize,
        servers: usize,
        workers: usize,
    ) -> Self {
        Self {
            tables: Arc::new(ArcSwap::from_pointee(tables)),
            flows,
            neighbours: Arc::new(Neighbours::new(neighbours)),
            loads: Arc::new(Loads::new(servers)),
            ends: Arc::default(),
            counters: (0..workers).map(|_| Arc::new(Counters::new())).collect(),
            attempts: (0..workers).map(|_| Arc::new(Attempts::new(servers))).collect(),
            ended: Arc::default(),
        }
    }

    /// Ends a flow at an operator's word, and gives back what it held: its place in its server's load, its source port. For
    /// control, while workers run. `false`: it has ended, and whoever ended it gave back.
    #[must_use]
    pub fn end(&self, flow: &Flow) -> bool {
        let Some(gone) = self.flows.remove(flow) else { return false };
        let tables = self.tables.load();
        tables.give_port_back(flow);
        self.ends.killed(&tables, &gone);
        self.loads.sub(flow.server_id.0);
        self.ended.fetch_add(1, Ordering::Relaxed);
        true
    }
}
