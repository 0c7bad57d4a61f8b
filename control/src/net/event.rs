//! Kernel messages -> events. Pure, so that a dump and a notification are read by the same code.

use std::net::IpAddr;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteFlags, RouteMessage, RouteProtocol};
use rtnetlink::packet_route::rule::RuleMessage;
use rtnetlink::packet_route::{AddressFamily, route::RouteType};

use super::{Mac, NetEvent, link};

/// The event that a notification stands for, if it concerns us.
pub(super) fn decode(message: &RouteNetlinkMessage) -> Option<NetEvent> {
    match message {
        RouteNetlinkMessage::NewNeighbour(m) => neighbour(m, usable_mac(m)),
        RouteNetlinkMessage::DelNeighbour(m) => neighbour(m, None),
        RouteNetlinkMessage::NewLink(m) => link(m),
        RouteNetlinkMessage::DelLink(m) => {
            is_own_family(m).then_some(NetEvent::LinkRemoved { ifindex: m.header.index })
        }
        RouteNetlinkMessage::NewAddress(m) | RouteNetlinkMessage::DelAddress(m) => address(m),
        RouteNetlinkMessage::NewRoute(m) | RouteNetlinkMessage::DelRoute(m) => route(m),
        RouteNetlinkMessage::NewRule(m) | RouteNetlinkMessage::DelRule(m) => rule(m),
        _ => None,
    }
}

/// The neighbour's address, when it is an IP neighbour (the same messages carry bridge forwarding entries).
pub(super) fn neighbour_ip(message: &NeighbourMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })
}

/// Where frames go, when the kernel itself would send there now.
///
/// NOARP entries (multicast, broadcast, devices without addresses) are not servers and count as unresolved.
pub(super) fn usable_mac(message: &NeighbourMessage) -> Option<Mac> {
    let valid = matches!(
        message.header.state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
    );
    let mac = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(bytes) => Mac::try_from(bytes.as_slice()).ok(),
        _ => None,
    });
    if valid { mac } else { None }
}

/// The interface's Ethernet address.
pub(super) fn link_mac(message: &LinkMessage) -> Option<Mac> {
    message.attributes.iter().find_map(|a| match a {
        LinkAttribute::Address(bytes) => Mac::try_from(bytes.as_slice()).ok(),
        _ => None,
    })
}

