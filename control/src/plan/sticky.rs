//! Persistence tables: kept across snapshots for as long as their settings stay, and rid of servers that are gone.

use super::Plan;
use crate::config::PersistenceConfig;
use ringlead_flow::{ServerId, Tick};
use ringlead_pick::{Sticky, StickySpec};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The tables of the last snapshot by name, with what each was made from.
pub(super) type StickyTables = BTreeMap<String, (PersistenceConfig, Arc<Sticky>)>;

impl Plan {
    /// The same plan with random bits for its persistence tables, or clients that guess them can crowd a few entries.
    #[must_use]
    pub fn with_seed(self, seed: [u8; 16]) -> Self {
        Self { seed, ..self }
    }

    /// The tables in force, in the configuration's order.
    #[must_use]
    pub fn sticky_tables(&self) -> Vec<(PersistenceConfig, Arc<Sticky>)> {
        let in_order = self.config.persistence.iter().filter_map(|config| self.sticky.get(&config.name));
        in_order.cloned().collect()
    }

    /// Makes the tables those of the configuration. One whose settings changed begins empty.
    pub(super) fn build_sticky(&mut self) {
        let mut last = std::mem::take(&mut self.sticky);
        for config in &self.config.persistence {
            let kept = last.remove(&config.name).filter(|(made_from, _)| made_from == config);
            // The checks leave only settings that a table can have.
            let made = kept.or_else(|| {
                let table = Sticky::new(&spec(config, self.seed)).ok()?;
                Some((config.clone(), Arc::new(table)))
            });
            self.sticky.extend(made.map(|made| (config.name.clone(), made)));
        }
    }

    /// The table of a service.
    pub(super) fn sticky_of(&self, persistence: Option<usize>) -> Option<Arc<Sticky>> {
        let config = self.config.persistence.get(persistence?)?;
        self.sticky.get(&config.name).map(|(_, table)| Arc::clone(table))
    }

    /// The servers that take no flow of anybody any more, but that clients may still be known to, with the epoch of the first
    /// snapshot that says so. No worker that uses that one writes them any more.
    #[must_use]
    pub fn remembered(&self) -> Vec<(ServerId, u64)> {
        if self.sticky.is_empty() {
            return Vec::new();
        }
        let gone = self.servers.values().filter(|record| record.remembered);
        gone.filter_map(|record| Some((record.id, record.gone_at?))).collect()
    }

    /// No table holds these servers any more; one that has come back meanwhile, or gone again, is not meant.
    pub fn set_forgotten(&mut self, servers: &[(ServerId, u64)]) {
        for (id, epoch) in servers {
            if let Some(record) = self.servers.get_mut(&id.0).filter(|record| record.gone_at == Some(*epoch))
            {
                record.remembered = false;
            }
        }
    }

    /// Notes which servers the snapshot that is being made is the first to send nobody to.
    pub(super) fn note_gone(&mut self) {
        for record in self.servers.values_mut() {
            let gone = record.ghost || !record.wanted().admits();
            match (gone, record.gone_at) {
                (true, None) => record.gone_at = Some(self.epoch),
                (false, _) => {
                    record.gone_at = None;
                    record.remembered = true;
                }
                (true, Some(_)) => {}
            }
        }
    }
}

fn spec(config: &PersistenceConfig, seed: [u8; 16]) -> StickySpec {
    let ticks = config.timeout.as_millis() * u128::from(Tick::PER_SECOND) / 1_000;
    StickySpec {
        entries: config.entries,
        prefix_v4: config.mask_v4,
        prefix_v6: config.mask_v6,
        timeout_ticks: u32::try_from(ticks).unwrap_or(u32::MAX),
        seed,
    }
}
