//! Every fault that can be planted in an honest balancer's frames is named, and no other with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![allow(clippy::wildcard_enum_match_arm, reason = "tests meet few of etherparse's headers")]

mod honest;

use etherparse::TransportHeader;
use honest::{
    Ip, Parts, Plan, SERVICES, at_client, at_server, forward, is_dsr, is_udp, is_v6, reply, server,
};
use ringlead_witness::{Checksum, Direction, End, Findings, Kind, Limits, Look, Transport, Witness};
use std::collections::BTreeMap;

const PLAIN: Plan = Plan { vlan: None, checksum: Checksum::Right, extra: 40, fragmentable: false };

/// One packet of each service, the first frame changed by `fault`: what was found, kind by kind.
fn one_packet(plan: Plan, flow: u32, fault: impl FnOnce(&mut Vec<u8>)) -> Findings {
    let mut witness = plan.witness(SERVICES.into());
    let to = server(flow, 1);
    let mut frame = forward(flow, &plan.frame(flow, 1), to).encode(plan.checksum);
    fault(&mut frame);
    witness.look(&plan_first(plan, flow, to), &at_server(to, 10));
    witness.look(&frame, &at_server(to, 20));
    witness.finish(|of| if of == flow { 2 } else { 0 })
}

/// The flow's packet 0, untouched.
fn plan_first(plan: Plan, flow: u32, to: u16) -> Vec<u8> {
    forward(flow, &plan.frame(flow, 0), to).encode(plan.checksum)
}

fn assert_only(found: &Findings, kinds: &[(Kind, u64)], what: &str) {
    let expected: BTreeMap<_, _> = kinds.iter().copied().collect();
    assert_eq!(found.counts, expected, "{what}: {:#?}", found.examples);
}

/// Changes the frame as headers, all checksums right again.
fn parts(frame: &mut Vec<u8>, change: impl FnOnce(&mut Parts)) {
    let mut parts = Parts::of(frame);
    change(&mut parts);
    *frame = parts.encode(Checksum::Right);
}

fn l4(flow: u32) -> usize {
    if is_v6(honest::service_of(flow)) { 54 } else { 34 }
}

fn flows() -> impl Iterator<Item = u32> {
    0..u32::from(SERVICES)
}

#[test]
fn an_honest_balancer_is_clean() {
    for plan in
        [PLAIN, Plan { vlan: Some(77), ..PLAIN }, Plan { extra: 0, ..PLAIN }, Plan { extra: 1400, ..PLAIN }]
    {
        let mut witness = plan.witness_of_replies(100);
        for seq in 0..200 {
            for flow in 0..100 {
                let (to, frame) = (server(flow, 2), plan.frame(flow, seq));
                let there =
                    witness.look(&forward(flow, &frame, to).encode(Checksum::Right), &at_server(to, 5));
                let back = witness.look(&reply(&plan, flow, &frame).encode(Checksum::Right), &at_client(9));
                for (look, way) in [(there, Direction::Forward), (back, Direction::Reply)] {
                    assert!(matches!(look, Look::Ours { stamp, direction, first: true }
                        if (stamp.flow, stamp.seq, direction) == (flow, seq, way)));
                }
            }
        }
        let findings = witness.finish(|_| 200);
        assert_only(&findings, &[], "honest");
        assert!(findings.is_clean() && findings.missing.complete);
        assert_eq!(
            (findings.forward.received, findings.reply.received, findings.foreign),
            (20_000, 20_000, 0)
        );
    }
}

#[test]
fn wrong_checksums_are_named() {
    for flow in flows() {
        let field = l4(flow) + if is_udp(honest::service_of(flow)) { 6 } else { 16 };
        let found = one_packet(PLAIN, flow, |frame| frame[field] ^= 0x40);
        assert_only(&found, &[(Kind::BadL4Checksum, 1)], "transport");
        if !is_v6(honest::service_of(flow)) {
            let found = one_packet(PLAIN, flow, |frame| frame[24] ^= 1);
            assert_only(&found, &[(Kind::BadIpChecksum, 1)], "IPv4");
        }
    }
}

/// RFC 768: no checksum is 0 and stays 0, and one that was there stays.
#[test]
fn udp_over_ipv4_without_a_checksum_keeps_none() {
    let none = Plan { checksum: Checksum::Absent, ..PLAIN };
    for flow in flows().filter(|flow| is_udp(honest::service_of(*flow)) && !is_v6(honest::service_of(*flow)))
    {
        assert_only(&one_packet(none, flow, |_| {}), &[], "none stays none");
        let found = one_packet(none, flow, |frame| parts(frame, |_| {}));
        assert_only(&found, &[(Kind::BadL4Checksum, 1)], "none became one");
        let found = one_packet(PLAIN, flow, |frame| frame[40..42].fill(0));
        assert_only(&found, &[(Kind::BadL4Checksum, 1)], "one became none");
    }
}

