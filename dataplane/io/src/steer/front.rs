//! The Rust front: the same rules over bytes, for replay, the in-memory port and DPDK.
//!
//! There is no kernel behind it, so no sockets: the flows of l7 services go by the table only, as if there were none.
//!
//! `bpf/steer.c` says the same in C, and `tests/steer_agree.rs` runs both over the same frames. Change both.

use std::ops::RangeInclusive;

use ahash::{AHashMap, AHashSet};
use ringlead_wire::{Endpoint, Ip, Protocol};

use super::nodes::{Nodes, Whose};
use super::rules::{Rule, Rules};
use super::walk::{Packet, Shape, is_extension, walk_v4, walk_v6};

/// The flag of a segment that opens a connection (RFC 9293 section 3.1).
const TCP_SYN: u8 = 2;

/// Who takes a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// A worker, by this rule.
    Ours(Rule),
    /// The kernel.
    Kernel,
}

/// [`Rules`], ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    services: AHashSet<Endpoint>,
    l7: AHashMap<Endpoint, Nodes>,
    /// Addresses and transports with an L4 service, a SNAT range or an l7 service of several nodes.
    addresses: AHashSet<(Ip, Protocol)>,
    snat: AHashMap<(Ip, Protocol), Box<[RangeInclusive<u16>]>>,
    servers: AHashSet<Endpoint>,
    server_addresses: AHashSet<(Ip, Protocol)>,
    local: AHashSet<Ip>,
}

/// Decides about one frame, from its Ethernet header on (a stripped VLAN tag is not seen). Allocates nothing.
#[must_use]
pub fn verdict(rules: &RuleSet, frame: &[u8]) -> Verdict {
    rule_of(rules, frame).map_or(Verdict::Kernel, Verdict::Ours)
}

fn rule_of(rules: &RuleSet, frame: &[u8]) -> Option<Rule> {
    let (ethertype, offset) = skip_tags(frame)?;
    let (packet, icmp) = match ethertype {
        0x0800 => (walk_v4(frame, offset)?, 1),
        0x86dd => (walk_v6(frame, offset)?, 58),
        _ => return None,
    };
    match packet.shape {
        Shape::Fragment { .. } => rules.fragment(&packet),
        Shape::Long => rules.any_address(packet.destination).then_some(Rule::Chain),
        Shape::Whole if packet.protocol == icmp => icmp_rule(rules, frame, &packet),
        Shape::Whole => rules.transport(frame, &packet),
    }
}

/// The Ethernet type behind at most two VLAN tags (IEEE 802.1Q, 802.1ad), and where its header starts.
fn skip_tags(frame: &[u8]) -> Option<(u16, usize)> {
    let mut offset = 12;
    for tags in 0.. {
        let ethertype = be16(frame, offset)?;
        if tags == 2 || !matches!(ethertype, 0x8100 | 0x88a8) {
            return Some((ethertype, offset + 2));
        }
        offset += 4;
    }
    None
}

/// Rule (d): the error is about a packet that we sent, or would have. The outer addresses say nothing.
fn icmp_rule(rules: &RuleSet, frame: &[u8], outer: &Packet) -> Option<Rule> {
    let icmp = frame.get(outer.transport..outer.transport + 8)?;
    let inside = outer.transport + 8;
    // RFC 792; RFC 4443 section 2.1 with the four errors it defines.
    let about = match (outer.protocol, icmp[0]) {
        (1, 3 | 11 | 12) => walk_v4(frame, inside)?,
        (58, 1..=4) => walk_v6(frame, inside)?,
        _ => return None,
    };
    // A first fragment has ports too.
    if !matches!(about.shape, Shape::Whole | Shape::Fragment { first: true }) {
        return None;
    }
    let (protocol, source, destination) = ports(frame, &about)?;
    // What a service sent went to the client.
    let sent_by_us = match rules.front(about.source, protocol, source) {
        Some(Front::L7(nodes)) => {
            let client = (about.destination, destination);
            let elsewhere = is_elsewhere(nodes, client, (about.source, source), protocol, false);
            return elsewhere.then_some(Rule::IcmpError);
        }
        front => front.is_some(),
    };
    // About one of this node's own health checks: the kernel's, like the answer to it.
    let sent_to_server =
        || rules.is_server(about.destination, protocol, destination) && !rules.local.contains(&about.source);
    (sent_by_us || sent_to_server()).then_some(Rule::IcmpError)
}

/// Whether a flow from a client to an l7 service is another node's, or may be.
fn is_elsewhere(
    nodes: &Nodes,
    client: (Ip, u16),
    service: (Ip, u16),
    protocol: Protocol,
    opens: bool,
) -> bool {
    let Nodes::Several(table) = nodes else { return false };
    match table.whose(client.0, service.0, client.1, service.1, protocol) {
        Whose::Own => false,
        Whose::Guests => !opens,
        Whose::Anothers => true,
    }
}

