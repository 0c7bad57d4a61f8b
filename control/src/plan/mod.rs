//! From configuration and states to one snapshot: who has which id, who may get new flows, what the front steers to us.
//!
//! Pure bookkeeping: no I/O, no clock. The engine feeds it and publishes what it makes; replay uses the same.

mod agent;
mod eligible;
mod fit;
mod guests;
mod ids;
mod node_state;
mod nodes;
mod operator;
mod panic;
mod pools;
mod rules;
mod servers;
mod snapshot;
mod snat;
mod sticky;
mod weight;

pub use agent::{AgentChange, keeps_weights};
pub use eligible::Out;
pub use fit::{Beside, Narrow, Spot};
pub use node_state::{NodeDrain, Sayings};
pub use operator::{Refused, SAID_MAX, Said, ServersByName, StateChange};
pub use panic::Alive;
pub use pools::Strength;
pub use servers::{Health, Obstacle, Reach, Reported, ServerKey, ServerRecord, Source, Unreachable, Way};
pub(crate) use snapshot::tunnel_of;
pub use snat::clash as snat_clash;
pub use weight::{Weighed, WeightChange};

use crate::config::{Config, PanicThen, PoolConfig, ServerConfig};
use ids::Ids;
use pools::PoolCache;
use ringlead_flow::ServerId;
use ringlead_l4::attempts::Attempted;
use ringlead_l4::neighbours::{NEIGHBOURS_MAX, NeighbourId};
use ringlead_l4::tables::{SERVERS_MAX, SERVICES_MAX, ServiceId};
use ringlead_pick::FrontHash;
use ringlead_wire::Vid;
use servers::{Finder, Found};
use snat::SnatPools;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use sticky::StickyTables;

/// A next hop: how frames leave, and the address whose Ethernet address they need.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HopKey {
    /// The configured port's index.
    pub port: u8,
    /// The VLAN that it is in; `None`: frames to it leave untagged.
    pub vlan: Option<Vid>,
    /// The server's address, or its gateway's.
    pub ip: IpAddr,
}

impl HopKey {
    /// One that is reached untagged.
    #[must_use]
    pub const fn untagged(port: u8, ip: IpAddr) -> Self {
        Self { port, vlan: None, ip }
    }
}

/// The node's ids never outnumber their tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfIds(pub &'static str);

impl std::fmt::Display for OutOfIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no {} id is free: too many removed ones still have flows; wait for them to end", self.0)
    }
}

impl std::error::Error for OutOfIds {}

/// Everything that stands behind a snapshot.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Shared, so that a plan is copied without it.
    config: Arc<Config>,
    hash: FrontHash,
    epoch: u64,
    services: Ids<String>,
    /// How often each service slot has been given away.
    generations: Vec<u16>,
    server_ids: Ids<ServerKey>,
    servers: BTreeMap<u32, ServerRecord>,
    hops: Ids<HopKey>,
    pools: PoolCache,
    snat: SnatPools,
    /// The pools in panic, as of the last snapshot.
    panics: BTreeMap<String, PanicThen>,
    /// What tells a pool's clients from others' in a persistence table.
    salts: BTreeMap<String, u32>,
    /// What operators said at run time.
    said: Arc<operator::SaidByServer>,
    /// The weights that they gave.
    weights: Arc<weight::Weights>,
    /// Whether they let the node drain.
    node_drain: Option<Arc<NodeDrain>>,
    sticky: StickyTables,
    /// Pools of nodes: by which slots connections may have gone to another one.
    strays: BTreeMap<String, guests::Strays>,
    /// Whether flows came over from an earlier process.
    expects_guests: bool,
    seed: [u8; 16],
    /// The time of the last snapshot; `None` while nobody has said what time it is.
    now: Option<Duration>,
}

