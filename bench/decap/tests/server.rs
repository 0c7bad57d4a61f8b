//! A server in a namespace, its real kernel and its sockets, behind a real port with the program on it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use ringlead_decap::{Counters, Decap, DecapError, Kind};
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use support::frames::Family::{V4, V6};
use support::frames::{
    CLIENT_PORT, FAMILIES, Family, GUE_PORT, SERVICE_PORT, WRAPS, client, ecn_cases, ethernet, inner, ip,
    mixed, outer, service, tunnel, wrapped,
};
use support::sockets::{self, Service, Wire};
use support::{Driver, Lab, run};

/// The program on the server's port.
fn attach(lab: &Lab) -> Decap {
    lab.server(|| Decap::attach("p1", &FAMILIES.map(tunnel), GUE_PORT)).unwrap()
}

/// A frame of the client straight to the service: the server takes it with and without the program, and what was sent
/// before it has been heard or never will be.
fn plain(family: Family) -> Vec<u8> {
    ethernet(&[], &inner(family, 0, 0, b"plain"))
}

/// Sends every wrap in every pair of families and gives the payloads that the service heard, up to the plain datagram.
fn heard(lab: &Lab, family: Family) -> Vec<Vec<u8>> {
    let wire = Wire::open("p0");
    let listener = lab.server(move || Service::open(family));
    for outside in FAMILIES {
        for wrap in WRAPS {
            let packet = inner(family, 0, 1, format!("{wrap:?} in {outside:?}").as_bytes());
            wire.send(&ethernet(&[], &outer(wrap, outside, family, 0, 50_000, &packet)));
        }
    }
    wire.send(&plain(family));
    let mut payloads = Vec::new();
    loop {
        let heard = listener.hear();
        assert_eq!(heard.from, SocketAddr::new(client(family), CLIENT_PORT), "the client's own address");
        payloads.push(heard.payload);
        if payloads.last().unwrap() == b"plain" {
            return payloads;
        }
    }
}

fn texts(payloads: &[Vec<u8>]) -> Vec<&str> {
    payloads.iter().map(|payload| std::str::from_utf8(payload).unwrap()).collect()
}

const ALL: [&str; 7] =
    ["Ipip in V4", "Gue0 in V4", "Gue1 in V4", "Ipip in V6", "Gue0 in V6", "Gue1 in V6", "plain"];

fn every_tunnel_arrives(driver: Driver, mode: &'static str) {
    run(driver, move |lab| {
        for family in FAMILIES {
            assert_eq!(texts(&heard(&lab, family)), ["plain"], "without the program nothing else arrives");
        }
        let decap = attach(&lab);
        assert_eq!(decap.mode(), mode);
        for family in FAMILIES {
            assert_eq!(texts(&heard(&lab, family)), ALL);
        }
        let counters = decap.counters();
        for taken in [counters.ipip, counters.gue0, counters.gue1] {
            assert_eq!([taken.v4_in_v4, taken.v6_in_v4, taken.v4_in_v6, taken.v6_in_v6], [1; 4]);
        }
        assert_eq!((counters.taken(), counters.dropped_ecn, counters.refused), (12, 0, 0));
        assert!(counters.passed >= 2, "the plain datagrams: {counters:?}");
        drop(decap);
        for family in FAMILIES {
            assert_eq!(texts(&heard(&lab, family)), ["plain"], "the program is gone");
        }
    });
}

#[test]
fn every_tunnel_arrives_by_the_driver() {
    every_tunnel_arrives(Driver::Native, "native");
}

#[test]
fn every_tunnel_arrives_behind_a_driver_that_cannot() {
    every_tunnel_arrives(Driver::Generic, "generic");
}

#[test]
fn the_server_answers_the_client_directly() {
    run(Driver::Native, |lab| {
        let _decap = attach(&lab);
        lab.here("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.p0.rp_filter=0");
        let wire = Wire::open("p0");
        for (outside, family) in [(V4, V4), (V4, V6), (V6, V4), (V6, V6)] {
            let asking = sockets::client(client(family), CLIENT_PORT);
            let listener = lab.server(move || Service::open(family));
            for wrap in WRAPS {
                let packet = inner(family, 0, 1, b"question");
                wire.send(&ethernet(&[], &outer(wrap, outside, family, 0, 50_000, &packet)));
                let question = listener.hear();
                assert_eq!(question.payload, b"question");
                listener.answer(&question, b"answer");
                let answered = (b"answer".to_vec(), SocketAddr::new(service(family), SERVICE_PORT));
                assert_eq!(sockets::heard_by(&asking), answered, "{wrap:?}, {family:?} in {outside:?}");
            }
        }
    });
}

