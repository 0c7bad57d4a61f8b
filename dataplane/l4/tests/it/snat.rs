//! snat: both ends of a packet change, and the server answers to an address and port of ours.

mod end;
mod errors;
mod million;
mod ports;

use crate::rig::*;
use ringlead_flow::snat::{PortSpace, SnatPool};
use ringlead_l4::drops::Reason;
use ringlead_l4::tables::{Chooser, Delivery, OnNoServer, Tables};
use ringlead_pick::{HashBy, Maglev, Member, RoundRobin};
use ringlead_wire::build::Packet;
use ringlead_wire::{Ip, TcpFlags};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The services, and where their servers see all clients come from.
const SNAT4: &str = "192.0.2.5:80";
const SNAT6: &str = "[2001:db8::5]:80";
/// A second one on the servers of the first.
const OTHER4: &str = "192.0.2.6:80";
/// Any port of this address, on servers that serve any.
const ANY4: &str = "192.0.2.7:0";
const OURS4: &str = "10.2.0.250";
const OURS6: &str = "fd02::250";
const CLIENT4: &str = "198.51.100.7:40000";
const CLIENT6: &str = "[2001:db8:c::7]:40000";
/// 1024 ports: sixteen groups of 64.
const RANGE: RangeInclusive<u16> = 20_032..=21_055;

fn ip(of: &str) -> Ip {
    of.parse::<IpAddr>().unwrap().into()
}

fn ports(range: RangeInclusive<u16>, workers: usize) -> Arc<SnatPool> {
    let spaces = [OURS4, OURS6].map(|ours| Arc::new(PortSpace::new(ip(ours))));
    Arc::new(SnatPool::new(spaces.to_vec(), range, workers).unwrap())
}

/// The plan's tables and the services above, on these of its servers.
fn snat_tables(plan: &Plan, epoch: u64, ports: &Arc<SnatPool>, up: &[usize]) -> Tables {
    let extras = [(SNAT4, false), (SNAT6, true), (OTHER4, false), (ANY4, false)].map(|(at, v6)| {
        // One of them by a hash that could be computed again, were it not for the port.
        let chooser = if at == OTHER4 {
            let members: Vec<Member> = up.iter().map(|&n| Member { identity: n as u64, weight: 1 }).collect();
            Chooser::Maglev { table: Maglev::build(&members, 251), by: HashBy::FiveTuple }
        } else {
            Chooser::RoundRobin(RoundRobin::new(&vec![1; up.len()]))
        };
        let pool = pool_of(1, chooser, up, v6);
        Extra { on_no_server: plan.on_no_server, ..Extra::new(at, Delivery::Snat(Arc::clone(ports)), pool) }
    });
    with_ports(with_extras(tables_with(plan, epoch, up), &extras), ports, &[ip(OURS4), ip(OURS6)])
}

fn rig_of(plan: &Plan, range: RangeInclusive<u16>) -> (Rig, Arc<SnatPool>) {
    let rig = Rig::new(plan);
    let ports = ports(range, plan.workers);
    let all: Vec<usize> = (0..plan.servers).collect();
    rig.publish(snat_tables(plan, 2, &ports, &all));
    (rig, ports)
}

fn syn(src: impl ToString, dst: &str) -> Packet {
    Packet::tcp(src.to_string(), dst).flags(TcpFlags::SYN)
}

/// Sends a client's first packet: what the server sees as its source, and the server.
fn begin(rig: &mut Rig, packet: &Packet) -> (SocketAddr, usize) {
    let (port, frame) = rig.one(WAN, packet);
    assert_eq!(port, LAN);
    (ends(&frame).0, server_of(&frame))
}

fn is_ours(mapping: SocketAddr) {
    let ours = if mapping.is_ipv4() { OURS4 } else { OURS6 };
    assert_eq!(mapping.ip(), ours.parse::<IpAddr>().unwrap());
    assert!(RANGE.contains(&mapping.port()), "{mapping}");
}

