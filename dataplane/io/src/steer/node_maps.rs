//! The l7 services and their tables in the kernel, brought to what is wanted.
//!
//! A table in use is never written to. A new one goes into a slot that no service names, then the services are changed, each by
//! one write: a packet sees the old table or the new one, whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aya::maps::{Array, ArrayOfMaps, HashMap as KernelMap, MapData, MapError};

use super::error::SteerError;
use super::keys::Bytes;
use super::nodes::{NodeTable, Nodes, Words};

/// The map of services, and the map of their tables.
pub(super) const SERVICES: &str = "l7_services";
pub(super) const TABLES: &str = "node_tables";

/// Different tables at one time: half of the slots (`max_entries` of `node_tables`), so that all can be replaced at once.
const TABLES_MAX: usize = 64;

/// The number of no table (`NODES_ALONE` in `bpf/maps.h`).
const ALONE: u32 = u32::MAX;

/// Both maps.
#[derive(Debug)]
pub(super) struct NodeMaps {
    services: KernelMap<MapData, Bytes, u32>,
    slots: ArrayOfMaps<MapData, Array<MapData, Words>>,
    /// What this process put into each slot. What a dead daemon left is not known, and replaced.
    held: Vec<Option<Arc<NodeTable>>>,
    /// Services that the map can hold.
    max: usize,
}

/// Services as the kernel has them: key, number of the table.
pub(super) type Present = BTreeMap<Bytes, u32>;

/// What an insertion will do.
#[derive(Debug, Default)]
pub(super) struct Insertion {
    tables: Vec<(u32, Arc<NodeTable>)>,
    services: Vec<(Bytes, u32)>,
}

impl NodeMaps {
    pub(super) fn new(
        services: KernelMap<MapData, Bytes, u32>,
        slots: ArrayOfMaps<MapData, Array<MapData, Words>>,
        max: usize,
    ) -> Self {
        let held = (0..slots.len()).map(|_| None).collect();
        Self { services, slots, held, max }
    }

    pub(super) fn read(&self) -> Result<Present, SteerError> {
        self.services.iter().collect::<Result<_, _>>().map_err(|e| refused("read", SERVICES, &e))
    }

    /// What has to be written so that all of `wanted` is there; an error when it has no room beside `present`, of which `kept`
    /// says whether the unwanted services stay.
    pub(super) fn plan(
        &self,
        present: &Present,
        wanted: &BTreeMap<Bytes, Nodes>,
        kept: bool,
    ) -> Result<Insertion, SteerError> {
        let stay = if kept { present.keys().filter(|key| !wanted.contains_key(*key)).count() } else { 0 };
        if wanted.len() + stay > self.max {
            return Err(SteerError::Full { map: SERVICES, wanted: wanted.len() + stay, max: self.max });
        }
        let (numbers, tables) = self.assign(present, wanted)?;
        let number = |nodes: &Nodes| match nodes {
            Nodes::Alone => ALONE,
            Nodes::Several(table) => numbers.get(table).copied().unwrap_or(ALONE),
        };
        let services = wanted.iter().map(|(key, nodes)| (*key, number(nodes)));
        let services = services.filter(|(key, number)| present.get(key) != Some(number)).collect();
        Ok(Insertion { tables, services })
    }

    /// A slot for each different table: the one that has it already, or one that no present service names.
    #[allow(clippy::type_complexity, reason = "the slots of all tables, and those to be written")]
    fn assign<'a>(
        &self,
        present: &Present,
        wanted: &'a BTreeMap<Bytes, Nodes>,
    ) -> Result<(BTreeMap<&'a Arc<NodeTable>, u32>, Vec<(u32, Arc<NodeTable>)>), SteerError> {
        let several = wanted.values().filter_map(|nodes| match nodes {
            Nodes::Alone => None,
            Nodes::Several(table) => Some(table),
        });
        let all: BTreeSet<_> = several.collect();
        if all.len() > TABLES_MAX {
            return Err(SteerError::Full { map: TABLES, wanted: all.len(), max: TABLES_MAX });
        }
        let mut used: BTreeSet<u32> = present.values().copied().filter(|number| *number != ALONE).collect();
        let slot_of = |table: &Arc<NodeTable>| {
            (0..).zip(&self.held).find(|(_, held)| held.as_ref() == Some(table)).map(|(slot, _)| slot)
        };
        let mut numbers: BTreeMap<_, u32> =
            all.iter().filter_map(|table| Some((*table, slot_of(table)?))).collect();
        used.extend(numbers.values());
        let missing: Vec<_> = all.into_iter().filter(|table| !numbers.contains_key(table)).collect();
        let free: Vec<_> =
            (0..self.slots.len()).filter(|slot| !used.contains(slot)).take(missing.len()).collect();
        if free.len() < missing.len() {
            return Err(SteerError::Full {
                map: TABLES,
                wanted: used.len() + missing.len(),
                max: self.held.len(),
            });
        }
        let new: Vec<_> = free.into_iter().zip(missing).collect();
        numbers.extend(new.iter().map(|(slot, table)| (*table, *slot)));
        Ok((numbers, new.into_iter().map(|(slot, table)| (slot, Arc::clone(table))).collect()))
    }

    /// Makes the new tables. No service uses them yet, so a failure changes nothing that a packet sees.
    pub(super) fn put_tables(&mut self, insertion: &Insertion) -> Result<(), SteerError> {
        for (slot, table) in &insertion.tables {
            let no = |e: &MapError| refused("make a table of", TABLES, e);
            let mut map = Array::create(1, 0).map_err(|e| no(&e))?;
            map.set(0, table.words(), 0).map_err(|e| no(&e))?;
            let held = usize::try_from(*slot).ok().and_then(|slot| self.held.get_mut(slot));
            self.slots.set(*slot, &map, 0).map_err(|e| no(&e))?;
            if let Some(held) = held {
                *held = Some(Arc::clone(table));
            }
        }
        Ok(())
    }

    /// Inserts or exchanges services; returns how many.
    pub(super) fn put_services(&mut self, insertion: &Insertion) -> Result<usize, SteerError> {
        for (key, number) in &insertion.services {
            self.services.insert(key, number, 0).map_err(|e| refused("insert into", SERVICES, &e))?;
        }
        Ok(insertion.services.len())
    }

    /// Removes the services that are not wanted; returns how many.
    pub(super) fn remove(
        &mut self,
        present: &Present,
        wanted: &BTreeMap<Bytes, Nodes>,
    ) -> Result<usize, SteerError> {
        let gone: Vec<_> = present.keys().filter(|key| !wanted.contains_key(*key)).collect();
        for key in &gone {
            self.services.remove(key).map_err(|e| refused("remove from", SERVICES, &e))?;
        }
        Ok(gone.len())
    }
}

fn refused(what: &str, map: &str, error: &MapError) -> SteerError {
    SteerError::kernel(format!("{what} the steering map {map}"), error)
}
