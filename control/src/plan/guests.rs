//! Guests: connections of other nodes that come in by slots which are this node's own by now, as that one drained or this one
//! came back. Workers know them by their flows; the front has to know by which slots there may be any.

use super::Plan;
use crate::config::ServiceConfig;
use ringlead_flow::ServerId;
use ringlead_l4::tables::{Chooser, Pool};
use std::collections::BTreeSet;

/// By which slots of a pool of nodes connections may have gone to another node.
#[derive(Clone, Debug)]
pub(super) struct Strays {
    /// Slots of the table.
    slots: usize,
    /// Slot n is bit n % 64 of word n / 64.
    words: Vec<u64>,
    /// How many of them are this node's own now.
    guests: usize,
}

/// Where nobody is up there is one slot, and it is everybody's.
const NOBODY_UP: [u64; 1] = [1];

impl Plan {
    /// Flows of an earlier process come over: by which slots they came in is not known, so it may be any.
    #[must_use]
    pub fn expecting_guests(mut self) -> Self {
        self.expects_guests = true;
        self
    }

    /// Whether connections of other nodes may come in by slots that are this node's own now.
    #[must_use]
    pub fn has_guests(&self) -> bool {
        self.strays.values().any(|strays| strays.guests > 0)
    }

    /// Whether no other node has a flow by way of this one. `idle`: whether a server has none.
    #[must_use]
    pub fn other_nodes_are(&self, idle: impl Fn(ServerId) -> bool) -> bool {
        let pools: BTreeSet<&str> = self.strays.keys().map(String::as_str).collect();
        let others =
            self.servers.values().filter(|record| record.ghost || pools.contains(record.key.pool.as_str()));
        others.map(|record| record.id).all(idle)
    }

    /// No other node has a flow by way of this one, so nobody is a guest; from now on it is noted anew.
    pub fn forget_guests(&mut self) {
        self.strays.clear();
        self.expects_guests = false;
        self.note_strays(false);
    }

    /// Notes which slots are another node's in the tables of the next snapshot. `late`: it is not the first one, so that nobody
    /// knows what became of the flows of a pool that is new, or whose table has another size.
    pub(super) fn note_strays(&mut self, late: bool) {
        let services: Vec<_> = self.config.services.iter().filter(|s| s.own_node.is_some()).collect();
        let mut noted = Vec::new();
        for service in services {
            let Some(pool) = self.pool_soon(service.pool) else { continue };
            if let Some(strays) = self.strays_with(service, &pool, late) {
                noted.push((pool.name.to_string(), strays));
            }
        }
        let names: BTreeSet<&str> = self.config.pools.iter().map(|pool| pool.name.as_str()).collect();
        self.strays.retain(|name, _| names.contains(name.as_str()));
        self.strays.extend(noted);
    }

    fn strays_with(&self, service: &ServiceConfig, pool: &Pool, late: bool) -> Option<Strays> {
        let Chooser::Maglev { table, .. } = &pool.chooser else { return None };
        let slots = table.slots().len();
        if slots == 0 {
            // It takes no part: what strayed before is needed once somebody is up again.
            return None;
        }
        let unknown = || vec![if late || self.expects_guests { u64::MAX } else { 0 }; slots.div_ceil(64)];
        let last = self.strays.get(&*pool.name).filter(|strays| strays.slots == slots);
        let mut words = last.map_or_else(unknown, |strays| strays.words.clone());
        let own = self.own_node(service);
        let mut guests = 0;
        for (slot, &node) in table.slots().iter().enumerate() {
            let Some(word) = words.get_mut(slot / 64) else { continue };
            if pool.members.get(usize::from(node)).copied() != own {
                *word |= 1 << (slot % 64);
            } else if *word >> (slot % 64) & 1 == 1 {
                guests += 1;
            }
        }
        Some(Strays { slots, words, guests })
    }

    /// The slots by which connections of other nodes may come in, of the table that the pool has now.
    pub(super) fn strays_of(&self, pool: &Pool) -> &[u64] {
        let Chooser::Maglev { table, .. } = &pool.chooser else { return &[] };
        match table.slots().len() {
            0 => &NOBODY_UP,
            slots => {
                let strays = self.strays.get(&*pool.name).filter(|strays| strays.slots == slots);
                strays.map_or(&[], |strays| &strays.words)
            }
        }
    }
}