/// The interface's MTU in bytes; 0 when the message has none.
pub(super) fn link_mtu(message: &LinkMessage) -> u32 {
    let mtu = message.attributes.iter().find_map(|a| match a {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    mtu.unwrap_or(0)
}

/// Administratively up and with carrier.
pub(super) fn link_up(message: &LinkMessage) -> bool {
    message.header.flags.contains(LinkFlags::Up | LinkFlags::Running)
}

/// Bridges send link messages of family AF_BRIDGE about their ports: not about the interface itself.
pub(super) fn is_own_family(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

fn neighbour(message: &NeighbourMessage, mac: Option<Mac>) -> Option<NetEvent> {
    if !matches!(message.header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return None;
    }
    if message.header.state == NeighbourState::Noarp || message.header.kind == RouteType::Multicast {
        return None;
    }
    let ip = neighbour_ip(message)?;
    Some(NetEvent::Neighbour { ifindex: message.header.ifindex, ip, mac })
}

fn link(message: &LinkMessage) -> Option<NetEvent> {
    is_own_family(message).then(|| NetEvent::Link {
        ifindex: message.header.index,
        up: link_up(message),
        mac: link_mac(message),
        mtu: link_mtu(message),
        vlan: link::vlan(message),
    })
}

fn address(message: &AddressMessage) -> Option<NetEvent> {
    matches!(message.header.family, AddressFamily::Inet | AddressFamily::Inet6).then_some(NetEvent::Addresses)
}

/// Cloned routes are the kernel's own cache (a learned path MTU, a redirect): no table changed. Those that it makes for an
/// address of this node come with [`NetEvent::Addresses`], which says more.
fn route(message: &RouteMessage) -> Option<NetEvent> {
    let header = &message.header;
    let ip = matches!(header.address_family, AddressFamily::Inet | AddressFamily::Inet6);
    let of_address = header.protocol == RouteProtocol::Kernel
        && matches!(
            header.kind,
            RouteType::Local | RouteType::Broadcast | RouteType::Anycast | RouteType::Multicast
        );
    (ip && !of_address && !header.flags.contains(RouteFlags::Cloned)).then_some(NetEvent::Routes)
}

/// Another table may answer for any address now.
fn rule(message: &RuleMessage) -> Option<NetEvent> {
    matches!(message.header.family, AddressFamily::Inet | AddressFamily::Inet6).then_some(NetEvent::Routes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 7];

    fn message(state: NeighbourState) -> NeighbourMessage {
        let mut m = NeighbourMessage::default();
        m.header.family = AddressFamily::Inet;
        m.header.ifindex = 3;
        m.header.state = state;
        m.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet([192, 0, 2, 1].into())));
        m.attributes.push(NeighbourAttribute::LinkLayerAddress(MAC.to_vec()));
        m
    }

    #[test]
    fn only_states_that_the_kernel_sends_to_have_a_mac() {
        use NeighbourState::{
            Delay, Failed, Incomplete, Noarp, None as Nothing, Permanent, Probe, Reachable, Stale,
        };
        for state in [Reachable, Stale, Delay, Probe, Permanent] {
            assert_eq!(usable_mac(&message(state)), Some(MAC), "{state:?}");
        }
        for state in [Incomplete, Failed, Noarp, Nothing] {
            assert_eq!(usable_mac(&message(state)), None, "{state:?}");
        }
    }

    #[test]
    fn a_deleted_neighbour_has_no_mac_though_its_message_carries_one() {
        let deleted = RouteNetlinkMessage::DelNeighbour(message(NeighbourState::Stale));
        let ip = [192, 0, 2, 1].into();
        assert_eq!(decode(&deleted), Some(NetEvent::Neighbour { ifindex: 3, ip, mac: None }));
    }

    #[test]
    fn bridge_entries_are_not_ours() {
        let mut m = message(NeighbourState::Permanent);
        m.header.family = AddressFamily::Bridge;
        assert_eq!(decode(&RouteNetlinkMessage::NewNeighbour(m)), None);
        let mut l = LinkMessage::default();
        l.header.interface_family = AddressFamily::Bridge;
        assert_eq!(decode(&RouteNetlinkMessage::DelLink(l)), None, "a port leaving a bridge still exists");
    }

    #[test]
    fn cached_routes_change_no_table() {
        let mut m = RouteMessage::default();
        m.header.address_family = AddressFamily::Inet6;
        assert_eq!(decode(&RouteNetlinkMessage::NewRoute(m.clone())), Some(NetEvent::Routes));
        m.header.flags = RouteFlags::Cloned;
        assert_eq!(decode(&RouteNetlinkMessage::NewRoute(m)), None);
    }

    #[test]
    fn a_policy_rule_is_told_as_a_change_of_routes() {
        let mut m = RuleMessage::default();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            m.header.family = family;
            assert_eq!(decode(&RouteNetlinkMessage::NewRule(m.clone())), Some(NetEvent::Routes));
            assert_eq!(decode(&RouteNetlinkMessage::DelRule(m.clone())), Some(NetEvent::Routes));
        }
        m.header.family = AddressFamily::Unspec;
        assert_eq!(decode(&RouteNetlinkMessage::NewRule(m)), None, "of multicast routing");
    }

    #[test]
    fn routes_that_come_with_an_address_are_told_as_the_address() {
        let mut m = RouteMessage::default();
        m.header.address_family = AddressFamily::Inet;
        m.header.protocol = RouteProtocol::Kernel;
        m.header.kind = RouteType::Unicast;
        assert_eq!(decode(&RouteNetlinkMessage::NewRoute(m.clone())), Some(NetEvent::Routes), "a network's");
        m.header.kind = RouteType::Local;
        assert_eq!(decode(&RouteNetlinkMessage::DelRoute(m.clone())), None);
        m.header.protocol = RouteProtocol::Static;
        assert_eq!(decode(&RouteNetlinkMessage::NewRoute(m)), Some(NetEvent::Routes), "an operator's");
    }
}
