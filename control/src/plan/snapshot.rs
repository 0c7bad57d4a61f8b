//! Building the immutable tables.

use super::{Plan, Reach, ServerRecord};
use crate::config::{
    Mode, OnNoServer, OnServerDown, OperatorState, Profile, ServiceConfig, SourcePrefix, TunnelConfig,
};
use ringlead_l4::tables::{self, Delivery, Ends, Prefix, Server, Service, Tables, Tunnel};
use ringlead_wire::{Endpoint, Ip};
use std::sync::Arc;

impl Plan {
    /// The next snapshot. Takes as long as the changed pools' tables need (a Maglev table of 65 537 slots and 1000
    /// servers: about 1 ms), so it runs off the control thread.
    #[must_use]
    pub fn snapshot(&mut self) -> Tables {
        self.epoch += 1;
        self.note_gone();
        self.note_ramps();
        self.build_sticky();
        let pools = self.build_pools();
        self.note_strays(self.epoch > 1);
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
                own: self.own_node(config),
                on_no_server: match config.on_no_server {
                    OnNoServer::Drop => tables::OnNoServer::Drop,
                    OnNoServer::Reset => tables::OnNoServer::Reset,
                    OnNoServer::Unreachable => tables::OnNoServer::Unreachable,
                },
                sorry: config.sorry.and_then(|sorry| pools.get(sorry)).cloned(),
                sticky: self.sticky_of(config.persistence),
                mss: config.mss,
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
        let servers = self.server_table();
        Tables {
            epoch: self.epoch,
            services: services.into(),
            ends_flows: servers.iter().flatten().any(|server| server.ends != Ends::Keep),
            servers,
            listen: Arc::new(listen),
            nat_servers: Arc::new(self.nat_endpoints().map(|at| (at, ())).collect()),
            snat: Arc::new(self.snat.by_address()),
            snat_pools: self.snat.pools(),
            mixed: self.snat.note_mixed(self.is_mixed()),
            hash: self.hash,
        }
    }

    /// Whether a service's clients have one IP family and its servers the other, so that its flows are looked up twice.
    fn is_mixed(&self) -> bool {
        self.config.services.iter().filter(|service| matches!(service.mode, Mode::Snat { .. })).any(
            |service| {
                // A pool's servers are of one family: the first one tells.
                let pools = service.pools().filter_map(|pool| self.config.pools.get(pool));
                let v4 = |at: &Endpoint| at.ip.is_v4();
                pools
                    .filter_map(|pool| pool.servers.first())
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
}

/// A tunnel as the packet path has it.
pub(crate) fn tunnel_of(config: &TunnelConfig) -> Option<Tunnel> {
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
        down: record.is_down(),
        admits: !record.ghost && record.wanted().admits() && record.is_up(),
        ends: ends(record),
        accepts: !record.ghost && record.wanted() == OperatorState::Ready && record.is_up(),
    })
}

/// What becomes of the flows that a server has.
fn ends(record: &ServerRecord) -> Ends {
    match record.on_down {
        _ if record.wanted() == OperatorState::Closed => Ends::Reset,
        _ if !record.is_down() => Ends::Keep,
        OnServerDown::Keep => Ends::Keep,
        OnServerDown::Reset => Ends::Reset,
        OnServerDown::Reselect => Ends::Reselect,
    }
}
