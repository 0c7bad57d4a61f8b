//! Requests: right counts, connections as asked for, and every fault by its name.

use std::time::Duration;

use ringlead_load::http::{Spec, run};
use ringlead_load::{ErrorClass, LoadError, Outcome};

use crate::servers::{Server, answer, http, nobody, tcp};
use crate::{all_failed_by, closed, closes, open};

fn get(server: &Server, total: u64) -> Spec {
    Spec::get(closed(server, 1, total), "bench.example", "/x?y=1")
}

fn fine() -> Server {
    http(|_, _| answer("200 OK", "hello"))
}

#[test]
fn a_closed_loop_keeps_its_connections_and_counts_right() {
    let server = fine();
    let mut spec = get(&server, 501);
    spec.settings = closed(&server, 4, 501);
    spec.settings.threads = 2;
    let outcome = run(&spec).unwrap();
    closes(&outcome);
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!((outcome.ok, server.requests(), server.accepted()), (501, 501, 4));
    assert_eq!((outcome.connections, outcome.connect.count), (4, 4));
    assert_eq!(outcome.bytes_received, 501 * 5);
    assert_eq!(outcome.statuses.into_iter().collect::<Vec<_>>(), [(200, 501)]);
    assert!(outcome.corrected.is_some(), "a closed loop says what it may have hidden");
}

#[test]
fn an_open_loop_does_its_whole_plan() {
    let server = fine();
    let mut spec = get(&server, 301);
    spec.settings = open(&server, 2000.0, 301);
    spec.settings.threads = 3;
    let outcome = run(&spec).unwrap();
    closes(&outcome);
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!((outcome.planned, outcome.ok, server.requests()), (301, 301, 301));
    assert_eq!(outcome.lag.count, 301);
    assert_eq!(outcome.corrected, None);
}

#[test]
fn the_request_is_what_was_asked_for() {
    let server = http(|_, request| {
        let has = |header: &str| request.headers.iter().any(|line| line.eq_ignore_ascii_case(header));
        let right = request.line == "PUT /x?y=1 HTTP/1.1"
            && has("host: bench.example")
            && has("x-a: b")
            && request.body.len() == 70_001;
        answer(if right { "201 Created" } else { "400 Bad Request" }, "")
    });
    let mut spec = get(&server, 3);
    (spec.method, spec.body_bytes, spec.status) = ("PUT".to_owned(), 70_001, 201);
    spec.headers.push(("x-a".to_owned(), "b".to_owned()));
    let outcome = run(&spec).unwrap();
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!(outcome.bytes_sent, 3 * 70_001);
}

#[test]
fn a_connection_carries_as_many_requests_as_allowed() {
    for (each, connections) in [(Some(1), 60), (Some(7), 9), (None, 1)] {
        let server = fine();
        let mut spec = get(&server, 60);
        spec.requests_per_connection = each;
        let outcome = run(&spec).unwrap();
        assert!(outcome.is_clean(), "{outcome:?}");
        assert_eq!(
            (server.accepted(), outcome.connections),
            (connections, connections),
            "{each:?} a connection"
        );
    }
}

/// RFC 9112 section 9.6: who means to close says so in the last request.
#[test]
fn the_last_request_of_a_connection_says_that_it_is() {
    let server = http(|number, request| {
        let closes = request.headers.iter().any(|header| header.eq_ignore_ascii_case("connection: close"));
        answer(if closes == (number % 3 == 0) { "200 OK" } else { "400 Bad Request" }, "")
    });
    let mut spec = get(&server, 12);
    spec.requests_per_connection = Some(3);
    let outcome = run(&spec).unwrap();
    assert!(outcome.is_clean(), "{outcome:?}");
}

#[test]
fn a_server_that_closes_kept_connections_costs_no_request() {
    let server = http(|number, _| match number % 10 {
        0 => b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => answer("200 OK", ""),
    });
    let outcome = run(&get(&server, 50)).unwrap();
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!((outcome.ok, server.accepted()), (50, 5));
}

