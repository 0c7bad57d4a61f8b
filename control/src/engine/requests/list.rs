//! The listings: a part of the status each, a page at a time, made off the control thread.

use super::json;
use crate::config::PoolConfig;
use crate::engine::listening::Listening;
use crate::engine::report::{Reporter, local_status};
use crate::engine::status::{PoolStatus, PortStatus, QueueStatus, ServerStatus};
use ringlead_l4::drops::Drop;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most rows of one page.
pub const PAGE: usize = 1_000;

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listing {
    /// As in the status.
    Services,
    /// [`PoolRow`]s.
    Pools,
    /// [`ServerRow`]s.
    Servers,
    /// As in the status.
    Workers,
    /// [`QueueRow`]s.
    Ports,
    /// [`DropRow`]s.
    Drops,
    /// As in the status.
    Snat,
    /// As in the status.
    Persistence,
}

/// The command `list`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRequest {
    /// What to list.
    pub of: Listing,
    /// Of servers: those of this pool.
    #[serde(default)]
    pub pool: Option<String>,
    /// Where to go on: 0, or what the page before said.
    #[serde(default)]
    pub cursor: usize,
}

/// Its answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListAnswer {
    /// Version of this format.
    pub format: u32,
    /// The rows of this page.
    pub rows: Vec<Value>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<usize>,
}

/// A pool with its servers counted.
#[derive(Debug, Serialize, Deserialize)]
pub struct PoolRow {
    /// The pool as in the status, but for how many servers it has in place of them.
    #[serde(flatten)]
    pub pool: PoolStatus<usize>,
    /// Servers that may get new flows.
    pub servers_eligible: usize,
    /// Servers that are backups.
    pub backups: usize,
    /// Flows now.
    pub flows: i64,
}

/// A server with its pool.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerRow {
    /// The pool's name.
    pub pool: String,
    /// The server as in the status.
    #[serde(flatten)]
    pub server: ServerStatus,
}

/// A queue with its port.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueueRow {
    /// The port's name.
    pub port: String,
    /// Its device.
    pub device: String,
    /// How it is driven.
    pub mode: String,
    /// The queue as in the status.
    #[serde(flatten)]
    pub queue: QueueStatus,
}

/// Why frames are dropped, over all services.
#[derive(Debug, Serialize, Deserialize)]
pub struct DropRow {
    /// `D006`: what `ringlead explain` takes.
    pub code: String,
    /// Its name.
    pub reason: String,
    /// Frames since the start.
    pub count: u64,
    /// What it means, and what to look at.
    pub text: String,
}

impl Reporter {
    /// Does the command `list`.
    pub(in crate::engine) fn list(&self, request: &ListRequest) -> Result<Value, String> {
        if request.pool.is_some() && request.of != Listing::Servers {
            return Err("`pool` is for servers only".to_owned());
        }
        let rows: Vec<Value> = match request.of {
            Listing::Services => self.service_rows(request.cursor)?,
            Listing::Pools => {
                let pools = self.plan.config().pools.iter().skip(request.cursor).take(PAGE);
                rows(pools.map(|pool| self.pool_row(pool)))?
            }
            Listing::Servers => self.server_rows(request)?,
            Listing::Workers => page(self.worker_statuses(), request.cursor)?,
            Listing::Ports => page(self.port_statuses().into_iter().flat_map(queues), request.cursor)?,
            Listing::Drops => page(Drop::all().map(|reason| self.drop_row(reason)), request.cursor)?,
            Listing::Snat => page(self.snat_status(), request.cursor)?,
            Listing::Persistence => page(self.persistence_status(), request.cursor)?,
        };
        let next = (rows.len() == PAGE).then_some(request.cursor + PAGE);
        json(&ListAnswer { format: 1, rows, next })
    }

    fn service_rows(&self, cursor: usize) -> Result<Vec<Value>, String> {
        let config = self.plan.config();
        let l7 = !config.local.is_empty() || self.plan.has_nodes();
        let sockets = if l7 { Listening::now() } else { Listening::default() };
        let forwarded = config.services.iter().skip(cursor);
        let local = config.local.iter().skip(cursor.saturating_sub(config.services.len()));
        let forwarded = forwarded.map(|service| self.service_status(service, &sockets));
        rows(forwarded.chain(local.map(|service| local_status(service, &sockets))).take(PAGE))
    }

    fn pool_row(&self, pool: &PoolConfig) -> PoolRow {
        let servers = self.server_statuses(pool);
        PoolRow {
            servers_eligible: servers.iter().filter(|server| server.eligible).count(),
            backups: servers.iter().filter(|server| server.backup).count(),
            flows: servers.iter().map(|server| server.flows).sum(),
            pool: self.pool_status_with(pool, servers.len()),
        }
    }

    fn server_rows(&self, request: &ListRequest) -> Result<Vec<Value>, String> {
        let pools = &self.plan.config().pools;
        if let Some(name) = &request.pool
            && !pools.iter().any(|pool| pool.name == *name)
        {
            return Err(format!("there is no pool `{name}`"));
        }
        let wanted = pools.iter().filter(|pool| request.pool.as_ref().is_none_or(|name| pool.name == *name));
        let servers = wanted.flat_map(|pool| pool.servers.iter().map(move |server| (pool, server)));
        rows(servers.skip(request.cursor).take(PAGE).filter_map(|(pool, server)| {
            let server = self.server_status(pool, server)?;
            Some(ServerRow { pool: pool.name.clone(), server })
        }))
    }

    fn drop_row(&self, reason: Drop) -> DropRow {
        DropRow {
            code: format!("D{:03}", reason.index()),
            reason: reason.name().to_owned(),
            count: self.shared.counters.iter().map(|counters| counters.dropped(reason)).sum(),
            text: reason.text().to_owned(),
        }
    }
}

fn queues(port: PortStatus) -> impl Iterator<Item = QueueRow> {
    let PortStatus { name, device, mode, queues } = port;
    queues.into_iter().map(move |queue| QueueRow {
        port: name.clone(),
        device: device.clone(),
        mode: mode.clone(),
        queue,
    })
}

fn page<T: Serialize>(all: impl IntoIterator<Item = T>, cursor: usize) -> Result<Vec<Value>, String> {
    rows(all.into_iter().skip(cursor).take(PAGE))
}

fn rows<T: Serialize>(some: impl Iterator<Item = T>) -> Result<Vec<Value>, String> {
    some.map(|row| json(&row)).collect()
}
