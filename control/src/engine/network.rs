//! The kernel's part kept in step: routes to servers, neighbours, service addresses, steering maps.

use super::Engine;
use super::devices::Outlet;
use crate::config::{Config, Mode};
use crate::net::{NetError, NetEvent};
use crate::plan::{HopKey, Reach, Way};
use ringlead_flow::ServerId;
use ringlead_l4::neighbours::NextHop;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a burst of events asks for.
#[derive(Debug, Default)]
struct Needs {
    devices: bool,
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
        if needs.devices {
            self.refresh_devices().await;
        }
        if needs.addresses {
            self.refresh_local().await;
            self.steer();
            self.sync_vlan_addresses().await;
        }
        if needs.routes && self.resolve_routes().await {
            self.sync_neighbours().await;
            self.publish_and_steer().await;
            self.forget_neighbours().await;
        } else if needs.neighbours {
            self.sync_neighbours().await;
        }
    }

    fn note_net(&mut self, event: NetEvent, needs: &mut Needs) {
        match event {
            NetEvent::Neighbour { ifindex, ip, mac } => self.set_neighbour(ifindex, ip, mac),
            NetEvent::Addresses => {
                needs.addresses = true;
                needs.routes = true;
            }
            NetEvent::Routes => needs.routes = true,
            NetEvent::Link { ifindex, up, mac, vlan, .. } => {
                let Some(port) = self.node.ports.iter().find(|port| port.ifindex == ifindex) else {
                    if self.note_vlan(ifindex, vlan) {
                        (needs.addresses, needs.routes, needs.neighbours) = (true, true, true);
                    }
                    return;
                };
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
                if self.devices.forget(ifindex) {
                    needs.routes = true;
                }
                if let Some(port) = self.node.ports.iter().find(|port| port.ifindex == ifindex) {
                    tracing::error!(event = "port", port = port.config.name, "the port's device was removed");
                }
            }
            NetEvent::Resync => {
                tracing::warn!(event = "netlink", "notifications were lost; asking for everything again");
                *needs = Needs { devices: true, addresses: true, routes: true, neighbours: true };
            }
        }
    }

    fn set_neighbour(&self, ifindex: u32, ip: IpAddr, mac: Option<[u8; 6]>) {
        let Some(Outlet { port, vlan }) = self.devices.outlet(ifindex) else { return };
        let Some(id) = self.plan.hop_id(&HopKey { port, vlan, ip }) else { return };
        self.node.shared.neighbours.set(id, mac.map(|mac| NextHop { port, vlan, mac }));
    }

    /// The device that a next hop is a neighbour on; `None` when it was a VLAN device that is gone.
    pub(super) fn device_of(&self, hop: &HopKey) -> Option<u32> {
        self.devices.ifindex(Outlet { port: hop.port, vlan: hop.vlan })
    }

    /// Asks how each server is reached; returns whether anything is different.
    pub(super) async fn resolve_routes(&mut self) -> bool {
        let direct = direct_servers(self.plan.config());
        let own = self.plan.own_nodes();
        let servers: Vec<(ServerId, IpAddr, String)> =
            self.plan.servers().map(|s| (s.id, s.key.address.ip(), s.key.pool.clone())).collect();
        let mut changed = false;
        for (id, ip, pool) in servers {
            let Some(reach) = self.reach(ip, own.contains(&id), direct.contains(&pool)).await else {
                continue;
            };
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
            Reach::Via { hop, .. } => tracing::debug!(event = "server", server = name, next_hop = %hop.ip),
            Reach::Unknown | Reach::Itself => {}
        }
    }

    /// How a server is reached, or why it is not; `None` when the kernel could not be asked: then the last answer stands,
    /// and the next change of routes asks again.
    async fn reach(&self, ip: IpAddr, own: bool, must_be_direct: bool) -> Option<Result<Way, String>> {
        let hop = match self.net.route_to(ip).await {
            Ok(_) if own => {
                return Some(Err(
                    "it is to be this node, by [node] name, which has no such address".to_owned()
                ));
            }
            Ok(hop) => hop,
            Err(NetError::LocalAddress { .. }) if own => return Some(Ok(Way::Itself)),
            Err(error @ (NetError::NoRoute { .. } | NetError::LocalAddress { .. })) => {
                return Some(Err(error.to_string()));
            }
            Err(error) => {
                tracing::warn!(event = "server", server = %ip, %error, "cannot ask for the route; the last one stands");
                return None;
            }
        };
        let Some(Outlet { port, vlan }) = self.devices.outlet(hop.ifindex) else {
            let why = "neither a port of ours nor an 802.1Q device on one";
            return Some(Err(format!("its route leaves by interface {}, {why}", hop.ifindex)));
        };
        if must_be_direct && hop.gateway != ip {
            let why = "dsr needs the server on a port's own network, its route goes via";
            return Some(Err(format!("{why} {}", hop.gateway)));
        }
        Some(Ok(Way::Via(HopKey { port, vlan, ip: hop.gateway })))
    }

    /// Lets go of next hops that no server needs any more. Only after a snapshot without them is in use.
    pub(super) async fn forget_neighbours(&mut self) {
        for (hop, id) in Arc::make_mut(&mut self.plan).forget_unused_hops() {
            self.node.shared.neighbours.set(id, None);
            if let Some(ifindex) = self.device_of(&hop)
                && let Err(error) = self.net.unmanage_neighbour(ifindex, hop.ip).await
            {
                tracing::debug!(ip = %hop.ip, %error, "cannot let go of a neighbour");
            }
        }
    }

    /// Has the kernel keep every next hop resolved, and copies what it knows into the workers' table.
    pub(super) async fn sync_neighbours(&self) {
        let wanted: Vec<HopKey> = self.plan.hops().map(|(key, _)| key).collect();
        for hop in wanted {
            let Some(ifindex) = self.device_of(&hop) else { continue };
            if let Err(error) = self.net.manage_neighbour(ifindex, hop.ip).await {
                tracing::warn!(event = "neighbour", ip = %hop.ip, %error, "the kernel will not keep this next hop resolved");
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

    /// Makes the steering maps say what the plan says.
    pub(super) fn steer(&mut self) {
        let rules = self.plan.rules(&self.local);
        if let Some(steering) = &mut self.node.steering
            && let Err(error) = steering.reconcile(&rules)
        {
            tracing::error!(event = "steering", %error, "the steering maps are not what they should be");
        }
    }
}

/// The pools of dsr services: their servers must be on a port's own network.
fn direct_servers(config: &Config) -> BTreeSet<String> {
    let dsr = config.services.iter().filter(|service| service.mode == Mode::Dsr);
    let pools = dsr.flat_map(|service| service.pools().filter_map(|pool| config.pools.get(pool)));
    pools.map(|pool| pool.name.clone()).collect()
}
