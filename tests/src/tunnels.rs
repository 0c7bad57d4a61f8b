//! The servers' side of mode tunnel: their kernels have no tunnels, so a program on their ports takes outer headers off.

use std::net::IpAddr;

use ringlead_decap::{Counters, Decap, GUE_PORT, Outer};

use crate::config::Family;
use crate::lab::{Lab, Node, SERVERS};

/// Decapsulation on all servers of a lab, at their own addresses. Dropping it takes it off.
#[derive(Debug)]
pub struct Tunnels {
    servers: Vec<Option<Decap>>,
}

impl Tunnels {
    /// Puts the program on every server's port. Both kinds and both families are taken, GUE on its own port.
    ///
    /// # Panics
    /// When a program cannot be attached.
    #[must_use = "dropping it takes the programs off"]
    pub fn start(lab: &Lab) -> Self {
        Self::at(lab, |_| Vec::new())
    }

    /// The same, where each server also takes what is sent to these addresses of its own.
    ///
    /// # Panics
    /// When a program cannot be attached.
    #[must_use = "dropping it takes the programs off"]
    pub fn at(lab: &Lab, more: impl Fn(u8) -> Vec<IpAddr>) -> Self {
        Self { servers: (1..=SERVERS).map(|number| Some(attach(lab, number, &more(number)))).collect() }
    }

    /// Takes the program off one server's port.
    pub fn take_off(&mut self, number: u8) {
        self.servers[usize::from(number) - 1] = None;
    }

    /// Puts it back, for the server's own addresses.
    ///
    /// # Panics
    /// When it cannot be attached.
    pub fn put_on(&mut self, lab: &Lab, number: u8) {
        self.servers[usize::from(number) - 1] = Some(attach(lab, number, &[]));
    }

    /// What each server took so far, the first server first.
    #[must_use]
    pub fn counters(&self) -> Vec<Counters> {
        self.servers.iter().flatten().map(Decap::counters).collect()
    }

    /// The outer headers of the last packets that each server took.
    #[must_use]
    pub fn outers(&self) -> Vec<Vec<Outer>> {
        self.servers.iter().flatten().map(Decap::outers).collect()
    }
}

fn attach(lab: &Lab, number: u8, more: &[IpAddr]) -> Decap {
    let own = Family::ALL.map(|family| Lab::server(family, number));
    let addresses = [own.to_vec(), more.to_vec()].concat();
    let attached = lab.within(Node::Server(number), || Decap::attach("e0", &addresses, GUE_PORT));
    attached.unwrap_or_else(|e| panic!("decapsulate on server {number}: {e}"))
}
