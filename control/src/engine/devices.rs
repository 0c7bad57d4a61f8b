//! Which of the kernel's devices frames leave by: a configured port, or a VLAN device on one.

use super::Engine;
use crate::net::{LinkInfo, VlanLink};
use ringlead_wire::Vid;
use std::collections::BTreeMap;

/// How frames leave the node: by a configured port (its index), with a tag or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Outlet {
    pub port: u8,
    pub vlan: Option<Vid>,
}

/// The devices that are outlets. There are at most 4095 a port: its own and one a VLAN.
#[derive(Debug, Default)]
pub(super) struct Devices {
    outlets: BTreeMap<u32, Outlet>,
    indices: BTreeMap<Outlet, u32>,
}

impl Devices {
    /// The ports alone, by their devices' indices.
    pub(super) fn of(ports: impl Iterator<Item = u32>) -> Self {
        let mut devices = Self::default();
        for (port, ifindex) in (0..).zip(ports) {
            devices.insert(ifindex, Outlet { port, vlan: None });
        }
        devices
    }

    /// Takes in what the kernel says about a device; returns whether that changed anything. What is no VLAN device on a port
    /// is nothing to us: a VLAN on a VLAN would need two tags.
    pub(super) fn note(&mut self, ifindex: u32, vlan: Option<VlanLink>) -> bool {
        let Some(VlanLink { parent, vid }) = vlan else { return self.forget(ifindex) };
        match self.outlets.get(&parent) {
            Some(&Outlet { port, vlan: None }) if !self.is_port(ifindex) => {
                let outlet = Outlet { port, vlan: Some(vid) };
                let known = self.outlets.get(&ifindex) == Some(&outlet);
                if !known {
                    self.forget(ifindex);
                    self.insert(ifindex, outlet);
                }
                !known
            }
            _ => self.forget(ifindex),
        }
    }

    /// A device is no more; returns whether it was a VLAN device of ours. Ports stay, for good.
    pub(super) fn forget(&mut self, ifindex: u32) -> bool {
        if self.is_port(ifindex) {
            return false;
        }
        match self.outlets.remove(&ifindex) {
            Some(outlet) => {
                // Another device may have become this outlet before we heard of this one's end.
                if self.indices.get(&outlet) == Some(&ifindex) {
                    self.indices.remove(&outlet);
                }
                true
            }
            None => false,
        }
    }

    /// All VLAN devices are told anew.
    pub(super) fn replace(&mut self, links: &[LinkInfo]) {
        self.outlets.retain(|_, outlet| outlet.vlan.is_none());
        self.indices.retain(|outlet, _| outlet.vlan.is_none());
        for link in links {
            self.note(link.ifindex, link.vlan);
        }
    }

    /// How frames leave by a device; `None` when it is neither a port nor a VLAN device on one.
    pub(super) fn outlet(&self, ifindex: u32) -> Option<Outlet> {
        self.outlets.get(&ifindex).copied()
    }

    /// The device of an outlet, while there is one.
    pub(super) fn ifindex(&self, outlet: Outlet) -> Option<u32> {
        self.indices.get(&outlet).copied()
    }

    /// Whether there is a VLAN device on a port.
    fn tagged(&self, port: u8) -> bool {
        self.outlets.values().any(|outlet| outlet.port == port && outlet.vlan.is_some())
    }

    fn is_port(&self, ifindex: u32) -> bool {
        self.outlet(ifindex).is_some_and(|outlet| outlet.vlan.is_none())
    }

    fn insert(&mut self, ifindex: u32, outlet: Outlet) {
        self.outlets.insert(ifindex, outlet);
        self.indices.insert(outlet, ifindex);
    }
}

impl Engine {
    /// Asks which VLAN devices there are.
    pub(super) async fn refresh_devices(&mut self) {
        match self.net.links().await {
            Ok(links) => {
                self.devices.replace(&links);
                self.warn_stripped();
            }
            Err(error) => tracing::error!(event = "vlan", %error, "cannot list this node's VLAN devices"),
        }
    }

    /// Takes in what was told about a device that is no port; returns whether routes and addresses may be others now.
    pub(super) fn note_vlan(&mut self, ifindex: u32, vlan: Option<VlanLink>) -> bool {
        let changed = self.devices.note(ifindex, vlan);
        if let (true, Some(Outlet { port, vlan: Some(vid) })) = (changed, self.devices.outlet(ifindex)) {
            let port = self.node.ports.get(usize::from(port)).map_or("?", |port| port.config.name.as_str());
            tracing::info!(event = "vlan", port, vlan = %vid, "a VLAN device on the port");
            self.warn_stripped();
        }
        changed
    }

