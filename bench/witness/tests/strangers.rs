//! Frames that are no packet of the trial, fragments, and the bounds of what is remembered.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![allow(clippy::wildcard_enum_match_arm, reason = "tests meet few of etherparse's headers")]

mod honest;

use etherparse::PacketBuilder;
use honest::{Plan, at_client, at_server, forward, server};
use proptest::prelude::*;
use ringlead_witness::{
    Checksum, Expectation, Findings, Kind, Limits, Look, Mode, Parsed, Server, Service, Transport, Witness,
    sum,
};

const PLAN: Plan = Plan { vlan: None, checksum: Checksum::Right, extra: 100, fragmentable: true };

fn counts(found: &Findings) -> Vec<(Kind, u64)> {
    found.counts.iter().map(|(kind, count)| (*kind, *count)).collect()
}

/// The frame's IP packet cut in two after `at` bytes of its payload, a multiple of 8 (RFC 791 §3.2, RFC 8200 §4.5).
fn cut(frame: &[u8], at: usize) -> [Vec<u8>; 2] {
    let v4 = frame[12..14] == [0x08, 0x00];
    let (header, payload) = frame[14..].split_at(if v4 { 20 } else { 40 });
    let part = |offset: usize, more: bool, bytes: &[u8]| {
        let mut header = header.to_vec();
        if v4 {
            let total = u16::try_from(20 + bytes.len()).unwrap();
            let field = u16::try_from(offset / 8).unwrap() | if more { 0x2000 } else { 0 };
            header[2..4].copy_from_slice(&total.to_be_bytes());
            header[6..8].copy_from_slice(&field.to_be_bytes());
            header[10..12].fill(0);
            let checksum = !sum::sum(&header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
        } else {
            let field = u16::try_from(offset).unwrap() | u16::from(more);
            let length = u16::try_from(8 + bytes.len()).unwrap();
            header[4..6].copy_from_slice(&length.to_be_bytes());
            let next = std::mem::replace(&mut header[6], 44);
            header.extend([next, 0]);
            header.extend(field.to_be_bytes());
            header.extend([0, 0, 0, 7]);
        }
        [&frame[..14], &header, bytes].concat()
    };
    [part(0, true, &payload[..at]), part(at, false, &payload[at..])]
}

#[test]
fn fragments_are_judged_as_the_packet_that_they_were() {
    for flow in 0..8 {
        let to = server(flow, 0);
        let frame = forward(flow, &PLAN.frame(flow, 0), to).encode(Checksum::Right);
        for swapped in [false, true] {
            let mut witness = PLAN.witness(8);
            let [a, b] = cut(&frame, 48);
            let (first, last) = if swapped { (&b, &a) } else { (&a, &b) };
            assert_eq!(witness.look(first, &at_server(to, 1)), Look::Fragment);
            assert!(
                matches!(witness.look(last, &at_server(to, 2)), Look::Ours { stamp, .. } if stamp.flow == flow)
            );
            let found = witness.finish(|of| u64::from(of == flow));
            assert_eq!(counts(&found), [], "{:#?}", found.examples);
            assert_eq!((found.fragments, found.fragments_left), (2, 0));
        }
    }
}

#[test]
fn faults_in_fragments_are_named() {
    type Fault = fn(&mut [Vec<u8>; 2]);
    let faults: [(Fault, &[Kind]); 4] = [
        (|parts| *parts[1].last_mut().unwrap() ^= 1, &[Kind::BadPayload, Kind::BadL4Checksum]),
        (|parts| parts[1][24] ^= 1, &[Kind::BadIpChecksum]),
        // TTL one less and the checksum right for it: only the fragments' difference tells.
        (
            |parts| (parts[1][22], parts[1][24]) = (parts[1][22] - 1, parts[1][24].wrapping_add(1)),
            &[Kind::HeaderChanged],
        ),
        (|parts| parts[1][5] ^= 1, &[Kind::HeaderChanged]),
    ];
    let frame = forward(1, &PLAN.frame(1, 0), server(1, 0)).encode(Checksum::Right);
    for (fault, kinds) in faults {
        let mut witness = PLAN.witness(8);
        let mut parts = cut(&frame, 48);
        fault(&mut parts);
        for part in &parts {
            witness.look(part, &at_server(server(1, 0), 1));
        }
        let found = witness.finish(|of| u64::from(of == 1));
        assert_eq!(found.counts.keys().copied().collect::<Vec<_>>(), kinds, "{:#?}", found.examples);
    }
}

#[test]
fn a_packet_that_is_never_whole_is_lost() {
    let mut witness = PLAN.witness(8);
    // Many more than are kept waiting.
    for seq in 0..3000_u16 {
        let mut parts =
            honest::Parts::of(&forward(1, &PLAN.frame(1, seq.into()), server(1, 0)).encode(Checksum::Right));
        if let honest::Ip::V4(ip) = &mut parts.ip {
            ip.identification = seq;
        }
        witness.look(&cut(&parts.encode(Checksum::Right), 48)[0], &at_server(server(1, 0), 1));
    }
    let found = witness.finish(|of| if of == 1 { 3000 } else { 0 });
    assert_eq!((counts(&found), found.fragments_left), (vec![(Kind::Lost, 3000)], 3000));
}

#[test]
fn a_reset_from_the_balancer_is_unknown() {
    let mut reset = Vec::new();
    let tcp = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 9, 0, 1], [198, 18, 0, 1], 64)
        .tcp(80, 1024, 0, 0)
        .rst();
    tcp.write(&mut reset, &[]).unwrap();
    let mut witness = PLAN.witness(8);
    assert_eq!(witness.look(&reset, &at_client(7)), Look::Wrong);
    let found = witness.finish(|_| 0);
    assert_eq!(counts(&found), [(Kind::Unknown, 1)]);
    assert!(found.examples[0].got.contains("flags 0x04"), "{:?}", found.examples);
}

