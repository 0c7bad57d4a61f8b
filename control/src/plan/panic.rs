//! A pool's panic: most of its servers look dead, and the configuration says what to make of that.
//!
//! Nodes that share services each see for themselves. What makes most of a pool look dead looks alike from all of them, but not
//! in the same moment: while they differ, flows that are there stay where they are, by each node's flow table, and new ones
//! that a router moves meanwhile may change servers.

use super::{Health, Plan, ServerKey};
use crate::config::{OperatorState, PanicThen, PoolConfig};
use std::collections::BTreeMap;

/// It ends only with so many percent more of the servers up than it begins with fewer of (at most all of them), so that one
/// server which comes and goes does not move the whole pool each time.
const LEAVE_ABOVE: usize = 10;

/// How many servers of a pool look alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Alive {
    /// Those that are ready, no backups, and known to be up or down.
    pub ready: usize,
    /// Those of them that are up.
    pub up: usize,
}

impl Alive {
    /// Whether a pool with this threshold is in panic, after it was or was not.
    fn panics(self, below: u8, was: bool) -> bool {
        let threshold = if was { (usize::from(below) + LEAVE_ABOVE).min(100) } else { usize::from(below) };
        self.ready > 0 && self.up * 100 < self.ready * threshold
    }
}

impl Plan {
    /// Begins and ends panics by what is known of servers now.
    pub(super) fn note_panics(&mut self) {
        let mut panics = BTreeMap::new();
        for pool in &self.config.pools {
            let was = self.panics.contains_key(&pool.name);
            if let Some(panic) = pool.panic.filter(|panic| self.alive(pool).panics(panic.below, was)) {
                panics.insert(pool.name.clone(), panic.then);
            }
        }
        self.panics = panics;
        for record in self.servers.values_mut() {
            (record.panic, record.barred) = (None, false);
        }
        for pool in self.config.pools.iter().filter(|pool| self.panics.contains_key(&pool.name)) {
            let then = self.panics.get(&pool.name).copied();
            for server in &pool.servers {
                let id = self.server_ids.get(&ServerKey::of(pool, server));
                let Some(record) = id.and_then(|id| self.servers.get_mut(&id)) else { continue };
                record.panic = then;
                record.barred = match then {
                    None | Some(PanicThen::All) => false,
                    Some(PanicThen::Nobody) => true,
                    Some(PanicThen::Backup) => !server.backup,
                };
            }
        }
    }

    /// Whom a pool's panic sends to, as of the last snapshot; `None`: there is none.
    #[must_use]
    pub fn panic(&self, pool: &str) -> Option<PanicThen> {
        self.panics.get(pool).copied()
    }

    /// How many servers of a pool look alive. One that no check has ended for says neither, nor does one that an operator took
    /// out.
    #[must_use]
    pub fn alive(&self, pool: &PoolConfig) -> Alive {
        let mut alive = Alive::default();
        for server in pool.servers.iter().filter(|server| !server.backup) {
            let Some(record) = self.server_id(pool, server).and_then(|id| self.server(id)) else { continue };
            if record.wanted() == OperatorState::Ready && record.health != Health::Unknown {
                alive.ready += 1;
                alive.up += usize::from(record.is_up());
            }
        }
        alive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_begins_below_its_threshold_and_ends_well_above_it() {
        let of = |up, ready, was| Alive { up, ready }.panics(50, was);
        assert!(!of(5, 10, false), "half is not below half");
        assert!(of(4, 10, false));
        assert!(of(5, 10, true), "not yet");
        assert!(!of(6, 10, true));
    }

    #[test]
    fn with_a_threshold_of_all_it_ends_when_all_are_up() {
        let of = |up, was| Alive { up, ready: 3 }.panics(100, was);
        assert_eq!([of(2, false), of(2, true), of(3, true)], [true, true, false]);
    }

    #[test]
    fn a_pool_of_which_nothing_is_known_does_not_panic() {
        assert!(!Alive::default().panics(100, false));
    }
}