    /// Where the device takes tags off, a client's would be missing on its replies.
    fn warn_stripped(&self) {
        let stripping = (0..).zip(&self.node.ports).filter(|(_, port)| port.strips_vlan);
        for (_, port) in stripping.filter(|(index, _)| self.devices.tagged(*index)) {
            let (name, device) = (port.config.name.as_str(), port.config.device.as_str());
            let fix = format!("ethtool -K {device} rxvlan off");
            tracing::warn!(
                event = "vlan",
                port = name,
                fix,
                "the device takes VLAN tags off before XDP sees them: replies to clients in VLANs leave untagged"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u32 = 4;
    const OTHER_PORT: u32 = 5;

    fn devices() -> Devices {
        let mut devices = Devices::default();
        for (port, ifindex) in [(0, PORT), (1, OTHER_PORT)] {
            devices.insert(ifindex, Outlet { port, vlan: None });
        }
        devices
    }

    fn on(parent: u32, vid: u16) -> Option<VlanLink> {
        Some(VlanLink { parent, vid: Vid::new(vid).unwrap() })
    }

    fn outlet(port: u8, vid: u16) -> Outlet {
        Outlet { port, vlan: Vid::new(vid) }
    }

    #[test]
    fn a_vlan_device_on_a_port_is_an_outlet() {
        let mut devices = devices();
        assert!(devices.note(9, on(PORT, 20)) && devices.note(10, on(OTHER_PORT, 20)));
        assert!(!devices.note(9, on(PORT, 20)), "nothing new");
        assert_eq!(devices.outlet(9), Some(outlet(0, 20)));
        assert_eq!(devices.ifindex(outlet(1, 20)), Some(10));
        assert_eq!([0, 1, 2].map(|port| devices.tagged(port)), [true, true, false]);
        assert_eq!((devices.outlet(PORT), devices.ifindex(outlet(0, 0))), (Some(outlet(0, 0)), Some(PORT)));
        assert!(devices.forget(9) && !devices.forget(9));
        assert_eq!(
            (devices.outlet(9), devices.ifindex(outlet(0, 20)), devices.tagged(0)),
            (None, None, false)
        );
    }

    #[test]
    fn what_stands_elsewhere_is_none() {
        let mut devices = devices();
        devices.note(9, on(PORT, 20));
        // On a VLAN device (two tags), on a device that is no port, no VLAN device at all.
        for (ifindex, vlan) in [(20, on(9, 30)), (21, on(77, 20)), (22, None)] {
            assert!(!devices.note(ifindex, vlan));
            assert_eq!(devices.outlet(ifindex), None);
        }
        assert!(!devices.note(PORT, on(OTHER_PORT, 20)) && !devices.forget(PORT), "a port stays a port");
        assert_eq!(devices.outlet(PORT), Some(outlet(0, 0)));
    }

    #[test]
    fn a_device_made_again_takes_the_outlet_over() {
        let mut devices = devices();
        devices.note(9, on(PORT, 20));
        devices.note(12, on(PORT, 20));
        assert!(devices.forget(9));
        assert_eq!(devices.ifindex(outlet(0, 20)), Some(12));
        // An index that was another device's before.
        assert!(devices.note(12, on(OTHER_PORT, 21)));
        assert_eq!((devices.ifindex(outlet(0, 20)), devices.ifindex(outlet(1, 21))), (None, Some(12)));
    }

    #[test]
    fn a_dump_replaces_all_that_was_told() {
        let mut devices = devices();
        devices.note(9, on(PORT, 20));
        let link = |ifindex, vlan| LinkInfo {
            ifindex,
            name: String::new(),
            up: true,
            mac: None,
            mtu: 1500,
            kind: None,
            vlan,
        };
        devices.replace(&[link(PORT, None), link(10, on(PORT, 30))]);
        assert_eq!((devices.outlet(9), devices.ifindex(outlet(0, 20))), (None, None));
        assert_eq!((devices.outlet(10), devices.outlet(PORT)), (Some(outlet(0, 30)), Some(outlet(0, 0))));
    }
}
