//! VLAN tags: a client's are taken off towards the server and put back on replies; towards a server stands its next hop's.

use crate::mixed::*;
use crate::rig::*;
use ringlead_l4::drops::Reason;
use ringlead_l4::neighbours::NeighbourId;
use ringlead_l4::tables::{Chooser, Delivery};
use ringlead_pick::RoundRobin;
use ringlead_wire::build::Packet;
use ringlead_wire::{Ip, TcpFlags, Vid};
use std::net::IpAddr;

const CLIENT4: &str = "198.51.100.7:40000";
const CLIENT6: &str = "[2001:db8:c::7]:40000";
const SNAT4: &str = "192.0.2.5:80";
const SNAT6: &str = "[2001:db8::5]:80";
/// Every mode in both families: client, service, whether servers answer through us.
const WAYS: [(&str, &str, bool); 12] = [
    (CLIENT4, NAT4, true),
    (CLIENT6, NAT6, true),
    (CLIENT4, SNAT4, true),
    (CLIENT6, SNAT6, true),
    (CLIENT6, NAT64, true),
    (CLIENT4, NAT46, true),
    (CLIENT4, DSR4, false),
    (CLIENT6, DSR6, false),
    (CLIENT4, TUNNEL44, false),
    (CLIENT4, TUNNEL46, false),
    (CLIENT6, TUNNEL64, false),
    (CLIENT6, TUNNEL66, false),
];
/// Tags of clients: none, one, and a service tag with a customer tag (IEEE 802.1ad).
const CLIENTS_TAGS: [&[(u16, u16)]; 3] = [&[], &[(0x8100, 5)], &[(0x88a8, 7), (0x8100, 9)]];
const VID: u16 = 20;
/// The MTU of the servers' side where it matters.
const MTU: usize = 1500;

/// All modes at once, the servers in this VLAN or in none, their side of this MTU.
fn rig(vlan: Option<u16>) -> Rig {
    let plan = Plan::default();
    let (mut rig, ports) = mixed_rig(&plan, |ports| ports[LAN].caps_mut().frame_max = 14 + MTU);
    // As devices do, the port takes a tag beyond its MTU.
    rig.worker.port(LAN).unwrap().caps_mut().frame_max += 4;
    let all: Vec<usize> = (0..plan.servers).collect();
    let extras = [(SNAT4, false), (SNAT6, true)].map(|(at, v6)| {
        let chooser = Chooser::RoundRobin(RoundRobin::new(&[1; 3]));
        Extra::new(at, Delivery::Snat(ports.clone()), pool_of(1, chooser, &all, v6))
    });
    let ours = [OURS4, OURS6].map(|ip| Ip::from(ip.parse::<IpAddr>().unwrap()));
    rig.publish(with_ports(with_extras(with_mixed(tables(&plan, 2), &ports), &extras), &ports, &ours));
    all.iter().for_each(|&server| rig.resolve_in(server, vlan.and_then(Vid::new)));
    rig
}

fn with_tags(packet: Packet, tags: &[(u16, u16)]) -> Packet {
    tags.iter().fold(packet, |packet, tag| packet.vlan_of_type(tag.0, tag.1))
}

/// An untagged frame with a tag of 802.1Q, priority 0.
fn in_vlan(frame: &[u8], vid: u16) -> Vec<u8> {
    [&frame[..12], &[0x81, 0], &vid.to_be_bytes(), &frame[12..]].concat()
}

#[test]
fn servers_in_a_vlan_get_what_untagged_ones_would_behind_its_tag_and_answer_as_they() {
    for tags in CLIENTS_TAGS {
        let (mut plain, mut tagged) = (rig(None), rig(Some(VID)));
        for (client, service, answers) in WAYS {
            let packet = Packet::tcp(client, service).flags(TcpFlags::SYN).payload(b"hello");
            let packet = from_client(with_tags(packet, tags));
            for _ in 0..2 {
                let (port, frame) = plain.one(WAN, &packet);
                assert_eq!(tagged.one(WAN, &packet), (port, in_vlan(&frame, VID)), "{service} {tags:?}");
                if answers {
                    let (us, server) = ends(&frame);
                    let reply = from_server(server_of(&frame), Packet::tcp(server, us).payload(b"reply"));
                    let (port, expected) = plain.one(LAN, &reply);
                    assert_eq!(tagged.one(LAN, &reply.vlan(VID)), (port, expected), "{service} {tags:?}");
                    assert_eq!(port, WAN);
                }
            }
        }
    }
}

