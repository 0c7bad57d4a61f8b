//! What the kernel tells, and the steering maps kept in step with it.

use super::Engine;
use super::devices::Outlet;
use super::routes::Ask;
use crate::net::NetEvent;
use crate::plan::HopKey;
use ringlead_l4::neighbours::NextHop;
use std::net::IpAddr;
use tokio::sync::mpsc;

/// What a burst of events asks for.
#[derive(Debug, Default)]
struct Needs {
    devices: bool,
    addresses: bool,
    /// Addresses of services and sources may be gone, or belong on one more device.
    missing: bool,
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
            // Addresses that ringlead itself adds are told too, and known by then: they change neither maps nor routes.
            if self.refresh_local().await {
                self.steer();
                needs.routes = true;
                needs.missing = true;
            }
        }
        if needs.missing {
            // A port that goes down loses its IPv6 addresses, and anybody may delete one.
            self.sync_addresses(false).await;
        }
        let neighbours = if needs.neighbours { Ask::All } else { Ask::New };
        if needs.routes && self.resolve_routes(Ask::All).await {
            self.sync_neighbours(neighbours).await;
            self.publish_and_steer().await;
            self.forget_neighbours().await;
        } else if needs.neighbours {
            self.sync_neighbours(neighbours).await;
        }
    }

    fn note_net(&mut self, event: NetEvent, needs: &mut Needs) {
        match event {
            NetEvent::Neighbour { ifindex, ip, mac } => {
                self.set_neighbour(ifindex, ip, mac);
                if mac.is_none() {
                    // Perhaps it was deleted, and with it that the kernel keeps it resolved.
                    self.note_unmanaged(ifindex, ip);
                }
            }
            NetEvent::Addresses => needs.addresses = true,
            NetEvent::Routes => needs.routes = true,
            NetEvent::Link { ifindex, up, mac, vlan, .. } => {
                let Some(port) = self.node.ports.iter().find(|port| port.ifindex == ifindex) else {
                    // One that goes down loses routes and neighbours, also without a word about them.
                    if self.note_vlan(ifindex, vlan) || self.devices.outlet(ifindex).is_some() {
                        (needs.addresses, needs.missing) = (true, true);
                        (needs.routes, needs.neighbours) = (true, true);
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
                match up {
                    true => tracing::info!(event = "port", port = name, up, "the port's link is up"),
                    false => tracing::warn!(event = "port", port = name, up, "the port's link is down"),
                }
                (needs.addresses, needs.missing) = (true, true);
                (needs.routes, needs.neighbours) = (true, true);
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
                if let Some(steering) = &mut self.node.steering {
                    steering.distrust();
                }
                *needs =
                    Needs { devices: true, addresses: true, missing: true, routes: true, neighbours: true };
            }
        }
    }

    pub(super) fn set_neighbour(&self, ifindex: u32, ip: IpAddr, mac: Option<[u8; 6]>) {
        let Some(Outlet { port, vlan }) = self.devices.outlet(ifindex) else { return };
        let Some(id) = self.plan.hop_id(&HopKey { port, vlan, ip }) else { return };
        self.node.shared.neighbours.set(id, mac.map(|mac| NextHop { port, vlan, mac }));
    }

    /// The device that a next hop is a neighbour on; `None` when it was a VLAN device that is gone.
    pub(super) fn device_of(&self, hop: &HopKey) -> Option<u32> {
        self.devices.ifindex(Outlet { port: hop.port, vlan: hop.vlan })
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
