//! Judging allocates nothing, a loss and a duplicate included once their examples are kept; neither does a stamp.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![allow(clippy::wildcard_enum_match_arm, reason = "tests meet few of etherparse's headers")]

#[path = "../../../dataplane/io/tests/support/counting.rs"]
mod counting;
mod honest;
mod wrapped;

use counting::allocations;
use honest::{Plan, at_server, forward, server};
use ringlead_witness::{
    Checksum, Encapsulation, Kind, Latency, Limits, Mode, Net, Stamp, Transport, Tunnel, Witness,
};

#[test]
fn nothing_is_allocated_a_frame() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1, "the counter counts");
    let plan = Plan { vlan: None, checksum: Checksum::Right, extra: 40, fragmentable: false };
    let limits = Limits { examples: 1, ..Limits::flows(8) };
    let mut witness = Witness::new(honest::expectation(), plan, honest::TRIAL, limits).unwrap();
    let frames: Vec<_> = (0..8)
        .flat_map(|flow| (0..400).map(move |seq| (flow, seq)))
        .filter(|(_, seq)| seq % 90 != 7)
        .map(|(flow, seq)| {
            (forward(flow, &plan.frame(flow, seq), server(flow, 0)).encode(Checksum::Right), flow)
        })
        .collect();
    // The first duplicate is kept in words.
    for _ in 0..2 {
        witness.look(&frames[0].0, &at_server(server(frames[0].1, 0), 1));
    }
    let mut latency = Latency::new();
    let made = allocations(|| {
        for (frame, flow) in &frames {
            let arrival = at_server(server(*flow, 0), 5);
            witness.look(frame, &arrival);
            witness.look(frame, &arrival);
            latency.record(777);
        }
    });
    assert_eq!(made, 0);
    assert_eq!(latency.histogram().len(), witness.so_far().forward.received / 2 - 1);
    assert!(witness.so_far().count(Kind::Duplicate) > 3000);

    assert_eq!(allocations_of_snat_and_tunnels(plan), 0);
    let layout = ringlead_witness::Layout::new(Transport::Udp, 8, 1000).unwrap();
    let mut frame = vec![0; 1042];
    layout.fill(&mut frame, 34);
    let write = || {
        layout.write(&mut frame, 34, &Stamp::default());
    };
    assert_eq!(allocations(write), 0);
}

/// What judging later packets of snat and tunnel flows allocates; the first ones are remembered.
fn allocations_of_snat_and_tunnels(plan: Plan) -> u64 {
    let mut expect = honest::expectation();
    for service in &mut expect.services {
        service.mode = if service.mode == Mode::Nat { Mode::Snat } else { Mode::Tunnel };
    }
    let net = |base: &str| Net { base: base.parse().unwrap(), len: 8 };
    expect.snat.sources = vec![net("10.0.0.0"), net("fd00::")];
    expect.tunnel = Tunnel { encapsulation: Encapsulation::Gue, ..Tunnel::default() };
    let frame = |flow: u32, seq: u32| {
        let (to, v6) = (server(flow, 0), honest::is_v6(honest::service_of(flow)));
        let mut parts = forward(flow, &plan.frame(flow, seq), to);
        let port = 3000 + u16::try_from(flow).unwrap();
        if !honest::is_dsr(honest::service_of(flow)) {
            parts.set_source((if v6 { net("fd00::") } else { net("10.0.0.0") }.base, port).into());
            return (parts.encode(Checksum::Right), to);
        }
        let wrap = wrapped::Wrap {
            encapsulation: Encapsulation::Gue,
            source: if v6 { "fd04::1" } else { "10.4.0.1" }.parse().unwrap(),
            destination: expect.servers[usize::from(to)].address.ip(),
            source_port: port,
            ttl: 64,
            tos: honest::TOS,
            dont_fragment: !v6,
            flow_label: 1,
        };
        (wrap.around(&parts.encode(Checksum::Right)), to)
    };
    let of_all = |seqs: std::ops::Range<u32>| -> Vec<(Vec<u8>, u16)> {
        seqs.flat_map(|seq| (0..8).map(move |flow| (flow, seq))).map(|(flow, seq)| frame(flow, seq)).collect()
    };
    let (first, later) = (of_all(0..1), of_all(1..100));
    let mut witness = Witness::new(expect.clone(), plan, honest::TRIAL, Limits::flows(8)).unwrap();
    let mut look = |frames: &[(Vec<u8>, u16)]| {
        for (frame, to) in frames {
            witness.look(frame, &at_server(*to, 5));
        }
    };
    look(&first);
    let made = allocations(|| look(&later));
    let found = witness.so_far();
    assert!(found.is_clean() && found.forward.received == 800, "{:?}", found.examples.first());
    made
}
