//! Persistence tables: how full they are, and no client of a server that is gone in them.

use super::report::Reporter;
use super::status::PersistenceStatus;
use super::{Engine, now_tick};
use crate::config::PersistenceConfig;
use ringlead_flow::ServerId;
use ringlead_pick::Sticky;
use std::sync::Arc;
use tokio::task::{JoinHandle, spawn_blocking};

/// Servers that one walk's turn is for: each takes a walk through every table, up to a tenth of a second for the largest.
const SERVERS_A_TURN: usize = 16;

/// The walk that is under way.
#[derive(Debug, Default)]
pub(super) struct Forgetting(Option<Walk>);

#[derive(Debug)]
struct Walk {
    /// Who is looked for, and the epoch that each is gone since.
    servers: Vec<(ServerId, u64)>,
    /// How many clients they had.
    clients: JoinHandle<usize>,
}

impl Engine {
    /// Forgets the clients of servers that are offline or removed, once no worker can write them any more. Only then may a
    /// removed server's id go to another one. Tables are walked through off this thread.
    pub(super) async fn forget_clients(&mut self) {
        if let Some(walk) = &self.forgetting.0 {
            if !walk.clients.is_finished() {
                return;
            }
            self.end_walk().await;
        }
        let acknowledged = self.epoch_of_all();
        let gone = self.plan.remembered().into_iter().filter(|(_, epoch)| *epoch <= acknowledged);
        let servers: Vec<(ServerId, u64)> = gone.take(SERVERS_A_TURN).collect();
        if servers.is_empty() {
            return;
        }
        let tables = self.plan.sticky_tables();
        let ids: Vec<u32> = servers.iter().map(|(id, _)| id.0).collect();
        let clients = spawn_blocking(move || {
            let of = |id: &u32| tables.iter().map(|(_, table)| table.forget_server(*id)).sum::<usize>();
            ids.iter().map(of).sum()
        });
        self.forgetting.0 = Some(Walk { servers, clients });
    }

    async fn end_walk(&mut self) {
        let Some(Walk { servers, clients }) = self.forgetting.0.take() else { return };
        match clients.await {
            Ok(clients) => {
                tracing::debug!(event = "persistence", servers = servers.len(), clients, "forgotten");
                Arc::make_mut(&mut self.plan).set_forgotten(&servers);
            }
            Err(error) => {
                tracing::error!(event = "persistence", %error, "clients could not be forgotten; trying again");
            }
        }
    }
}

impl Reporter {
    /// Every table is walked through.
    pub(super) fn persistence_status(&self) -> Vec<PersistenceStatus> {
        let now = now_tick();
        let status = |(config, table): &(PersistenceConfig, Arc<Sticky>)| PersistenceStatus {
            name: config.name.clone(),
            kind: "source".to_owned(),
            mask: config.mask_v4,
            mask6: config.mask_v6,
            timeout_s: config.timeout.as_secs_f64(),
            used: table.len(now.0),
            size: table.capacity(),
        };
        self.plan.sticky_tables().iter().map(status).collect()
    }
}
