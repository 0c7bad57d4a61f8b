//! Seeded frames for the two fronts: every rule, tags, options, extension chains, fragments, ICMP errors with odd contents,
//! and all of it mutated and truncated.
#![allow(clippy::cast_possible_truncation, reason = "a generator takes the low bits of a random number")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ringlead_io::steer::{NodeTable, Nodes, Rules, SnatRange};
use ringlead_pick::{Maglev, Member};
use ringlead_wire::{Endpoint, Ip, Protocol};

/// An address with SNAT ranges (and no service).
pub(crate) const SNAT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);

/// UDP ports that its ranges cover: 20 000–29 999, 32 768–60 999.
pub(crate) const SNAT_UDP_PORTS: usize = 10_000 + 28_232;

const SERVICES: [&str; 6] =
    ["192.0.2.10", "192.0.2.11", "2001:db8::10", "2001:db8::11", "192.0.2.12", "2001:db8::12"];
const SERVERS: [&str; 3] = ["10.0.0.1", "10.0.0.2", "2001:db8:5::1"];
const LOCAL: [&str; 3] = ["192.0.2.1", "10.0.0.254", "2001:db8::1"];
const OTHERS: [&str; 4] = ["198.51.100.7", "203.0.113.9", "2001:db8:c::7", "::ffff:192.0.2.10"];
const SNATS: [&str; 2] = ["192.0.2.200", "2001:db8::200"];
const PORTS: [u16; 14] =
    [0, 53, 80, 81, 8080, 9000, 19_999, 20_000, 29_999, 30_000, 32_768, 60_999, 61_000, 65_535];

/// The rules that the frames play with.
pub(crate) fn rules() -> Rules {
    let endpoint = |ip: &str, port, protocol| Endpoint { ip: address(ip).into(), port, protocol };
    let range = |ip: &str, protocol, first, last| SnatRange { ip: address(ip).into(), protocol, first, last };
    let mut rules = Rules::default();
    for ip in [SERVICES[0], SERVICES[2]] {
        rules.services.insert(endpoint(ip, 80, Protocol::Tcp));
        rules.services.insert(endpoint(ip, 53, Protocol::Udp));
    }
    rules.services.insert(endpoint(SERVICES[1], 0, Protocol::Tcp));
    // Without TCP.
    rules.services.insert(endpoint(SERVICES[3], 53, Protocol::Udp));
    rules.nat_servers.insert(endpoint(SERVERS[0], 8080, Protocol::Tcp));
    rules.nat_servers.insert(endpoint(SERVERS[1], 0, Protocol::Tcp));
    rules.nat_servers.insert(endpoint(SERVERS[1], 53, Protocol::Udp));
    rules.nat_servers.insert(endpoint(SERVERS[2], 8080, Protocol::Tcp));
    rules.nat_servers.insert(endpoint(SERVERS[2], 53, Protocol::Udp));
    rules.local.extend(LOCAL.iter().chain(&SERVICES).map(|a| Ip::from(address(a))));
    for ip in SNATS {
        rules.snat.push(range(ip, None, 32_768, 60_999));
        rules.snat.push(range(ip, Some(Protocol::Udp), 20_000, 29_999));
    }
    // A service and a range on one address, and any port beside a range.
    rules.snat.push(range(SERVICES[0], Some(Protocol::Tcp), 32_768, 60_999));
    rules.snat.push(range(SERVICES[1], Some(Protocol::Tcp), 9000, 9000));
    rules.l7 = l7_services();
    rules
}

/// L7 services beside L4 ones, beside a range, under one on any port, and alone on their addresses.
fn l7_services() -> BTreeMap<Endpoint, Nodes> {
    let at = |ip: &str, port| Endpoint { ip: address(ip).into(), port, protocol: Protocol::Tcp };
    let small = Nodes::Several(node_table(7, 2, 127));
    BTreeMap::from([
        (at(SERVICES[0], 8080), small.clone()),
        (at(SERVICES[0], 40_000), Nodes::Several(node_table(8, 3, 4093))),
        (at(SERVICES[1], 8080), Nodes::Alone),
        (at(SERVICES[1], 80), small.clone()),
        (at(SERVICES[2], 8080), small),
        (at(SERVICES[3], 80), Nodes::Several(node_table(9, 4, 65_537))),
        (at(SERVICES[4], 80), Nodes::Several(node_table(9, 4, 65_537))),
        (at(SERVICES[4], 8080), Nodes::Several(node_table(9, 0, 127))),
        (at(SERVICES[5], 80), Nodes::Several(node_table(10, 2, 1021))),
    ])
}

