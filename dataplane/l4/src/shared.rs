//! What a worker shares with the other workers and with control.

use crate::counters::Counters;
use crate::ends::Ends;
use crate::neighbours::Neighbours;
use crate::tables::Tables;
use arc_swap::ArcSwap;
use ringlead_flow::FlowTable;
use ringlead_pick::Loads;
use std::sync::Arc;

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
    pub ends: Arc<Ends>,
    /// One set a worker.
    pub counters: Arc<[Arc<Counters>]>,
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
        }
    }
}