/// A segment that opens a connection. One that is cut short before its flags counts as such: no socket could want it.
fn opens(frame: &[u8], packet: &Packet) -> bool {
    frame.get(packet.transport + 13).is_none_or(|flags| flags & TCP_SYN != 0)
}

/// What an address, port and transport are.
enum Front<'a> {
    Service,
    Snat,
    L7(&'a Nodes),
}

impl From<&Rules> for RuleSet {
    fn from(rules: &Rules) -> Self {
        let snat = rules.snat_ports();
        let service_addresses = rules.services.iter().chain(rules.shared()).map(|s| (s.ip, s.protocol));
        Self {
            services: rules.services.iter().copied().collect(),
            l7: rules.l7.iter().map(|(at, nodes)| (*at, nodes.clone())).collect(),
            addresses: service_addresses.chain(snat.keys().copied()).collect(),
            snat: snat.into_iter().map(|(k, r)| (k, r.into())).collect(),
            servers: rules.nat_servers.iter().copied().collect(),
            server_addresses: rules.nat_servers.iter().map(|s| (s.ip, s.protocol)).collect(),
            local: rules.local.iter().copied().collect(),
        }
    }
}

impl RuleSet {
    /// Rules (a), (b), (c) and (f).
    fn transport(&self, frame: &[u8], packet: &Packet) -> Option<Rule> {
        let (protocol, source, destination) = ports(frame, packet)?;
        let (client, service) = ((packet.source, source), (packet.destination, destination));
        match self.front(service.0, protocol, destination) {
            Some(Front::Service) => Some(Rule::Service),
            Some(Front::Snat) => Some(Rule::Snat),
            Some(Front::L7(nodes)) => {
                let opens = opens(frame, packet);
                is_elsewhere(nodes, client, service, protocol, opens).then_some(Rule::Node)
            }
            None => {
                // Answers to this node's own health checks come from servers too: the kernel's.
                let reply = self.is_server(client.0, protocol, source) && !self.local.contains(&service.0);
                reply.then_some(Rule::Server)
            }
        }
    }

    /// An L4 service, an l7 service or a SNAT range?
    fn front(&self, ip: Ip, protocol: Protocol, port: u16) -> Option<Front<'_>> {
        if !self.addresses.contains(&(ip, protocol)) {
            return None;
        }
        if self.services.contains(&Endpoint { ip, port, protocol }) {
            return Some(Front::Service);
        }
        if let Some(nodes) = self.l7.get(&Endpoint { ip, port, protocol }) {
            return Some(Front::L7(nodes));
        }
        if self.snat.get(&(ip, protocol)).is_some_and(|ranges| ranges.iter().any(|r| r.contains(&port))) {
            return Some(Front::Snat);
        }
        self.services.contains(&Endpoint { ip, port: 0, protocol }).then_some(Front::Service)
    }

    /// A server of a `nat` pool, on this port or on any?
    fn is_server(&self, ip: Ip, protocol: Protocol, port: u16) -> bool {
        [port, 0].into_iter().any(|port| self.servers.contains(&Endpoint { ip, port, protocol }))
    }

    /// Rule (e). Later fragments have no ports, so an address and its protocol decide for all of them.
    fn fragment(&self, packet: &Packet) -> Option<Rule> {
        // The protocol hides behind further extension headers: whatever an L4 address gets is ours, as with a long chain.
        if is_extension(packet.protocol) {
            return self.any_address(packet.destination).then_some(Rule::Fragment);
        }
        let protocol = transport(packet.protocol)?;
        // A fragmented answer of a `nat` server would otherwise reach the client from the server's own address.
        let reply = || {
            self.server_addresses.contains(&(packet.source, protocol))
                && !self.local.contains(&packet.destination)
        };
        (self.addresses.contains(&(packet.destination, protocol)) || reply()).then_some(Rule::Fragment)
    }

    fn any_address(&self, ip: Ip) -> bool {
        [Protocol::Tcp, Protocol::Udp].into_iter().any(|p| self.addresses.contains(&(ip, p)))
    }
}

/// The transport of a packet and its ports (source, destination), when it is one that services use and they are there.
fn ports(frame: &[u8], packet: &Packet) -> Option<(Protocol, u16, u16)> {
    Some((transport(packet.protocol)?, be16(frame, packet.transport)?, be16(frame, packet.transport + 2)?))
}

const fn transport(number: u8) -> Option<Protocol> {
    match number {
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        _ => None,
    }
}

fn be16(frame: &[u8], offset: usize) -> Option<u16> {
    frame.get(offset..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}
