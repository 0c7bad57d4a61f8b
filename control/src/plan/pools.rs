//! Pools as the packet path sees them: who is in, with which share. Those that did not change are shared with the last snapshot.

use super::{Plan, ServerRecord, operator};
use crate::config::{Algorithm, OperatorState, PoolConfig, ServerConfig};
use ringlead_flow::ServerId;
use ringlead_l4::tables::{Chooser, Pool, SERVICES_MAX, Standing};
use ringlead_pick::{LeastFlows, Maglev, Member, RandomTwo, RoundRobin, default_size, slow_start};
use ringlead_wire::Ip;
use siphasher::sip::SipHasher13;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// While a server of a pool starts slowly, or has a share by its agent, all weights are multiplied by this, so that a weight
/// of 1 can have a tenth, too.
/// The largest, 256, stays below 2^16.
const FINER: u16 = 100;

/// What a pool was built from; an equal recipe gives an equal pool.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Recipe {
    index: u16,
    algorithm: Algorithm,
    members: Vec<(ServerId, u16)>,
    limits: Vec<(ServerId, u32)>,
    servers: usize,
    salt: u32,
    standing: Standing,
}

/// The last snapshot's pools by name.
pub(super) type PoolCache = BTreeMap<String, Built>;

/// One pool of the last snapshot.
#[derive(Clone, Debug)]
pub(super) struct Built {
    recipe: Recipe,
    strength: Strength,
    pub(super) pool: Arc<Pool>,
}

/// How many of a pool's servers may get new flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Strength {
    /// Servers that are no backups.
    pub primaries: usize,
    /// Those of them that are eligible.
    pub primaries_eligible: usize,
    /// Backups that are eligible.
    pub backups_eligible: usize,
    /// Fewer than these primaries: the backups join.
    pub servers_min: usize,
}

impl Strength {
    fn of<'a>(pool: &PoolConfig, eligible: impl Iterator<Item = &'a ServerConfig>) -> Self {
        let mut strength = Self {
            primaries: pool.servers.iter().filter(|server| !server.backup).count(),
            primaries_eligible: 0,
            backups_eligible: 0,
            servers_min: pool.servers_min,
        };
        for server in eligible {
            if server.backup {
                strength.backups_eligible += 1;
            } else {
                strength.primaries_eligible += 1;
            }
        }
        strength
    }

    /// Whether fewer primaries than `min-servers` are eligible.
    #[must_use]
    pub const fn below_min(self) -> bool {
        self.primaries_eligible < self.servers_min
    }

    /// Whether backups get flows now.
    #[must_use]
    pub const fn uses_backups(self) -> bool {
        self.below_min() && self.backups_eligible > 0
    }
}

impl Plan {
    /// How many of a pool's servers may get new flows, as of the last snapshot; `None` before the pool is in one.
    #[must_use]
    pub fn strength(&self, pool: &str) -> Option<Strength> {
        self.pools.get(pool).map(|built| built.strength)
    }

    /// A server's weight as of the last snapshot: that of the configuration with its agent's share, or less while it starts
    /// slowly.
    #[must_use]
    pub fn weight_now(&self, pool: &PoolConfig, server: &ServerConfig) -> f64 {
        let record = self.server_id(pool, server).and_then(|id| self.server(id));
        let scaled = record.map_or(self.weight(pool, server).saturating_mul(FINER), |record| {
            self.finer_weight(pool, server, record)
        });
        f64::from(scaled) / f64::from(FINER)
    }

    /// The snapshot's pools in the configuration's order.
    pub(super) fn build_pools(&mut self) -> Vec<Arc<Pool>> {
        let names: BTreeSet<&str> = self.config.pools.iter().map(|pool| pool.name.as_str()).collect();
        self.pools.retain(|name, _| names.contains(name.as_str()));
        (0..self.config.pools.len()).filter_map(|index| self.build_pool(index)).collect()
    }

    /// A pool, the last one when nothing about it changed.
    fn build_pool(&mut self, index: usize) -> Option<Arc<Pool>> {
        let config = self.config.pools.get(index)?;
        let (recipe, strength) = self.recipe(index, config);
        if let Some(last) = self.pools.get_mut(&config.name)
            && last.recipe == recipe
        {
            last.strength = strength;
            return Some(Arc::clone(&last.pool));
        }
        let pool = Arc::new(self.made(config, &recipe));
        let name = config.name.clone();
        self.pools.insert(name, Built { recipe, strength, pool: Arc::clone(&pool) });
        Some(pool)
    }

