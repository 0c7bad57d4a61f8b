//! Snapshots: built off the control thread, swapped in whole, freed when no worker can use them.

use super::Engine;
use crate::plan::Plan;
use ringlead_l4::tables::Tables;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait for workers to acknowledge a snapshot. They tick every millisecond.
const ACKNOWLEDGE_MAX: Duration = Duration::from_secs(1);

impl Engine {
    /// Publishes what the plan says now and waits until every worker uses it.
    pub(super) async fn publish(&mut self) {
        let plan = Arc::clone(&self.plan);
        // Who is up when the daemon starts has its full weight at once.
        let now = self.ready.then(super::monotonic);
        let build = move || {
            let mut plan = Plan::clone(&plan);
            if let Some(now) = now {
                plan.set_time(now);
            }
            let tables = plan.snapshot();
            (plan, tables)
        };
        match tokio::task::spawn_blocking(build).await {
            Ok((plan, tables)) => {
                drop_elsewhere(std::mem::replace(&mut self.plan, Arc::new(plan)));
                self.watch_pools();
                self.swap(tables).await;
            }
            Err(error) => {
                tracing::error!(event = "publish", %error, "the snapshot could not be built; the old one stays")
            }
        }
    }

    /// The same, and then the tables of nodes into the steering maps: workers know where to send a node's flows before they
    /// get them.
    pub(super) async fn publish_and_steer(&mut self) {
        self.publish().await;
        if self.plan.has_nodes() {
            self.steer();
        }
    }

    async fn swap(&mut self, tables: Tables) {
        let epoch = tables.epoch;
        let old = self.node.shared.tables.swap(Arc::new(tables));
        self.retired.push(old);
        if self.node.sockets.is_empty() {
            // Before a take-over: the workers have not begun.
            return;
        }
        if !self.acknowledged(epoch).await {
            tracing::warn!(
                event = "publish",
                epoch,
                "a worker has not picked the new tables up within a second"
            );
        }
        self.free_retired();
    }

    /// Waits until every worker uses this epoch or a later one.
    async fn acknowledged(&self, epoch: u64) -> bool {
        let deadline = Instant::now() + ACKNOWLEDGE_MAX;
        // A worker that is silent anyway is not waited for: its old snapshot is kept until it beats again.
        let lags = |engine: &Self| {
            let workers = engine.node.shared.counters.iter().enumerate();
            let beating = workers.filter(|(worker, _)| !engine.silent.contains(worker));
            beating.map(|(_, c)| c.epoch.observe()).any(|seen| seen < epoch)
        };
        while lags(self) {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        true
    }

    /// The oldest epoch that some worker still uses.
    pub(super) fn epoch_of_all(&self) -> u64 {
        self.node.shared.counters.iter().map(|c| c.epoch.observe()).min().unwrap_or(u64::MAX)
    }

    /// Frees the snapshots that every worker has left behind. Workers never free.
    pub(super) fn free_retired(&mut self) {
        let used = self.epoch_of_all();
        let left: Vec<Arc<Tables>> = self.retired.extract_if(.., |tables| tables.epoch < used).collect();
        if !left.is_empty() {
            drop_elsewhere(left);
        }
    }

    /// Ends the front's questions about own slots once no other node has a flow by way of this one.
    pub(super) fn forget_guests(&mut self) {
        if !self.plan.has_guests() || self.epoch_of_all() < self.plan.epoch() {
            return;
        }
        let loads = &self.node.shared.loads;
        if self.plan.other_nodes_are(|id| loads.get(id.0) == 0) {
            Arc::make_mut(&mut self.plan).forget_guests();
            self.steer();
            tracing::debug!(event = "nodes", "no connection of another node comes in here any more");
        }
    }

    /// Forgets removed servers that have no flow left, once every worker knows them as removed.
    pub(super) async fn forget_ghosts(&mut self) {
        let waits = self.plan.has_past_snat()
            || self.plan.servers().any(|server| server.ghost || server.answers_past_flows());
        if !waits || self.epoch_of_all() < self.plan.epoch() {
            return;
        }
        let loads = Arc::clone(&self.node.shared.loads);
        let idle = |id: ringlead_flow::ServerId| loads.get(id.0) == 0;
        let plan = Arc::make_mut(&mut self.plan);
        let (forgotten, unsteered) = (plan.forget_ghosts(idle), plan.forget_nat(idle));
        let sources = plan.forget_snat();
        if forgotten > 0 || unsteered || sources {
            tracing::info!(event = "server", forgotten, "removed servers have no flow left");
            self.sync_checks();
            self.publish().await;
            self.forget_neighbours().await;
            if sources {
                self.sync_addresses(true).await;
                self.refresh_local().await;
            }
            self.steer();
        }
    }
}

/// Frees off the control thread what is as large as the configuration.
pub(super) fn drop_elsewhere<T: Send + 'static>(what: T) {
    // Nobody waits for it.
    drop(tokio::task::spawn_blocking(move || drop(what)));
}
