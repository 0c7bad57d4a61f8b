//! NAT64 and NAT46 (RFC 7915): clients of one family, servers of the other; every fault of the new header is named.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![allow(clippy::wildcard_enum_match_arm, reason = "tests meet few of etherparse's headers")]

mod honest;

use etherparse::{Ipv6FlowLabel, TransportHeader};
use honest::{
    Ip, Parts, Plan, at_client, at_server, client, is_udp, is_v6, reply, server, service_address, service_of,
    translate,
};
use ringlead_witness::{
    Checksum, Expectation, FRAGMENTABLE_MAX, Findings, Kind, Limits, Mode, Net, Snat, Witness,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const PLAN: Plan = Plan { vlan: None, checksum: Checksum::Right, extra: 40, fragmentable: false };
/// The first four services: TCP and UDP, over IPv4 and IPv6. Their servers are of the other family.
const SERVICES: u32 = 4;

fn expectation() -> Expectation {
    let mut expect = honest::expectation();
    for service in expect.services.iter_mut().filter(|service| service.mode == Mode::Nat) {
        service.mode = Mode::Snat;
        for index in &service.servers {
            let server = &mut expect.servers[usize::from(*index)];
            server.address.set_ip(other_family(server.address.ip()));
        }
    }
    let net = |base: &str, len| Net { base: base.parse().unwrap(), len };
    expect.snat = Snat { sources: vec![net("10.3.0.0", 24), net("fd03::", 120)], ports: 2000..=2999 };
    expect
}

/// The address with the same last byte.
fn other_family(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, ip.octets()[3].into()).into(),
        IpAddr::V6(ip) => Ipv4Addr::new(10, 2, 0, ip.octets()[15]).into(),
    }
}

fn judge(plan: Plan) -> Witness<Plan> {
    let limits = Limits { replies: true, ..Limits::flows(64) };
    Witness::new(expectation(), plan, honest::TRIAL, limits).unwrap()
}

fn to_v4(flow: u32) -> bool {
    is_v6(service_of(flow))
}

/// The flow's source at its server: of the server's family.
fn mapping(flow: u32) -> SocketAddr {
    let ip = if to_v4(flow) { "10.3.0.7" } else { "fd03::7" };
    SocketAddr::new(ip.parse().unwrap(), 2000 + u16::try_from(flow).unwrap())
}

/// What an honest balancer makes of the flow's packet.
fn onward(plan: &Plan, flow: u32, seq: u32) -> Parts {
    let to = &expectation().servers[usize::from(server(flow, 0))];
    let mut parts = Parts::of(&plan.frame(flow, seq));
    (parts.ethernet.source, parts.ethernet.destination) = (honest::LB_MAC, to.mac.unwrap());
    translate(&mut parts, mapping(flow), to.address, 60, id(seq));
    parts
}

/// What comes back to the client when the server answers the packet with itself.
fn back(plan: &Plan, flow: u32, seq: u32) -> Parts {
    let mut parts = reply(plan, flow, &plan.frame(flow, seq));
    translate(&mut parts, service_address(service_of(flow)), client(flow), 32, id(seq));
    parts
}

fn id(seq: u32) -> u16 {
    u16::try_from(seq).unwrap() + 500
}

fn assert_only(found: &Findings, kinds: &[(Kind, u64)], what: &str) {
    let expected: BTreeMap<_, _> = kinds.iter().copied().collect();
    assert_eq!(found.counts, expected, "{what}: {:#?}", found.examples);
}

/// Two packets of a flow each way; the second one there, or back, is changed: first its headers, then its bytes.
fn second(
    plan: Plan,
    flow: u32,
    there: bool,
    change: impl FnOnce(&mut Parts),
    spoil: impl FnOnce(&mut Vec<u8>),
) -> Findings {
    let (mut witness, to) = (judge(plan), server(flow, 0));
    witness.look(&onward(&plan, flow, 0).encode(Checksum::Right), &at_server(to, 1));
    witness.look(&back(&plan, flow, 0).encode(Checksum::Right), &at_client(2));
    let mut parts = [onward(&plan, flow, 1), back(&plan, flow, 1)];
    change(&mut parts[usize::from(!there)]);
    let mut frames = parts.map(|parts| parts.encode(Checksum::Right));
    spoil(&mut frames[usize::from(!there)]);
    witness.look(&frames[0], &at_server(to, 3));
    witness.look(&frames[1], &at_client(4));
    witness.finish(|of| if of == flow { 2 } else { 0 })
}

