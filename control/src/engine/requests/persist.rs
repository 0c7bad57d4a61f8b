//! The clients that persistence tables know: filtered here, a page at a time, off the control thread.

use super::filter::Prefix;
use super::flows::{ENTRIES_MAX, FlowWalk, ROWS_MAX, seconds};
use super::json;
use crate::config::PersistenceConfig;
use crate::engine::now_tick;
use ringlead_flow::ServerId;
use ringlead_pick::StickyEntry;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Places of a set.
const WAYS: usize = 8;

/// The command `persist`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PersistRequest {
    /// Of this table only.
    pub table: Option<String>,
    /// Of clients of this address or prefix.
    pub client: Option<String>,
    /// Of this server: `POOL/SERVER`.
    pub server: Option<String>,
    /// Where to go on: (0, 0), or what the page before said. The table's place, and the place in it.
    pub cursor: (usize, usize),
}

/// Its answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct PersistAnswer {
    /// Version of this format.
    pub format: u32,
    /// The clients of this page.
    pub rows: Vec<PersistRow>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<(usize, usize)>,
}

/// The clients of one address prefix, and where they go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PersistRow {
    /// The table's name.
    pub table: String,
    /// The clients: `198.51.100.0/24`.
    pub client: String,
    /// The pool that the server was chosen from.
    pub pool: Option<String>,
    /// `POOL/SERVER`; `None`: nobody knows any more.
    pub server: Option<String>,
    /// Seconds since their last new flow, to the quarter.
    pub idle_s: f64,
    /// Seconds until they are forgotten unless one comes.
    pub expires_s: f64,
}

impl FlowWalk {
    /// Does the command `persist`.
    pub(in crate::engine) fn persist(&self, request: &PersistRequest) -> Result<Value, String> {
        let tables = self.plan.sticky_tables();
        if let Some(name) = &request.table
            && !tables.iter().any(|(config, _)| config.name == *name)
        {
            return Err(format!("there is no persistence table `{name}`"));
        }
        let wanted = self.wanted(request)?;
        let salts: BTreeMap<u32, &str> = self.plan.salts().map(|(pool, salt)| (salt, pool)).collect();
        let now = now_tick();
        let (mut rows, mut looked, (mut table, mut set)) = (Vec::new(), 0, request.cursor);
        while let Some((config, sticky)) = tables.get(table) {
            let budget = (ENTRIES_MAX - looked).min(ROWS_MAX - rows.len()) / WAYS;
            if budget == 0 {
                return json(&PersistAnswer { format: 1, rows, next: Some((table, set)) });
            }
            let is_meant = request.table.as_ref().is_none_or(|name| config.name == *name);
            let next = is_meant.then(|| {
                sticky.visit(set, budget, now.0, |entry| {
                    if wanted.has(&entry) {
                        rows.push(self.persist_row(config, &entry, &salts));
                    }
                })
            });
            looked += budget * WAYS;
            match next.flatten() {
                Some(next) => set = next,
                None => (table, set) = (table + 1, 0),
            }
        }
        json(&PersistAnswer { format: 1, rows, next: None })
    }

    fn wanted(&self, request: &PersistRequest) -> Result<Wanted, String> {
        let server = request.server.as_deref().map(|name| {
            let parts = name.split_once('/').ok_or_else(|| format!("`{name}` is no POOL/SERVER"))?;
            let (record, _) = self.plan.configured(parts.0, parts.1).map_err(|why| why.to_string())?;
            Ok::<_, String>(record.id.0)
        });
        let client = request.client.as_deref().map(Prefix::read);
        Ok(Wanted { server: server.transpose()?, client: client.transpose()? })
    }

    fn persist_row(
        &self,
        config: &PersistenceConfig,
        entry: &StickyEntry,
        salts: &BTreeMap<u32, &str>,
    ) -> PersistRow {
        let record = self.plan.server(ServerId(entry.server));
        let bits = if entry.source.is_v4() { config.mask_v4 } else { config.mask_v6 };
        let idle = seconds(entry.idle_ticks);
        PersistRow {
            table: config.name.clone(),
            client: format!("{}/{bits}", IpAddr::from(entry.source)),
            pool: salts.get(&entry.salt).map(|pool| (*pool).to_owned()),
            server: record.map(|record| format!("{}/{}", record.key.pool, record.key.name)),
            idle_s: idle,
            expires_s: (config.timeout.as_secs_f64() - idle).max(0.0),
        }
    }
}

struct Wanted {
    server: Option<u32>,
    client: Option<Prefix>,
}

impl Wanted {
    fn has(&self, entry: &StickyEntry) -> bool {
        self.server.is_none_or(|server| entry.server == server)
            && self.client.is_none_or(|prefix| prefix.has(entry.source))
    }
}
