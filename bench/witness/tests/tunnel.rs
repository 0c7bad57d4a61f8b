//! Tunnels: the outer header is judged, whichever it is, and the packet in it must be what the client sent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![allow(clippy::wildcard_enum_match_arm, reason = "tests meet few of etherparse's headers")]

mod honest;
mod wrapped;

use honest::{CLIENT_MAC, Parts, Plan, TOS, at_client, at_server, forward, is_udp, is_v6, reply, server};
use ringlead_witness::{
    Checksum, Encapsulation, Expectation, Findings, Kind, Limits, Look, Mode, Net, Tunnel, Witness,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use wrapped::Wrap;

const PLAN: Plan = Plan { vlan: None, checksum: Checksum::Right, extra: 40, fragmentable: false };
const KINDS: [Encapsulation; 3] = [Encapsulation::Ipip, Encapsulation::Gue, Encapsulation::GueZero];

/// One tunnel's world: its kind, and whether the servers' addresses are IPv6.
#[derive(Clone, Copy, Debug)]
struct World {
    encapsulation: Encapsulation,
    outer_v6: bool,
}

/// Every kind, each over IPv4 and IPv6, around each service: flows 4 to 7 are those that only a MAC address names.
fn cases() -> impl Iterator<Item = (World, u32)> {
    let worlds = KINDS
        .into_iter()
        .flat_map(|encapsulation| [false, true].map(|outer_v6| World { encapsulation, outer_v6 }));
    worlds.flat_map(|world| (4..8).map(move |flow| (world, flow)))
}

impl World {
    fn expectation(self) -> Expectation {
        let mut expect = honest::expectation();
        for service in expect.services.iter_mut().filter(|service| service.mode == Mode::Dsr) {
            service.mode = Mode::Tunnel;
        }
        for (id, server) in expect.servers.iter_mut().enumerate().skip(12) {
            server.address.set_ip(self.server_ip(u16::try_from(id).unwrap()));
        }
        let net = |base: &str, len| Net { base: base.parse().unwrap(), len };
        let sources = vec![net("10.4.0.0", 16), net("fd04::", 64)];
        expect.tunnel = Tunnel { encapsulation: self.encapsulation, sources, ..Tunnel::default() };
        expect
    }

    fn server_ip(self, id: u16) -> IpAddr {
        let text = if self.outer_v6 { format!("fd05::{id:x}") } else { format!("10.5.0.{id}") };
        text.parse().unwrap()
    }

    fn witness(self) -> Witness<Plan> {
        self.judge(PLAN, false)
    }

    /// `replies`: those are followed too, and missed.
    fn judge(self, plan: Plan, replies: bool) -> Witness<Plan> {
        let limits = Limits { replies, ..Limits::flows(64) };
        Witness::new(self.expectation(), plan, honest::TRIAL, limits).unwrap()
    }

    /// What an honest balancer puts around a packet of the flow.
    fn wrap(self, flow: u32, to: u16) -> Wrap {
        let source = if self.outer_v6 { format!("fd04::{flow:x}") } else { format!("10.4.7.{flow}") };
        Wrap {
            encapsulation: self.encapsulation,
            source: source.parse().unwrap(),
            destination: self.server_ip(to),
            source_port: 50_000 + u16::try_from(flow).unwrap(),
            ttl: 64,
            tos: TOS,
            dont_fragment: !is_v6(honest::service_of(flow)),
            flow_label: 0x100 + flow,
        }
    }

    /// The frame that comes to server `to`.
    fn frame(self, flow: u32, seq: u32, to: u16) -> Vec<u8> {
        self.wrap(flow, to).around(&inner(flow, seq, to).encode(Checksum::Right))
    }

    /// Two packets of a flow; the second one's frame changed.
    fn second(self, flow: u32, change: impl FnOnce(&mut Vec<u8>)) -> Findings {
        let (mut witness, to) = (self.witness(), server(flow, 0));
        witness.look(&self.frame(flow, 0, to), &at_server(to, 1));
        let mut frame = self.frame(flow, 1, to);
        change(&mut frame);
        witness.look(&frame, &at_server(to, 2));
        witness.finish(|of| if of == flow { 2 } else { 0 })
    }

    /// Two packets of a flow; what is around the second one changed.
    fn rewrapped(self, flow: u32, change: impl FnOnce(&mut Wrap)) -> Findings {
        let (to, mut wrap) = (server(flow, 0), self.wrap(flow, server(flow, 0)));
        change(&mut wrap);
        self.second(flow, |frame| *frame = wrap.around(&inner(flow, 1, to).encode(Checksum::Right)))
    }

    fn udp_at(self) -> usize {
        14 + if self.outer_v6 { 40 } else { 20 }
    }
}

/// The client's packet in a frame to its server: as dsr leaves it.
fn inner(flow: u32, seq: u32, to: u16) -> Parts {
    forward(flow, &PLAN.frame(flow, seq), to)
}

fn assert_only(found: &Findings, kinds: &[(Kind, u64)], what: &str) {
    let expected: BTreeMap<_, _> = kinds.iter().copied().collect();
    assert_eq!(found.counts, expected, "{what}: {:#?}", found.examples);
}

#[test]
fn an_honest_balancer_is_clean_and_its_spread_counted() {
    for encapsulation in KINDS {
        for outer_v6 in [false, true] {
            let world = World { encapsulation, outer_v6 };
            let mut witness = world.judge(PLAN, true);
            let flows = || (0..64).filter(|flow| flow % 8 >= 4);
            for seq in 0..10 {
                for flow in flows() {
                    let to = server(flow, 1);
                    let there = witness.look(&world.frame(flow, seq, to), &at_server(to, 1));
                    assert!(matches!(there, Look::Ours { stamp, first: true, .. } if stamp.flow == flow));
                    let back = reply(&PLAN, flow, &PLAN.frame(flow, seq));
                    witness.look(&back.encode(Checksum::Right), &at_client(9));
                }
            }
            let found = witness.finish(|flow| if flow % 8 >= 4 { 10 } else { 0 });
            assert_only(&found, &[], "honest");
            assert_eq!((found.forward.received, found.reply.received), (320, 320));
            let ports = if encapsulation == Encapsulation::Ipip { 0 } else { 32 };
            assert_eq!((found.spread.sources, found.spread.ports, found.spread.mappings), (32, ports, 0));
        }
    }
}

#[test]
fn a_frame_without_its_tunnel_is_named() {
    for (world, flow) in cases() {
        let to = server(flow, 0);
        let found = world.second(flow, |frame| *frame = inner(flow, 1, to).encode(Checksum::Right));
        assert_only(&found, &[(Kind::NotTunnelled, 1)], "bare");
        for other in KINDS.into_iter().filter(|other| *other != world.encapsulation) {
            let found = world.rewrapped(flow, |wrap| wrap.encapsulation = other);
            // A GUE tunnel has a source port that IPIP has not.
            let changed = (other == Encapsulation::Ipip) != (world.encapsulation == Encapsulation::Ipip);
            let kinds = [(Kind::NotTunnelled, 1), (Kind::OuterChanged, 1)];
            assert_only(&found, if changed { &kinds } else { &kinds[..1] }, "another tunnel");
        }
    }
}

#[test]
fn wrong_outer_checksums_are_named() {
    for (world, flow) in cases() {
        if !world.outer_v6 {
            let found = world.second(flow, |frame| frame[24] ^= 1);
            assert_only(&found, &[(Kind::OuterChecksum, 1)], "IPv4");
        }
        if world.encapsulation != Encapsulation::Ipip {
            let field = world.udp_at() + 6;
            // 0 is none, and what is there must be right; a sum of 0xffff in all says that it is.
            let right = world.second(flow, |frame| wrapped::fill_udp_checksum(frame, world.udp_at()));
            assert_only(&right, &[], "a right UDP checksum");
            let found = world.second(flow, |frame| {
                wrapped::fill_udp_checksum(frame, world.udp_at());
                frame[field] ^= 0x10;
            });
            assert_only(&found, &[(Kind::OuterChecksum, 1)], "UDP");
        }
    }
}

#[test]
fn outer_headers_that_do_not_follow_the_packet_are_named() {
    for (world, flow) in cases() {
        assert_only(&world.rewrapped(flow, |wrap| wrap.ttl = 0), &[(Kind::OuterHeader, 1)], "TTL 0");
        assert_only(&world.rewrapped(flow, |wrap| wrap.ttl = 1), &[], "TTL 1");
        let dont_fragment = world.rewrapped(flow, |wrap| wrap.dont_fragment ^= true);
        // Around IPv6 an IPv4 tunnel may do as it likes; an IPv6 one has no such bit.
        let copied = !world.outer_v6 && !is_v6(honest::service_of(flow));
        let kinds = [(Kind::OuterHeader, 1)];
        assert_only(&dont_fragment, if copied { &kinds } else { &[] }, "DF");
        for (tos, what) in [(TOS & !3, "ECN"), (TOS | 3, "CE"), (TOS & 3, "DSCP")] {
            assert_only(&world.rewrapped(flow, |wrap| wrap.tos = tos), &[(Kind::OuterDscp, 1)], what);
        }
    }
}

#[test]
fn outer_addresses_are_named() {
    for (world, flow) in cases() {
        let other = |v4: &str, v6: &str| if world.outer_v6 { v6 } else { v4 }.parse::<IpAddr>().unwrap();
        let found = world.rewrapped(flow, |wrap| wrap.destination = other("10.5.9.9", "fd05::999"));
        assert_only(&found, &[(Kind::OuterAddress, 1)], "destination");
        let found = world.rewrapped(flow, |wrap| wrap.source = other("10.9.9.9", "fd04:0:0:1::1"));
        assert_only(&found, &[(Kind::OuterAddress, 1), (Kind::OuterChanged, 1)], "source outside");
        let found = world.rewrapped(flow, |wrap| wrap.source = other("10.4.9.9", "fd04::99"));
        assert_only(&found, &[(Kind::OuterChanged, 1)], "another source");
        let found = world.rewrapped(flow, |wrap| wrap.source_port += 1);
        let gue = world.encapsulation != Encapsulation::Ipip;
        assert_only(&found, if gue { &[(Kind::OuterChanged, 1)] } else { &[] }, "another port");
        let found = world.rewrapped(flow, |wrap| wrap.flow_label += 1);
        assert_only(&found, if world.outer_v6 { &[(Kind::OuterChanged, 1)] } else { &[] }, "flow label");
    }
}

#[test]
fn another_server_is_a_move_and_no_more() {
    for (world, flow) in cases() {
        let mut witness = world.witness();
        for (seq, n) in [(0, 0), (1, 1), (2, 1)] {
            let to = server(flow, n);
            let mut wrap = world.wrap(flow, to);
            // As good as a new flow.
            wrap.source_port += n;
            let frame = wrap.around(&inner(flow, seq, to).encode(Checksum::Right));
            witness.look(&frame, &at_server(to, 1));
        }
        let found = witness.finish(|of| if of == flow { 3 } else { 0 });
        assert_only(&found, &[(Kind::WrongServer, 1)], "moved");
    }
}

#[test]
fn wrong_lengths_and_gue_headers_are_named() {
    for (world, flow) in cases() {
        // One byte behind the packet that the outer lengths count.
        let longer = |frame: &mut Vec<u8>| {
            frame.push(0);
            wrapped::lengthen(frame, world.udp_at(), world.encapsulation);
        };
        assert_only(&world.second(flow, longer), &[(Kind::OuterHeader, 1)], "longer");
        // Ethernet padding behind it is none of the tunnel's.
        assert_only(&world.second(flow, |frame| frame.extend([0; 9])), &[], "padded");
        let lost = [(Kind::Malformed, 1), (Kind::Lost, 1)];
        assert_only(&world.second(flow, |frame| frame.truncate(frame.len() - 1)), &lost, "cut off");
        let at = world.udp_at() + if world.encapsulation == Encapsulation::Ipip { 0 } else { 8 };
        let inside = at + if world.encapsulation == Encapsulation::GueZero { 4 } else { 0 };
        assert_only(&world.second(flow, |frame| frame[inside] ^= 0x10), &lost, "version inside");
        if world.encapsulation == Encapsulation::GueZero {
            // A control message, a word of options, another protocol, flags.
            for (byte, bits) in [(0, 0x20), (0, 1), (1, 45), (2, 0x80), (3, 1), (0, 0x80)] {
                let found = world.second(flow, |frame| frame[at + byte] ^= bits);
                assert_only(&found, &lost, "GUE header");
            }
        }
    }
}

/// An IPv4 header that says IPv6 inside, an IPv6 one that says IPv4.
#[test]
fn a_protocol_that_is_not_the_packets_is_named() {
    for (world, flow) in cases().filter(|(world, _)| world.encapsulation == Encapsulation::Ipip) {
        let found = world.second(flow, |frame| {
            if world.outer_v6 {
                frame[20] ^= 4 ^ 41;
            } else {
                frame[23] ^= 4 ^ 41;
            }
        });
        assert_only(&found, &[(Kind::Malformed, 1), (Kind::Lost, 1)], "protocol");
    }
}

/// Nothing from the inner IP header on may change: every bit that does is found.
#[test]
fn every_changed_byte_inside_is_named() {
    for (world, flow) in cases() {
        let (to, whole) = (server(flow, 0), world.frame(flow, 1, server(flow, 0)));
        let inside = whole.len() - (inner(flow, 1, to).encode(Checksum::Right).len() - 14);
        for at in inside..whole.len() {
            for bit in [1, 0x40] {
                let found = world.second(flow, |frame| frame[at] ^= bit);
                assert!(!found.is_clean(), "{world:?}, flow {flow}, byte {} inside", at - inside);
            }
        }
    }
}

#[test]
fn a_packet_that_was_changed_with_right_checksums_is_named() {
    type Fault = fn(&mut Parts, u32);
    let faults: [(Fault, Kind); 5] = [
        (|parts, _| parts.set_ttl(60), Kind::WrongTtl),
        (|parts, flow| parts.set_source((honest::client(flow).ip(), 9).into()), Kind::WrongPort),
        (|parts, flow| parts.set_destination((honest::client(flow).ip(), 80).into()), Kind::WrongAddress),
        (|parts, _| *parts.payload.last_mut().unwrap() ^= 1, Kind::BadPayload),
        (|parts, _| parts.set_flags(0x1c), Kind::HeaderChanged),
    ];
    for (world, flow) in cases() {
        for (fault, kind) in faults {
            if kind == Kind::HeaderChanged && is_udp(honest::service_of(flow)) {
                continue;
            }
            let to = server(flow, 0);
            let mut parts = inner(flow, 1, to);
            fault(&mut parts, flow);
            let frame = world.wrap(flow, to).around(&parts.encode(Checksum::Right));
            assert_only(&world.second(flow, |second| *second = frame), &[(kind, 1)], "inside");
        }
    }
}

#[test]
fn receivers_are_judged_on_layer_2() {
    for (world, flow) in cases() {
        assert_only(&world.second(flow, |frame| frame[5] ^= 0x80), &[(Kind::WrongMac, 1)], "MAC");
        let tag = |frame: &mut Vec<u8>| {
            frame.splice(12..12, [0x81, 0, 0, 5]);
        };
        assert_only(&world.second(flow, tag), &[(Kind::WrongVlan, 1)], "tagged");
    }
}

/// The client's own fragments come wrapped one by one, each with the flow's outer header.
#[test]
fn wrapped_fragments_are_judged_as_their_packet() {
    let plan = Plan { fragmentable: true, ..PLAN };
    let parts = |world: World, flow: u32, second: &dyn Fn(&mut Wrap)| {
        let to = server(flow, 0);
        let frame = forward(flow, &plan.frame(flow, 0), to).encode(Checksum::Right);
        let wrap = Wrap { dont_fragment: false, ..world.wrap(flow, to) };
        let mut other = wrap;
        second(&mut other);
        let [first, last] = wrapped::cut(&frame, 24);
        let (mut witness, at) = (world.judge(plan, false), at_server(to, 1));
        assert_eq!(witness.look(&wrap.around(&first), &at), Look::Fragment);
        witness.look(&other.around(&last), &at);
        witness.finish(|of| u64::from(of == flow))
    };
    for (world, flow) in cases() {
        let honest = parts(world, flow, &|_| {});
        assert_only(&honest, &[], "fragments");
        assert_eq!((honest.fragments, honest.fragments_left), (2, 0));
        let moved = parts(world, flow, &|wrap| wrap.destination = world.server_ip(server(flow, 1)));
        assert_only(&moved, &[(Kind::HeaderChanged, 1)], "to two servers");
        assert_only(&parts(world, flow, &|wrap| wrap.ttl = 0), &[(Kind::OuterHeader, 1)], "TTL 0");
    }
}

#[test]
fn what_comes_to_clients_is_never_unwrapped() {
    for (world, flow) in cases() {
        let mut witness = world.witness();
        let mut frame = world.frame(flow, 0, server(flow, 0));
        frame[..6].copy_from_slice(&CLIENT_MAC);
        assert_eq!(witness.look(&frame, &at_client(1)), Look::Foreign, "{world:?}");
    }
}

#[test]
fn servers_that_have_one_address_are_refused() {
    let world = World { encapsulation: Encapsulation::Ipip, outer_v6: false };
    let mut expect = world.expectation();
    expect.check().unwrap();
    expect.servers[13].address = (expect.servers[12].address.ip(), 81).into();
    assert!(expect.check().is_err_and(|why| why.to_string().contains("told apart")));
}