#[test]
fn few_connections_make_requests_wait_and_none_is_left_out() {
    let server = fine();
    let mut spec = get(&server, 200);
    spec.settings = open(&server, 10_000.0, 200);
    spec.settings.connections_max = Some(2);
    let outcome = run(&spec).unwrap();
    closes(&outcome);
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!(outcome.ok, 200);
    assert!(server.accepted() <= 2, "{} connections", server.accepted());
}

#[test]
fn refused_connections_are_named() {
    let outcome = run(&get(&nobody(), 5)).unwrap();
    all_failed_by(&outcome, ErrorClass::ConnectRefused);
    assert_eq!((outcome.failed, outcome.connections), (5, 0));
    assert!(outcome.is_valid(), "the service refused, not the client: {:?}", outcome.invalid);
}

#[test]
fn a_wrong_status_is_named_and_the_connection_stays() {
    let server = http(|number, _| answer(if number % 5 == 0 { "503 No" } else { "200 OK" }, "body"));
    let outcome = run(&get(&server, 50)).unwrap();
    closes(&outcome);
    assert_eq!(outcome.errors.iter().collect::<Vec<_>>(), [(&ErrorClass::WrongStatus, &10)]);
    assert_eq!(outcome.statuses.iter().collect::<Vec<_>>(), [(&200, &40), (&503, &10)]);
    assert_eq!(server.accepted(), 1);
}

/// Every request answered by these bytes and the connection's end.
fn answered_by(bytes: &'static [u8]) -> Outcome {
    let server = tcp(move |mut stream, _| {
        use std::io::{Read, Write};
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(bytes);
    });
    run(&get(&server, 4)).unwrap()
}

#[test]
fn faulty_answers_are_named() {
    for (bytes, class) in [
        (&b""[..], ErrorClass::Closed),
        (b"HTTP/1.1 200 O", ErrorClass::Closed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", ErrorClass::ShortBody),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", ErrorClass::ShortBody),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ErrorClass::Malformed),
    ] {
        all_failed_by(&answered_by(bytes), class);
    }
}

#[test]
fn a_connection_reset_is_named() {
    // What is closed with bytes unread is reset.
    let server = tcp(|stream, _| {
        let _ = stream.peek(&mut [0]);
    });
    all_failed_by(&run(&get(&server, 4)).unwrap(), ErrorClass::Reset);
}

#[test]
fn a_server_that_never_answers_is_a_timeout() {
    let server = tcp(|mut stream, _| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut spec = get(&server, 3);
    spec.settings.timeout = Duration::from_millis(50);
    all_failed_by(&run(&spec).unwrap(), ErrorClass::Timeout);
    assert_eq!(server.accepted(), 3, "a connection that owes an answer is not used again");
    // Those that wait for a connection to become free are as late.
    spec.settings = open(&server, 1000.0, 20);
    (spec.settings.timeout, spec.settings.connections_max) = (Duration::from_millis(50), Some(1));
    all_failed_by(&run(&spec).unwrap(), ErrorClass::Timeout);
}

#[test]
fn bodies_are_compared_when_asked_for() {
    let server = fine();
    let with = |bytes, sha256: Option<&str>| {
        let mut spec = get(&server, 2);
        spec.answer_bytes = bytes;
        spec.answer_sha256 = sha256
            .map(|hex| std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()));
        run(&spec).unwrap()
    };
    // sha256sum of "hello" and of nothing
    let hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert!(with(Some(5), Some(hello)).is_clean());
    all_failed_by(&with(None, Some(nothing)), ErrorClass::WrongBody);
    all_failed_by(&with(Some(6), None), ErrorClass::ShortBody);
    all_failed_by(&with(Some(4), None), ErrorClass::WrongBody);
}

#[test]
fn what_cannot_run_is_refused() {
    let server = fine();
    let refused = |change: fn(&mut Spec)| {
        let mut spec = get(&server, 1);
        change(&mut spec);
        run(&spec).unwrap_err()
    };
    let why = refused(|spec| spec.settings.netns = Some("no-such-namespace".to_owned()));
    assert!(matches!(&why, LoadError::Namespace(name, _) if name == "no-such-namespace"), "{why}");
    let why = refused(|spec| spec.settings.bind = vec!["192.0.2.1".parse().unwrap()]);
    assert!(matches!(&why, LoadError::Source(..)), "{why}");
    assert_eq!(server.accepted(), 0);
}