/// The flow and direction of every packet that has an IPv4 header (or an IPv6 one) only behind the balancer.
fn new_headers(v4: bool) -> impl Iterator<Item = (u32, bool)> {
    (0..SERVICES).map(move |flow| (flow, to_v4(flow) == v4))
}

/// As much more payload as makes an IPv4 packet of `total` bytes.
fn sized(flow: u32, total: usize) -> Plan {
    let least = if is_udp(service_of(flow)) { 20 + 8 + 14 } else { 20 + 20 + 6 };
    Plan { extra: total - least, ..PLAN }
}

#[test]
fn an_honest_translator_is_clean_both_ways() {
    for plan in
        [PLAN, Plan { extra: 0, ..PLAN }, Plan { extra: 1400, ..PLAN }, Plan { fragmentable: true, ..PLAN }]
    {
        let mut witness = judge(plan);
        let flows = || (0..64).filter(|flow| flow % 8 < SERVICES);
        for seq in 0..20 {
            for flow in flows() {
                let there = onward(&plan, flow, seq).encode(Checksum::Right);
                witness.look(&there, &at_server(server(flow, 0), u64::from(seq) * 1000));
                witness.look(&back(&plan, flow, seq).encode(Checksum::Right), &at_client(9));
            }
        }
        let found = witness.finish(|flow| if flow % 8 < SERVICES { 20 } else { 0 });
        assert_only(&found, &[], "honest");
        assert_eq!((found.forward.received, found.reply.received, found.spread.mappings), (640, 640, 32));
    }
}

#[test]
fn rfc7915_s5_1_dont_fragment_goes_by_the_length() {
    for (flow, there) in new_headers(true) {
        for total in [100, FRAGMENTABLE_MAX, FRAGMENTABLE_MAX + 1, 1400] {
            let plan = sized(flow, total);
            let length = |frame: &mut Vec<u8>| assert_eq!(frame.len(), 14 + total);
            assert_only(&second(plan, flow, there, |_| {}, length), &[], "as it should be");
            let turn = |parts: &mut Parts| match &mut parts.ip {
                Ip::V4(ip) => ip.dont_fragment = !ip.dont_fragment,
                Ip::V6(_) => panic!("an IPv4 packet"),
            };
            let found = second(plan, flow, there, turn, |_| {});
            assert_only(&found, &[(Kind::BadTranslation, 1)], "DF");
            assert!(found.examples[0].expected.contains(&format!("at {total} bytes")), "{found:#?}");
        }
    }
}

#[test]
fn rfc6864_s4_3_an_identification_is_not_given_twice() {
    for (flow, there) in new_headers(true) {
        let as_before = |parts: &mut Parts| match &mut parts.ip {
            Ip::V4(ip) => ip.identification = id(0),
            Ip::V6(_) => panic!("an IPv4 packet"),
        };
        assert_only(&second(PLAN, flow, there, as_before, |_| {}), &[(Kind::RepeatedId, 1)], "short");
        let long = sized(flow, FRAGMENTABLE_MAX + 1);
        assert_only(&second(long, flow, there, as_before, |_| {}), &[], "what cannot be cut needs none");
    }
}

/// The same packet twice is that, and no repeated identification besides.
#[test]
fn a_duplicate_is_a_duplicate() {
    for flow in 0..SERVICES {
        let (mut witness, to) = (judge(PLAN), server(flow, 0));
        let frame = onward(&PLAN, flow, 0).encode(Checksum::Right);
        witness.look(&frame, &at_server(to, 1));
        witness.look(&frame, &at_server(to, 2));
        assert_only(&witness.so_far(), &[(Kind::Duplicate, 1)], "twice");
    }
}