    fn made(&self, config: &PoolConfig, recipe: &Recipe) -> Pool {
        Pool {
            index: recipe.index,
            name: Arc::from(config.name.as_str()),
            chooser: self.chooser(recipe),
            members: recipe.members.iter().map(|(id, _)| *id).collect(),
            limits: recipe.limits.iter().copied().collect(),
            salt: recipe.salt,
            standing: recipe.standing,
        }
    }

    /// A pool of the last snapshot; before it is in one, as it will be if all that shall serve first are up.
    pub(super) fn pool_soon(&self, index: usize) -> Option<Arc<Pool>> {
        let config = self.config.pools.get(index)?;
        if let Some(built) = self.pools.get(&config.name) {
            return Some(Arc::clone(&built.pool));
        }
        let (mut recipe, _) = self.recipe(index, config);
        let is_ready = |s: &ServerConfig| operator::wanted(&self.said, config, s).0 == OperatorState::Ready;
        let own = if self.node_drain().is_some() { self.own_nodes() } else { BTreeSet::new() };
        let leaves = |s: &ServerConfig| self.server_id(config, s).is_some_and(|id| own.contains(&id));
        let first = |server: &&ServerConfig| is_ready(server) && !server.backup && !leaves(server);
        let first = config.servers.iter().filter(first);
        recipe.members =
            first.filter_map(|s| Some((self.server_id(config, s)?, self.weight(config, s)))).collect();
        Some(Arc::new(self.made(config, &recipe)))
    }

    fn chooser(&self, recipe: &Recipe) -> Chooser {
        let weights: Vec<u16> = recipe.members.iter().map(|(_, weight)| *weight).collect();
        match recipe.algorithm {
            Algorithm::Maglev { size, hash } => {
                let identity = |id: ServerId| {
                    let address = self.server(id).map(|record| record.key.address);
                    address.map_or(0, |at| self.hash.server(Ip::from(at.ip()), at.port()))
                };
                let members = recipe.members.iter();
                let members: Vec<Member> =
                    members.map(|&(id, weight)| Member { identity: identity(id), weight }).collect();
                let size = size.unwrap_or_else(|| default_size(recipe.servers));
                Chooser::Maglev { table: Maglev::build(&members, size), by: hash }
            }
            Algorithm::RoundRobin => Chooser::RoundRobin(RoundRobin::new(&weights)),
            Algorithm::LeastFlows => Chooser::LeastFlows(LeastFlows::new(&weights)),
            Algorithm::RandomTwo => Chooser::RandomTwo(RandomTwo::new(&weights)),
        }
    }

    /// Up/down, operator state and weight decide a Maglev table, nothing else; its size follows the configured servers.
    fn recipe(&self, index: usize, config: &PoolConfig) -> (Recipe, Strength) {
        let mut members: Vec<_> = self.eligible_servers(config).collect();
        let strength = Strength::of(config, members.iter().map(|(server, _)| *server));
        if !strength.uses_backups() {
            members.retain(|(server, _)| !server.backup);
        }
        let finer = members.iter().any(|(server, record)| {
            let full = self.weight(config, server);
            record.ramps_since.is_some()
                || record.weight_in_hundredths(config, full) != full.saturating_mul(FINER)
        });
        let weight = |server: &ServerConfig, record: &ServerRecord| {
            if finer { self.finer_weight(config, server, record) } else { self.weight(config, server) }
        };
        // Of all servers: those that drain still get flows of clients that come back.
        let limited = config.servers.iter().filter_map(|server| {
            let limit = server.flows_max?;
            Some((self.server_id(config, server)?, limit))
        });
        let recipe = Recipe {
            index: u16::try_from(index % SERVICES_MAX).unwrap_or(0),
            algorithm: config.algorithm,
            members: members.iter().map(|&(server, record)| (record.id, weight(server, record))).collect(),
            limits: limited.collect(),
            servers: config.servers.len(),
            salt: self.salts.get(&config.name).copied().unwrap_or_default(),
            standing: match self.panic(&config.name) {
                Some(_) => Standing::Panic,
                None if strength.uses_backups() => Standing::Backups,
                None => Standing::Whole,
            },
        };
        (recipe, strength)
    }

