//! The balancer in memory in each mode, honest but where it is told to cheat; and trials through it.

use super::{BALANCER, CLIENT, ends_of, mac, run, servers, service, spec, usual};
use crate::mode::Mode;
use crate::outcome::Outcome;
use crate::setup::{Prefix, Setup};
use crate::spec::{Check, TrialSpec};
use ringlead_wire::checksum::Sum;
use ringlead_wire::{Ip, Meta, rewrite};
use ringlead_witness::{Encapsulation, GUE_PORT, Kind, Tunnel};
use std::collections::BTreeMap;

/// Frames of a trial of [`spec`].
const FRAMES: u64 = 955;
/// Its flows, and with them the frames of its priming.
const FLOWS: u64 = 40;

/// What is done to frame `n` behind the priming, when it is ready to be sent to its server.
type Cheat = fn(u64, &mut [u8]);

/// What the balancer makes of a frame.
pub(super) enum Middle {
    Nat,
    /// The port of an SNAT address that a frame's client gets, by the frame's number; and whose it is.
    Snat {
        port: fn(u64, u16) -> u16,
        clients: BTreeMap<u16, (Ip, u16)>,
    },
    /// Servers have addresses of the outer family.
    Tunnel {
        encapsulation: Encapsulation,
        outer_v6: bool,
        cheat: Cheat,
    },
}

impl Middle {
    pub(super) fn onward(&mut self, frame: &mut Vec<u8>, meta: &Meta, server: usize, count: u64) {
        let address = servers()[server - 1].address;
        match self {
            Self::Nat => {
                rewrite::decrement_ttl(frame, meta);
                rewrite::to_server(frame, meta, address.ip().into(), address.port());
            }
            Self::Snat { port, clients } => {
                rewrite::decrement_ttl(frame, meta);
                rewrite::to_server(frame, meta, address.ip().into(), address.port());
                let port = port(count, meta.sport);
                clients.insert(port, (meta.src, meta.sport));
                rewrite::to_client(frame, meta, snat_address(), port);
            }
            Self::Tunnel { encapsulation, outer_v6, cheat } => {
                wrap(frame, *encapsulation, *outer_v6, server, meta.sport);
                cheat(count, frame);
            }
        }
        rewrite::set_ethernet(frame, mac(server), BALANCER);
    }

    pub(super) fn back(&self, frame: &mut [u8], meta: &Meta) {
        let service = service().address;
        if let Self::Tunnel { .. } = self {
            // Around the balancer.
            assert_eq!(frame[..6], CLIENT);
            return;
        }
        if let Self::Snat { clients, .. } = self {
            let (client, port) = clients[&meta.dport];
            assert_eq!(meta.dst, snat_address());
            rewrite::to_server(frame, meta, client, port);
        }
        rewrite::decrement_ttl(frame, meta);
        rewrite::to_client(frame, meta, service.ip().into(), service.port());
        rewrite::set_ethernet(frame, CLIENT, BALANCER);
    }
}

fn snat_address() -> Ip {
    std::net::IpAddr::from([10, 3, 0, 1]).into()
}

