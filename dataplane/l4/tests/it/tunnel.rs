//! tunnel: the client's packet, untouched, inside another one. etherparse reads what comes out.

use crate::rig::*;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use ringlead_l4::drops::Reason;
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;
use ringlead_wire::tunnel::{Encapsulation, Variant};
use std::net::IpAddr;

const CLIENT4: &str = "198.51.100.7:40000";
const CLIENT6: &str = "[2001:db8:c::7]:40000";
const PORT: u16 = 6080;
const ALL: [Encapsulation; 3] = [
    Encapsulation::Ipip,
    Encapsulation::Gue { variant: Variant::One, port: PORT },
    Encapsulation::Gue { variant: Variant::Zero, port: PORT },
];
/// Client, service, whether its servers have IPv6.
const COMBINATIONS: [(&str, &str, bool); 4] = [
    (CLIENT4, TUNNEL44, false),
    (CLIENT4, TUNNEL46, true),
    (CLIENT6, TUNNEL64, false),
    (CLIENT6, TUNNEL66, true),
];

/// The outer addresses, the outer UDP source port, and the inner packet.
struct Opened {
    src: IpAddr,
    dst: IpAddr,
    sport: Option<u16>,
    inner: Vec<u8>,
}

fn open(frame: &[u8], encapsulation: Encapsulation) -> Opened {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let (src, dst): (IpAddr, IpAddr) = match packet.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Arp(_) => panic!("no IP packet"),
    };
    let payload = packet.net.as_ref().unwrap().ip_payload_ref().unwrap();
    let (number, bytes) = (payload.ip_number.0, payload.payload);
    assert_eq!(bytes.as_ptr_range().end, frame.as_ptr_range().end, "the outer length is the frame's");
    match (encapsulation, packet.transport) {
        (Encapsulation::Ipip, _) => {
            assert!(matches!(number, 4 | 41), "protocol {number}");
            Opened { src, dst, sport: None, inner: bytes.to_vec() }
        }
        (Encapsulation::Gue { variant, port }, Some(TransportSlice::Udp(udp))) => {
            assert_eq!((udp.destination_port(), udp.checksum()), (port, 0));
            let skip = if variant == Variant::Zero { 4 } else { 0 };
            Opened { src, dst, sport: Some(udp.source_port()), inner: udp.payload()[skip..].to_vec() }
        }
        other => panic!("unexpected {other:?}"),
    }
}

fn rig(encapsulation: Encapsulation) -> Rig {
    Rig::new(&Plan { encapsulation, ..Plan::default() })
}

/// The packet from its IP header on.
fn ip_of(packet: &Packet) -> Vec<u8> {
    packet.build()[14..].to_vec()
}

#[test]
fn every_combination_carries_the_packet_as_it_is() {
    for encapsulation in ALL {
        let mut rig = rig(encapsulation);
        for (client, service, v6) in COMBINATIONS {
            for packet in [
                Packet::tcp(client, service).flags(TcpFlags::SYN).ttl(1),
                Packet::tcp(client, service).payload([7; 900]),
                Packet::udp(client, service).payload(b"odd"),
            ] {
                let (port, frame) = rig.one(WAN, &from_client(packet.clone()));
                let opened = open(&frame, encapsulation);
                let server = server_address(server_of(&frame), v6);
                assert_eq!(port, LAN);
                assert_eq!(
                    format!("{}", opened.dst),
                    server.rsplit_once(':').unwrap().0.trim_matches(['[', ']'])
                );
                assert_eq!(opened.inner, ip_of(&packet), "{encapsulation:?} {client} {service}");
            }
        }
    }
}

#[test]
fn the_first_packet_and_the_next_ones_look_alike() {
    for encapsulation in ALL {
        let mut rig = rig(encapsulation);
        let packet = from_client(Packet::udp(CLIENT4, TUNNEL44).dont_fragment(true));
        let first = rig.one(WAN, &packet);
        assert_eq!(rig.one(WAN, &packet), first);
        assert_eq!(rig.counters().flows_created.get(), 1);
    }
}

/// Two workers send packets that may be fragmented to one server: none has an identification of another.
#[test]
fn rfc6864_workers_have_outer_identifications_of_their_own() {
    let plan = Plan { workers: 2, servers: 1, encapsulation: ALL[1], ..Plan::default() };
    let mut rig = Rig::new(&plan);
    let mut other = worker(&rig.shared, &plan, 1);
    let packet = from_client(Packet::udp(CLIENT4, TUNNEL44).dont_fragment(false)).build();
    let mut seen = std::collections::BTreeSet::new();
    let mut note = |sent: Vec<(usize, Vec<u8>)>| {
        for (_, frame) in &sent {
            assert_eq!(frame[20], 0, "may be fragmented");
            assert!(seen.insert([frame[18], frame[19]]), "{:?} again", &frame[18..20]);
        }
        sent.len()
    };
    // All that there are, between them.
    for _ in 0..512 {
        let burst = vec![packet.clone(); 64];
        assert_eq!(note(rig.send(WAN, &burst)) + note(through(&mut other, rig.now, WAN, &burst)), 128);
    }
    assert_eq!(seen.len(), 65_536);
}

