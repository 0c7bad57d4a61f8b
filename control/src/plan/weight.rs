//! Weights that operators give servers at run time: each counts before the file's until `clear`.

use super::operator::{ABSENT_MAX_S, Refused};
use super::{Plan, SAID_MAX};
use crate::config::{PoolConfig, ServerConfig};
use ringlead_flow::ServerId;
use ringlead_l4::tables::Chooser;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// By pool and server.
pub(super) type Weights = BTreeMap<(String, String), Weighed>;

/// A server's weight by command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Weighed {
    /// The pool's name.
    pub pool: String,
    /// The server's name.
    pub server: String,
    /// 1 to 256.
    pub weight: u16,
    /// Since when the server is not in the file, in seconds since 1970; a day later this is forgotten.
    pub absent_since: Option<u64>,
}

/// A server's weight before and after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WeightChange {
    /// Before.
    pub old: u16,
    /// After.
    pub new: u16,
    /// What the file says.
    pub file: u16,
}

impl Plan {
    /// A configured server's weight: by command, or else by the file.
    #[must_use]
    pub fn weight(&self, pool: &PoolConfig, server: &ServerConfig) -> u16 {
        if self.weights.is_empty() {
            return server.weight;
        }
        let key = (pool.name.clone(), server.name.clone());
        self.weights.get(&key).map_or(server.weight, |weighed| weighed.weight)
    }

    /// Gives a server a weight, 1 to 256, from the next snapshot on; `None`: the file's.
    ///
    /// # Errors
    /// When the file has no such server, or too many have a weight of their own.
    pub fn weigh(&mut self, pool: &str, server: &str, weight: Option<u16>) -> Result<WeightChange, Refused> {
        let (_, config) = self.configured(pool, server)?;
        let file = config.weight;
        let key = (pool.to_owned(), server.to_owned());
        let old = self.weights.get(&key).map_or(file, |weighed| weighed.weight);
        let new = weight.unwrap_or(file);
        let weights = Arc::make_mut(&mut self.weights);
        // What the file says as well is nothing to remember.
        if new == file {
            weights.remove(&key);
        } else if weights.len() >= SAID_MAX && !weights.contains_key(&key) {
            return Err(Refused::Full);
        } else {
            let (pool, server) = key.clone();
            weights.insert(key, Weighed { pool, server, weight: new, absent_since: None });
        }
        Ok(WeightChange { old, new, file })
    }

    /// The server of each slot of a pool's Maglev table in the last snapshot; `None` where it has none.
    #[must_use]
    pub fn maglev_slots(&self, pool: &str) -> Option<Vec<ServerId>> {
        let pool = &self.pools.get(pool)?.pool;
        let Chooser::Maglev { table, .. } = &pool.chooser else { return None };
        table.slots().iter().map(|&member| pool.members.get(usize::from(member)).copied()).collect()
    }
}

/// As [`Plan::note_absent`]: notes which servers are in the file, and forgets what has long been out of it. Of each weight
/// `is_present` is asked once. Returns whether that changed anything.
pub(super) fn note_absent_weights(
    all: &mut Arc<Weights>,
    is_present: impl Fn(&str, &str) -> bool,
    now: u64,
) -> bool {
    let mut weights = Weights::clone(all);
    for ((pool, server), weighed) in &mut weights {
        weighed.absent_since =
            if is_present(pool, server) { None } else { weighed.absent_since.or(Some(now)) };
    }
    let kept = |since: Option<u64>| since.is_none_or(|since| since.saturating_add(ABSENT_MAX_S) > now);
    weights.retain(|_, weighed| kept(weighed.absent_since));
    let changed = weights != **all;
    if changed {
        *all = Arc::new(weights);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::plan::{Health, HopKey};
    use std::cell::Cell;

    const HEAD: &str = "version = 1\n[dataplane]\ncores = [0]\n[port.wan]\ndevice = \"eth0\"\n[pool.web]\nalgorithm = \"maglev\"\n";
    const BOTH: &str = "{ name = \"a\", address = \"10.0.0.1:80\", weight = 10 },\
        { name = \"b\", address = \"10.0.0.2:80\", weight = 10 }";
    const SECOND: &str = "{ name = \"b\", address = \"10.0.0.2:80\", weight = 10 }";

    fn parsed(servers: &str) -> config::Config {
        config::parse("test.toml", &format!("{HEAD}server = [{servers}]\n")).unwrap().0
    }

    /// How many of a hundred slots are the first server's.
    fn share(plan: &mut Plan) -> usize {
        let all: Vec<_> = plan.servers().map(|s| (s.id, s.key.address.ip())).collect();
        for (id, ip) in all {
            plan.set_reach(id, Ok(HopKey::untagged(0, ip))).unwrap();
            plan.set_health(id, Health::Unchecked, String::new());
        }
        drop(plan.snapshot());
        let slots = plan.maglev_slots("web").unwrap();
        let first = plan.configured("web", "a").unwrap().0.id;
        100 * slots.iter().filter(|id| **id == first).count() / slots.len()
    }

    #[test]
    fn a_weight_by_command_counts_before_the_file_until_it_is_cleared() {
        let mut plan = Plan::new(parsed(BOTH)).unwrap();
        assert!((48..=52).contains(&share(&mut plan)));
        assert_eq!(plan.weigh("web", "a", Some(30)).unwrap(), WeightChange { old: 10, new: 30, file: 10 });
        assert!((73..=77).contains(&share(&mut plan)));
        plan.adopt(parsed(BOTH)).unwrap();
        assert!((73..=77).contains(&share(&mut plan)), "a reload keeps it");
        assert_eq!(plan.weigh("web", "a", None).unwrap(), WeightChange { old: 30, new: 10, file: 10 });
        assert!((48..=52).contains(&share(&mut plan)));
        assert!(plan.weights.is_empty());
        assert!(matches!(plan.weigh("web", "z", Some(3)), Err(Refused::NoServer(..))));
    }

    #[test]
    fn a_weight_is_kept_for_a_day_when_its_server_leaves_the_file() {
        let mut plan = Plan::new(parsed(BOTH)).unwrap();
        plan.weigh("web", "a", Some(30)).unwrap();
        plan.adopt(parsed(SECOND)).unwrap();
        assert!(plan.note_absent(1_000));
        assert!(!plan.note_absent(1_000 + ABSENT_MAX_S - 1));
        plan.adopt(parsed(BOTH)).unwrap();
        assert!((73..=77).contains(&share(&mut plan)));
        assert!(plan.note_absent(2_000));
        plan.adopt(parsed(SECOND)).unwrap();
        plan.note_absent(3_000);
        assert!(plan.note_absent(3_000 + ABSENT_MAX_S));
        assert!(plan.weights.is_empty());
    }

    #[test]
    fn the_file_is_asked_once_of_each_weight() {
        let weighed = |n: u32| {
            let (pool, server) = ("web".to_owned(), format!("s{n}"));
            let key = (pool.clone(), server.clone());
            (key, Weighed { pool, server, weight: 3, absent_since: None })
        };
        let (mut weights, asked) = (Arc::new((0..1_000).map(weighed).collect::<Weights>()), Cell::new(0));
        let is_present = |_: &str, server: &str| {
            asked.set(asked.get() + 1);
            server != "s7"
        };
        assert!(note_absent_weights(&mut weights, is_present, 5));
        assert_eq!(asked.get(), 1_000);
        let absent: Vec<_> = weights.values().filter(|weighed| weighed.absent_since == Some(5)).collect();
        assert!(absent.len() == 1 && absent[0].server == "s7");
    }
}
