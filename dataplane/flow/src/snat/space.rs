//! All ports of one address.

use std::ops::RangeInclusive;

use ringlead_wire::{Ip, Protocol};

use crate::snat::group::{GROUP, Group};
use crate::snat::ports::mask;

/// Groups of each transport: all 65 536 ports. A model has 128.
const GROUPS: usize = if cfg!(loom) { 2 } else { 65_536 / GROUP as usize };

/// Who holds which port of one address, TCP and UDP apart: 64 KiB. Kept (by `Arc`) for as long as a flow may hold one of
/// its ports, so that pools of old and new configurations that name the address cannot give a port out twice.
#[derive(Debug)]
pub struct PortSpace {
    ip: Ip,
    tcp: Box<[Group]>,
    udp: Box<[Group]>,
}

impl PortSpace {
    /// With all ports free.
    #[must_use]
    pub fn new(ip: Ip) -> Self {
        let groups = || (0..GROUPS).map(|_| Group::default()).collect();
        Self { ip, tcp: groups(), udp: groups() }
    }

    /// The address.
    #[must_use]
    pub const fn ip(&self) -> Ip {
        self.ip
    }

    /// As [`SnatPool::give_back`](crate::snat::SnatPool::give_back), for an address that no pool has any more.
    pub fn give_back(&self, port: u16, protocol: Protocol) {
        let (group, at) = split(port);
        if let Some(group) = self.groups(protocol).get(group) {
            group.give_back(at);
        }
    }

    /// Whether a flow holds one of these ports, of either transport.
    #[must_use]
    pub fn is_held(&self, ports: &RangeInclusive<u16>) -> bool {
        let (first, last) = (*ports.start(), *ports.end());
        let held = |group: u16| {
            let mask = mask(ports, group);
            let of = |groups: &[Group]| {
                groups.get(usize::from(group)).is_some_and(|group| group.filling(mask).held > 0)
            };
            of(&self.tcp) || of(&self.udp)
        };
        first <= last && (first / GROUP..=last / GROUP).any(held)
    }

    /// The ports in quarantine: the number of each group of 64 that has some (its first port is 64 times that), and a bit for
    /// each of them. Reads all groups, so it is not for the packet path.
    pub fn resting(&self, protocol: Protocol) -> impl Iterator<Item = (u16, u64)> {
        let resting = (0..).zip(self.groups(protocol)).map(|(number, group)| (number, group.resting()));
        resting.filter(|(_, ports)| *ports != 0)
    }

    /// Puts those ports of a group that are free into quarantine, from now on: the reverse of [`resting`](Self::resting).
    /// Nothing happens when there is no such group.
    pub fn rest(&self, protocol: Protocol, group: u16, ports: u64) {
        if let Some(group) = self.groups(protocol).get(usize::from(group)) {
            group.rest(ports);
        }
    }

    /// As [`SnatPool::claim`](crate::snat::SnatPool::claim).
    pub(crate) fn claim(&self, port: u16, protocol: Protocol) -> bool {
        let (group, at) = split(port);
        self.groups(protocol).get(group).is_some_and(|group| group.claim(at))
    }

    /// As [`SnatPool::never_used`](crate::snat::SnatPool::never_used). Whether the port was held.
    pub(crate) fn never_used(&self, port: u16, protocol: Protocol) -> bool {
        let (group, at) = split(port);
        self.groups(protocol).get(group).is_some_and(|group| group.never_used(at))
    }

    #[inline]
    pub(crate) fn groups(&self, protocol: Protocol) -> &[Group] {
        match protocol {
            Protocol::Tcp => &self.tcp,
            Protocol::Udp => &self.udp,
        }
    }
}

/// A port's group and its place there.
fn split(port: u16) -> (usize, u32) {
    (usize::from(port / GROUP), u32::from(port % GROUP))
}
