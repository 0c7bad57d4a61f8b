//! Frames built by hand and by etherparse: what a balancer that tunnels sends, and what should come out.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "a module of tests")]

use etherparse::{IpNumber, Ipv4Header, Ipv6Header, UdpHeader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub const HERE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const GUE_PORT: u16 = 6080;
pub const CLIENT_PORT: u16 = 40_000;
pub const SERVICE_PORT: u16 = 5000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    V4,
    V6,
}
use Family::{V4, V6};

pub const FAMILIES: [Family; 2] = [V4, V6];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrap {
    Ipip,
    Gue0,
    Gue1,
}

pub const WRAPS: [Wrap; 3] = [Wrap::Ipip, Wrap::Gue0, Wrap::Gue1];

fn address(family: Family, v4: [u8; 4], v6: &str) -> IpAddr {
    match family {
        V4 => Ipv4Addr::from(v4).into(),
        V6 => v6.parse::<Ipv6Addr>().unwrap().into(),
    }
}

pub fn client(family: Family) -> IpAddr {
    address(family, [10, 1, 0, 9], "fd01::9")
}

pub fn service(family: Family) -> IpAddr {
    address(family, [10, 9, 0, 3], "fd09::3")
}

pub fn tunnel(family: Family) -> IpAddr {
    address(family, [10, 2, 0, 11], "fd02::11")
}

/// An outer source that is nobody's: a balancer mixes them.
pub fn mixed(family: Family) -> IpAddr {
    address(family, [10, 255, 0xab, 0xcd], "fdff::abcd")
}

/// The protocol number of an IP packet of this family inside another.
pub fn inside(family: Family) -> u8 {
    if family == V4 { 4 } else { 41 }
}

/// An IP packet without options.
pub fn ip(src: IpAddr, dst: IpAddr, service: u8, protocol: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let length = u16::try_from(payload.len()).unwrap();
            let mut header =
                Ipv4Header::new(length, 64, IpNumber(protocol), src.octets(), dst.octets()).unwrap();
            header.dscp = (service >> 2).try_into().unwrap();
            header.ecn = (service & 3).try_into().unwrap();
            header.identification = id;
            header.header_checksum = header.calc_header_checksum();
            header.to_bytes().to_vec()
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => Ipv6Header {
            traffic_class: service,
            flow_label: 0xa_bcde.try_into().unwrap(),
            payload_length: payload.len().try_into().unwrap(),
            next_header: IpNumber(protocol),
            hop_limit: 64,
            source: src.octets(),
            destination: dst.octets(),
        }
        .to_bytes()
        .to_vec(),
        _ => panic!("two families in one header"),
    };
    packet.extend_from_slice(payload);
    packet
}

/// A datagram of the client to the service, with right checksums.
pub fn inner(family: Family, service_byte: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let header = match (client(family), service(family)) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            UdpHeader::with_ipv4_checksum(CLIENT_PORT, SERVICE_PORT, &ip_header4(src, dst), payload).unwrap()
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let ip = Ipv6Header { source: src.octets(), destination: dst.octets(), ..Default::default() };
            UdpHeader::with_ipv6_checksum(CLIENT_PORT, SERVICE_PORT, &ip, payload).unwrap()
        }
        _ => unreachable!(),
    };
    let datagram = [&header.to_bytes(), payload].concat();
    ip(client(family), service(family), service_byte, 17, id, &datagram)
}

fn ip_header4(src: Ipv4Addr, dst: Ipv4Addr) -> Ipv4Header {
    Ipv4Header::new(0, 64, IpNumber::UDP, src.octets(), dst.octets()).unwrap()
}

/// UDP without a checksum: for tunnels allowed over IPv6 also (RFC 6935).
pub fn udp(sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let header = [sport, dport, length, 0].map(u16::to_be_bytes).concat();
    [&header[..], payload].concat()
}

/// What the outer IP header carries: its protocol, and the inner packet with what is before it.
pub fn wrapped(wrap: Wrap, family: Family, sport: u16, packet: &[u8]) -> (u8, Vec<u8>) {
    match wrap {
        Wrap::Ipip => (inside(family), packet.to_vec()),
        Wrap::Gue0 => {
            let payload = [&[0, inside(family), 0, 0], packet].concat();
            (17, udp(sport, GUE_PORT, &payload))
        }
        Wrap::Gue1 => (17, udp(sport, GUE_PORT, packet)),
    }
}

/// A packet in a tunnel to the server.
pub fn outer(wrap: Wrap, outer: Family, inner: Family, service: u8, sport: u16, packet: &[u8]) -> Vec<u8> {
    let (protocol, payload) = wrapped(wrap, inner, sport, packet);
    ip(mixed(outer), tunnel(outer), service, protocol, 7, &payload)
}

/// A frame to the server; `tags` are VLAN numbers, the outermost first.
pub fn ethernet(tags: &[u16], packet: &[u8]) -> Vec<u8> {
    let mut frame = [SERVER_MAC, HERE_MAC].concat();
    for (place, tag) in tags.iter().enumerate() {
        let kind: u16 = if place == 0 && tags.len() == 2 { 0x88a8 } else { 0x8100 };
        frame.extend_from_slice(&kind.to_be_bytes());
        frame.extend_from_slice(&tag.to_be_bytes());
    }
    frame.extend_from_slice(if packet[0] >> 4 == 4 { &[8, 0] } else { &[0x86, 0xdd] });
    frame.extend_from_slice(packet);
    frame
}

/// The inner packet's ECN field after decapsulation by inner and outer, as RFC 6040 prints it in figure 4; `None`: drop.
/// Rows and columns in the order of the figure: Not-ECT, ECT(0), ECT(1), CE.
pub const ECN_ORDER: [u8; 4] = [0b00, 0b10, 0b01, 0b11];
pub const ECN_FIGURE_4: [[Option<u8>; 4]; 4] = [
    [Some(0b00), Some(0b00), Some(0b00), None],
    [Some(0b10), Some(0b10), Some(0b01), Some(0b11)],
    [Some(0b01), Some(0b01), Some(0b01), Some(0b11)],
    [Some(0b11), Some(0b11), Some(0b11), Some(0b11)],
];

/// All cases of figure 4: inner, outer, afterwards.
pub fn ecn_cases() -> impl Iterator<Item = (u8, u8, Option<u8>)> {
    (0..16).map(|case| {
        let (row, column) = (case / 4, case % 4);
        (ECN_ORDER[row], ECN_ORDER[column], ECN_FIGURE_4[row][column])
    })
}
