//! nat: destination and port become the server's, replies become the service's, both routed.

use crate::rig::*;
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;

fn there_and_back(client: &str, service: &str, v6: bool, tcp: bool) {
    let mut rig = Rig::new(&Plan::default());
    let make = |src: &str, dst: &str| {
        if tcp { Packet::tcp(src, dst).flags(TcpFlags::SYN) } else { Packet::udp(src, dst) }
    };
    let request = from_client(make(client, service).tos(0xb9).ttl(64).payload(b"request"));
    let (port, frame) = rig.one(WAN, &request);
    let server = server_of(&frame);
    let address = server_address(server, v6);
    let expected =
        make(client, &address).mac(LAN_MAC, server_mac(server)).tos(0xb9).ttl(63).payload(b"request");
    assert_eq!((port, frame), (LAN, expected.build()));

    let reply = from_server(server, make(&address, client).ttl(64).payload(b"reply"));
    let (port, frame) = rig.one(LAN, &reply);
    let expected = make(service, client).mac(WAN_MAC, CLIENT_MAC).ttl(63).payload(b"reply");
    assert_eq!((port, frame), (WAN, expected.build()));
    assert_eq!((rig.counters().sent.get(), rig.counters().flows_created.get()), (2, 1));
}

#[test]
fn tcp_over_ipv4_goes_there_and_back() {
    there_and_back("198.51.100.7:40000", NAT4, false, true);
}

#[test]
fn udp_over_ipv4_goes_there_and_back() {
    there_and_back("198.51.100.7:40000", NAT4, false, false);
}

#[test]
fn tcp_over_ipv6_goes_there_and_back() {
    there_and_back("[2001:db8:c::7]:40000", NAT6, true, true);
}

#[test]
fn udp_over_ipv6_goes_there_and_back() {
    there_and_back("[2001:db8:c::7]:40000", NAT6, true, false);
}

#[test]
fn partial_checksums_are_completed_where_the_port_may_have_them() {
    let mut rig = Rig::new(&Plan::default());
    let packet = |checksum: fn(Packet) -> Packet| {
        from_client(checksum(Packet::udp("198.51.100.7:5353", NAT4).payload(b"hello")))
    };
    let (_, trusted) = rig.one(WAN, &packet(Packet::partial_checksum));

    let mut rig = Rig::new(&Plan::default());
    rig.worker = {
        let shared = rig.shared.clone();
        let frames = ringlead_io::Frames::in_memory(1024, 2048).unwrap();
        let mut wan = ringlead_io::MemPort::new("wan", 0, WAN_MAC, 256);
        wan.caps_mut().partial_checksums = true;
        let lan = ringlead_io::MemPort::new("lan", 0, LAN_MAC, 256);
        let config = ringlead_l4::WorkerConfig { index: 0, workers: 1, seed: [1; 4] };
        ringlead_l4::Worker::new(config, frames, vec![(0, wan), (1, lan)], shared)
    };
    let (_, completed) = rig.one(WAN, &packet(Packet::partial_checksum));
    let (_, whole) = rig.one(WAN, &packet(|p| p));
    assert_eq!(completed, whole);
    assert_ne!(trusted, whole, "without the port's word nothing is completed");
    assert_eq!(rig.counters().completed_checksums.get(), 1);
}

#[test]
fn rfc1812_a_packet_that_cannot_be_routed_further_is_answered_and_dropped() {
    let mut rig = Rig::new(&Plan::default());
    for ttl in [0, 1] {
        let packet = from_client(Packet::udp("198.51.100.7:5353", NAT4).ttl(ttl));
        let told = rig.told(WAN, &packet, ringlead_l4::drops::Reason::TtlExpired);
        assert_eq!(told[..2], [11, 0]);
        assert_eq!(told[8..], packet.ip());
    }
}

#[test]
fn replies_follow_a_client_that_moves_to_another_router() {
    let mut rig = Rig::new(&Plan::default());
    let request = Packet::udp("198.51.100.7:5353", NAT4);
    let (_, frame) = rig.one(WAN, &from_client(request.clone()));
    let server = server_of(&frame);
    let moved = [2, 0, 0, 0, 0, 0xc2];
    rig.one(WAN, &request.mac(moved, WAN_MAC));
    let reply = from_server(server, Packet::udp(server_address(server, false), "198.51.100.7:5353"));
    let (port, frame) = rig.one(LAN, &reply);
    assert_eq!((port, &frame[..6]), (WAN, &moved[..]));
}