#[test]
fn a_wrong_checksum_must_stay_wrong() {
    let wrong = Plan { checksum: Checksum::Wrong, ..PLAIN };
    for flow in flows() {
        assert_only(&one_packet(wrong, flow, |_| {}), &[], "wrong stays wrong");
        let found = one_packet(wrong, flow, |frame| parts(frame, |_| {}));
        assert_only(&found, &[(Kind::HiddenDamage, 1)], "repaired");
        if is_udp(honest::service_of(flow)) {
            let found = one_packet(wrong, flow, |frame| frame[l4(flow) + 6..l4(flow) + 8].fill(0));
            assert_only(&found, &[(Kind::HiddenDamage, 1)], "no longer checked");
        }
    }
}

#[test]
fn a_wrong_ttl_is_named() {
    for flow in flows() {
        let ttl = if is_dsr(honest::service_of(flow)) { 60 } else { 61 };
        let found = one_packet(PLAIN, flow, |frame| parts(frame, |parts| parts.set_ttl(ttl)));
        assert_only(&found, &[(Kind::WrongTtl, 1)], "TTL");
        assert_eq!(found.examples[0].got, ttl.to_string());
    }
}

#[test]
fn cleared_dscp_and_ecn_are_named() {
    for flow in flows() {
        for cleared in [0x01, 0x2e << 2] {
            let found = one_packet(PLAIN, flow, |frame| {
                parts(frame, |parts| match &mut parts.ip {
                    Ip::V4(ip) => {
                        ip.dscp = (cleared >> 2).try_into().unwrap();
                        ip.ecn = (cleared & 3).try_into().unwrap();
                    }
                    Ip::V6(ip) => ip.traffic_class = cleared,
                });
            });
            assert_only(&found, &[(Kind::WrongDscp, 1)], "DSCP");
        }
    }
}

#[test]
fn changed_headers_are_named() {
    for flow in flows() {
        let label = |parts: &mut Parts| match &mut parts.ip {
            Ip::V4(ip) => ip.identification += 1,
            Ip::V6(ip) => ip.flow_label = 1_u32.try_into().unwrap(),
        };
        let found = one_packet(PLAIN, flow, |frame| parts(frame, label));
        assert_only(&found, &[(Kind::HeaderChanged, 1)], "label");
        let tcp_faults: [fn(&mut etherparse::TcpHeader); 4] = [
            |tcp| tcp.window_size -= 1,
            |tcp| tcp.rst = true,
            |tcp| tcp.urgent_pointer = 1,
            |tcp| tcp.cwr = true,
        ];
        for fault in tcp_faults.into_iter().filter(|_| !is_udp(honest::service_of(flow))) {
            let found = one_packet(PLAIN, flow, |frame| {
                parts(frame, |parts| match &mut parts.transport {
                    TransportHeader::Tcp(tcp) => fault(tcp),
                    other => panic!("{other:?}"),
                });
            });
            assert_only(&found, &[(Kind::HeaderChanged, 1)], "TCP");
        }
    }
    let ipv4_faults: [fn(&mut etherparse::Ipv4Header); 2] = [
        |ip| ip.dont_fragment = false,
        // Four times "no operation".
        |ip| (ip.options, ip.total_len) = ([1; 4].into(), ip.total_len + 4),
    ];
    for fault in ipv4_faults {
        let found = one_packet(PLAIN, 0, |frame| {
            parts(frame, |parts| match &mut parts.ip {
                Ip::V4(ip) => fault(ip),
                Ip::V6(_) => panic!("IPv4"),
            });
        });
        assert_only(&found, &[(Kind::HeaderChanged, 1)], "IPv4");
    }
}

#[test]
fn a_packet_of_another_protocol_is_named() {
    let mut expect = honest::expectation();
    expect.services[1].transport = Transport::Tcp;
    let mut witness = Witness::new(expect, PLAIN, honest::TRIAL, Limits::flows(8)).unwrap();
    witness.look(&plan_first(PLAIN, 1, server(1, 0)), &at_server(server(1, 0), 1));
    assert_only(&witness.finish(|flow| u64::from(flow == 1)), &[(Kind::HeaderChanged, 1)], "UDP for TCP");
}