#[test]
fn rfc7915_s4_1_the_flow_label_is_zero() {
    for (flow, there) in new_headers(false) {
        let label = |parts: &mut Parts| match &mut parts.ip {
            Ip::V6(ip) => ip.flow_label = Ipv6FlowLabel::try_new(0x1234).unwrap(),
            Ip::V4(_) => panic!("an IPv6 packet"),
        };
        assert_only(&second(PLAN, flow, there, label, |_| {}), &[(Kind::BadTranslation, 1)], "label");
    }
}

/// A fragment header of its own around a whole packet (RFC 8021), and a packet that was really cut.
#[test]
fn rfc7915_s4_nothing_is_cut_for_ipv6() {
    for (flow, there) in new_headers(false) {
        let atomic = |frame: &mut Vec<u8>| {
            let next = std::mem::replace(&mut frame[20], 44);
            let length = u16::from_be_bytes([frame[18], frame[19]]) + 8;
            frame[18..20].copy_from_slice(&length.to_be_bytes());
            frame.splice(54..54, [next, 0, 0, 0, 0, 0, 0, 7]);
        };
        let found = second(PLAN, flow, there, |_| {}, atomic);
        assert_only(&found, &[(Kind::BadTranslation, 1)], "atomic fragment");
        assert_eq!(found.fragments, 1);
    }
}

#[test]
fn ttl_and_traffic_class_go_over() {
    for flow in 0..SERVICES {
        for there in [true, false] {
            let ttl = |parts: &mut Parts| parts.set_ttl(if there { 61 } else { 33 });
            assert_only(&second(PLAN, flow, there, ttl, |_| {}), &[(Kind::WrongTtl, 1)], "TTL");
            let class = |parts: &mut Parts| match &mut parts.ip {
                Ip::V4(ip) => ip.dscp = 0.try_into().unwrap(),
                Ip::V6(ip) => ip.traffic_class &= 3,
            };
            assert_only(&second(PLAN, flow, there, class, |_| {}), &[(Kind::WrongDscp, 1)], "DSCP");
        }
    }
}

#[test]
fn checksums_are_of_the_new_pseudo_header() {
    for flow in 0..SERVICES {
        for there in [true, false] {
            // That on the other side of the balancer: what is left when the addresses are forgotten.
            let here =
                if there { PLAN.frame(flow, 1) } else { onward(&PLAN, flow, 1).encode(Checksum::Right) };
            let old = match Parts::of(&here).transport {
                TransportHeader::Tcp(tcp) => tcp.checksum,
                TransportHeader::Udp(udp) => udp.checksum,
                other => panic!("{other:?}"),
            };
            let forget = |frame: &mut Vec<u8>| put_checksum(flow, frame, old);
            let found = second(PLAN, flow, there, |_| {}, forget);
            assert_only(&found, &[(Kind::BadL4Checksum, 1)], "the old one");
        }
    }
    for (flow, there) in new_headers(true) {
        let header = |frame: &mut Vec<u8>| frame[24] ^= 0x55;
        assert_only(&second(PLAN, flow, there, |_| {}, header), &[(Kind::BadIpChecksum, 1)], "header");
    }
}

