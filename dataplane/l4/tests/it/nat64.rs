//! NAT64 and NAT46 (RFC 7915): what leaves is, byte for byte, what a host of the other family would have sent. The packets
//! that are expected get their checksums from etherparse.

use crate::mixed::*;
use crate::rig::*;
use etherparse::{SlicedPacket, TransportSlice};
use ringlead_l4::drops::Reason;
use ringlead_l4::neighbours::NeighbourId;
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;

mod errors;
mod flows;
mod sizes;

const CLIENT6: &str = "[2001:db8:c::7]:40000";
const CLIENT4: &str = "198.51.100.7:40000";

/// One of the two services.
#[derive(Clone, Copy, Debug)]
struct Case {
    client: &'static str,
    service: &'static str,
    /// Our address on the servers' side.
    ours: &'static str,
    v4_client: bool,
}

const CASES: [Case; 2] = [
    Case { client: CLIENT6, service: NAT64, ours: OURS4, v4_client: false },
    Case { client: CLIENT4, service: NAT46, ours: OURS6, v4_client: true },
];

type Build = fn(&str, &str) -> Packet;
const TRANSPORTS: [Build; 2] = [|src, dst| Packet::tcp(src, dst), |src, dst| Packet::udp(src, dst)];

/// A flow through the rig and its ends on the servers' side, each an address with its port.
#[derive(Debug)]
struct Known {
    case: Case,
    build: Build,
    server: usize,
    server_at: String,
    ours: String,
}

impl Known {
    /// By a first packet of the client.
    fn open(rig: &mut Rig, case: Case, build: Build) -> Self {
        let first = build(case.client, case.service).flags(TcpFlags::SYN);
        let (port, frame) = rig.one(WAN, &from_client(first));
        assert_eq!(port, LAN);
        Self::of(case, build, &frame)
    }

    /// Of a frame as the server gets it.
    fn of(case: Case, build: Build, frame: &[u8]) -> Self {
        let server = server_of(frame);
        let address = case.ours;
        let ours = if case.v4_client { format!("[{address}]") } else { address.to_owned() };
        let ours = format!("{ours}:{}", source_port(frame));
        Self { case, build, server, server_at: server_address(server, case.v4_client), ours }
    }

    /// As the client sends.
    fn asks(&self) -> Packet {
        (self.build)(self.case.client, self.case.service)
    }

    /// As the server is asked.
    fn asked(&self) -> Packet {
        (self.build)(&self.ours, &self.server_at)
    }

    /// As the server answers.
    fn answers(&self) -> Packet {
        (self.build)(&self.server_at, &self.ours)
    }

    /// As the client is answered.
    fn answered(&self) -> Packet {
        (self.build)(self.case.service, self.case.client)
    }
}

/// The source port as etherparse reads it.
fn source_port(frame: &[u8]) -> u16 {
    let transport = SlicedPacket::from_ethernet(frame).unwrap().transport;
    if let Some(TransportSlice::Tcp(tcp)) = &transport {
        return tcp.source_port();
    }
    let Some(TransportSlice::Udp(udp)) = transport else { panic!("neither TCP nor UDP") };
    udp.source_port()
}

fn is_v4(packet: &Packet) -> bool {
    packet.ip()[0] >> 4 == 4
}

/// The packet as one that was made of the other family's (RFC 7915 §5.1): up to 1260 bytes of IPv4 may be fragmented and
/// have the identification that `frame` has.
fn made(packet: Packet, frame: &[u8]) -> Packet {
    if !is_v4(&packet) || packet.ip().len() > 1260 {
        return packet;
    }
    let id = SlicedPacket::from_ethernet(frame).unwrap().net.unwrap();
    packet.dont_fragment(false).id(id.ipv4_ref().unwrap().header().identification().into())
}

fn to_server(known: &Known, packet: Packet, frame: &[u8]) -> Vec<u8> {
    made(packet, frame).mac(LAN_MAC, server_mac(known.server)).build()
}

fn to_client(packet: Packet, frame: &[u8]) -> Vec<u8> {
    made(packet, frame).mac(WAN_MAC, CLIENT_MAC).build()
}

/// Sends a packet each way and compares it with the one it must become, hop limit and TTL less one.
fn there_and_back(rig: &mut Rig, known: &Known, dress: impl Fn(Packet) -> Packet, ttl: u8) {
    let (port, frame) = rig.one(WAN, &from_client(dress(known.asks()).ttl(ttl)));
    let expected = dress(known.asked()).ttl(ttl - 1);
    assert_eq!((port, &frame), (LAN, &to_server(known, expected, &frame)), "{known:?}");
    let (port, frame) = rig.one(LAN, &from_server(known.server, dress(known.answers()).ttl(ttl)));
    let expected = dress(known.answered()).ttl(ttl - 1);
    assert_eq!((port, &frame), (WAN, &to_client(expected, &frame)), "{known:?}");
}