/// Whole frames are compared with such as the builder makes: every address, TTL and checksum of both ways.
fn there_and_back(client: &str, service: &str, tcp: bool) {
    let (mut rig, _ports) = rig_of(&Plan::default(), RANGE);
    let v6 = service == SNAT6;
    let make = |src: &str, dst: &str| if tcp { syn(src, dst) } else { Packet::udp(src, dst) };
    let request = |src: &str, dst: &str| make(src, dst).tos(0xb9).payload(b"request");
    for packet in ["first", "next"] {
        let (port, frame) = rig.one(WAN, &from_client(request(client, service).ttl(64)));
        let (server, (mapping, _)) = (server_of(&frame), ends(&frame));
        is_ours(mapping);
        let (mapping, address) = (mapping.to_string(), server_address(server, v6));
        let expected = request(&mapping, &address).ttl(63).mac(LAN_MAC, server_mac(server)).build();
        assert_eq!((port, frame), (LAN, expected), "{packet}");

        let answer = |src: &str, dst: &str| make(src, dst).tos(0x1a).payload(b"an odd answer");
        let (port, frame) = rig.one(LAN, &from_server(server, answer(&address, &mapping).ttl(64)));
        let expected = answer(service, client).ttl(63).mac(WAN_MAC, CLIENT_MAC).build();
        assert_eq!((port, frame), (WAN, expected), "{packet}");
    }
    assert_eq!((rig.counters().sent.get(), rig.counters().flows_created.get()), (4, 1));
}

#[test]
fn tcp_over_ipv4_goes_there_and_back() {
    there_and_back(CLIENT4, SNAT4, true);
}

#[test]
fn udp_over_ipv4_goes_there_and_back() {
    there_and_back(CLIENT4, SNAT4, false);
}

#[test]
fn tcp_over_ipv6_goes_there_and_back() {
    there_and_back(CLIENT6, SNAT6, true);
}

#[test]
fn udp_over_ipv6_goes_there_and_back() {
    there_and_back(CLIENT6, SNAT6, false);
}

#[test]
fn rfc768_a_datagram_without_a_checksum_stays_one() {
    let (mut rig, _ports) = rig_of(&Plan::default(), RANGE);
    let packet = Packet::udp(CLIENT4, SNAT4).payload(b"unsummed").no_checksum();
    let (_, frame) = rig.one(WAN, &from_client(packet));
    assert_eq!(frame[40..42], [0, 0]);
}

#[test]
fn clients_with_one_port_and_one_server_are_told_apart() {
    let (mut rig, _ports) = rig_of(&Plan { servers: 1, ..Plan::default() }, RANGE);
    // Neighbours of the server among them, whom it would answer directly without snat.
    let clients = [
        (WAN, "198.51.100.7:40000"),
        (WAN, "198.51.100.8:40000"),
        (LAN, "10.2.0.77:40000"),
        (LAN, "10.2.0.78:40000"),
    ];
    let macs = [WAN_MAC, LAN_MAC];
    let mappings = clients.map(|(port, client)| {
        let (out, frame) = rig.one(port, &syn(client, SNAT4).mac(CLIENT_MAC, macs[port]));
        assert_eq!((out, server_of(&frame)), (LAN, 0));
        ends(&frame).0
    });
    for ((port, client), mapping) in clients.into_iter().zip(mappings) {
        is_ours(mapping);
        assert_eq!(mappings.iter().filter(|other| **other == mapping).count(), 1, "{mappings:?}");
        let reply = Packet::tcp(server_address(0, false), mapping);
        let expected = Packet::tcp(SNAT4, client).ttl(63).mac(macs[port], CLIENT_MAC);
        assert_eq!(rig.one(LAN, &from_server(0, reply)), (port, expected.build()));
    }
}

#[test]
fn rfc4787_r9_a_server_is_its_own_client_under_our_address() {
    let (mut rig, _ports) = rig_of(&Plan { servers: 1, ..Plan::default() }, RANGE);
    for (client, service, v6) in [
        ("10.2.0.11:33000", SNAT4, false),
        ("[fd02::11]:33000", SNAT6, true),
        ("10.2.0.11:8080", SNAT4, false),
    ] {
        let (port, frame) = rig.one(LAN, &from_server(0, Packet::udp(client, service)));
        let (mapping, server) = ends(&frame);
        is_ours(mapping);
        assert_eq!((port, server_of(&frame), server.to_string()), (LAN, 0, server_address(0, v6)));
        let reply = from_server(0, Packet::udp(server, mapping).payload(b"me"));
        let expected = Packet::udp(service, client).payload(b"me").ttl(63).mac(LAN_MAC, server_mac(0));
        assert_eq!(rig.one(LAN, &reply), (LAN, expected.build()));
    }
}

