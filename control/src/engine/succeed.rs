//! Following a predecessor that still serves: all that can be done beside it is done first, the rest in milliseconds.

use super::addresses::local_soon;
use super::reload::steerable;
use super::reporting::tokens;
use super::routes::Ask;
use super::status::TakeOverStatus;
use super::{Engine, EngineError, NodeSocket, Signals, drained, failed, monotonic};
use crate::handover::Imported;
use crate::plan::Plan;
use ringlead_io::steer::Steering;
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    /// What needs neither the ports' queues nor the steering maps, which are the predecessor's: routes, checks, neighbours, and
    /// the snapshot, which nobody uses yet. Changes nothing that the predecessor relies on.
    ///
    /// # Errors
    /// When this configuration cannot work here, or a signal says to stop.
    pub async fn prepare(&mut self, signals: &mut Signals) -> Result<(), EngineError> {
        tokio::select! {
            prepared = self.prepare_beside() => prepared,
            () = signals.told_to_stop() => Err(EngineError("told to stop while preparing to take over".to_owned())),
        }
    }

    async fn prepare_beside(&mut self) -> Result<(), EngineError> {
        self.survey().await?;
        // It is listened with them once the predecessor has let go.
        let tokens = tokens(self.plan.config()).map_err(EngineError)?;
        self.reporting.set_tokens(tokens);
        steerable(&self.rules_soon()).map_err(EngineError)?;
        // The predecessor's maps have the node's own addresses, so answers to checks stay the kernel's.
        self.sync_neighbours(Ask::New).await;
        self.sync_checks();
        self.first_results().await;
        self.publish().await;
        self.note_neighbours().await;
        Ok(())
    }

    /// The plan that the snapshot is of.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan)
    }

    /// The rules of the steering program once this node has the addresses of its services and sources.
    #[must_use]
    pub fn rules_soon(&self) -> ringlead_io::steer::Rules {
        self.plan.rules(&local_soon(&self.local, &self.plan))
    }

    /// The rules for the steering program to begin with: it is put on the ports with them.
    #[must_use]
    pub fn first_rules(&self) -> ringlead_io::steer::Rules {
        self.plan.rules(&self.local)
    }

    /// Begins to serve: the workers run, and have the flows that came over.
    ///
    /// # Errors
    /// When frames cannot be steered; then nobody serves, and what there is stays as a dead daemon leaves it.
    pub async fn step_in(
        &mut self,
        steering: Steering,
        sockets: Vec<NodeSocket>,
        modes: &[String],
        imported: Option<&Imported>,
        stopped_ns: u64,
    ) -> Result<(), EngineError> {
        self.node.steering = Some(steering);
        self.node.sockets = sockets;
        for (port, mode) in self.node.ports.iter_mut().zip(modes) {
            port.mode.clone_from(mode);
        }
        // Servers answer to new source addresses from the first flow on.
        self.sync_addresses(false).await;
        self.steer_to_sockets()?;
        let gap = monotonic().saturating_sub(Duration::from_nanos(stopped_ns));
        self.ready = true;
        self.tell_taken_over(imported, gap);
        self.catch_up_said().await;
        drained::at_take_over(&self.plan, imported);
        self.sync_neighbours(Ask::All).await;
        self.sync_addresses(true).await;
        self.refresh_local().await;
        self.steer();
        // The predecessor has just closed its own; one that is still there is waited for.
        self.listen_again();
        self.take_reports_again();
        self.tell_ready();
        Ok(())
    }

    fn tell_taken_over(&mut self, imported: Option<&Imported>, gap: Duration) {
        let gap_ms = gap.as_secs_f64() * 1000.0;
        let imported = imported.cloned().unwrap_or_default();
        let Imported { flows, left_out, resting, clients, clients_left_out, .. } = &imported;
        let not = left_out.values().sum::<u64>();
        tracing::info!(
            event = "take-over",
            flows,
            not,
            resting,
            clients,
            clients_not = clients_left_out,
            gap_ms = format!("{gap_ms:.1}"),
            "took over"
        );
        for (why, flows) in left_out {
            tracing::warn!(event = "take-over", flows, why, "flows that did not come over");
        }
        let left_out = left_out.iter().map(|(why, flows)| ((*why).to_owned(), *flows)).collect();
        self.taken_over = Some(TakeOverStatus { flows: *flows, left_out, clients: *clients, gap_ms });
    }

    /// Gives the workers' sockets to the steering program: from here on frames come.
    pub(super) fn steer_to_sockets(&mut self) -> Result<(), EngineError> {
        let Some(steering) = &mut self.node.steering else { return Ok(()) };
        for socket in &self.node.sockets {
            let set = steering.set_socket(socket.ifindex, socket.queue, socket.fd);
            set.map_err(|e| failed("cannot steer frames to a worker", e))?;
        }
        Ok(())
    }
}