impl Plan {
    /// A plan for a configuration, with every server's health unknown and its next hop unresolved.
    ///
    /// # Errors
    /// When there are more services or servers than ids.
    pub fn new(config: Config) -> Result<Self, OutOfIds> {
        let mut plan = Self {
            hash: FrontHash::new(config.dataplane.hash_key),
            config: Arc::new(config.clone()),
            epoch: 0,
            services: Ids::new(SERVICES_MAX),
            generations: vec![0; SERVICES_MAX],
            server_ids: Ids::new(SERVERS_MAX),
            servers: BTreeMap::new(),
            hops: Ids::new(NEIGHBOURS_MAX),
            pools: PoolCache::default(),
            snat: SnatPools::default(),
            panics: BTreeMap::new(),
            salts: BTreeMap::new(),
            said: Arc::default(),
            weights: Arc::default(),
            node_drain: None,
            sticky: StickyTables::new(),
            strays: BTreeMap::new(),
            expects_guests: false,
            seed: [0; 16],
            now: None,
        };
        plan.adopt(config)?;
        Ok(plan)
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The epoch of the last snapshot made.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Every server with an id, ghosts included.
    pub fn servers(&self) -> impl Iterator<Item = &ServerRecord> {
        self.servers.values()
    }

    /// One server by id.
    #[must_use]
    pub fn server(&self, id: ServerId) -> Option<&ServerRecord> {
        self.servers.get(&id.0)
    }

    /// The id of a configured server.
    #[must_use]
    pub fn server_id(&self, pool: &PoolConfig, server: &ServerConfig) -> Option<ServerId> {
        self.server_ids.get(&ServerKey::of(pool, server)).map(ServerId)
    }

    /// The id of a server by what makes it the same one everywhere.
    #[must_use]
    pub fn id_of(&self, key: &ServerKey) -> Option<ServerId> {
        self.server_ids.get(key).map(ServerId)
    }

    /// The id of a service in the next snapshot.
    #[must_use]
    pub fn service_id(&self, name: &str) -> Option<ServiceId> {
        let slot = u16::try_from(self.services.get(name)?).ok()?;
        Some(ServiceId { slot, generation: *self.generations.get(usize::from(slot))? })
    }

    /// Takes another configuration over: what stays keeps its id, what is new gets one, servers that vanish become ghosts.
    ///
    /// # Errors
    /// When there are more services or servers than ids; the plan is then half changed and must be thrown away.
    pub fn adopt(&mut self, config: Config) -> Result<(), OutOfIds> {
        let names: BTreeSet<&str> = config.services.iter().map(|s| s.name.as_str()).collect();
        for slot in self.services.release_where(|name| !names.contains(name.as_str())) {
            if let Some(generation) = self.generations.get_mut(slot as usize) {
                *generation = generation.wrapping_add(1);
            }
        }
        for name in names {
            self.services.assign(name.to_owned()).ok_or(OutOfIds("service"))?;
        }
        let mut seen = BTreeSet::new();
        for pool in &config.pools {
            let finder = Finder::of(pool.health.and_then(|index| config.checks.get(index)));
            for server in &pool.servers {
                let key = ServerKey::of(pool, server);
                let id = self.server_ids.assign(key.clone()).ok_or(OutOfIds("server"))?;
                let record = self.servers.entry(id).or_insert_with(|| ServerRecord::new(ServerId(id), key));
                record.keep(pool, finder, operator::wanted(&self.said, pool, server));
                seen.insert(id);
            }
        }
        for (_, record) in self.servers.iter_mut().filter(|(id, _)| !seen.contains(id)) {
            record.ghost = true;
        }
        self.note_nat_servers(&config);
        // The checks leave no pool that cannot be made.
        self.snat.adopt(&config).map_err(|_| OutOfIds("source port"))?;
        self.config = Arc::new(config);
        self.note_salts();
        Ok(())
    }

    /// Takes over what a server's checks say; returns whether that changed who may get new flows.
    pub fn set_health(&mut self, id: ServerId, health: Health, reason: String) -> bool {
        let found = Found { health, reason, source: Source::Check };
        self.servers.get_mut(&id.0).is_some_and(|record| record.find(found))
    }

    /// Takes a server down for what clients' connections show, until its checks say otherwise; returns the same.
    pub fn set_failing(&mut self, id: ServerId, reason: String) -> bool {
        let found = Found { health: Health::Down, reason, source: Source::Passive };
        self.servers.get_mut(&id.0).is_some_and(|record| record.find(found))
    }

    /// Takes over what was reported of a server, or that nothing is any more; returns the same.
    pub fn set_reported(&mut self, id: ServerId, reported: Option<Reported>) -> bool {
        self.servers.get_mut(&id.0).is_some_and(|record| record.report(reported))
    }

    /// Ends what was reported until `now` or before; returns whose reports ended, and whether that changed who may get new flows.
    pub fn end_reports(&mut self, now: Instant) -> (Vec<ServerKey>, bool) {
        let (mut ended, mut changed) = (Vec::new(), false);
        for record in self.servers.values_mut() {
            if record.reported.as_ref().is_some_and(|reported| reported.until <= now) {
                changed |= record.report(None);
                ended.push(record.key.clone());
            }
        }
        (ended, changed)
    }

    /// Notes until when a server is held down.
    pub fn set_held(&mut self, id: ServerId, until: Option<Duration>) {
        if let Some(record) = self.servers.get_mut(&id.0) {
            record.held_until = until;
        }
    }

    /// Sets how a server is reached; returns whether that changed anything.
    ///
    /// # Errors
    /// When there are more next hops than places for them.
    pub fn set_reach(
        &mut self,
        id: ServerId,
        reach: Result<impl Into<Way>, Unreachable>,
    ) -> Result<bool, OutOfIds> {
        let reach = match reach.map(Into::into) {
            Ok(Way::Itself) => Reach::Itself,
            Ok(Way::Via(hop)) => {
                let place = self.hops.assign(hop).ok_or(OutOfIds("next-hop"))?;
                Reach::Via { neighbour: NeighbourId(place), hop }
            }
            Err(why) => Reach::Unreachable(why),
        };
        let Some(record) = self.servers.get_mut(&id.0) else { return Ok(false) };
        let changed = record.reach != reach;
        record.reach = reach;
        Ok(changed)
    }

    /// The place of a server's next hop in the neighbour table, once the kernel has named one.
    #[must_use]
    pub fn neighbour_of(&self, id: ServerId) -> Option<NeighbourId> {
        match self.server(id)?.reach {
            Reach::Via { neighbour, .. } => Some(neighbour),
            Reach::Unknown | Reach::Itself | Reach::Unreachable(_) => None,
        }
    }

    /// The next hops that some server needs, with their places in the neighbour table.
    pub fn hops(&self) -> impl Iterator<Item = (HopKey, NeighbourId)> + '_ {
        self.hops.iter().map(|(key, id)| (*key, NeighbourId(id)))
    }

