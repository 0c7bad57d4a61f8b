//! Service and source addresses on this node's ports.

use super::Engine;
use crate::config::Faces;
use crate::net::Place;
use ringlead_io::steer::Rules;
use std::collections::BTreeSet;
use std::net::IpAddr;

impl Engine {
    /// Adds the addresses of services and sources that are missing; with `remove`, takes those away that are not wanted any
    /// more.
    pub(super) async fn sync_addresses(&self, remove: bool) {
        let services = self.plan.managed_addresses();
        // Clients ask for the services' addresses, servers for those that they answer to.
        let mut wanted = self.on_ports(&services, |faces| faces.clients());
        wanted.extend(self.source_addresses());
        self.add_addresses(&wanted).await;
        if remove {
            self.remove_addresses(&wanted).await;
        }
    }

    /// Has source addresses steered and answered for. Before a snapshot that takes ports of them: a server answers to them at
    /// once, while nobody asks for a service before its address is there.
    pub(super) async fn grow_sources(&mut self) {
        let sources = Rules { snat: self.plan.rules(&self.local).snat, ..Rules::default() };
        if let Err(error) = self.node.steering.grow(&sources) {
            tracing::error!(event = "steering", %error, "the steering maps did not take every source address");
        }
        self.add_addresses(&self.source_addresses()).await;
    }

    fn source_addresses(&self) -> BTreeSet<Place> {
        self.on_ports(&self.plan.snat_addresses(), |faces| faces.servers())
    }

    /// These addresses on each port that faces so.
    fn on_ports(&self, ips: &BTreeSet<IpAddr>, faces: impl Fn(Faces) -> bool) -> BTreeSet<Place> {
        let ports = self.node.ports.iter().filter(|port| faces(port.config.faces));
        ports.flat_map(|port| ips.iter().map(|&ip| (port.ifindex, ip))).collect()
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
        let ports: BTreeSet<u32> = self.node.ports.iter().map(|port| port.ifindex).collect();
        match self.net.remove_addresses(|at| ports.contains(&at.0) && !but.contains(&at)).await {
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