#[test]
fn every_flipped_bit_of_the_payload_is_named() {
    for flow in flows() {
        let (mut offset, mut more) = (0, true);
        while more {
            let found = one_packet(PLAIN, flow, |frame| {
                let at = l4(flow) + if is_udp(honest::service_of(flow)) { 8 } else { 20 } + offset;
                frame[at] ^= 0x10;
                offset += 1;
                more = at + 1 < frame.len();
            });
            let lost = found.count(Kind::Lost);
            let counts = [(Kind::BadPayload, 1), (Kind::BadL4Checksum, 1), (Kind::Lost, 1)];
            // A packet whose stamp itself is damaged is not followed: it cannot be believed, so it is also lost.
            let counts = if lost == 1 { &[counts[0], counts[2]][..] } else { &counts[..2] };
            assert_only(&found, counts, "payload");
            assert_eq!(lost == 1, offset <= if is_udp(honest::service_of(flow)) { 14 } else { 6 });
        }
    }
}

/// Damage that a rewrite hid: every checksum is right again.
#[test]
fn damage_with_a_right_checksum_is_named() {
    for flow in flows() {
        let found =
            one_packet(PLAIN, flow, |frame| parts(frame, |parts| *parts.payload.last_mut().unwrap() ^= 1));
        assert_only(&found, &[(Kind::BadPayload, 1)], "payload");
    }
}

#[test]
fn wrong_endpoints_are_named() {
    for flow in flows() {
        let client = honest::client(flow);
        let other_ip = honest::client(flow + 8 * 60_000).ip();
        let cases = [
            ((client.ip(), client.port() + 1), Kind::WrongPort),
            ((other_ip, client.port()), Kind::WrongAddress),
        ];
        for (source, kind) in cases {
            let found =
                one_packet(PLAIN, flow, |frame| parts(frame, |parts| parts.set_source(source.into())));
            assert_only(&found, &[(kind, 1)], "source");
        }
        let right = if is_dsr(honest::service_of(flow)) {
            honest::expectation().services[usize::from(honest::service_of(flow))].address
        } else {
            honest::expectation().servers[usize::from(server(flow, 1))].address
        };
        let cases = [((right.ip(), 81), Kind::WrongPort), ((client.ip(), right.port()), Kind::WrongAddress)];
        for (destination, kind) in cases {
            let found = one_packet(PLAIN, flow, |frame| {
                parts(frame, |parts| parts.set_destination(destination.into()))
            });
            assert_only(&found, &[(kind, 1)], "destination");
        }
    }
}

#[test]
fn another_server_is_a_move_with_its_time() {
    for flow in flows() {
        let mut witness = PLAIN.witness(8);
        for (seq, n) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 0)] {
            let to = server(flow, n);
            let frame = forward(flow, &PLAIN.frame(flow, seq), to).encode(Checksum::Right);
            witness.look(&frame, &at_server(to, u64::from(seq) * 100));
        }
        let found = witness.finish(|of| if of == flow { 5 } else { 0 });
        assert_only(&found, &[(Kind::WrongServer, 2)], "moves");
        assert!(found.is_clean_but(&[Kind::WrongServer]) && !found.is_clean());
        assert_eq!((found.moves.flows, found.moves.moves, found.moves.pairs.len()), (1, 2, 2));
        let (name, first) = (|n| format!("s{}", server(flow, n)), &found.moves.first[0]);
        assert_eq!((first.flow, first.seq, first.at_ns), (flow, 2, 200));
        assert_eq!((&first.from, &first.to), (&name(0), &name(1)));
    }
}

#[test]
fn wrong_receivers_are_named() {
    for flow in flows() {
        let found = one_packet(PLAIN, flow, |frame| frame[5] ^= 0x80);
        assert_only(&found, &[(Kind::WrongMac, 1)], "MAC");
        let found = one_packet(PLAIN, flow, |frame| parts(frame, |parts| parts.set_vlan(Some(5))));
        assert_only(&found, &[(Kind::WrongVlan, 1)], "VLAN");
        let mut witness = PLAIN.witness(8);
        let to = server(flow, 0);
        witness.look(&plan_first(PLAIN, flow, to), &at_server(to + 1, 1));
        let found = witness.finish(|of| u64::from(of == flow));
        assert_only(&found, &[(Kind::WrongInterface, 1)], "interface");
    }
}

