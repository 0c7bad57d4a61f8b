//! Ping-pong: each answer is its request's, and what is lost, late, doubled or another's is told apart.

use std::io::{Read, Write};
use std::time::Duration;

use ringlead_load::ErrorClass;
use ringlead_load::outcome::Strays;
use ringlead_load::rr::{Protocol, Reply, Spec, run};

use crate::servers::{Server, echo, nobody, tcp, udp};
use crate::{all_failed_by, closed, closes, open};

fn spec(server: &Server, protocol: Protocol, total: u64) -> Spec {
    Spec {
        settings: closed(server, 4, total),
        protocol,
        size: 64,
        answer: Reply::Echo { skip: 0 },
        requests_per_connection: None,
    }
}

/// The class of every failure, with how many there were.
fn errors(outcome: &ringlead_load::Outcome) -> Vec<(ErrorClass, u64)> {
    outcome.errors.iter().map(|(class, count)| (*class, *count)).collect()
}

#[test]
fn echoes_of_both_protocols_and_all_sizes() {
    let (tcp, udp) = (echo(), udp(|_, bytes, answer| answer(bytes)));
    for (server, protocol, sizes) in
        [(&tcp, Protocol::Tcp, [16, 64, 1_000_000]), (&udp, Protocol::Udp, [16, 1400, 20_000])]
    {
        for size in sizes {
            let mut spec = spec(server, protocol, 41);
            spec.size = size;
            spec.settings.threads = 2;
            let outcome = run(&spec).unwrap();
            closes(&outcome);
            assert!(outcome.is_clean(), "{size}: {outcome:?}");
            assert_eq!((outcome.ok, outcome.connections), (41, 4));
            assert_eq!(outcome.bytes_received, 41 * size as u64);
        }
    }
    assert_eq!(tcp.accepted(), 3 * 4);
}

#[test]
fn a_plan_is_done_whole_on_few_connections() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let server = if protocol == Protocol::Tcp { echo() } else { udp(|_, bytes, answer| answer(bytes)) };
        let mut spec = spec(&server, protocol, 0);
        spec.settings = open(&server, 3000.0, 300);
        spec.settings.connections_max = Some(3);
        let outcome = run(&spec).unwrap();
        closes(&outcome);
        assert!(outcome.is_clean(), "{outcome:?}");
        assert_eq!(outcome.ok, 300);
        assert!(outcome.connections <= 3);
    }
}

#[test]
fn connections_are_replaced_as_asked_for() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let server = if protocol == Protocol::Tcp { echo() } else { udp(|_, bytes, answer| answer(bytes)) };
        let mut spec = spec(&server, protocol, 30);
        spec.settings = closed(&server, 1, 30);
        spec.requests_per_connection = Some(4);
        let outcome = run(&spec).unwrap();
        assert!(outcome.is_clean(), "{outcome:?}");
        assert_eq!(outcome.connections, 8);
    }
}

#[test]
fn every_tenth_datagram_dropped_is_every_tenth_lost() {
    let server = udp(|number, bytes, answer| {
        if number % 10 != 0 {
            answer(bytes);
        }
    });
    let mut spec = spec(&server, Protocol::Udp, 80);
    spec.settings.timeout = Duration::from_secs(1);
    let outcome = run(&spec).unwrap();
    closes(&outcome);
    assert_eq!((outcome.ok, errors(&outcome)), (72, vec![(ErrorClass::Lost, 8)]));
    assert_eq!(outcome.connections, 4, "a lost datagram is no reason for another flow");
    assert!(outcome.strays.is_none() && outcome.is_valid() && !outcome.is_clean());
}

#[test]
fn late_and_second_answers_are_told_apart() {
    // The third is answered only with the fourth, and the sixth twice.
    let mut held = Vec::new();
    let server = udp(move |number, bytes, answer| match number {
        3 => held = bytes.to_vec(),
        4 => [&held[..], bytes].into_iter().for_each(answer),
        6 => [bytes, bytes].into_iter().for_each(answer),
        _ => answer(bytes),
    });
    let mut spec = spec(&server, Protocol::Udp, 8);
    spec.settings = closed(&server, 1, 8);
    spec.settings.timeout = Duration::from_secs(1);
    let outcome = run(&spec).unwrap();
    closes(&outcome);
    assert_eq!((outcome.ok, errors(&outcome)), (7, vec![(ErrorClass::Lost, 1)]));
    assert_eq!(outcome.strays, Strays { late: 1, duplicates: 1, misdelivered: 0 });
}

#[test]
fn an_answer_of_another_connection_is_seen() {
    // Two connections; whoever comes fourth first gets the first one's first answer.
    let mut first = Vec::new();
    let server = udp(move |number, bytes, answer| {
        if number == 1 {
            first = bytes.to_vec();
        }
        if bytes[4..8] != first[4..8] {
            answer(&first);
        }
        answer(bytes);
    });
    let mut spec = spec(&server, Protocol::Udp, 40);
    spec.settings = closed(&server, 1, 40);
    spec.requests_per_connection = Some(20);
    let outcome = run(&spec).unwrap();
    closes(&outcome);
    assert_eq!((outcome.ok, outcome.strays.misdelivered), (40, 20));
    assert!(!outcome.is_clean());
}

#[test]
fn faults_of_tcp_are_named() {
    let answering = |answer: fn(&mut Vec<u8>, &[u8]) -> Vec<u8>| {
        tcp(move |mut stream, _| {
            let (mut bytes, mut before) = (vec![0; 64], Vec::new());
            while stream.read_exact(&mut bytes).is_ok() {
                if stream.write_all(&answer(&mut before, &bytes)).is_err() {
                    return;
                }
            }
        })
    };
    let one = |server: &Server| {
        let mut spec = spec(server, Protocol::Tcp, 2);
        spec.settings = closed(server, 1, 2);
        run(&spec).unwrap()
    };
    let changed = answering(|_, bytes| [&bytes[..63], b"!"].concat());
    all_failed_by(&one(&changed), ErrorClass::WrongBody);
    // The first is right, the second gets the first's again.
    let stuck = answering(|before, bytes| {
        if before.is_empty() {
            before.extend_from_slice(bytes);
        }
        before.clone()
    });
    let outcome = one(&stuck);
    assert_eq!((outcome.ok, errors(&outcome)), (1, vec![(ErrorClass::WrongSequence, 1)]));
    all_failed_by(&one(&nobody()), ErrorClass::ConnectRefused);
    let closing = tcp(|mut stream, _| drop(stream.read_exact(&mut [0; 64])));
    all_failed_by(&one(&closing), ErrorClass::Closed);
}

#[test]
fn services_that_echo_something_before_or_nothing_at_all() {
    let prefixed = udp(|_, bytes, answer| answer(&[b"1", bytes].concat()));
    let mut spec = spec(&prefixed, Protocol::Udp, 10);
    spec.answer = Reply::Echo { skip: 1 };
    assert!(run(&spec).unwrap().is_clean());
    let own = udp(|_, _, answer| answer(b"pong"));
    (spec.settings.target, spec.answer) = (own.address, Reply::Bytes { bytes: 4 });
    assert!(run(&spec).unwrap().is_clean());
    spec.answer = Reply::Bytes { bytes: 5 };
    all_failed_by(&run(&spec).unwrap(), ErrorClass::WrongBody);
}

#[test]
fn a_closed_udp_port_is_a_refusal() {
    all_failed_by(&run(&spec(&nobody(), Protocol::Udp, 4)).unwrap(), ErrorClass::ConnectRefused);
}
