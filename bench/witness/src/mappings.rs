//! What an snat service put in the place of each flow's client: learnt from its first frame, demanded of all others.

use crate::parsed::Transport;
use crate::spread::Spreading;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A flow of which something came this lately is live: no balancer forgets one sooner.
pub const LIVE_NS: u64 = 5_000_000_000;

/// A mapping in few bytes: address, whether it is IPv4, port, protocol.
type Key = ([u8; 16], bool, u16, u8);

/// The mappings of all flows. Memory: 4 bytes a flow, and about 90 a mapping.
#[derive(Debug)]
pub(crate) struct Mappings {
    /// By flow: its mapping's place in `slots`, plus 1; 0: none came yet.
    flows: Vec<u32>,
    slots: Vec<Slot>,
    places: HashMap<Key, u32>,
    slots_max: usize,
    spreading: Spreading,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: Key,
    /// The flow that came with it last, and when.
    flow: u32,
    last_ns: u64,
}

/// What is wrong with a frame's mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Faults {
    /// The mapping that the flow had before.
    pub(crate) before: Option<SocketAddr>,
    /// The live flow that has the mapping too.
    pub(crate) shared_with: Option<u32>,
}

impl Mappings {
    /// For so many flows. Twice as many mappings are told apart: more take more than one change a flow, each a finding.
    pub(crate) fn new(flows: usize) -> Self {
        Self {
            flows: vec![0; flows],
            slots: Vec::with_capacity(flows),
            places: HashMap::with_capacity(flows),
            slots_max: flows.saturating_mul(2),
            spreading: Spreading::default(),
        }
    }

    /// Notes that `flow` came from `source` at `at_ns`.
    #[inline]
    pub(crate) fn note(&mut self, flow: u32, transport: Transport, source: SocketAddr, at_ns: u64) -> Faults {
        let key = key(transport, source);
        let Some(place) = usize::try_from(flow).ok().and_then(|flow| self.flows.get_mut(flow)) else {
            return Faults::default();
        };
        let last = usize::try_from(*place).ok().and_then(|place| place.checked_sub(1));
        if let Some(slot) = last.and_then(|last| self.slots.get_mut(last))
            && slot.key == key
        {
            return Faults { before: None, shared_with: slot.take(flow, at_ns) };
        }
        let before = last.and_then(|last| self.slots.get(last)).map(|slot| address(&slot.key));
        let known = self.places.get(&key).copied();
        let shared_with = match known {
            Some(known) => {
                *place = known + 1;
                usize::try_from(known).ok().and_then(|known| self.slots.get_mut(known)?.take(flow, at_ns))
            }
            None if self.slots.len() < self.slots_max => {
                let new = u32::try_from(self.slots.len()).unwrap_or(u32::MAX - 1);
                *place = new + 1;
                self.places.insert(key, new);
                self.slots.push(Slot { key, flow, last_ns: at_ns });
                self.spreading.note(source);
                None
            }
            None => None,
        };
        Faults { before, shared_with }
    }

    /// Over what flows were spread.
    pub(crate) fn seen(&self) -> crate::findings::Spread {
        self.spreading.seen(self.slots.len())
    }
}

impl Slot {
    /// Makes it this flow's; returns another live one whose it was.
    #[inline]
    fn take(&mut self, flow: u32, at_ns: u64) -> Option<u32> {
        let live = at_ns.saturating_sub(self.last_ns) < LIVE_NS;
        let other = (self.flow != flow && live).then_some(self.flow);
        (self.flow, self.last_ns) = (flow, at_ns);
        other
    }
}

#[inline]
fn key(transport: Transport, source: SocketAddr) -> Key {
    let (octets, v4) = match source.ip() {
        IpAddr::V4(ip) => (ip.to_ipv6_mapped().octets(), true),
        IpAddr::V6(ip) => (ip.octets(), false),
    };
    (octets, v4, source.port(), transport.number())
}

fn address((octets, v4, port, _): &Key) -> SocketAddr {
    let ip = Ipv6Addr::from(*octets);
    let ip = ip.to_ipv4_mapped().filter(|_| *v4).map_or(IpAddr::V6(ip), IpAddr::V4);
    SocketAddr::new(ip, *port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_mapping_is_one_live_flows_of_one_protocol() {
        let (mut mappings, one) = (Mappings::new(4), at("10.3.0.1:2000"));
        assert_eq!(mappings.note(0, Transport::Tcp, one, 0), Faults::default());
        assert_eq!(mappings.note(1, Transport::Udp, one, 1), Faults::default(), "another protocol");
        assert_eq!(mappings.note(2, Transport::Tcp, at("[::ffff:10.3.0.1]:2000"), 1), Faults::default());
        let shared = |by| Faults { shared_with: Some(by), before: None };
        assert_eq!(mappings.note(3, Transport::Tcp, one, LIVE_NS - 1), shared(0));
        // The first one goes on with it: it was not dead at all.
        assert_eq!(mappings.note(0, Transport::Tcp, one, LIVE_NS), shared(3));
        assert_eq!(mappings.note(0, Transport::Tcp, one, LIVE_NS), Faults::default());
        assert_eq!(mappings.note(3, Transport::Tcp, one, 2 * LIVE_NS), Faults::default(), "0 is dead");
        assert_eq!(mappings.seen().mappings, 3);
    }

    #[test]
    fn a_change_is_told_with_what_was_before() {
        let (one, two) = (at("10.3.0.1:2000"), at("[fd03::1]:2000"));
        let mut mappings = Mappings::new(2);
        mappings.note(1, Transport::Udp, two, 0);
        assert_eq!(mappings.note(1, Transport::Udp, one, 1).before, Some(two));
        assert_eq!(mappings.note(1, Transport::Udp, two, 2).before, Some(one));
        assert_eq!(mappings.note(9, Transport::Udp, two, 2), Faults::default(), "beyond the last flow");
        let seen = mappings.seen();
        assert_eq!((seen.sources, seen.ports, seen.mappings), (2, 1, 2));
    }

    #[test]
    fn the_table_is_bounded_and_changes_are_told_beyond_it() {
        let mut mappings = Mappings::new(2);
        for port in 1..100 {
            let faults = mappings.note(0, Transport::Tcp, at(&format!("10.3.0.1:{port}")), 0);
            assert_eq!(faults.before.is_some(), port > 1);
        }
        assert_eq!((mappings.slots.len(), mappings.places.len()), (4, 4));
    }
}