#[test]
fn the_service_sees_congestion_as_rfc_6040_figure_4_says() {
    run(Driver::Native, |lab| {
        let decap = attach(&lab);
        let wire = Wire::open("p0");
        let mut dropped = 0;
        for (outside, family) in [(V4, V4), (V4, V6), (V6, V4), (V6, V6)] {
            let listener = lab.server(move || Service::open(family));
            for (inner_ecn, outer_ecn, after) in ecn_cases() {
                let (dscp, other_dscp) = (46 << 2, 10 << 2);
                let packet = inner(family, dscp | inner_ecn, 1, b"ecn");
                let tunnelled = outer(WRAPS[1], outside, family, other_dscp | outer_ecn, 50_000, &packet);
                wire.send(&ethernet(&[], &tunnelled));
                wire.send(&plain(family));
                let what = format!("{family:?} in {outside:?}: inner {inner_ecn:02b}, outer {outer_ecn:02b}");
                let mut next = listener.hear();
                if let Some(ecn) = after {
                    assert_eq!((&next.payload[..], next.service), (&b"ecn"[..], dscp | ecn), "{what}");
                    next = listener.hear();
                } else {
                    dropped += 1;
                }
                assert_eq!(next.payload, b"plain", "{what}");
                assert_eq!(decap.counters().dropped_ecn, dropped, "{what}");
            }
        }
        assert_eq!(dropped, 4);
    });
}

#[test]
fn the_outer_sources_can_be_seen() {
    run(Driver::Native, |lab| {
        let decap = attach(&lab);
        let wire = Wire::open("p0");
        let listener = lab.server(|| Service::open(V4));
        let packet = inner(V4, 0, 1, b"x");
        for last in 0..40_u8 {
            let (protocol, payload) = wrapped(WRAPS[2], V4, 40_000 + u16::from(last), &packet);
            let source = IpAddr::from([10, 255, 0, last]);
            wire.send(&ethernet(&[], &ip(source, tunnel(V4), 0x2c, protocol, 1, &payload)));
            listener.hear();
        }
        let outers = decap.outers();
        let sources: HashSet<_> = outers.iter().map(|outer| (outer.src, outer.sport)).collect();
        let sent: HashSet<_> =
            (0..40_u8).map(|last| (IpAddr::from([10, 255, 0, last]), 40_000 + u16::from(last))).collect();
        assert_eq!(sources, sent);
        assert!(
            outers
                .iter()
                .all(|outer| outer.dst == tunnel(V4) && outer.kind == Kind::Gue1 && outer.service == 0x2c)
        );
        assert_ne!(mixed(V4), mixed(V6));
    });
}

#[test]
fn what_cannot_work_is_refused_with_the_reason() {
    run(Driver::Native, |lab| {
        let refused = |addresses: &[IpAddr], device: &'static str| {
            let addresses = addresses.to_vec();
            lab.server(move || Decap::attach(device, &addresses, GUE_PORT)).unwrap_err()
        };
        let ours = tunnel(V4);
        for (addresses, says) in [
            (vec![], "at least one tunnel address"),
            (vec![ours; 65], "65 tunnel addresses; 64 are possible"),
            (vec![ours, "::".parse().unwrap()], ":: is no address of a server"),
            (vec!["224.0.0.1".parse().unwrap()], "224.0.0.1 is no address of a server"),
            (vec!["::ffff:255.255.255.255".parse().unwrap()], "255.255.255.255 is no address of a server"),
        ] {
            let error = refused(&addresses, "p1");
            assert!(matches!(error, DecapError::Asked(_)), "{error:?}");
            assert!(error.to_string().contains(says), "{error}");
        }
        for device in ["p0", "no\0name", ""] {
            let error = refused(&[ours], device);
            assert!(matches!(&error, DecapError::NoDevice(name) if name == device), "{error:?}");
        }
        let first = attach(&lab);
        let error = refused(&[ours], "p1").to_string();
        assert!(error.starts_with("p1: attach the XDP program: native: "), "{error}");
        assert!(error.contains("busy"), "{error}");
        assert_eq!(first.counters().taken(), 0);
        drop(first);
        assert_eq!(
            attach(&lab).counters(),
            Counters::default(),
            "a port is free again, its counters are new"
        );
    });
}

#[test]
fn an_address_in_ipv6_clothes_is_the_ipv4_address() {
    run(Driver::Native, |lab| {
        let decap =
            lab.server(|| Decap::attach("p1", &["::ffff:10.2.0.11".parse().unwrap()], GUE_PORT)).unwrap();
        assert_eq!(texts(&heard(&lab, V6)), [&ALL[..3], &["plain"]].concat());
        assert_eq!((decap.counters().taken(), decap.counters().gue1.v6_in_v4), (3, 1));
    });
}
