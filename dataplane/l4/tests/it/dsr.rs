//! dsr: only the Ethernet addresses change; the server answers the client itself.

use crate::rig::*;
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;

fn only_the_ethernet_header_changes(client: &str, service: &str) {
    let mut rig = Rig::new(&Plan::default());
    for packet in [
        Packet::tcp(client, service).flags(TcpFlags::SYN).ttl(1),
        Packet::udp(client, service).payload(b"odd"),
        Packet::tcp(client, service).payload([7; 1400]),
    ] {
        let (port, frame) = rig.one(WAN, &from_client(packet.clone()));
        let server = server_of(&frame);
        assert_eq!((port, frame), (LAN, packet.mac(LAN_MAC, server_mac(server)).build()));
    }
}

#[test]
fn only_the_ethernet_header_changes_ipv4() {
    only_the_ethernet_header_changes("198.51.100.7:40000", DSR4);
}

#[test]
fn only_the_ethernet_header_changes_ipv6() {
    only_the_ethernet_header_changes("[2001:db8:c::7]:40000", DSR6);
}

#[test]
fn many_clients_reach_every_server_and_each_keeps_its_own() {
    let mut rig = Rig::new(&Plan::default());
    let mut seen = [0; 3];
    for client in 0..200 {
        let packet = from_client(Packet::udp(format!("198.51.100.{client}:5353"), DSR4));
        let first = server_of(&rig.one(WAN, &packet).1);
        let again = server_of(&rig.one(WAN, &packet).1);
        assert_eq!(first, again);
        seen[first] += 1;
    }
    assert!(seen.iter().all(|&n| n > 30), "{seen:?}");
    assert_eq!(rig.counters().flows_created.get(), 200);
}
