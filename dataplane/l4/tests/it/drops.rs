//! What is not sent on, and under which name.

use crate::rig::*;
use ringlead_l4::drops::Reason;
use ringlead_wire::build::{Packet, arp_request};
use ringlead_wire::malformed::Malformed;

#[test]
fn frames_of_nobody_are_not_ours() {
    let mut rig = Rig::new(&Plan::default());
    rig.dropped(WAN, Packet::udp("198.51.100.7:5353", "192.0.2.99:80").build(), Reason::NotOurs);
    rig.dropped(WAN, Packet::udp("198.51.100.7:5353", "192.0.2.1:81").build(), Reason::NotOurs);
    rig.dropped(WAN, Packet::icmp_echo("198.51.100.7", "192.0.2.1").build(), Reason::NotOurs);
    rig.dropped(WAN, Packet::raw("198.51.100.7", "192.0.2.1", 47).payload(b"gre").build(), Reason::NotOurs);
    rig.dropped(WAN, arp_request("198.51.100.7", "192.0.2.1"), Malformed::NotIp);
}

#[test]
fn a_servers_packet_without_a_flow_waits_for_the_client_to_speak() {
    let mut rig = Rig::new(&Plan::default());
    let unasked = Packet::udp(server_address(0, false), "198.51.100.7:5353");
    rig.dropped(LAN, from_server(0, unasked).build(), Reason::ServerWithoutFlow);
}

#[test]
fn fragments_are_dropped_by_name() {
    let mut rig = Rig::new(&Plan::default());
    let packet = Packet::udp("198.51.100.7:5353", NAT4).payload([1; 3000]);
    for fragment in packet.fragments(1400) {
        rig.dropped(WAN, fragment, Reason::Fragment);
    }
}

#[test]
fn malformed_frames_are_dropped_by_name_and_none_is_lost() {
    let mut rig = Rig::new(&Plan::default());
    let good = from_client(Packet::udp("198.51.100.7:5353", NAT4).payload(b"abc")).build();
    for len in 14..good.len() {
        assert!(rig.send(WAN, &[good[..len].to_vec()]).is_empty());
    }
    assert_eq!(rig.drops().iter().map(|(_, n)| n).sum::<u64>(), (good.len() - 14) as u64);
    assert_eq!(rig.counters().received.get(), (good.len() - 14) as u64);
}

#[test]
fn rfc1191_a_packet_too_big_for_the_way_out_is_answered_with_the_mtu_and_dropped_by_name() {
    let mut rig = Rig::new(&Plan::default());
    let shared = rig.shared.clone();
    let frames = ringlead_io::Frames::in_memory(1024, 2048).unwrap();
    let wan = ringlead_io::MemPort::new("wan", 0, WAN_MAC, 256);
    let mut lan = ringlead_io::MemPort::new("lan", 0, LAN_MAC, 256);
    lan.caps_mut().frame_max = 1014;
    let config = ringlead_l4::WorkerConfig { index: 0, workers: 1, seed: [1; 4] };
    rig.worker = ringlead_l4::Worker::new(config, frames, vec![(0, wan), (1, lan)], shared);
    let packet =
        |payload: usize| from_client(Packet::udp("198.51.100.7:5353", DSR4).payload(vec![1; payload]));
    rig.one(WAN, &packet(1014 - 42));
    let told = rig.told(WAN, &packet(1015 - 42), Reason::TooBig);
    assert_eq!((&told[..2], &told[6..8]), (&[3, 4][..], &1000_u16.to_be_bytes()[..]));
    // A packet that waits for its next hop is not known to be too big before; then it is too late to tell.
    let long = Packet::udp("198.51.100.8:5353", DSR4).payload(vec![1; 1015 - 42]);
    for server in 0..3 {
        for family in 0..2 {
            let id = ringlead_l4::neighbours::NeighbourId(server * 2 + family);
            rig.shared.neighbours.set(id, None);
        }
    }
    assert!(rig.send(WAN, &[from_client(long).build()]).is_empty());
    (0..3).for_each(|server| rig.resolve(server));
    assert!(rig.tick().is_empty());
    assert_eq!(rig.drops_of(Reason::TooBig), 2);
}
