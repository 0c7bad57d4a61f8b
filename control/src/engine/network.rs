//! The kernel's part kept in step: routes to servers, neighbours, service addresses, steering maps.

use super::Engine;
use crate::config::{Config, Faces, Mode};
use crate::net::{NetError, NetEvent};
use crate::plan::{HopKey, Plan, Reach};
use ringlead_flow::ServerId;
use ringlead_io::steer::Rules;
use ringlead_l4::neighbours::NextHop;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a burst of events asks for.
#[derive(Debug, Default)]
struct Needs {
    addresses: bool,
    routes: bool,
    neighbours: bool,
}

impl Engine {
    /// Takes one event and every other that waits already, then asks the kernel once for what they say is different.
    pub(super) async fn on_net(&mut self, event: NetEvent, more: &mut mpsc::Receiver<NetEvent>) {
        let mut needs = Needs::default();
        self.note_net(event, &mut needs);
        while let Ok(event) = more.try_recv() {
            self.note_net(event, &mut needs);
        }
        if needs.addresses {
            self.refresh_local().await;
            self.steer();
        }
        if needs.routes && self.resolve_routes().await {
            self.sync_neighbours().await;
            self.publish().await;
            self.forget_neighbours().await;
        } else if needs.neighbours {
            self.sync_neighbours().await;
        }
    }

    fn note_net(&self, event: NetEvent, needs: &mut Needs) {
        match event {
            NetEvent::Neighbour { ifindex, ip, mac } => self.set_neighbour(ifindex, ip, mac),
            NetEvent::Addresses => {
                needs.addresses = true;
                needs.routes = true;
            }
            NetEvent::Routes => needs.routes = true,
            NetEvent::Link { ifindex, up, mac, .. } => {
                let Some(port) = self.node.ports.iter().find(|port| port.ifindex == ifindex) else { return };
                let name = port.config.name.as_str();
                if mac.is_some_and(|mac| mac != port.mac) {
                    tracing::warn!(
                        event = "port",
                        port = name,
                        "the port's Ethernet address changed: restart ringlead"
                    );
                }
                tracing::info!(event = "port", port = name, up);
                needs.routes = true;
                needs.neighbours = true;
            }
            NetEvent::LinkRemoved { ifindex } => {
                if let Some(port) = self.node.ports.iter().find(|port| port.ifindex == ifindex) {
                    tracing::error!(event = "port", port = port.config.name, "the port's device was removed");
                }
            }
            NetEvent::Resync => {
                tracing::warn!(event = "netlink", "notifications were lost; asking for everything again");
                *needs = Needs { addresses: true, routes: true, neighbours: true };
            }
        }
    }

    fn set_neighbour(&self, ifindex: u32, ip: IpAddr, mac: Option<[u8; 6]>) {
        let Some(port) = self.port_of(ifindex) else { return };
        let Some((_, id)) = self.plan.hops().find(|(key, _)| *key == (port, ip)) else { return };
        self.node.shared.neighbours.set(id, mac.map(|mac| NextHop { port, mac }));
    }

    fn port_of(&self, ifindex: u32) -> Option<u8> {
        u8::try_from(self.node.ports.iter().position(|port| port.ifindex == ifindex)?).ok()
    }

    fn ifindex_of(&self, port: u8) -> Option<u32> {
        self.node.ports.get(usize::from(port)).map(|port| port.ifindex)
    }

    /// Asks how each server is reached; returns whether anything is different.
    pub(super) async fn resolve_routes(&mut self) -> bool {
        let direct = direct_servers(self.plan.config());
        let servers: Vec<(ServerId, IpAddr, String)> =
            self.plan.servers().map(|s| (s.id, s.key.address.ip(), s.key.pool.clone())).collect();
        let mut changed = false;
        for (id, ip, pool) in servers {
            let Some(reach) = self.reach(ip, direct.contains(&pool)).await else { continue };
            match Arc::make_mut(&mut self.plan).set_reach(id, reach) {
                Ok(true) => {
                    changed = true;
                    self.tell_reach(id);
                }
                Ok(false) => {}
                Err(error) => tracing::error!(event = "server", server = %ip, %error),
            }
        }
        changed
    }

    /// Tells a change of how a server is reached.
    fn tell_reach(&self, id: ServerId) {
        let Some(server) = self.plan.server(id) else { return };
        let name = format!("{}/{}", server.key.pool, server.key.name);
        match &server.reach {
            Reach::Unreachable(why) => {
                tracing::warn!(event = "server", server = name, why, "unreachable: it gets no flows")
            }
            Reach::Via { hop, .. } => tracing::debug!(event = "server", server = name, next_hop = %hop.1),
            Reach::Unknown => {}
        }
    }

    /// How a server is reached, or why it is not; `None` when the kernel could not be asked: then the last answer stands,
    /// and the next change of routes asks again.
    async fn reach(&self, ip: IpAddr, must_be_direct: bool) -> Option<Result<HopKey, String>> {
        let hop = match self.net.route_to(ip).await {
            Ok(hop) => hop,
            Err(error @ (NetError::NoRoute { .. } | NetError::LocalAddress { .. })) => {
                return Some(Err(error.to_string()));
            }
            Err(error) => {
                tracing::warn!(event = "server", server = %ip, %error, "cannot ask for the route; the last one stands");
                return None;
            }
        };
        let Some(port) = self.port_of(hop.ifindex) else {
            return Some(Err(format!("its route leaves by interface {}, no port of ours", hop.ifindex)));
        };
        if must_be_direct && hop.gateway != ip {
            let why = "dsr needs the server on a port's own network, its route goes via";
            return Some(Err(format!("{why} {}", hop.gateway)));
        }
        Some(Ok((port, hop.gateway)))
    }

