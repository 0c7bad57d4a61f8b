//! ICMP errors travel with the flow that they speak of; they neither make, refresh nor end one.

use crate::rig::*;
use ringlead_l4::drops::Reason;
use ringlead_wire::build::Packet;

const CLIENT: &str = "198.51.100.7:5353";
const ROUTER: &str = "203.0.113.1";

#[test]
fn rfc5508_r4_an_error_about_a_nat_reply_reaches_the_server_as_if_about_its_own_packet() {
    let mut rig = Rig::new(&Plan::default());
    let server = server_of(&rig.one(WAN, &from_client(Packet::udp(CLIENT, NAT4))).1);
    let address = server_address(server, false);
    let quoted = |from: &str| Packet::udp(from, CLIENT).payload([9; 100]).ip();
    let too_big = |to: &str, from: &str| Packet::icmp_error(ROUTER, to, 3, 4, 1280, &quoted(from));
    let (port, frame) = rig.one(WAN, &from_client(too_big("192.0.2.1", NAT4)));
    let expected =
        too_big(address.trim_end_matches(":8080"), &address).mac(LAN_MAC, server_mac(server)).ttl(63);
    assert_eq!((port, frame), (LAN, expected.build()));
}

#[test]
fn rfc5508_r5_a_servers_error_reaches_the_client_as_the_services() {
    let mut rig = Rig::new(&Plan::default());
    let server = server_of(&rig.one(WAN, &from_client(Packet::udp(CLIENT, NAT4))).1);
    let address = server_address(server, false);
    let quoted = |to: &str| Packet::udp(CLIENT, to).payload(b"?").ip();
    let unreachable = |from: &str, to: &str| Packet::icmp_error(from, "198.51.100.7", 3, 3, 0, &quoted(to));
    let (port, frame) =
        rig.one(LAN, &from_server(server, unreachable(address.trim_end_matches(":8080"), &address)));
    assert_eq!((port, frame), (WAN, unreachable("192.0.2.1", NAT4).mac(WAN_MAC, CLIENT_MAC).ttl(63).build()));
}

#[test]
fn an_error_for_dsr_reaches_the_server_untouched_even_without_a_flow() {
    for known in [true, false] {
        let mut rig = Rig::new(&Plan::default());
        let request = from_client(Packet::udp(CLIENT, DSR4));
        let server = server_of(&rig.one(WAN, &request).1);
        if !known {
            rig = Rig::new(&Plan::default());
        }
        let quoted = Packet::udp(DSR4, CLIENT).payload([9; 8]).ip();
        let error = Packet::icmp_error(ROUTER, "192.0.2.2", 3, 4, 1400, &quoted);
        let (port, frame) = rig.one(WAN, &from_client(error.clone()));
        assert_eq!(
            (port, frame),
            (LAN, error.mac(LAN_MAC, server_mac(server)).build()),
            "flow known: {known}"
        );
        assert_eq!(rig.counters().flows_created.get(), u64::from(known));
    }
}

#[test]
fn rfc4787_r12_errors_neither_end_nor_refresh_a_flow() {
    let mut rig = Rig::new(&Plan { round_robin: true, ..Plan::default() });
    let server = server_of(&rig.one(WAN, &from_client(Packet::udp(CLIENT, NAT4))).1);
    let reply = from_server(server, Packet::udp(server_address(server, false), CLIENT));
    let quoted = Packet::udp(NAT4, CLIENT).ip();
    rig.now += 200 * SECOND;
    for (kind, code) in (0..16).map(|code| (3, code)).chain([(11, 0), (12, 0)]) {
        rig.one(WAN, &from_client(Packet::icmp_error(ROUTER, "192.0.2.1", kind, code, 0, &quoted)));
    }
    rig.now += 50 * SECOND;
    assert_eq!(rig.one(LAN, &reply).0, WAN, "the flow lives");
    rig.now += 290 * SECOND;
    rig.one(WAN, &from_client(Packet::icmp_error(ROUTER, "192.0.2.1", 3, 1, 0, &quoted)));
    rig.now += 20 * SECOND;
    rig.dropped(LAN, reply.build(), Reason::ServerWithoutFlow);
}

#[test]
fn an_error_about_an_unknown_nat_flow_is_dropped_by_name() {
    let mut rig = Rig::new(&Plan::default());
    let quoted = Packet::udp(NAT4, CLIENT).ip();
    let error = Packet::icmp_error(ROUTER, "192.0.2.1", 3, 1, 0, &quoted);
    rig.dropped(WAN, from_client(error).build(), Reason::IcmpWithoutFlow);
}