/// A table of `nodes` nodes of which we are the second, with guests in every other slot.
pub(crate) fn node_table(key: u8, nodes: u64, size: u32) -> Arc<NodeTable> {
    let members: Vec<_> =
        (1..=nodes).map(|n| Member { identity: n.wrapping_mul(0x9e37_79b9_7f4a_7c15), weight: 1 }).collect();
    let strayed = vec![0x5555_5555_5555_5555; 1025];
    Arc::new(NodeTable::new([key; 16], &Maglev::build(&members, size), 1).with_guests(&strayed))
}

/// A whole UDP datagram to an address and port.
pub(crate) fn udp_to(to: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0]);
    let udp = [&[0x30, 0x39], &port.to_be_bytes()[..], &[0, 8, 0, 0]].concat();
    frame.extend(v4(Ipv4Addr::new(198, 51, 100, 7), to, 17, 0, &[], &udp));
    frame
}

/// Frames from a seed.
pub(crate) struct Generator(u64);

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next frame, at least an Ethernet header long.
    pub(crate) fn frame(&mut self) -> Vec<u8> {
        let v6 = self.one_in(2);
        let mut frame = vec![2; 12];
        let tags = if self.one_in(3) { self.below(4) } else { 0 };
        for _ in 0..tags {
            frame.extend(if self.one_in(2) { [0x81, 0] } else { [0x88, 0xa8] });
            frame.extend([self.next() as u8, 7]);
        }
        frame.extend(match self.below(40) {
            0 => [8, 6],
            1 => [if v6 { 8 } else { 0x86 }, if v6 { 0 } else { 0xdd }],
            _ if v6 => [0x86, 0xdd],
            _ => [8, 0],
        });
        let start = frame.len();
        frame.extend(self.packet(v6, 0));
        if self.one_in(5) {
            self.mutate(&mut frame, start);
        }
        if self.one_in(6) {
            let length = 14 + self.below(frame.len() - 13);
            frame.truncate(length);
        }
        frame
    }

    /// Up to three bytes of the headers become something else.
    fn mutate(&mut self, frame: &mut [u8], start: usize) {
        for _ in 0..=self.below(3) {
            let at = if self.one_in(4) { 12 } else { start };
            let at = at + self.below((frame.len() - at).min(64));
            frame[at] = if self.one_in(2) { frame[at] ^ (1 << self.below(8)) } else { self.next() as u8 };
        }
    }

    /// An IP packet; an ICMP error has another one inside, down to the second.
    fn packet(&mut self, v6: bool, depth: usize) -> Vec<u8> {
        let (source, destination) = (self.address(v6), self.address(v6));
        let kind = self.below(if depth < 2 { 12 } else { 8 });
        let (protocol, body) = match kind {
            0..=4 => (6, self.ports(20)),
            5..=7 => (17, self.ports(8)),
            8 => ([1, 58, 47, 50, 41, 135][self.below(6)], self.ports(8)),
            _ => (if v6 { 58 } else { 1 }, self.icmp(v6, depth)),
        };
        match (source, destination) {
            (IpAddr::V4(s), IpAddr::V4(d)) => {
                let options = if self.one_in(5) { vec![1; 4 * self.below(11)] } else { vec![] };
                v4(s, d, protocol, self.fragment(), &options, &body)
            }
            (s, d) => self.v6(octets(s), octets(d), protocol, &body),
        }
    }

    /// Type, code, checksum, four more bytes, and a packet that is perhaps cut short or of the other family.
    fn icmp(&mut self, v6: bool, depth: usize) -> Vec<u8> {
        let kind = match self.below(8) {
            0 => self.next() as u8,
            1 => [8, 0, 128, 129, 135, 5][self.below(6)],
            _ if v6 => 1 + self.below(4) as u8,
            _ => [3, 11, 12][self.below(3)],
        };
        let mut body = vec![kind, self.below(5) as u8, 0, 0, 0, 0, 5, 0xdc];
        let family = if self.one_in(20) { !v6 } else { v6 };
        let mut inside = self.packet(family, depth + 1);
        if self.one_in(3) {
            let header = if family { 40 } else { 20 };
            let length = if self.one_in(2) { header + self.below(9) } else { self.below(inside.len()) };
            inside.truncate(length);
        }
        body.extend(inside);
        body
    }

    /// Source and destination port, and the rest of a header.
    fn ports(&mut self, length: usize) -> Vec<u8> {
        let mut body = vec![0; length];
        for half in body[..4].chunks_mut(2) {
            let port = match self.below(6) {
                0 => self.next() as u16,
                1..=3 => [80, 53, 8080, 40_000][self.below(4)],
                _ => PORTS[self.below(PORTS.len())],
            };
            half.copy_from_slice(&port.to_be_bytes());
        }
        body
    }

    /// Flags and offset of an IPv4 header: mostly a whole packet, at times with DF.
    fn fragment(&mut self) -> u16 {
        match self.below(10) {
            0 => 0x2000,
            1 => [1, 185, 0x1fff][self.below(3)],
            2 => 0x2000 | 185,
            3 | 4 => 0x4000,
            5 if self.one_in(4) => 0x8000,
            _ => 0,
        }
    }

    /// An IPv6 packet behind a chain of no, a few or too many extension headers.
    fn v6(&mut self, source: [u8; 16], destination: [u8; 16], protocol: u8, body: &[u8]) -> Vec<u8> {
        let count = match self.below(8) {
            0..=2 => 0,
            3..=5 => 1 + self.below(2),
            6 => 5 + self.below(4),
            _ => self.below(7),
        };
        let kinds: Vec<u8> = (0..count).map(|_| [0, 43, 44, 51, 60, 60][self.below(6)]).collect();
        let mut chain = Vec::new();
        for (i, kind) in kinds.iter().enumerate() {
            let next = kinds.get(i + 1).copied().unwrap_or(protocol);
            chain.extend(self.extension(*kind, next));
        }
        chain.extend(body);
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend((chain.len() as u16).to_be_bytes());
        packet.extend([kinds.first().copied().unwrap_or(protocol), 64]);
        packet.extend(source);
        packet.extend(destination);
        packet.extend(chain);
        packet
    }

    fn extension(&mut self, kind: u8, next: u8) -> Vec<u8> {
        let units = self.below(3);
        let mut header = vec![
            0;
            match kind {
                44 => 8,
                51 => (units + 2) * 4,
                _ => (units + 1) * 8,
            }
        ];
        header[0] = next;
        header[1] = if kind == 44 { self.next() as u8 } else { units as u8 };
        if kind == 44 {
            // Atomic, first, later, last; the reserved bits may be anything.
            let fragment = [0, 0, 0, 1, 0x05a9, 0x05a8, 8, 9][self.below(8)] | (self.below(4) as u16) << 1;
            header[2..4].copy_from_slice(&fragment.to_be_bytes());
        }
        header
    }

    fn address(&mut self, v6: bool) -> IpAddr {
        loop {
            let pool: &[&str] = match self.below(10) {
                0..=3 => &SERVICES,
                4..=5 => &SERVERS,
                6 => &LOCAL,
                7 => &SNATS,
                _ => &OTHERS,
            };
            let chosen = address(pool[self.below(pool.len())]);
            if chosen.is_ipv6() == v6 {
                return chosen;
            }
        }
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn v4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    fragment: u16,
    options: &[u8],
    body: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x45 + (options.len() / 4) as u8, 0];
    packet.extend(((20 + options.len() + body.len()) as u16).to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(options);
    packet.extend(body);
    packet
}

fn octets(a: IpAddr) -> [u8; 16] {
    match a {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    }
}

fn address(text: &str) -> IpAddr {
    // A mapped address stays IPv6 here: it stands in a real IPv6 header.
    text.parse::<Ipv4Addr>().map(IpAddr::V4).or_else(|_| text.parse::<Ipv6Addr>().map(IpAddr::V6)).unwrap()
}
