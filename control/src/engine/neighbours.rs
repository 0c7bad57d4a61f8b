//! Next hops that the kernel keeps resolved, and what it knows of them in the workers' table.

use super::Engine;
use super::devices::Outlet;
use super::routes::Ask;
use crate::net::Place;
use crate::plan::HopKey;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Engine {
    /// Has the kernel keep every next hop resolved, and copies what it knows into the workers' table. Those that it keeps
    /// already tell their changes.
    pub(super) async fn sync_neighbours(&mut self, ask: Ask) {
        if ask == Ask::All {
            self.managed.clear();
        }
        let wanted: BTreeSet<HopKey> = self.plan.hops().map(|(key, _)| key).collect();
        self.managed.retain(|key| wanted.contains(key));
        let new: Vec<HopKey> = wanted.difference(&self.managed).copied().collect();
        if new.is_empty() {
            return;
        }
        let place = |hop: &HopKey| Some((self.device_of(hop)?, hop.ip));
        let places: Vec<Place> = new.iter().filter_map(place).collect();
        for ((ifindex, ip), upkeep) in self.net.manage_neighbours(places).await {
            match upkeep {
                Ok(_) => self.managed.extend(self.hop_on(ifindex, ip)),
                Err(error) => {
                    tracing::warn!(event = "neighbour", %ip, %error, "the kernel will not keep this next hop resolved");
                }
            }
        }
        self.note_neighbours().await;
    }

    /// Copies what the kernel knows of next hops into the workers' table.
    pub(super) async fn note_neighbours(&self) {
        match self.net.neighbours().await {
            Ok(known) => {
                for (ifindex, ip, mac) in known {
                    self.set_neighbour(ifindex, ip, Some(mac));
                }
            }
            Err(error) => tracing::error!(event = "neighbour", %error, "cannot list neighbours"),
        }
    }

    /// Asks the kernel again, every few seconds, to keep those resolved that it may not any more.
    pub(super) async fn manage_again(&mut self) {
        const PAUSE: Duration = Duration::from_secs(5);
        if self.managed_at.elapsed() >= PAUSE {
            self.managed_at = Instant::now();
            self.sync_neighbours(Ask::New).await;
        }
    }

    /// Notes that the kernel may not keep a neighbour resolved any more: it is asked to again by [`Self::manage_again`].
    pub(super) fn note_unmanaged(&mut self, ifindex: u32, ip: IpAddr) {
        if let Some(hop) = self.hop_on(ifindex, ip) {
            self.managed.remove(&hop);
        }
    }

    /// The next hop that a neighbour on a device is.
    fn hop_on(&self, ifindex: u32, ip: IpAddr) -> Option<HopKey> {
        self.devices.outlet(ifindex).map(|Outlet { port, vlan }| HopKey { port, vlan, ip })
    }

    /// Lets go of next hops that no server needs any more. Only after a snapshot without them is in use.
    pub(super) async fn forget_neighbours(&mut self) {
        if !self.plan.has_unused_hops() {
            return;
        }
        let unused = Arc::make_mut(&mut self.plan).forget_unused_hops();
        for (key, id) in &unused {
            self.node.shared.neighbours.set(*id, None);
            self.managed.remove(key);
        }
        self.unmanage(unused.iter().map(|(key, _)| *key)).await;
    }

    /// Leaves neighbours to their usual life.
    pub(super) async fn unmanage(&self, hops: impl Iterator<Item = HopKey>) {
        let places: Vec<Place> = hops.filter_map(|hop| Some((self.device_of(&hop)?, hop.ip))).collect();
        for ((_, ip), result) in self.net.unmanage_neighbours(places).await {
            if let Err(error) = result {
                tracing::debug!(%ip, %error, "cannot let go of a neighbour");
            }
        }
    }
}
