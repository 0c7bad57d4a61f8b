//! What the front must steer to us: services, nat servers, and the node's own addresses as the exception.

use super::Plan;
use crate::config::{Addresses, Config, Mode, ServiceConfig};
use ringlead_flow::ServerId;
use ringlead_io::steer::Rules;
use ringlead_wire::{Endpoint, Ip};
use std::collections::BTreeSet;
use std::net::IpAddr;

impl Plan {
    /// The steering rules of the configuration in force; ghosts of nat servers included, their flows go on.
    #[must_use]
    pub fn rules(&self, local: &BTreeSet<IpAddr>) -> Rules {
        Rules {
            services: self.endpoints(|service| service.own_node.is_none()).collect(),
            l7: self.l7_rules(),
            nat_servers: self.nat_endpoints().collect(),
            local: local.iter().map(|&ip| Ip::from(ip)).collect(),
            snat: self.snat.ranges(),
        }
    }

    /// Where the services that workers forward listen.
    fn endpoints(&self, of: impl Fn(&ServiceConfig) -> bool) -> impl Iterator<Item = Endpoint> {
        let services = self.config.services.iter().filter(move |service| of(service));
        services.flat_map(|service| service.listen.iter().copied())
    }

    /// Where nat servers answer from.
    pub(super) fn nat_endpoints(&self) -> impl Iterator<Item = Endpoint> + '_ {
        self.servers.values().flat_map(|record| {
            let address = record.key.address;
            let at = move |&protocol| Endpoint { ip: Ip::from(address.ip()), port: address.port(), protocol };
            record.nat.iter().map(at)
        })
    }

    /// Remembers which servers answer through us. Past uses stay until [`forget_nat`](Self::forget_nat): the flows of a
    /// service that moved to another pool or mode go on.
    pub(super) fn note_nat_servers(&mut self, config: &Config) {
        for record in self.servers.values_mut() {
            record.nat_now.clear();
        }
        for service in config.services.iter().filter(|service| service.mode == Mode::Nat) {
            for pool in service.pools().filter_map(|pool| config.pools.get(pool)) {
                for server in &pool.servers {
                    let Some(id) = self.server_id(pool, server) else { continue };
                    if let Some(record) = self.servers.get_mut(&id.0) {
                        record.nat.insert(service.protocol);
                        record.nat_now.insert(service.protocol);
                    }
                }
            }
        }
    }

    /// Forgets past nat uses of the servers for which `idle` is true; returns whether there were any.
    pub fn forget_nat(&mut self, idle: impl Fn(ServerId) -> bool) -> bool {
        let mut forgot = false;
        for record in
            self.servers.values_mut().filter(|record| record.answers_past_flows() && idle(record.id))
        {
            record.nat = record.nat_now.clone();
            forgot = true;
        }
        forgot
    }

    /// The service addresses that this node must have.
    #[must_use]
    pub fn managed_addresses(&self) -> BTreeSet<IpAddr> {
        self.listens(Addresses::Manage).map(|(_, ip)| ip).collect()
    }

    /// The addresses of the services whose addresses are kept like that, each with its service's name.
    pub(crate) fn listens(&self, addresses: Addresses) -> impl Iterator<Item = (&str, IpAddr)> {
        let forwarded = self.config.services.iter().map(|s| (s.addresses, s.name.as_str(), &s.listen));
        let local = self.config.local.iter().map(|s| (s.addresses, s.name.as_str(), &s.listen));
        let kept = forwarded.chain(local).filter(move |(kept, ..)| *kept == addresses);
        kept.flat_map(|(_, name, listen)| listen.iter().map(move |at| (name, IpAddr::from(at.ip))))
    }
}
