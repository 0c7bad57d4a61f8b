//! What the front is told: the endpoints that make a frame ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use ringlead_wire::{Endpoint, Ip, Protocol};

use super::nodes::Nodes;

/// Everything the front needs to know, as control computes it from the tables.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// The L4 services; port 0 = any. An endpoint that is also in `l7` is L4's.
    pub services: BTreeSet<Endpoint>,
    /// The l7 services, each on one port (0 is no more than a port here). One that is [`Nodes::Alone`] may be left out where no
    /// L4 service on any port and no SNAT range has its address. At most 4096 services and 64 different tables.
    pub l7: BTreeMap<Endpoint, Nodes>,
    /// The servers of `nat` pools; port 0 = any (a server of a service on any port).
    pub nat_servers: BTreeSet<Endpoint>,
    /// The addresses of this node, of every interface.
    pub local: BTreeSet<Ip>,
    /// The SNAT ranges.
    pub snat: Vec<SnatRange>,
}

/// Ports of one address that flows of `snat` pools use as their source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SnatRange {
    /// The address.
    pub ip: Ip,
    /// The transport; `None` = TCP and UDP.
    pub protocol: Option<Protocol>,
    /// First port, host order.
    pub first: u16,
    /// Last port, inclusive. A range whose last port is below its first holds no port.
    pub last: u16,
}

/// Why a frame is ours: the letters of the design's list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Rule {
    /// (a) Its destination is an L4 service.
    Service = 1,
    /// (b) Its destination is in a SNAT range.
    Snat = 2,
    /// (c) Its source is a server of a `nat` pool and its destination is not this node.
    Server = 3,
    /// (d) An ICMP error about a packet of one of the three above, or about the answer of an l7 service to a flow of another
    /// node.
    IcmpError = 4,
    /// (e) A fragment towards the address and protocol of a service, SNAT range or l7 service of several nodes, or
    /// from those of a `nat` server.
    Fragment = 5,
    /// More IPv6 extension headers than are walked, towards an address with an L4 service or SNAT range: the worker drops it.
    Chain = 6,
    /// (f) Its destination is an l7 service, and the flow is another node's.
    Node = 7,
}

impl Rule {
    /// All rules, in the order of their counters.
    pub const ALL: [Self; 7] =
        [Self::Service, Self::Snat, Self::Server, Self::IcmpError, Self::Fragment, Self::Chain, Self::Node];

    /// The name that metrics and status use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Snat => "snat",
            Self::Server => "server",
            Self::IcmpError => "icmp-error",
            Self::Fragment => "fragment",
            Self::Chain => "chain",
            Self::Node => "l7-node",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl SnatRange {
    /// The transports it is for.
    pub(super) fn protocols(&self) -> impl Iterator<Item = Protocol> {
        let wanted = self.protocol;
        [Protocol::Tcp, Protocol::Udp].into_iter().filter(move |p| wanted.is_none_or(|w| w == *p))
    }

    /// Its ports; empty when `last` is below `first`.
    pub(super) const fn ports(&self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl Rules {
    /// The l7 services of several nodes: their addresses are asked for as those of L4 services are.
    pub(super) fn shared(&self) -> impl Iterator<Item = &Endpoint> {
        self.l7.iter().filter(|(_, nodes)| **nodes != Nodes::Alone).map(|(at, _)| at)
    }

    /// The SNAT ports of each address and transport as sorted ranges that neither overlap nor touch.
    pub(super) fn snat_ports(&self) -> BTreeMap<(Ip, Protocol), Vec<RangeInclusive<u16>>> {
        let mut sorted: Vec<_> = self.snat.iter().filter(|r| !r.ports().is_empty()).collect();
        sorted.sort_by_key(|r| r.first);
        let mut merged: BTreeMap<_, Vec<RangeInclusive<u16>>> = BTreeMap::new();
        for range in sorted {
            for protocol in range.protocols() {
                add_range(merged.entry((range.ip, protocol)).or_default(), range.ports());
            }
        }
        merged
    }
}

/// Adds a range that starts at or behind the start of the last one.
fn add_range(ranges: &mut Vec<RangeInclusive<u16>>, new: RangeInclusive<u16>) {
    match ranges.last_mut() {
        Some(last) if u32::from(*new.start()) <= u32::from(*last.end()) + 1 => {
            *last = *last.start()..=*last.end().max(new.end());
        }
        _ => ranges.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16, protocol: Option<Protocol>) -> SnatRange {
        SnatRange { ip: Ip::from_v4([192, 0, 2, 1]), protocol, first, last }
    }

    #[test]
    fn ranges_that_overlap_or_touch_become_one() {
        let snat = vec![
            range(300, 400, None),
            range(100, 199, Some(Protocol::Tcp)),
            range(200, 250, Some(Protocol::Tcp)),
            range(350, 360, None),
            range(65_535, 65_535, None),
            range(9, 8, None),
        ];
        let ports = Rules { snat, ..Rules::default() }.snat_ports();
        let ip = Ip::from_v4([192, 0, 2, 1]);
        assert_eq!(ports[&(ip, Protocol::Tcp)], [100..=250, 300..=400, 65_535..=65_535]);
        assert_eq!(ports[&(ip, Protocol::Udp)], [300..=400, 65_535..=65_535]);
    }

    #[test]
    fn a_range_up_to_the_last_port_does_not_overflow() {
        let snat = vec![range(1, 65_535, None), range(65_535, 65_535, None)];
        let ports = Rules { snat, ..Rules::default() }.snat_ports();
        assert!(ports.values().all(|r| *r == [1..=65_535]));
    }
}