    /// Lets go of next hops that no server needs any more. Only after a snapshot without them is in use.
    pub(super) async fn forget_neighbours(&mut self) {
        for ((port, ip), id) in Arc::make_mut(&mut self.plan).forget_unused_hops() {
            self.node.shared.neighbours.set(id, None);
            if let Some(ifindex) = self.ifindex_of(port)
                && let Err(error) = self.net.unmanage_neighbour(ifindex, ip).await
            {
                tracing::debug!(%ip, %error, "cannot let go of a neighbour");
            }
        }
    }

    /// Has the kernel keep every next hop resolved, and copies what it knows into the workers' table.
    pub(super) async fn sync_neighbours(&self) {
        let wanted: Vec<HopKey> = self.plan.hops().map(|(key, _)| key).collect();
        for (port, ip) in wanted {
            let Some(ifindex) = self.ifindex_of(port) else { continue };
            if let Err(error) = self.net.manage_neighbour(ifindex, ip).await {
                tracing::warn!(event = "neighbour", %ip, %error, "the kernel will not keep this next hop resolved");
            }
        }
        match self.net.neighbours().await {
            Ok(known) => {
                for (ifindex, ip, mac) in known {
                    self.set_neighbour(ifindex, ip, Some(mac));
                }
            }
            Err(error) => tracing::error!(event = "neighbour", %error, "cannot list neighbours"),
        }
    }

    /// Asks for this node's own addresses.
    pub(super) async fn refresh_local(&mut self) {
        match self.net.local_addresses().await {
            Ok(local) => self.local = local,
            Err(error) => tracing::error!(event = "address", %error, "cannot list this node's addresses"),
        }
    }

    /// This node's own addresses once it has those that a plan adds.
    pub(super) fn local_soon(&self, plan: &Plan) -> BTreeSet<IpAddr> {
        let added = plan.managed_addresses().into_iter().chain(plan.snat_addresses());
        self.local.iter().copied().chain(added).collect()
    }

    /// Makes the steering maps say what the plan says.
    pub(super) fn steer(&mut self) {
        let rules = self.plan.rules(&self.local);
        if let Some(steering) = &mut self.node.steering
            && let Err(error) = steering.reconcile(&rules)
        {
            tracing::error!(event = "steering", %error, "the steering maps are not what they should be");
        }
    }

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
        if let Some(steering) = &mut self.node.steering
            && let Err(error) = steering.grow(&sources)
        {
            tracing::error!(event = "steering", %error, "the steering maps did not take every source address");
        }
        self.add_addresses(&self.source_addresses()).await;
    }

    fn source_addresses(&self) -> BTreeSet<(u32, IpAddr)> {
        self.on_ports(&self.plan.snat_addresses(), |faces| faces.servers())
    }

    /// These addresses on each port that faces so.
    fn on_ports(&self, ips: &BTreeSet<IpAddr>, faces: impl Fn(Faces) -> bool) -> BTreeSet<(u32, IpAddr)> {
        let ports = self.node.ports.iter().filter(|port| faces(port.config.faces));
        ports.flat_map(|port| ips.iter().map(|&ip| (port.ifindex, ip))).collect()
    }

    async fn add_addresses(&self, wanted: &BTreeSet<(u32, IpAddr)>) {
        // Each adding looks first. Where asking fails, so does that, and says why.
        let there: BTreeSet<_> = self.net.our_addresses().await.unwrap_or_default().into_iter().collect();
        for &(ifindex, ip) in wanted.difference(&there) {
            if let Err(error) = self.net.add_address(ifindex, ip).await {
                tracing::error!(event = "address", %ip, %error, "cannot add a service address");
            }
        }
    }

    /// Takes away every service address of ours but these.
    pub(super) async fn remove_addresses(&self, but: &BTreeSet<(u32, IpAddr)>) {
        let ports: BTreeSet<u32> = self.node.ports.iter().map(|port| port.ifindex).collect();
        let ours = match self.net.our_addresses().await {
            Ok(ours) => ours,
            Err(error) => {
                return tracing::error!(event = "address", %error, "cannot list the service addresses");
            }
        };
        for (ifindex, ip) in ours.into_iter().filter(|at| ports.contains(&at.0) && !but.contains(at)) {
            if let Err(error) = self.net.remove_address(ifindex, ip).await {
                tracing::error!(event = "address", %ip, %error, "cannot remove a service address");
            }
        }
    }
}

/// The pools of dsr services: their servers must be on a port's own network.
fn direct_servers(config: &Config) -> BTreeSet<String> {
    let dsr = config.services.iter().filter(|service| service.mode == Mode::Dsr);
    let pools = dsr.flat_map(|service| service.pools().filter_map(|pool| config.pools.get(pool)));
    pools.map(|pool| pool.name.clone()).collect()
}