#[test]
fn rfc7915_every_field_there_and_back() {
    // The MSS stays: it is for the ends (RFC 7915 §1.2 leaves it alone).
    let mss = [2, 4, 0x05, 0xb4, 4, 2];
    for case in CASES {
        for build in TRANSPORTS {
            let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
            let known = Known::open(&mut rig, case, build);
            for size in [0, 1, 100, 1219, 1232, 1233, 1400] {
                for (ttl, tos) in [(2, 0), (64, 0x2e << 2 | 1), (255, 0xff)] {
                    let dress = |packet: Packet| {
                        let flags = TcpFlags::SYN | TcpFlags::ACK;
                        let packet = packet.payload(vec![0xa5; size]).tos(tos).flags(flags).seq(7);
                        packet.tcp_options(&mss)
                    };
                    there_and_back(&mut rig, &known, dress, ttl);
                }
            }
            assert_eq!(rig.counters().flows_created.get(), 1);
        }
    }
}

#[test]
fn rfc7915_s4_5_udp_without_a_checksum_gets_one() {
    let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
    let [sixty_four, forty_six] = CASES.map(|case| Known::open(&mut rig, case, TRANSPORTS[1]));
    let packet = |packet: Packet| packet.payload(b"odd");
    let (_, frame) = rig.one(WAN, &from_client(packet(forty_six.asks()).no_checksum()));
    assert_eq!(frame, to_server(&forty_six, packet(forty_six.asked()).ttl(63), &frame));
    let answer = from_server(sixty_four.server, packet(sixty_four.answers()).no_checksum());
    let (_, frame) = rig.one(LAN, &answer);
    assert_eq!(frame, to_client(packet(sixty_four.answered()).ttl(63), &frame));
}

#[test]
fn a_partial_checksum_is_completed_before() {
    let (mut rig, _) = mixed_rig(&Plan::default(), |ports| {
        ports.iter_mut().for_each(|port| port.caps_mut().partial_checksums = true);
    });
    for case in CASES {
        for build in TRANSPORTS {
            let known = Known::open(&mut rig, case, build);
            let (_, frame) = rig.one(WAN, &from_client(known.asks().partial_checksum()));
            assert_eq!(frame, to_server(&known, known.asked().ttl(63), &frame));
            let (_, frame) = rig.one(LAN, &from_server(known.server, known.answers().partial_checksum()));
            assert_eq!(frame, to_client(known.answered().ttl(63), &frame));
        }
    }
    rig.tick();
    assert_eq!(rig.counters().completed_checksums.get(), 8);
}

#[test]
fn rfc6864_packets_that_may_be_fragmented_have_identifications_of_their_own() {
    let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
    let known = Known::open(&mut rig, CASES[0], TRANSPORTS[1]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let (_, frame) = rig.one(WAN, &from_client(known.asks()));
        assert_eq!(frame[20], 0, "may be fragmented");
        seen.insert([frame[18], frame[19]]);
    }
    assert_eq!(seen.len(), 100);
}

#[test]
fn rfc7915_options_and_extension_headers_are_left_out() {
    let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
    for build in TRANSPORTS {
        let [sixty_four, forty_six] = CASES.map(|case| Known::open(&mut rig, case, build));
        for dress in [
            |packet: Packet| packet.hop_by_hop(),
            |packet: Packet| packet.routing(0),
            |packet: Packet| packet.hop_by_hop().destination_options().routing(0).destination_options(),
        ] {
            let (_, frame) = rig.one(WAN, &from_client(dress(sixty_four.asks())));
            assert_eq!(frame, to_server(&sixty_four, sixty_four.asked().ttl(63), &frame));
            let (_, frame) = rig.one(LAN, &from_server(forty_six.server, dress(forty_six.answers())));
            assert_eq!(frame, to_client(forty_six.answered().ttl(63), &frame));
        }
        for n in 0..3 {
            let dress = |packet: Packet| tagged(packet.payload(b"data"), n);
            for options in [&[1; 4][..], &[1; 24], &[1; 40]] {
                let packet = from_client(dress(forty_six.asks()).ip_options(options));
                let (_, frame) = rig.one(WAN, &packet);
                let expected = forty_six.asked().payload(b"data").ttl(63);
                assert_eq!(frame, to_server(&forty_six, expected, &frame), "{n} tags");
                let answer = sixty_four.answers().payload(b"data").ip_options(options);
                let (_, frame) = rig.one(LAN, &from_server(sixty_four.server, answer));
                let expected = sixty_four.answered().payload(b"data").ttl(63);
                assert_eq!(frame, to_client(expected, &frame));
            }
        }
    }
}