#[test]
fn replies_may_come_to_another_workers_queue() {
    let plan = Plan { workers: 2, ..Plan::default() };
    let (mut rig, _ports) = rig_of(&plan, RANGE);
    let mut other = worker(&rig.shared, &plan, 1);
    let (mapping, server) = begin(&mut rig, &from_client(syn(CLIENT4, SNAT4)));
    let reply = Packet::tcp(server_address(server, false), mapping).flags(TcpFlags::SYN | TcpFlags::ACK);
    let sent = through(&mut other, rig.now, LAN, &[from_server(server, reply.ttl(64)).build()]);
    let expected = Packet::tcp(SNAT4, CLIENT4).flags(TcpFlags::SYN | TcpFlags::ACK).ttl(63);
    assert_eq!(sent, [(WAN, expected.mac(WAN_MAC, CLIENT_MAC).build())]);
    // And the client's next packet too.
    let next = from_client(Packet::tcp(CLIENT4, SNAT4));
    let sent = through(&mut other, rig.now, WAN, &[next.build()]);
    assert_eq!((ends(&sent[0].1).0, server_of(&sent[0].1)), (mapping, server));
    other.finish();
}

#[test]
fn a_connection_that_nobody_saw_begin_is_of_an_unknown_flow() {
    let (mut rig, ports) = rig_of(&Plan { on_no_server: OnNoServer::Reset, ..Plan::default() }, RANGE);
    for service in [SNAT4, OTHER4] {
        for flags in
            [TcpFlags::ACK, TcpFlags::SYN | TcpFlags::ACK, TcpFlags::RST, TcpFlags::FIN | TcpFlags::ACK]
        {
            let packet = Packet::tcp(CLIENT4, service).flags(flags).payload(b"middle");
            rig.dropped(WAN, from_client(packet).build(), Reason::UnknownFlow);
        }
    }
    assert_eq!((rig.counters().made.get(), ports.usage().tcp.used), (0, 0));
}

#[test]
fn rfc5382_r4_what_nobody_asked_for_is_dropped_in_silence() {
    let plan = Plan { on_no_server: OnNoServer::Unreachable, ..Plan::default() };
    let (mut rig, _ports) = rig_of(&plan, RANGE);
    let (mapping, server) = begin(&mut rig, &from_client(syn(CLIENT4, SNAT4)));
    let stranger = "10.2.0.99:4444";
    let nobodys = format!("{OURS4}:{}", 20_032 + (mapping.port() + 1) % 1024);
    for packet in [
        syn(stranger, &nobodys),
        // A port that is in use, but by somebody else's flow (address and port dependent filtering, RFC 4787 §5).
        syn(stranger, &mapping.to_string()),
        Packet::udp(server_address(server, false), mapping),
        Packet::tcp(server_address((server + 1) % 3, false), mapping),
        syn(stranger, &format!("{OURS4}:80")),
    ] {
        rig.dropped(LAN, from_server(0, packet).build(), Reason::ServerWithoutFlow);
    }
    assert_eq!(rig.counters().made.get(), 0);
}

#[test]
fn two_services_on_one_server_and_one_port_pool_do_not_mix_one_clients_replies() {
    let (mut rig, _ports) = rig_of(&Plan { servers: 1, ..Plan::default() }, RANGE);
    let mappings =
        [SNAT4, OTHER4].map(|service| begin(&mut rig, &from_client(Packet::udp(CLIENT4, service))).0);
    assert_ne!(mappings[0], mappings[1]);
    for (service, mapping) in [SNAT4, OTHER4].iter().zip(mappings) {
        let (_, frame) = rig.one(LAN, &from_server(0, Packet::udp(server_address(0, false), mapping)));
        assert_eq!(ends(&frame).0.to_string(), *service);
    }
}

#[test]
fn a_service_on_any_port_keeps_the_clients() {
    let plan = Plan { servers: 1, ..Plan::default() };
    let (mut rig, ports) = rig_of(&plan, RANGE);
    let mut tables = snat_tables(&plan, 3, &ports, &[0]);
    let mut servers = tables.servers.to_vec();
    servers.iter_mut().flatten().for_each(|server| server.port = 0);
    tables.servers = servers.into();
    rig.publish(tables);
    for port in [21, 7777, 65_535] {
        let service = format!("192.0.2.7:{port}");
        let (_, frame) = rig.one(WAN, &from_client(syn(CLIENT4, &service)));
        let (mapping, server) = ends(&frame);
        is_ours(mapping);
        assert_eq!(server.to_string(), format!("10.2.0.11:{port}"));
        let (_, frame) = rig.one(LAN, &from_server(0, Packet::tcp(server, mapping)));
        assert_eq!(ends(&frame).0.to_string(), service);
    }
}