#[test]
fn what_is_not_the_services_is_foreign_and_no_finding() {
    let mut witness = PLAN.witness(8);
    let mut ssh = Vec::new();
    let tcp =
        PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64).tcp(22, 5000, 1, 1);
    tcp.write(&mut ssh, b"SSH-2.0-x").unwrap();
    let mut arp = vec![0xff; 42];
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let ping = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64)
        .icmpv4_echo_request(1, 1);
    let mut echo = Vec::new();
    ping.write(&mut echo, &[1; 30]).unwrap();
    let ping = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 9, 0, 1], [10, 2, 0, 11], 64)
        .icmpv4_echo_reply(1, 1);
    let mut of_the_service = Vec::new();
    ping.write(&mut of_the_service, &[1; 30]).unwrap();
    for frame in [&ssh, &arp, &echo, &of_the_service, &cut(&ssh, 24)[0]] {
        assert_eq!(witness.look(frame, &at_client(1)), Look::Foreign);
    }
    let found = witness.finish(|_| 0);
    assert!(found.is_clean() && found.foreign == 5 && found.fragments == 0);
}

#[test]
fn frames_of_another_trial_and_of_no_flow_are_named() {
    let limits = Limits { examples: 2, ..Limits::flows(4) };
    let frame = |flow| forward(flow, &PLAN.frame(flow, 0), server(flow, 0)).encode(Checksum::Right);
    let mut later = Witness::new(honest::expectation(), PLAN, honest::TRIAL + 1, limits).unwrap();
    assert_eq!(later.look(&frame(0), &at_server(server(0, 0), 1)), Look::Wrong);
    let found = later.finish(|_| 0);
    assert_eq!(counts(&found), [(Kind::OldTrial, 1)]);
    let mut small = Witness::new(honest::expectation(), PLAN, honest::TRIAL, limits).unwrap();
    for _ in 0..5 {
        assert_eq!(small.look(&frame(6), &at_server(server(6, 0), 1)), Look::Wrong);
    }
    let found = small.finish(|_| 0);
    assert_eq!((counts(&found), found.examples.len()), (vec![(Kind::Unknown, 5)], 2));
}