    /// The place of a next hop in the neighbour table, when some server needs it.
    #[must_use]
    pub fn hop_id(&self, key: &HopKey) -> Option<NeighbourId> {
        self.hops.get(key).map(NeighbourId)
    }

    /// Whether there are next hops that no server needs any more.
    #[must_use]
    pub fn has_unused_hops(&self) -> bool {
        !self.unused_hops().is_empty()
    }

    fn unused_hops(&self) -> Vec<HopKey> {
        let used: BTreeSet<HopKey> = self.servers.values().filter_map(|s| s.reach.hop()).collect();
        self.hops.iter().map(|(key, _)| *key).filter(|key| !used.contains(key)).collect()
    }

    /// Forgets next hops that no server needs any more; returns them.
    pub fn forget_unused_hops(&mut self) -> Vec<(HopKey, NeighbourId)> {
        let unused = self.unused_hops();
        let place = |key: HopKey| self.hops.release(&key).map(|id| (key, NeighbourId(id)));
        unused.into_iter().filter_map(place).collect()
    }

    /// Notes of servers that are new what had been counted by their ids before, and tells who they are. An id goes to another
    /// server when its own is gone, and workers' counts never go back.
    pub fn note_attempts_before(&mut self, counted: impl Fn(ServerId) -> Attempted) -> Vec<ServerId> {
        let new = self.servers.values_mut().filter(|record| record.attempts_before.is_none());
        new.map(|record| {
            record.attempts_before = Some(counted(record.id));
            record.id
        })
        .collect()
    }

    /// Forgets the ghosts for which `idle` is true: servers without flows, once every worker knows them as ghosts. Their ids
    /// go to others then, so those that clients are still known to are kept.
    pub fn forget_ghosts(&mut self, idle: impl Fn(ServerId) -> bool) -> usize {
        let before = self.servers.len();
        let known = |s: &ServerRecord| s.remembered && !self.sticky.is_empty();
        let gone = self.servers.values().filter(|s| s.ghost && !known(s) && idle(s.id));
        let gone: Vec<u32> = gone.map(|s| s.id.0).collect();
        for id in gone {
            if let Some(record) = self.servers.remove(&id) {
                self.server_ids.release(&record.key);
            }
        }
        before - self.servers.len()
    }
}