#[test]
fn flows_of_one_client_have_outer_sources_of_their_own() {
    for encapsulation in ALL {
        let mut rig = rig(encapsulation);
        for (service, v6) in [(TUNNEL44, false), (TUNNEL46, true)] {
            let mut seen = std::collections::BTreeSet::new();
            for sport in 0..64 {
                let client = format!("198.51.100.7:{}", 40_000 + sport);
                let (_, frame) = rig.one(WAN, &from_client(Packet::udp(client, service)));
                let opened = open(&frame, encapsulation);
                match opened.src {
                    IpAddr::V4(src) => assert!(!v6 && src.octets()[..2] == OUTER4),
                    IpAddr::V6(src) => assert!(v6 && src.segments()[..4] == [0x100, 0, 0, 0]),
                }
                seen.insert((opened.src, opened.sport));
            }
            assert!(seen.len() > 60, "{} sources of 64 flows", seen.len());
        }
    }
}

#[test]
fn a_tagged_client_is_served_and_the_tag_stays_here() {
    let mut rig = rig(ALL[1]);
    let packet = from_client(Packet::tcp(CLIENT4, TUNNEL46).payload([9; 100]).vlan(7));
    let (_, frame) = rig.one(WAN, &packet);
    assert_eq!(frame[12..14], [0x86, 0xdd]);
    assert_eq!(open(&frame, ALL[1]).inner, packet.build()[18..]);
}

#[test]
fn ethernet_padding_does_not_travel() {
    let mut rig = rig(ALL[0]);
    let packet = from_client(Packet::udp(CLIENT4, TUNNEL44));
    let mut padded = packet.build();
    padded.resize(60, 0xaa);
    let sent = rig.send(WAN, &[padded]);
    assert_eq!(open(&sent[0].1, ALL[0]).inner, ip_of(&packet));
}

#[test]
fn an_error_about_an_answer_goes_to_the_server_that_answered() {
    let mut rig = rig(ALL[0]);
    let ask = from_client(Packet::udp(CLIENT4, TUNNEL44));
    let (_, frame) = rig.one(WAN, &ask);
    let answer = Packet::udp(TUNNEL44, CLIENT4).payload([1; 600]);
    let error = from_client(Packet::icmp_error("203.0.113.1", "192.0.2.3", 3, 4, 1400, &answer.ip()));
    let (_, told) = rig.one(WAN, &error);
    assert_eq!(server_of(&told), server_of(&frame));
    assert_eq!(open(&told, ALL[0]).inner, ip_of(&error));
    assert_eq!(rig.counters().flows_created.get(), 1);
}

#[test]
fn rfc4459_a_packet_too_big_for_the_tunnel_is_answered_with_the_exact_mtu() {
    for encapsulation in ALL {
        let mut rig = rig(encapsulation);
        let mtu = rig.worker.port(LAN).map(|port| ringlead_io::Port::caps(port).frame_max - 14).unwrap();
        for (client, service, v6) in COMBINATIONS {
            let v4 = client == CLIENT4;
            let room = mtu - encapsulation.overhead(!v6);
            let headers = if v4 { 28 } else { 48 };
            let of = |len: usize| {
                from_client(Packet::udp(client, service).dont_fragment(true).payload(vec![5; len - headers]))
            };
            let (port, _) = rig.one(WAN, &of(room));
            assert_eq!(port, LAN, "just fits");
            let made = rig.counters().made.get();
            let (port, answer) = rig.one(WAN, &of(room + 1));
            assert_eq!((port, rig.counters().made.get()), (WAN, made + 1));
            let told = if v4 {
                assert_eq!(answer[34..36], [3, 4]);
                u32::from(u16::from_be_bytes([answer[40], answer[41]]))
            } else {
                assert_eq!(answer[54..56], [2, 0]);
                u32::from_be_bytes(answer[58..62].try_into().unwrap())
            };
            assert_eq!(told as usize, room, "{encapsulation:?} {client} {service}");
        }
        assert_eq!(rig.drops_of(Reason::TooBig), 4);
    }
}

#[test]
fn a_full_table_goes_on_without_entries() {
    let plan = Plan { flows_max: 64, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    for sport in 0..200 {
        let packet = from_client(Packet::udp(format!("198.51.100.7:{}", 10_000 + sport), TUNNEL44));
        let (_, frame) = rig.one(WAN, &packet);
        assert_eq!(open(&frame, plan.encapsulation).inner, ip_of(&packet));
    }
    rig.worker.tick(rig.now);
    assert!(rig.counters().stateless.get() > 0);
}

#[test]
fn a_packet_waits_packed_for_its_servers_address() {
    let mut rig = Rig::new(&Plan { servers: 1, ..Plan::default() });
    for family in 0..2 {
        rig.shared.neighbours.set(ringlead_l4::neighbours::NeighbourId(family), None);
    }
    let packet = from_client(Packet::udp(CLIENT4, TUNNEL46).vlan(3));
    assert!(rig.send(WAN, &[packet.build()]).is_empty());
    rig.resolve(0);
    let sent = rig.tick();
    assert_eq!(sent.len(), 1);
    assert_eq!(open(&sent[0].1, ALL[0]).inner, packet.build()[18..]);
}
