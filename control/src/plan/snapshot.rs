//! Building the immutable tables. Pools that did not change are shared with the last snapshot.

use super::{Plan, Reach, ServerRecord};
use crate::config::{
    Algorithm, Mode, OnNoServer, OperatorState, PoolConfig, Profile, ServiceConfig, SourcePrefix,
    TunnelConfig,
};
use ringlead_flow::ServerId;
use ringlead_l4::tables::{
    self, Chooser, Delivery, Pool, Prefix, SERVICES_MAX, Server, Service, Tables, Tunnel,
};
use ringlead_pick::{HashBy, Maglev, Member, RoundRobin, default_size};
use ringlead_wire::{Endpoint, Ip};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a pool's table was built from; an equal recipe gives an equal table.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Recipe {
    index: u16,
    algorithm: Algorithm,
    members: Vec<(ServerId, u16)>,
    servers: usize,
}

/// The last snapshot's pools by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolCache(BTreeMap<String, (Recipe, Arc<Pool>)>);

impl Plan {
    /// The next snapshot. Takes as long as the changed pools' tables need (a Maglev table of 65 537 slots and 1000
    /// servers: about 1 ms), so it runs off the control thread.
    #[must_use]
    pub fn snapshot(&mut self) -> Tables {
        self.epoch += 1;
        let pools: Vec<Arc<Pool>> =
            (0..self.config.pools.len()).filter_map(|index| self.pool(index)).collect();
        let names: BTreeSet<&str> = self.config.pools.iter().map(|pool| pool.name.as_str()).collect();
        self.pools.0.retain(|name, _| names.contains(name.as_str()));
        let mut services: Vec<Option<Arc<Service>>> = Vec::new();
        let mut listen = ahash::AHashMap::new();
        for config in &self.config.services {
            let (Some(id), Some(pool)) = (self.service_id(&config.name), pools.get(config.pool)) else {
                continue;
            };
            let slot = usize::from(id.slot);
            if services.len() <= slot {
                services.resize(slot + 1, None);
            }
            let service = Service {
                id,
                name: Arc::from(config.name.as_str()),
                delivery: self.delivery(config),
                pool: Arc::clone(pool),
                on_no_server: match config.on_no_server {
                    OnNoServer::Drop => tables::OnNoServer::Drop,
                    OnNoServer::Reset => tables::OnNoServer::Reset,
                },
                sorry: None,
                sticky: None,
                profile: match config.profile {
                    Profile::Lb => ringlead_flow::Profile::Lb,
                    Profile::Rfc5382 => ringlead_flow::Profile::Rfc5382,
                },
            };
            if let Some(place) = services.get_mut(slot) {
                *place = Some(Arc::new(service));
            }
            listen.extend(config.listen.iter().map(|&at| (at, id.slot)));
        }
        Tables {
            epoch: self.epoch,
            services: services.into(),
            servers: self.server_table(),
            listen: Arc::new(listen),
            nat_servers: Arc::new(self.nat_endpoints().map(|at| (at, ())).collect()),
            snat: Arc::new(self.snat.by_address()),
            snat_pools: self.snat.pools(),
            mixed: self.is_mixed(),
            hash: self.hash,
        }
    }

    /// Whether a service's clients have one IP family and its servers the other, so that flows are looked up in both.
    fn is_mixed(&self) -> bool {
        self.config.services.iter().filter(|service| matches!(service.mode, Mode::Snat { .. })).any(
            |service| {
                let servers = self.config.pools.get(service.pool).into_iter().flat_map(|pool| &pool.servers);
                let v4 = |at: &Endpoint| at.ip.is_v4();
                servers
                    .take(1)
                    .any(|server| service.listen.iter().any(|at| v4(at) != server.address.is_ipv4()))
            },
        )
    }