fn put_checksum(flow: u32, frame: &mut [u8], checksum: u16) {
    let l4 = if frame[12] == 0x08 { 34 } else { 54 };
    let at = l4 + if is_udp(service_of(flow)) { 6 } else { 16 };
    frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// RFC 7915 §4.5: there is no UDP without a checksum over IPv6, and so none in its answer.
#[test]
fn rfc7915_s4_5_a_missing_checksum_is_made() {
    let plan = Plan { checksum: Checksum::Absent, ..PLAN };
    let flow = (0..SERVICES).find(|flow| is_udp(service_of(*flow)) && !to_v4(*flow)).unwrap();
    for there in [true, false] {
        assert_only(&second(plan, flow, there, |_| {}, |_| {}), &[], "made");
        let none = |frame: &mut Vec<u8>| put_checksum(flow, frame, 0);
        assert_only(&second(plan, flow, there, |_| {}, none), &[(Kind::BadL4Checksum, 1)], "left out");
    }
}

/// A length that is short cuts the payload, or, where UDP has a length of its own, contradicts it.
#[test]
fn wrong_lengths_are_named() {
    for flow in 0..SERVICES {
        for there in [true, false] {
            let short = |frame: &mut Vec<u8>| {
                let v4 = frame[12] == 0x08;
                let at = if v4 { 16 } else { 18 };
                let length = u16::from_be_bytes([frame[at], frame[at + 1]]) - 4;
                frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
                if v4 {
                    frame[24..26].fill(0);
                    let sum = !ringlead_witness::sum::sum(&frame[14..34]);
                    frame[24..26].copy_from_slice(&sum.to_be_bytes());
                }
            };
            let found = second(PLAN, flow, there, |_| {}, short);
            let kind = if is_udp(service_of(flow)) { Kind::Malformed } else { Kind::BadPayload };
            // What it was cannot be told: it is missing, and with it, on the way there, nothing else.
            assert_eq!((found.count(kind), found.count(Kind::Lost)), (1, 1), "{found:#?}");
        }
    }
}

#[test]
fn the_wrong_server_and_foreign_ends_are_named() {
    for flow in 0..SERVICES {
        let to = |n: u16| expectation().servers[usize::from(server(flow, n))].clone();
        let elsewhere = |parts: &mut Parts| parts.set_destination((to(0).address.ip(), 81).into());
        assert_only(&second(PLAN, flow, true, elsewhere, |_| {}), &[(Kind::WrongPort, 1)], "port");
        let beside = |parts: &mut Parts| {
            parts.set_source((mapping(flow).ip(), 1999).into());
        };
        assert_only(&second(PLAN, flow, true, beside, |_| {}), &[(Kind::WrongPort, 1)], "source port");
        let server_itself =
            |parts: &mut Parts| parts.set_source((service_address(service_of(flow)).ip(), 8080).into());
        assert_only(&second(PLAN, flow, false, server_itself, |_| {}), &[(Kind::WrongPort, 1)], "reply");
        // A packet that moves to another server, all its headers right.
        let mut witness = judge(PLAN);
        witness.look(&onward(&PLAN, flow, 0).encode(Checksum::Right), &at_server(server(flow, 0), 1));
        let mut parts = onward(&PLAN, flow, 1);
        parts.ethernet.destination = to(1).mac.unwrap();
        parts.set_destination(to(1).address);
        witness.look(&parts.encode(Checksum::Right), &at_server(server(flow, 1), 2));
        assert_only(&witness.so_far(), &[(Kind::WrongServer, 1)], "moved");
        // Untranslated: as the client sent it, but for the server's Ethernet address.
        let mut witness = judge(PLAN);
        let mut parts = Parts::of(&PLAN.frame(flow, 0));
        parts.ethernet.destination = to(0).mac.unwrap();
        parts.set_ttl(60);
        witness.look(&parts.encode(Checksum::Right), &at_server(server(flow, 0), 1));
        assert_only(&witness.so_far(), &[(Kind::WrongAddress, 2)], "untranslated");
    }
}

#[test]
fn a_source_that_two_live_flows_share_is_named() {
    for flow in 0..SERVICES {
        let mut witness = judge(PLAN);
        witness.look(&onward(&PLAN, flow, 0).encode(Checksum::Right), &at_server(server(flow, 0), 1));
        let mut parts = onward(&PLAN, flow + 8, 0);
        parts.set_source(mapping(flow));
        witness.look(&parts.encode(Checksum::Right), &at_server(server(flow, 0), 2));
        assert_only(&witness.so_far(), &[(Kind::SharedMapping, 1)], "shared");
    }
}

#[test]
fn a_pool_without_the_servers_family_is_refused() {
    let mut expect = expectation();
    assert!(expect.check().is_ok());
    expect.snat.sources.truncate(1);
    assert!(expect.check().is_err_and(|why| why.to_string().contains("no SNAT address is of its family")));
}