#[test]
fn duplicates_reordering_and_losses_are_named() {
    for flow in flows() {
        let to = server(flow, 0);
        let run = |order: &[u32], sent: u64| {
            let mut witness = PLAIN.witness(8);
            for seq in order {
                let frame = forward(flow, &PLAIN.frame(flow, *seq), to).encode(Checksum::Right);
                witness.look(&frame, &at_server(to, 1));
            }
            witness.finish(|of| if of == flow { sent } else { 0 })
        };
        assert_only(&run(&[0, 1, 1, 2], 3), &[(Kind::Duplicate, 1)], "duplicate");
        assert_only(&run(&[0, 2, 1, 3], 4), &[(Kind::Reordered, 1)], "reordered");
        assert_only(&run(&[0, 1, 2], 2), &[(Kind::Unknown, 1)], "more than sent");
        assert_only(&run(&[0, 300], 2), &[(Kind::Unknown, 1), (Kind::Lost, 2)], "no more lost than sent");
        let lost = run(&[0, 3, 4, 500], 502);
        assert_only(&lost, &[(Kind::Lost, 498)], "lost");
        assert_eq!((lost.forward.lost, lost.missing.forward_flows, lost.missing.complete), (498, 1, true));
        let gaps: Vec<_> = lost.missing.forward.iter().map(|gap| (gap.flow, gap.first, gap.count)).collect();
        assert_eq!(gaps, [(flow, 1, 2), (flow, 5, 495), (flow, 501, 1)]);
    }
}

#[test]
fn replies_are_judged_as_strictly() {
    type Fault = fn(&mut Parts);
    let faults: [(Fault, Kind); 7] = [
        (|parts| parts.set_destination(honest::client(8)), Kind::WrongPort),
        (|parts| parts.set_destination(honest::client(8 * 60_000)), Kind::WrongAddress),
        (|parts| parts.set_ttl(31), Kind::WrongTtl),
        (|parts| parts.set_source(honest::expectation().servers[0].address), Kind::WrongAddress),
        (|parts| parts.ethernet.destination[0] ^= 4, Kind::WrongMac),
        (|parts| parts.set_vlan(Some(78)), Kind::WrongVlan),
        (|parts| parts.set_flags(0x10), Kind::HeaderChanged),
    ];
    let plan = Plan { vlan: Some(77), ..PLAIN };
    for (fault, kind) in faults {
        let mut witness = plan.witness_of_replies(8);
        let (to, frame) = (server(0, 0), plan.frame(0, 0));
        witness.look(&forward(0, &frame, to).encode(Checksum::Right), &at_server(to, 1));
        let mut back = reply(&plan, 0, &frame);
        fault(&mut back);
        witness.look(&back.encode(Checksum::Right), &at_client(2));
        assert_only(&witness.finish(|of| u64::from(of == 0)), &[(kind, 1)], "reply");
    }
}

#[test]
fn a_lost_reply_is_no_lost_request() {
    let mut witness = PLAIN.witness_of_replies(8);
    for seq in [0, 1, 3, 4] {
        let (to, frame) = (server(0, 0), PLAIN.frame(0, seq));
        witness.look(&forward(0, &frame, to).encode(Checksum::Right), &at_server(to, 1));
        if seq != 3 {
            witness.look(&reply(&PLAIN, 0, &frame).encode(Checksum::Right), &at_client(2));
        }
    }
    let found = witness.finish(|of| if of == 0 { 5 } else { 0 });
    assert_only(&found, &[(Kind::Lost, 2)], "one each way");
    let first =
        |gaps: &[ringlead_witness::Gap]| gaps.iter().map(|gap| (gap.first, gap.count)).collect::<Vec<_>>();
    assert_eq!((found.forward.lost, found.reply.lost), (1, 1));
    assert_eq!((first(&found.missing.forward), first(&found.missing.reply)), (vec![(2, 1)], vec![(3, 1)]));
}

#[test]
fn one_interface_for_both_ends_tells_the_directions_apart() {
    let mut witness = PLAIN.witness_of_replies(8);
    let (to, frame) = (server(0, 0), PLAIN.frame(0, 0));
    let arrival = ringlead_witness::Arrival { end: End::Both, ..at_server(to, 1) };
    witness.look(&forward(0, &frame, to).encode(Checksum::Right), &arrival);
    witness.look(&reply(&PLAIN, 0, &frame).encode(Checksum::Right), &arrival);
    let found = witness.finish(|of| u64::from(of == 0));
    assert_only(&found, &[], "both ways");
    assert_eq!((found.forward.received, found.reply.received), (1, 1));
}

#[test]
fn replies_that_are_not_followed_are_judged_and_never_missing() {
    let mut witness = PLAIN.witness(8);
    for seq in [0, 500] {
        let frame = reply(&PLAIN, 0, &PLAIN.frame(0, seq)).encode(Checksum::Right);
        assert!(matches!(witness.look(&frame, &at_client(2)), Look::Ours { first: true, .. }));
    }
    let mut bad = reply(&PLAIN, 0, &PLAIN.frame(0, 501));
    bad.set_ttl(9);
    witness.look(&bad.encode(Checksum::Right), &at_client(2));
    let found = witness.finish(|_| 0);
    assert_only(&found, &[(Kind::WrongTtl, 1)], "replies");
    assert_eq!((found.reply.received, found.reply.lost, found.missing.reply.len()), (3, 0, 0));
}