    /// A server's weight of now, times [`FINER`].
    fn finer_weight(&self, pool: &PoolConfig, server: &ServerConfig, record: &ServerRecord) -> u16 {
        let full = record.weight_in_hundredths(pool, self.weight(pool, server));
        let since = record.ramps_since.zip(self.now).map(|(since, now)| now.saturating_sub(since));
        match (since, pool.slow_start) {
            (Some(since), Some(ramp)) => slow_start(full, since, ramp),
            _ => full,
        }
    }

    fn eligible_servers<'a>(
        &'a self,
        pool: &'a PoolConfig,
    ) -> impl Iterator<Item = (&'a ServerConfig, &'a ServerRecord)> {
        pool.servers.iter().filter_map(move |server| {
            let record = self.server(self.server_id(pool, server)?)?;
            self.eligible(record).then_some((server, record))
        })
    }

    /// Says what time the next snapshot is of, on any monotonic clock. In snapshots without a time nobody starts slowly, nor
    /// does later who could get flows in one of them.
    pub fn set_time(&mut self, now: Duration) {
        self.now = Some(now);
    }

    /// Whether a server had less than its full weight in the last snapshot: the next one may give it more.
    #[must_use]
    pub fn ramps(&self) -> bool {
        self.servers.values().any(|record| record.ramps_since.is_some())
    }

    /// Begins and ends slow starts. A server that could get no flow in the last snapshot and can now begins one.
    pub(super) fn note_ramps(&mut self) {
        let mut ramps = BTreeMap::new();
        for pool in &self.config.pools {
            let Some(ramp) = pool.slow_start else { continue };
            ramps.extend(pool.servers.iter().filter_map(|s| Some((self.server_id(pool, s)?.0, ramp))));
        }
        let eligible: BTreeSet<u32> =
            self.servers.values().filter(|record| self.eligible(record)).map(|record| record.id.0).collect();
        for (id, record) in &mut self.servers {
            let is_eligible = eligible.contains(id);
            if is_eligible && !record.was_eligible {
                record.ramps_since = self.now;
            }
            record.was_eligible = is_eligible;
            let ramp = ramps.get(id).filter(|_| is_eligible);
            let left = |since: &Duration| {
                ramp.zip(self.now).is_some_and(|(ramp, now)| now.saturating_sub(*since) < *ramp)
            };
            record.ramps_since = record.ramps_since.filter(left);
        }
    }

    /// Every pool's name, and its number in the keys of persistence tables.
    pub fn salts(&self) -> impl Iterator<Item = (&str, u32)> {
        self.salts.iter().map(|(name, salt)| (name.as_str(), *salt))
    }

    /// Gives every pool a number for its clients: a hash of its name, or the next that is free, for as long as it exists.
    pub(super) fn note_salts(&mut self) {
        let names: BTreeSet<&str> = self.config.pools.iter().map(|pool| pool.name.as_str()).collect();
        self.salts.retain(|name, _| names.contains(name.as_str()));
        let mut taken: BTreeSet<u32> = self.salts.values().copied().collect();
        for name in names {
            if self.salts.contains_key(name) {
                continue;
            }
            // There are fewer pools than 2^16, so a number is free.
            let mut salt = salt_of(name);
            while !taken.insert(salt) {
                salt = salt.wrapping_add(1);
            }
            self.salts.insert(name.to_owned(), salt);
        }
    }
}

/// The same in every process: SipHash-1-3 of the name with a key of zeroes, its lower half.
#[allow(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
fn salt_of(name: &str) -> u32 {
    SipHasher13::new().hash(name.as_bytes()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn pools_whose_names_have_one_hash_have_their_own_numbers() {
        let mut seen = BTreeMap::new();
        let pair = (0_u32..).find_map(|n| seen.insert(salt_of(&format!("p{n}")), n).map(|first| [first, n]));
        let pools = pair.unwrap().map(|n| {
            format!(
                "[pool.p{n}]\nalgorithm = \"maglev\"\nserver = [{{ name = \"s\", address = \"10.0.0.1:80\" }}]\n"
            )
        });
        let head = "version = 1\n[dataplane]\ncores = [0]\n[port.wan]\ndevice = \"eth0\"\n";
        let (config, _) = config::parse("test.toml", &format!("{head}{}", pools.concat())).unwrap();
        let plan = Plan::new(config).unwrap();
        let salts: BTreeSet<u32> = plan.salts.values().copied().collect();
        assert_eq!(salts.len(), 2, "{:?}", plan.salts);
    }
}
