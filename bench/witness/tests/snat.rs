//! Full NAT: whose address stands in the client's place, and that it stays there and is nobody else's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![allow(clippy::wildcard_enum_match_arm, reason = "tests meet few of etherparse's headers")]

mod honest;

use honest::{Parts, Plan, at_client, at_server, forward, is_v6, reply, server, service_of};
use ringlead_witness::{
    Checksum, Expectation, Findings, Kind, LIVE_NS, Limits, Look, Mode, Net, Snat, Witness,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;

const PLAN: Plan = Plan { vlan: None, checksum: Checksum::Right, extra: 40, fragmentable: false };
/// The first four services: TCP and UDP, over IPv4 and IPv6.
const SERVICES: u32 = 4;

fn expectation() -> Expectation {
    let mut expect = honest::expectation();
    for service in expect.services.iter_mut().filter(|service| service.mode == Mode::Nat) {
        service.mode = Mode::Snat;
    }
    let net = |base: &str, len| Net { base: base.parse().unwrap(), len };
    expect.snat = Snat { sources: vec![net("10.3.0.0", 24), net("fd03::", 120)], ports: 2000..=2999 };
    expect
}

fn witness() -> Witness<Plan> {
    judge(false)
}

/// `replies`: those are followed too, and missed.
fn judge(replies: bool) -> Witness<Plan> {
    let limits = Limits { replies, ..Limits::flows(64) };
    Witness::new(expectation(), PLAN, honest::TRIAL, limits).unwrap()
}

/// The flow's `n`th mapping.
fn mapping(flow: u32, n: u32) -> SocketAddr {
    let port = 2000 + u16::try_from(flow + 100 * n).unwrap();
    let ip = if is_v6(service_of(flow)) { "fd03::7" } else { "10.3.0.7" };
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// What an honest balancer makes of the flow's packet.
fn translated(flow: u32, seq: u32, to: u16, from: SocketAddr) -> Parts {
    let mut parts = forward(flow, &PLAN.frame(flow, seq), to);
    parts.set_source(from);
    parts
}

fn look(witness: &mut Witness<Plan>, flow: u32, seq: u32, from: SocketAddr, at_ns: u64) -> Look {
    let to = server(flow, 0);
    witness.look(&translated(flow, seq, to, from).encode(Checksum::Right), &at_server(to, at_ns))
}

fn assert_only(found: &Findings, kinds: &[(Kind, u64)], what: &str) {
    let expected: BTreeMap<_, _> = kinds.iter().copied().collect();
    assert_eq!(found.counts, expected, "{what}: {:#?}", found.examples);
}

/// Two packets of a flow; the second one changed.
fn second(flow: u32, change: impl FnOnce(&mut Parts)) -> Findings {
    let (mut witness, to) = (witness(), server(flow, 0));
    look(&mut witness, flow, 0, mapping(flow, 0), 1);
    let mut parts = translated(flow, 1, to, mapping(flow, 0));
    change(&mut parts);
    witness.look(&parts.encode(Checksum::Right), &at_server(to, 2));
    witness.finish(|of| if of == flow { 2 } else { 0 })
}

#[test]
fn an_honest_balancer_is_clean_and_its_spread_counted() {
    let mut witness = judge(true);
    let flows = || (0..64).filter(|flow| flow % 8 < SERVICES);
    for seq in 0..20 {
        for flow in flows() {
            let there = look(&mut witness, flow, seq, mapping(flow, 0), u64::from(seq) * 1000);
            assert!(matches!(there, Look::Ours { stamp, first: true, .. } if stamp.flow == flow));
            let back = reply(&PLAN, flow, &PLAN.frame(flow, seq));
            witness.look(&back.encode(Checksum::Right), &at_client(9));
        }
    }
    let found = witness.finish(|flow| if flow % 8 < SERVICES { 20 } else { 0 });
    assert_only(&found, &[], "honest");
    assert_eq!((found.forward.received, found.reply.received), (640, 640));
    let spread = found.spread;
    assert_eq!((spread.sources, spread.ports, spread.mappings), (2, 32, 32));
}

#[test]
fn a_changed_mapping_is_named() {
    for flow in 0..SERVICES {
        let found = second(flow, |parts| parts.set_source(mapping(flow, 1)));
        assert_only(&found, &[(Kind::ChangedMapping, 1)], "another port");
        let example = &found.examples[0];
        assert_eq!(
            (&example.expected, &example.got),
            (&mapping(flow, 0).to_string(), &mapping(flow, 1).to_string())
        );
        let mut other = mapping(flow, 0);
        other.set_ip(if is_v6(service_of(flow)) { "fd03::8" } else { "10.3.0.8" }.parse().unwrap());
        assert_only(
            &second(flow, |parts| parts.set_source(other)),
            &[(Kind::ChangedMapping, 1)],
            "another address",
        );
    }
}

#[test]
fn a_shared_mapping_is_named() {
    for flow in 0..SERVICES {
        // The same service's next flow; and one of the other protocol, to which the mapping is free.
        for (other, kinds) in [(flow + 8, &[(Kind::SharedMapping, 1)][..]), ((flow ^ 1) + 8, &[])] {
            let mut witness = witness();
            look(&mut witness, flow, 0, mapping(flow, 0), 1);
            look(&mut witness, other, 0, mapping(flow, 0), LIVE_NS);
            let found = witness.finish(|of| u64::from(of == flow || of == other));
            assert_only(&found, kinds, "two flows");
            if let [example] = found.examples.as_slice() {
                assert!(
                    example.got.contains(&format!("flow {flow}'s")) && example.flow == Some(other),
                    "{example:?}"
                );
            }
        }
    }
}

#[test]
fn a_mapping_may_be_given_again_when_its_flow_is_dead() {
    let mut witness = witness();
    look(&mut witness, 0, 0, mapping(0, 0), 1);
    look(&mut witness, 8, 0, mapping(0, 0), 1 + LIVE_NS);
    assert_only(&witness.so_far(), &[], "dead");
    // It was not: both have it now.
    look(&mut witness, 0, 1, mapping(0, 0), 2 + LIVE_NS);
    let found = witness.finish(|of| {
        [2, 1].get(usize::try_from(of / 8).unwrap()).copied().filter(|_| of % 8 == 0).unwrap_or(0)
    });
    assert_only(&found, &[(Kind::SharedMapping, 1)], "alive");
}

#[test]
fn sources_outside_of_the_pool_are_named() {
    for flow in 0..SERVICES {
        let client = honest::client(flow);
        let cases = [
            ((mapping(flow, 0).ip(), 1999), Kind::WrongPort),
            ((mapping(flow, 0).ip(), 3000), Kind::WrongPort),
            ((client.ip(), 2000), Kind::WrongAddress),
            ((client.ip(), client.port()), Kind::WrongAddress),
        ];
        for (from, kind) in cases {
            assert_only(&second(flow, |parts| parts.set_source(from.into())), &[(kind, 1)], "source");
        }
    }
}

#[test]
fn the_rest_is_judged_as_in_nat() {
    for flow in 0..SERVICES {
        assert_only(&second(flow, |parts| parts.set_ttl(61)), &[(Kind::WrongTtl, 1)], "TTL");
        let other = (mapping(flow, 0).ip(), 8080);
        assert_only(
            &second(flow, |parts| parts.set_destination(other.into())),
            &[(Kind::WrongAddress, 1)],
            "to",
        );
        let found = second(flow, |parts| *parts.payload.last_mut().unwrap() ^= 1);
        assert_only(&found, &[(Kind::BadPayload, 1)], "payload");
        let mut witness = witness();
        let frame = translated(flow, 0, server(flow, 0), mapping(flow, 0)).encode(Checksum::Wrong);
        witness.look(&frame, &at_server(server(flow, 0), 1));
        let found = witness.finish(|of| u64::from(of == flow));
        assert_only(&found, &[(Kind::BadL4Checksum, 1)], "checksum");
    }
}

/// At another server a flow is a new connection: the move is the finding, the mapping none besides.
#[test]
fn a_move_is_no_changed_mapping() {
    for flow in 0..SERVICES {
        let mut witness = witness();
        for (seq, n) in [(0, 0), (1, 1), (2, 1)] {
            let to = server(flow, n);
            let frame = translated(flow, seq, to, mapping(flow, n.into())).encode(Checksum::Right);
            witness.look(&frame, &at_server(to, 1));
        }
        let found = witness.finish(|of| if of == flow { 3 } else { 0 });
        assert_only(&found, &[(Kind::WrongServer, 1)], "moved");
    }
}

#[test]
fn replies_come_from_the_service_to_the_client() {
    for flow in 0..SERVICES {
        let mut witness = judge(true);
        look(&mut witness, flow, 0, mapping(flow, 0), 1);
        let mut back = reply(&PLAN, flow, &PLAN.frame(flow, 0));
        back.set_destination(mapping(flow, 0));
        witness.look(&back.encode(Checksum::Right), &at_client(2));
        assert_only(&witness.finish(|of| u64::from(of == flow)), &[(Kind::WrongAddress, 1)], "untranslated");
    }
}

#[test]
fn a_service_without_a_pool_is_refused() {
    let says = |snat: Snat| {
        Expectation { snat, ..expectation() }.check().is_err_and(|why| why.to_string().contains("SNAT"))
    };
    assert!(says(Snat::default()));
    let sources = expectation().snat.sources;
    assert!(says(Snat { sources: sources.clone(), ports: std::ops::RangeInclusive::new(2, 1) }));
    assert!(!says(Snat { sources, ..Snat::default() }));
}
