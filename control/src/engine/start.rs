//! Starting, in the order in which nobody is reset and no frame goes to a server that is not known to be up.

use super::addresses::local_soon;
use super::reporting::tokens;
use super::routes::Ask;
use super::{Engine, EngineError, drained, failed};
use crate::config::Via;
use crate::logs::{Names, PreparedFlows};
use crate::machine::{Judge, ephemeral, tell};
use crate::plan::Plan;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The longest wait for the first results of the checks.
const FIRST_RESULTS_MAX: Duration = Duration::from_secs(5);
/// Between two looks for servers' Ethernet addresses meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Engine {
    /// Looks at the node before anything is changed: files, devices, addresses, routes. Refuses what cannot work here and warns
    /// of what may not.
    pub(super) async fn survey(&mut self) -> Result<(), EngineError> {
        let flow_log = self.plan.config().observe.flow_log.as_ref();
        let flows = PreparedFlows::open(flow_log, None, &self.node.shared.flows).map_err(EngineError)?;
        self.flow_log.adopt(flows, || names(&self.plan));
        self.load_said().await;
        self.note_new_services();
        self.refresh_devices().await;
        self.refresh_local().await;
        self.resolve_routes(Ask::All).await;
        let origin = self.undo.origin();
        let mut judge = Judge::new(self.plan.config(), &origin);
        judge.sources(&self.own_addresses(), ephemeral());
        judge.network(&self.plan, &self.mtus(), &self.local);
        let found = judge.end();
        tell(&found);
        if found.has_errors() { Err(EngineError(found.summary())) } else { Ok(()) }
    }

    /// snapshot → acknowledged → neighbours → maps → addresses → sockets.
    ///
    /// Until the sockets are steered to, frames of services are dropped, not given to the kernel, which would reset the
    /// flows of a predecessor that died.
    pub(super) async fn start(&mut self) -> Result<(), EngineError> {
        self.survey().await?;
        self.tell_trial().await;
        // Probes are answered from here on: alive, and not ready.
        self.listen().map_err(EngineError)?;
        let tokens = tokens(self.plan.config()).map_err(EngineError)?;
        self.take_reports(tokens).map_err(EngineError)?;
        self.note_said().await;
        // The node's own addresses must be in the maps before the first check's answer comes back.
        self.steer();
        let rules = self.plan.rules(&local_soon(&self.local, &self.plan));
        if let Some(steering) = &mut self.node.steering {
            steering.fits(&rules).map_err(|e| failed("the node would have too much to steer", e))?;
        }
        // Checks by the services' own path need next hops before there is a snapshot.
        self.sync_neighbours(Ask::All).await;
        self.sync_checks();
        self.first_results().await;
        self.publish().await;
        drained::at_start(&self.plan);
        self.note_neighbours().await;
        self.sync_addresses(true).await;
        self.refresh_local().await;
        self.steer();
        self.steer_to_sockets()?;
        // What the kernel told meanwhile waits in the channel: the loop asks again for what it says is different.
        self.ready = true;
        self.tell_ready();
        Ok(())
    }

    pub(super) fn tell_ready(&mut self) {
        let config = self.plan.config();
        let (services, servers) = (config.services.len() + config.local.len(), self.plan.servers().count());
        tracing::info!(event = "start", services, servers, workers = self.node.cores.len(), "ready");
        self.tell_manager_ready();
    }

    /// Waits until each check has ended once, so that the first flow goes to a server that is up.
    pub(super) async fn first_results(&mut self) {
        let checks = &self.plan.config().checks;
        let slowest = checks.iter().map(|check| check.timeout).max().unwrap_or_default();
        let deadline = Instant::now() + (slowest + Duration::from_millis(600)).min(FIRST_RESULTS_MAX);
        let mut look = tokio::time::interval(LOOK_AGAIN);
        while self.waits_for_results() {
            tokio::select! {
                event = timeout_at(deadline, self.health.recv()) => match event {
                    Ok(Some(event)) => _ = self.note_health(event),
                    Ok(None) | Err(_) => break,
                },
                // The kernel's news waits for the loop, but some checks wait for their server's Ethernet address.
                _ = look.tick(), if self.asks_by_path() => self.note_neighbours().await,
            }
        }
    }

    fn asks_by_path(&self) -> bool {
        self.plan.config().checks.iter().any(|check| check.via != Via::Direct)
    }

    fn waits_for_results(&self) -> bool {
        let waits = |server: &crate::plan::ServerRecord| {
            let unasked = server.agent.as_ref().is_some_and(|agent| !agent.asked);
            server.checked && server.health == crate::plan::Health::Unknown || unasked
        };
        self.plan.servers().any(waits)
    }
}

/// What flows' numbers are called, past servers included.
pub(super) fn names(plan: &Plan) -> Names {
    let services = plan.config().services.iter();
    let services =
        services.filter_map(|s| Some((plan.service_id(&s.name)?.to_u32(), s.name.clone()))).collect();
    let servers = plan.servers().map(|server| {
        let key = &server.key;
        (server.id.0, (format!("{}/{}", key.pool, key.name), key.address))
    });
    Names { services, servers: servers.collect() }
}
