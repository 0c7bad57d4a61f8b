//! The addresses of this node: those that it has, and those of services and sources that ringlead adds.

use super::Engine;
use super::devices::Outlet;
use crate::config::Faces;
use crate::net::{NodeAddress, Place};
use crate::plan::Plan;
use ringlead_io::steer::Rules;
use std::collections::BTreeSet;
use std::net::IpAddr;

impl Engine {
    /// Asks for this node's own addresses; returns whether they are others than before.
    pub(super) async fn refresh_local(&mut self) -> bool {
        match self.net.addresses().await {
            Ok(all) => {
                let local: BTreeSet<IpAddr> = all.iter().map(|address| address.ip).collect();
                let networks: Vec<NodeAddress> = all.into_iter().filter(|address| !address.ours).collect();
                let changed = self.local != local || self.networks != networks;
                (self.local, self.networks) = (local, networks);
                changed
            }
            Err(error) => {
                tracing::error!(event = "address", %error, "cannot list this node's addresses");
                false
            }
        }
    }

    /// Adds the addresses of services and sources that are missing; with `remove`, takes those away that are not wanted any
    /// more.
    pub(super) async fn sync_addresses(&self, remove: bool) {
        let wanted = self.wanted_addresses();
        self.add_addresses(&wanted).await;
        if remove {
            self.remove_addresses(&wanted).await;
        }
    }

    /// Where the addresses of services and sources belong.
    fn wanted_addresses(&self) -> BTreeSet<Place> {
        // Clients ask for the services' addresses, servers for those that they answer to.
        let mut wanted = self.on_ports(&self.plan.managed_addresses(), |faces| faces.clients());
        wanted.extend(self.source_addresses());
        wanted
    }

    /// Has source addresses steered and answered for. Before a snapshot that takes ports of them: a server answers to them at
    /// once, while nobody asks for a service before its address is there.
    pub(super) async fn grow_sources(&mut self) {
        let sources = Rules { snat: self.plan.rules(&self.local).snat, ..Rules::default() };
        if let Some(steering) = &mut self.node.steering
            && let Err(error) = steering.grow(&sources)
        {
            tracing::error!(event = "steering", %error, "the steering maps did not take every source address");
        }
        self.add_addresses(&self.source_addresses()).await;
    }

    fn source_addresses(&self) -> BTreeSet<Place> {
        self.on_ports(&self.plan.snat_addresses(), |faces| faces.servers())
    }

    /// These addresses on each port that faces so, and on each VLAN device of such a port in whose network they are: there
    /// neighbours ask for them, and for IPv6 the kernel answers on the interface that has the address only (RFC 4861 §7.2.3).
    fn on_ports(&self, ips: &BTreeSet<IpAddr>, faces: impl Fn(Faces) -> bool) -> BTreeSet<Place> {
        let ports = self.node.ports.iter().filter(|port| faces(port.config.faces));
        let mut places: BTreeSet<Place> =
            ports.flat_map(|port| ips.iter().map(|&ip| (port.ifindex, ip))).collect();
        for network in &self.networks {
            let Some(Outlet { port, vlan: Some(_) }) = self.devices.outlet(network.ifindex) else { continue };
            if self.node.ports.get(usize::from(port)).is_some_and(|port| faces(port.config.faces)) {
                let inside = ips.iter().filter(|ip| network.network_has(**ip));
                places.extend(inside.map(|&ip| (network.ifindex, ip)));
            }
        }
        places
    }

    async fn add_addresses(&self, wanted: &BTreeSet<Place>) {
        if wanted.is_empty() {
            return;
        }
        match self.net.add_addresses(wanted).await {
            Ok(tried) => {
                for ((_, ip), result) in tried {
                    if let Err(error) = result {
                        tracing::error!(event = "address", %ip, %error, "cannot add a service address");
                    }
                }
            }
            Err(error) => tracing::error!(event = "address", %error, "cannot add service addresses"),
        }
    }

    /// Takes away every service address of ours but these.
    pub(super) async fn remove_addresses(&self, but: &BTreeSet<Place>) {
        match self.net.remove_addresses(|at| self.devices.outlet(at.0).is_some() && !but.contains(&at)).await
        {
            Ok(tried) => {
                for ((_, ip), result) in tried {
                    if let Err(error) = result {
                        tracing::error!(event = "address", %ip, %error, "cannot remove a service address");
                    }
                }
            }
            Err(error) => tracing::error!(event = "address", %error, "cannot list the service addresses"),
        }
    }
}

/// This node's own addresses once it has those that a plan adds.
pub(super) fn local_soon(local: &BTreeSet<IpAddr>, plan: &Plan) -> BTreeSet<IpAddr> {
    let added = plan.managed_addresses().into_iter().chain(plan.snat_addresses());
    local.iter().copied().chain(added).collect()
}