#[test]
fn bounded_lists_say_that_they_are_not_whole() {
    let limits = Limits { gaps: 3, moves: 2, ..Limits::flows(8) };
    let mut witness = Witness::new(honest::expectation(), PLAN, honest::TRIAL, limits).unwrap();
    for seq in (0..1000).step_by(100) {
        let to = server(0, u16::try_from(seq / 100).unwrap());
        witness.look(&forward(0, &PLAN.frame(0, seq), to).encode(Checksum::Right), &at_server(to, 1));
    }
    // 1 left the window long ago, and the list is full: late or a duplicate.
    witness.look(
        &forward(0, &PLAN.frame(0, 500), server(0, 0)).encode(Checksum::Right),
        &at_server(server(0, 0), 1),
    );
    let found = witness.finish(|of| if of == 0 { 1000 } else { 0 });
    assert_eq!((found.forward.lost, found.missing.complete, found.missing.forward.len()), (990, false, 3));
    assert_eq!((found.count(Kind::Lost), found.count(Kind::Stale)), (990, 1));
    assert_eq!((found.moves.moves, found.moves.flows, found.moves.first.len()), (9, 1, 2));
    assert_eq!(found.moves.pairs.iter().map(|pair| pair.moves).sum::<u64>(), 9);
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let address = "10.9.0.1:80".parse().unwrap();
    let server = |last: u8, mac, interface| Server {
        name: format!("s{last}"),
        address: ([10, 2, 0, last], 80).into(),
        mac,
        interface,
        vlan: None,
    };
    let refused = |mode, servers: Vec<Server>, ids: &[u16]| {
        let service = Service { address, transport: Transport::Tcp, mode, servers: ids.to_vec() };
        let expect = Expectation { services: vec![service], servers, ..Expectation::default() };
        expect.check().err().map(|why| why.to_string()).unwrap_or_default()
    };
    assert_eq!(refused(Mode::Nat, vec![server(1, None, None)], &[0]), "");
    assert!(refused(Mode::Nat, vec![], &[]).contains("no server"));
    assert!(refused(Mode::Nat, vec![], &[3]).contains("does not exist"));
    assert!(
        refused(Mode::Nat, vec![server(1, None, None), server(1, None, None)], &[0, 1]).contains("apart")
    );
    let v6 = Server { address: "[fd02::1]:80".parse().unwrap(), ..server(1, None, None) };
    assert!(refused(Mode::Nat, vec![v6], &[0]).contains("another family"));
    assert!(refused(Mode::Dsr, vec![server(1, None, None)], &[0]).contains("must be known"));
    let same_port = vec![server(1, None, Some(1)), server(2, None, Some(1))];
    assert!(refused(Mode::Dsr, same_port, &[0, 1]).contains("told apart"));
    let other_macs = vec![server(1, Some([1; 6]), Some(1)), server(2, Some([2; 6]), Some(1))];
    assert_eq!(refused(Mode::Dsr, other_macs, &[0, 1]), "");
    let too_many = Witness::new(honest::expectation(), PLAN, 0, Limits::flows((1 << 24) + 1));
    assert!(too_many.is_err());
}

#[test]
fn findings_survive_json_and_keep_their_names() {
    let mut witness = PLAN.witness(8);
    witness.look(
        &forward(0, &PLAN.frame(0, 1), server(0, 0)).encode(Checksum::Wrong),
        &at_server(server(0, 0), 3),
    );
    let found = witness.finish(|of| if of == 0 { 3 } else { 0 });
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["counts"]["bad-l4-checksum"], 1);
    assert_eq!(json["counts"]["lost"], 2);
    assert_eq!(serde_json::from_value::<Findings>(json).unwrap(), found);
    for (number, kind) in Kind::ALL.into_iter().enumerate() {
        assert_eq!((serde_json::to_value(kind).unwrap(), kind as usize), (kind.name().into(), number));
        assert!(kind.text().ends_with('.'));
    }
}

proptest! {
    /// Whatever arrives, nobody panics, and no bytes but an honest packet's are clean.
    #[test]
    fn any_bytes_can_be_looked_at(bytes in prop::collection::vec(any::<u8>(), 0..200), flow in 0..8_u32, at in 0..64_usize) {
        let mut witness = PLAN.witness(8);
        witness.look(&bytes, &at_client(1));
        let frame = forward(flow, &PLAN.frame(flow, 0), server(flow, 0)).encode(Checksum::Right);
        let mut mixed = frame.clone();
        for (byte, new) in mixed.iter_mut().skip(at).zip(&bytes) {
            *byte = *new;
        }
        let looked = witness.look(&mixed, &at_server(server(flow, 0), 1));
        if mixed[..frame.len()] != frame && looked != Look::Foreign && looked != Look::Fragment {
            // The source MAC is not looked at: any may have sent the frame on.
            prop_assume!(at > 12 || at + bytes.len() > 12);
            prop_assert!(!witness.so_far().is_clean(), "{:?}", Parsed::new(&mixed));
        }
    }
}