    /// How a service's packets travel.
    fn delivery(&self, config: &ServiceConfig) -> Delivery {
        match config.mode {
            Mode::Nat => Delivery::Nat,
            Mode::Dsr => Delivery::Dsr,
            Mode::Snat { snat } => self.snat.pool(snat).map_or(Delivery::Nat, Delivery::Snat),
            Mode::Tunnel { tunnel } => {
                let tunnel = self.config.tunnels.get(tunnel).and_then(tunnel_of);
                // The checks leave no other; a plan that was made otherwise still forwards.
                tunnel.map_or(Delivery::Dsr, Delivery::Tunnel)
            }
        }
    }

    fn server_table(&self) -> Arc<[Option<Server>]> {
        let len = self.servers.keys().next_back().map_or(0, |&last| last as usize + 1);
        let mut servers = vec![None; len];
        for (&id, record) in &self.servers {
            if let (Some(place), Some(server)) = (servers.get_mut(id as usize), server(record)) {
                *place = Some(server);
            }
        }
        servers.into()
    }

    /// A pool's table, the last one when nothing about it changed.
    fn pool(&mut self, index: usize) -> Option<Arc<Pool>> {
        let config = self.config.pools.get(index)?;
        let recipe = self.recipe(index, config);
        if let Some((last, pool)) = self.pools.0.get(&config.name)
            && *last == recipe
        {
            return Some(Arc::clone(pool));
        }
        let chooser = match recipe.algorithm {
            Algorithm::Maglev { size } => {
                let identity = |id: &ServerId| {
                    let address = self.server(*id).map(|record| record.key.address);
                    address.map_or(0, |at| self.hash.server(Ip::from(at.ip()), at.port()))
                };
                let members: Vec<Member> = recipe
                    .members
                    .iter()
                    .map(|(id, weight)| Member { identity: identity(id), weight: *weight })
                    .collect();
                Chooser::Maglev {
                    table: Maglev::build(&members, size.unwrap_or_else(|| default_size(recipe.servers))),
                    by: HashBy::FiveTuple,
                }
            }
            Algorithm::RoundRobin => {
                let weights: Vec<u16> = recipe.members.iter().map(|(_, weight)| *weight).collect();
                Chooser::RoundRobin(RoundRobin::new(&weights))
            }
        };
        let pool = Arc::new(Pool {
            index: recipe.index,
            name: Arc::from(config.name.as_str()),
            chooser,
            members: recipe.members.iter().map(|(id, _)| *id).collect(),
            limits: ahash::AHashMap::default(),
            salt: 0,
        });
        let name = config.name.clone();
        self.pools.0.insert(name, (recipe, Arc::clone(&pool)));
        Some(pool)
    }

    /// Only up/down, operator state and weight decide a table; its size follows the configured servers.
    fn recipe(&self, index: usize, config: &PoolConfig) -> Recipe {
        let eligible = config.servers.iter().filter_map(|server| {
            let record = self.server(self.server_id(config, server)?)?;
            self.eligible(record).then_some((record.id, server.weight))
        });
        Recipe {
            index: u16::try_from(index % SERVICES_MAX).unwrap_or(0),
            algorithm: config.algorithm,
            members: eligible.collect(),
            servers: config.servers.len(),
        }
    }
}

fn tunnel_of(config: &TunnelConfig) -> Option<Tunnel> {
    let prefix = |at: SourcePrefix| Prefix::new(at.ip, at.bits);
    Some(Tunnel {
        encapsulation: config.encapsulation,
        source_v4: prefix(config.source_v4)?,
        source_v6: prefix(config.source_v6)?,
    })
}

/// What the packet path needs of a server; `None` while nobody knows how to reach it.
fn server(record: &ServerRecord) -> Option<Server> {
    let Reach::Via { neighbour, .. } = record.reach else { return None };
    Some(Server {
        name: Arc::from(format!("{}/{}", record.key.pool, record.key.name)),
        ip: Ip::from(record.key.address.ip()),
        port: record.key.address.port(),
        neighbour,
        down: record.health == super::Health::Down,
        admits: !record.ghost && record.operator != OperatorState::Offline && record.health.is_up(),
        accepts: !record.ghost && record.operator == OperatorState::Ready && record.health.is_up(),
    })
}