#[test]
fn what_has_no_counterpart_is_dropped_by_name() {
    let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
    let [sixty_four, forty_six] = CASES.map(|case| Known::open(&mut rig, case, TRANSPORTS[1]));
    for dress in [|packet: Packet| packet.authentication(), |packet: Packet| packet.fragment(0, false)] {
        rig.dropped(WAN, from_client(dress(sixty_four.asks())).build(), Reason::Untranslatable);
        let answer = from_server(forty_six.server, dress(forty_six.answers()));
        rig.dropped(LAN, answer.build(), Reason::Untranslatable);
    }
    // Fragments are dropped as everywhere in this version.
    for known in [&sixty_four, &forty_six] {
        for (offset, more) in [(0, true), (64, false)] {
            let piece = |packet: Packet| packet.payload([1; 64]).fragment(offset, more);
            rig.dropped(WAN, from_client(piece(known.asks())).build(), Reason::Fragment);
            let answer = from_server(known.server, piece(known.answers()));
            rig.dropped(LAN, answer.build(), Reason::Fragment);
        }
    }
}

/// With so many tags; two are a service tag and a customer tag (IEEE 802.1ad).
fn tagged(packet: Packet, tags: usize) -> Packet {
    match tags {
        0 => packet,
        1 => packet.vlan(5),
        _ => packet.vlan_of_type(0x88a8, 7).vlan(9),
    }
}

#[test]
fn tagged_clients_are_served_and_their_replies_tagged() {
    for tags in 0..3 {
        for build in TRANSPORTS {
            let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
            for case in CASES {
                let ask = from_client(tagged(build(case.client, case.service).payload([3; 80]), tags));
                let ask = ask.flags(TcpFlags::SYN);
                let (_, frame) = rig.one(WAN, &ask);
                let known = Known::of(case, build, &frame);
                let expected = known.asked().payload([3; 80]).flags(TcpFlags::SYN).ttl(63);
                assert_eq!(frame, to_server(&known, expected, &frame), "{tags} tags");
                let (port, frame) = rig.one(LAN, &from_server(known.server, known.answers().payload([4; 9])));
                let expected = known.answered().payload([4; 9]).ttl(63);
                let expected = tagged(made_untagged(expected, &frame, tags), tags);
                assert_eq!((port, frame), (WAN, expected.mac(WAN_MAC, CLIENT_MAC).build()), "{tags} tags");
            }
        }
    }
}

/// As [`made`], of a frame with tags.
fn made_untagged(packet: Packet, frame: &[u8], tags: usize) -> Packet {
    made(packet, &[&frame[..12], &frame[12 + 4 * tags..]].concat())
}

#[test]
fn ethernet_padding_does_not_travel() {
    let (mut rig, _) = mixed_rig(&Plan::default(), |_| ());
    for case in CASES {
        let known = Known::open(&mut rig, case, TRANSPORTS[1]);
        let padded = |packet: Packet| {
            let mut frame = packet.build();
            frame.resize(90, 0xaa);
            frame
        };
        let sent = rig.send(WAN, &[padded(from_client(known.asks()))]);
        assert_eq!(sent[0].1, to_server(&known, known.asked().ttl(63), &sent[0].1));
        let sent = rig.send(LAN, &[padded(from_server(known.server, known.answers()))]);
        assert_eq!(sent[0].1, to_client(known.answered().ttl(63), &sent[0].1));
    }
}

#[test]
fn a_packet_waits_translated_for_its_servers_address() {
    let (mut rig, _) = mixed_rig(&Plan { servers: 1, ..Plan::default() }, |_| ());
    for (case, tags) in CASES.into_iter().flat_map(|case| (0..3).map(move |tags| (case, tags))) {
        for family in 0..2 {
            rig.shared.neighbours.set(NeighbourId(family), None);
        }
        let ask = from_client(tagged(Packet::udp(case.client, case.service).payload([8; 300]), tags));
        assert!(rig.send(WAN, &[ask.build()]).is_empty());
        assert_eq!(rig.counters().held.get(), 1);
        rig.resolve(0);
        let sent = rig.tick();
        assert_eq!(sent.len(), 1);
        let known = Known::of(case, TRANSPORTS[1], &sent[0].1);
        let expected = to_server(&known, known.asked().payload([8; 300]).ttl(63), &sent[0].1);
        assert_eq!(sent[0], (LAN, expected), "{tags} tags");
    }
}
