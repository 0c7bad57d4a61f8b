//! Starting, in the order in which nobody is reset and no frame goes to a server that is not known to be up.

use super::{Engine, EngineError, Inputs, failed};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The longest wait for the first results of the checks.
const FIRST_RESULTS_MAX: Duration = Duration::from_secs(5);

impl Engine {
    /// snapshot → acknowledged → neighbours → maps → addresses → sockets.
    ///
    /// Until the sockets are steered to, frames of services are dropped, not given to the kernel, which would reset the
    /// flows of a predecessor that died.
    pub(super) async fn start(&mut self, inputs: &mut Inputs) -> Result<(), EngineError> {
        self.refresh_local().await;
        self.resolve_routes().await;
        self.warn_unreachable();
        // The node's own addresses must be in the maps before the first check's answer comes back.
        self.steer();
        self.sync_checks();
        self.first_results().await;
        self.publish().await;
        self.sync_neighbours().await;
        self.sync_addresses(true).await;
        self.refresh_local().await;
        self.steer();
        for socket in self.node.sockets.clone() {
            let set = self.node.steering.set_socket(socket.ifindex, socket.queue, socket.fd);
            set.map_err(|e| failed("cannot steer frames to a worker", e))?;
        }
        // What was heard while starting is in what was asked since.
        while inputs.net.try_recv().is_ok() {}
        self.sync_neighbours().await;
        self.ready = true;
        let (services, servers) = (self.plan.config().services.len(), self.plan.servers().count());
        tracing::info!(event = "start", services, servers, workers = self.node.cores.len(), "ready");
        Ok(())
    }

    /// Waits until each check has ended once, so that the first flow goes to a server that is up.
    async fn first_results(&mut self) {
        let checks = &self.plan.config().checks;
        let slowest = checks.iter().map(|check| check.timeout).max().unwrap_or_default();
        let deadline = Instant::now() + (slowest + Duration::from_millis(600)).min(FIRST_RESULTS_MAX);
        while self.waits_for_results() {
            match timeout_at(deadline, self.health.recv()).await {
                Ok(Some(event)) => _ = self.note_health(event),
                Ok(None) | Err(_) => break,
            }
        }
    }

    fn waits_for_results(&self) -> bool {
        self.plan.servers().any(|server| server.health == crate::plan::Health::Unknown)
    }

    pub(super) fn warn_unreachable(&self) {
        for server in self.plan.servers() {
            if let crate::plan::Reach::Unreachable(why) = &server.reach {
                let name = format!("{}/{}", server.key.pool, server.key.name);
                tracing::warn!(event = "server", server = name, why, "unreachable: it gets no flows");
            }
        }
    }
}