/// Puts an outer header before the packet; the Ethernet addresses are left to the caller.
pub(super) fn wrap(frame: &mut Vec<u8>, encapsulation: Encapsulation, v6: bool, server: usize, flow: u16) {
    let mut outer = frame[..12].to_vec();
    let tos = u8::try_from(u16::from_be_bytes([frame[14], frame[15]]) >> 4 & 0xff).unwrap();
    let tos = if frame[14] >> 4 == 4 { frame[15] } else { tos };
    let last = u8::try_from(server).unwrap();
    let mut middle = Vec::new();
    let inside = if frame[14] >> 4 == 4 { 4 } else { 41 };
    if encapsulation != Encapsulation::Ipip {
        let gue = if encapsulation == Encapsulation::GueZero { &[0, inside, 0, 0][..] } else { &[] };
        let length = u16::try_from(frame.len() - 14 + 8 + gue.len()).unwrap();
        for word in [flow | 0x8000, GUE_PORT, length, 0] {
            middle.extend(word.to_be_bytes());
        }
        middle.extend(gue);
    }
    let length = u16::try_from(frame.len() - 14 + middle.len()).unwrap();
    let next = if encapsulation == Encapsulation::Ipip { inside } else { 17 };
    if v6 {
        outer.extend([0x86, 0xdd, 0x60 | tos >> 4, tos << 4, 0, 0]);
        outer.extend(length.to_be_bytes());
        outer.extend([next, 64, 0xfd, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        outer.extend(flow.to_be_bytes());
        outer.extend([0xfd, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    } else {
        outer.extend([8, 0, 0x45, tos]);
        outer.extend((length + 20).to_be_bytes());
        outer.extend([0, 0, 0x40, 0, 64, next, 0, 0, 10, 4]);
        outer.extend(flow.to_be_bytes());
        outer.extend([10, 2, 0, 10 + last]);
        let checksum = Sum::default().bytes(&outer[14..34]).checksum();
        outer[24..26].copy_from_slice(&checksum.to_be_bytes());
    }
    outer.extend(middle);
    outer.extend(&frame[14..]);
    *frame = outer;
}

fn through(setup: Setup, middle: Middle, spare: u64, spec: &TrialSpec) -> Outcome {
    run(&mut ends_of(setup, middle, spare, usize::MAX, usual()), spec)
}

fn snat(port: fn(u64, u16) -> u16, spare: u64) -> Outcome {
    let mut setup = Setup::new(Mode::Snat);
    setup.snat.sources = vec!["10.3.0.0/30".parse::<Prefix>().unwrap().into()];
    through(setup, Middle::Snat { port, clients: BTreeMap::new() }, spare, &spec())
}

#[test]
fn snat_is_clean_there_and_back() {
    let outcome = snat(|_, port| port, 0);
    let findings = outcome.findings.unwrap();
    assert!(findings.is_clean() && outcome.invalid.is_none(), "{findings:?}");
    assert_eq!((findings.forward.received, findings.reply.received), (FRAMES, FRAMES));
    assert_eq!((findings.spread.sources, findings.spread.mappings), (1, FLOWS));
    assert_eq!(outcome.latency.unwrap().count, FRAMES);
}

#[test]
fn mappings_that_change_or_are_shared_are_told() {
    let found = snat(|n, port| if n > 500 { port ^ 1 } else { port }, FLOWS).findings.unwrap();
    assert_eq!((found.count(Kind::ChangedMapping), found.counts.len()), (FLOWS, 1), "{:?}", found.counts);
    // All of a server's flows have one mapping; nobody knows any more whose replies are whose.
    let shared = Setup::new(Mode::Snat);
    let mut setup = Setup { snat: ringlead_witness::Snat::default(), ..shared };
    setup.snat.sources = vec!["10.3.0.1/32".parse::<Prefix>().unwrap().into()];
    let middle = Middle::Snat { port: |_, port| 2000 + port % 2, clients: BTreeMap::new() };
    let found = through(setup, middle, 0, &TrialSpec { reply: false, ..spec() }).findings.unwrap();
    assert!(found.count(Kind::SharedMapping) > FRAMES / 2 && found.counts.len() == 1, "{:?}", found.counts);
}

const KINDS: [Encapsulation; 3] = [Encapsulation::Ipip, Encapsulation::Gue, Encapsulation::GueZero];

fn tunnel(encapsulation: Encapsulation, outer_v6: bool, cheat: Cheat, spec: &TrialSpec) -> Outcome {
    let mut setup = Setup::new(Mode::Tunnel);
    setup.tunnel = Tunnel { encapsulation, ..Tunnel::default() };
    let sources = ["10.4.0.0/16", "fd04::/64"].map(|text| text.parse::<Prefix>().unwrap().into());
    setup.tunnel.sources = sources.to_vec();
    let middle = Middle::Tunnel { encapsulation, outer_v6, cheat };
    let mut ends = ends_of(setup, middle, FLOWS, usize::MAX, usual());
    if outer_v6 {
        for (server, address) in ends.setup.servers.iter_mut().zip(["[fd05::1]:80", "[fd05::2]:80"]) {
            server.address = address.parse().unwrap();
        }
    }
    run(&mut ends, spec)
}

#[test]
fn tunnels_are_clean_and_answered_around_the_balancer() {
    for encapsulation in KINDS {
        for outer_v6 in [false, true] {
            let mut marked = spec();
            marked.plan.tos = 0xb9;
            let outcome = tunnel(encapsulation, outer_v6, |_, _| {}, &marked);
            let (findings, replies) = (outcome.findings.unwrap(), outcome.replies.unwrap());
            assert!(findings.is_clean() && outcome.invalid.is_none(), "{encapsulation} {findings:?}");
            assert_eq!((outcome.received, replies.received), (FRAMES, FRAMES));
            assert_eq!((findings.forward.received, findings.reply.received), (FRAMES, FRAMES));
            let ports = if encapsulation == Encapsulation::Ipip { 0 } else { FLOWS };
            assert_eq!((findings.spread.sources, findings.spread.ports), (FLOWS, ports));
            assert_eq!(outcome.latency.unwrap().count, FRAMES);
            assert_eq!((outcome.odd, outcome.loss.around), (crate::Odd::default(), Some(0)));
            let counted = TrialSpec { check: Check::Count, ..spec() };
            let outcome = tunnel(encapsulation, outer_v6, |_, _| {}, &counted);
            assert_eq!((outcome.received, outcome.lost, outcome.odd.foreign), (FRAMES, 0, 0));
        }
    }
}

#[test]
fn faults_of_a_tunnel_are_told() {
    let cheats: [(Cheat, Kind); 3] = [
        // CE outside alone, the header's checksum right for it.
        (
            |_, frame| {
                frame[15] ^= 3;
                frame[24..26].fill(0);
                let checksum = Sum::default().bytes(&frame[14..34]).checksum();
                frame[24..26].copy_from_slice(&checksum.to_be_bytes());
            },
            Kind::OuterDscp,
        ),
        (|_, frame| frame[24] ^= 1, Kind::OuterChecksum),
        // Bare, as dsr would hand it on.
        (
            |_, frame| {
                let at = if frame[23] == 4 { 34 } else { 42 };
                frame.copy_within(at.., 14);
            },
            Kind::NotTunnelled,
        ),
    ];
    for encapsulation in [Encapsulation::Ipip, Encapsulation::Gue] {
        for (cheat, kind) in cheats {
            let found = tunnel(encapsulation, false, cheat, &spec()).findings.unwrap();
            assert_eq!((found.count(kind), found.counts.len()), (FRAMES, 1), "{kind}: {:?}", found.counts);
        }
    }
}

#[test]
fn spoilt_frames_are_told_apart_inside_of_a_tunnel() {
    let mut spoilt = spec();
    spoilt.plan.bad_checksums_pct = 10.0;
    let outcome = tunnel(Encapsulation::GueZero, false, |_, _| {}, &spoilt);
    let odd = outcome.odd;
    assert_eq!((odd.bad_checksums_sent, odd.bad_checksums_received, odd.bad_checksums_repaired), (95, 95, 0));
    assert!(outcome.findings.unwrap().is_clean() && outcome.lost == 0);
}