#[test]
fn frames_that_waited_for_a_next_hop_get_its_tag() {
    for (client, service, _) in WAYS {
        let (mut plain, mut tagged) = (rig(None), rig(Some(VID)));
        let packet = from_client(Packet::udp(client, service).vlan(5).payload(b"hello"));
        let (port, frame) = plain.one(WAN, &packet);
        (0..6).for_each(|id| tagged.shared.neighbours.set(NeighbourId(id), None));
        assert!(tagged.send(WAN, &[packet.build()]).is_empty());
        assert_eq!(tagged.counters().held.get(), 1, "{service}");
        // It turns up in another VLAN than the one before.
        (0..3).for_each(|server| tagged.resolve_in(server, Vid::new(4094)));
        assert_eq!(tagged.tick(), [(port, in_vlan(&frame, 4094))], "{service}");
    }
}

#[test]
fn a_next_hop_that_moves_to_another_vlan_is_followed_at_once() {
    let mut rig = rig(Some(VID));
    let packet = from_client(Packet::udp(CLIENT4, NAT4));
    for vlan in [Some(VID), Some(21), None, Some(1)] {
        (0..3).for_each(|server| rig.resolve_in(server, vlan.and_then(Vid::new)));
        let (_, frame) = rig.one(WAN, &packet);
        let tag = vlan.map(|vid| [[0x81, 0], vid.to_be_bytes()].concat());
        assert_eq!(&frame[12..16], tag.as_deref().unwrap_or(&[8, 0, 0x45, 0]), "{vlan:?}");
    }
}

/// The MTU bounds the IP packet, whatever stands in front of it.
#[test]
fn a_tag_takes_nothing_of_the_mtu() {
    for (client, service, _) in WAYS {
        let mut rig = rig(Some(VID));
        let sized = |len: usize| {
            let bare = Packet::udp(client, service).ip().len();
            from_client(Packet::udp(client, service).payload(vec![0x5a; len - bare]))
        };
        let less = match service {
            TUNNEL44 | TUNNEL64 | NAT46 => 20,
            TUNNEL46 | TUNNEL66 => 40,
            _ => 0,
        };
        let fits = if service == NAT64 { MTU + 20 } else { MTU - less };
        let (port, frame) = rig.one(WAN, &sized(fits));
        assert_eq!((port, frame.len()), (LAN, 14 + 4 + MTU), "{service}");
        let (back, _) = rig.one(WAN, &sized(fits + 1));
        assert_eq!((back, rig.drops_of(Reason::TooBig)), (WAN, 1), "{service}");
    }
}

/// What the worker says about a server's packet itself goes back into the server's VLAN.
#[test]
fn a_server_in_a_vlan_is_answered_there() {
    for (client, service, answers) in WAYS {
        if !answers {
            continue;
        }
        let mut rig = rig(Some(VID));
        let (_, frame) = rig.one(WAN, &from_client(Packet::udp(client, service)));
        let plain = [&frame[..12], &frame[16..]].concat();
        let (us, server) = ends(&plain);
        let late = from_server(server_of(&frame), Packet::udp(server, us).ttl(1)).vlan(VID);
        let (port, answer) = rig.one(LAN, &late);
        assert_eq!((port, rig.drops_of(Reason::TtlExpired)), (LAN, 1), "{service}");
        let sent = late.build();
        assert_eq!(answer[..6], sent[6..12], "{service}");
        assert_eq!(answer[12..18], sent[12..18], "its tag and family, {service}");
    }
}

#[test]
fn a_tagged_clients_replies_carry_its_tags() {
    // Two tags are a service tag and a customer tag (IEEE 802.1ad).
    for tags in [&[(0x8100, 5_u16)][..], &[(0x88a8, 7), (0x8100, 9)]] {
        let mut rig = Rig::new(&Plan::default());
        let tagged =
            |packet: Packet| tags.iter().fold(packet, |packet, tag| packet.vlan_of_type(tag.0, tag.1));
        let request = from_client(tagged(Packet::udp("198.51.100.7:5353", NAT4).payload(b"request")));
        let (port, frame) = rig.one(WAN, &request);
        let server = server_of(&frame);
        let address = server_address(server, false);
        let expected = Packet::udp("198.51.100.7:5353", &address).payload(b"request").ttl(63);
        assert_eq!((port, frame), (LAN, expected.mac(LAN_MAC, server_mac(server)).build()));

        let reply = from_server(server, Packet::udp(&address, "198.51.100.7:5353").payload(b"reply"));
        let (port, frame) = rig.one(LAN, &reply);
        let expected = tagged(Packet::udp(NAT4, "198.51.100.7:5353").payload(b"reply").ttl(63));
        assert_eq!((port, frame), (WAN, expected.mac(WAN_MAC, CLIENT_MAC).build()));
    }
}
