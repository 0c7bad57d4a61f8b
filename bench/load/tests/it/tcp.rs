//! Connections and the bytes on them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringlead_load::tcp::{Exchange, Spec, run};
use ringlead_load::{Close, ErrorClass};

use crate::servers::{Server, echo, nobody, tcp};
use crate::{all_failed_by, closed, closes, open};

fn spec(server: &Server, total: u64, exchange: Exchange) -> Spec {
    Spec { settings: closed(server, 3, total), exchange }
}

const NOTHING: Exchange = Exchange::Bytes { send: 0, receive: 0 };

#[test]
fn connections_are_opened_closed_and_counted() {
    for close in [Close::Fin, Close::Reset] {
        let server = tcp(|mut stream, ended| {
            let _ = stream.read(&mut [0]);
            ended.fetch_add(1, Ordering::SeqCst);
        });
        let mut spec = spec(&server, 100, NOTHING);
        (spec.settings.close, spec.settings.threads) = (close, 2);
        let outcome = run(&spec).unwrap();
        closes(&outcome);
        assert!(outcome.is_clean(), "{outcome:?}");
        assert_eq!((outcome.ok, outcome.connections), (100, 100));
        crate::honest::eventually(|| server.accepted() == 100 && server.requests() == 100);
    }
}

#[test]
fn connections_at_a_rate_are_as_many_as_planned() {
    let server = echo();
    let settings = open(&server, 1000.0, 150);
    let outcome = run(&Spec { settings, exchange: Exchange::Echo { bytes: 100 } }).unwrap();
    closes(&outcome);
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!((outcome.planned, outcome.ok, server.accepted()), (150, 150, 150));
}

#[test]
fn an_echo_is_compared_to_its_last_byte() {
    let outcome = run(&spec(&echo(), 6, Exchange::Echo { bytes: 1_000_003 })).unwrap();
    closes(&outcome);
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!((outcome.bytes_sent, outcome.bytes_received), (6 * 1_000_003, 6 * 1_000_003));
    let last_changed = tcp(|mut stream, _| {
        let mut bytes = vec![0; 200_000];
        stream.read_exact(&mut bytes).unwrap();
        bytes[199_999] ^= 1;
        let _ = stream.write_all(&bytes);
    });
    all_failed_by(
        &run(&spec(&last_changed, 3, Exchange::Echo { bytes: 200_000 })).unwrap(),
        ErrorClass::WrongBody,
    );
}

#[test]
fn so_many_bytes_go_each_way() {
    let server = tcp(|mut stream, got| {
        stream.write_all(&[b'x'; 5000]).unwrap();
        let mut bytes = vec![0; 70_000];
        stream.read_exact(&mut bytes).unwrap();
        got.fetch_add(70_000, Ordering::SeqCst);
        let _ = stream.read(&mut [0]);
    });
    let outcome = run(&spec(&server, 9, Exchange::Bytes { send: 70_000, receive: 5000 })).unwrap();
    closes(&outcome);
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!((outcome.bytes_sent, outcome.bytes_received), (9 * 70_000, 9 * 5000));
    crate::honest::eventually(|| server.requests() == 9 * 70_000);
}

#[test]
fn streams_last_as_long_as_the_run() {
    let got = Arc::new(AtomicU64::new(0));
    let taken = Arc::clone(&got);
    let sink = tcp(move |mut stream, _| {
        let mut buffer = [0; 16_000];
        while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
            taken.fetch_add(bytes as u64, Ordering::SeqCst);
        }
    });
    let mut spec = spec(&sink, 3, Exchange::Stream { send: true, receive: false });
    spec.settings.duration = Duration::from_millis(1200);
    let outcome = run(&spec).unwrap();
    closes(&outcome);
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!((outcome.ok, sink.accepted()), (3, 3));
    assert!(outcome.latency.min_ns >= 1_000_000_000, "a stream ended early: {outcome:?}");
    crate::honest::eventually(|| got.load(Ordering::SeqCst) == outcome.bytes_sent);

    let source = tcp(|mut stream, _| while stream.write_all(&[b'x'; 16_000]).is_ok() {});
    spec.settings.target = source.address;
    spec.exchange = Exchange::Stream { send: false, receive: true };
    let outcome = run(&spec).unwrap();
    assert!(outcome.is_clean() && outcome.bytes_received > 0 && outcome.bytes_sent == 0, "{outcome:?}");
}

#[test]
fn faults_are_named() {
    let exchange = Exchange::Bytes { send: 10, receive: 10 };
    all_failed_by(&run(&spec(&nobody(), 3, NOTHING)).unwrap(), ErrorClass::ConnectRefused);
    let closing = tcp(|mut stream, _| {
        let _ = stream.read_exact(&mut [0; 10]);
    });
    all_failed_by(&run(&spec(&closing, 3, exchange)).unwrap(), ErrorClass::Closed);
    let short = tcp(|mut stream, _| {
        let _ = stream.read_exact(&mut [0; 10]);
        let _ = stream.write_all(b"nine byte");
    });
    all_failed_by(&run(&spec(&short, 3, exchange)).unwrap(), ErrorClass::ShortBody);
    let silent = tcp(|mut stream, _| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut spec = spec(&silent, 3, exchange);
    spec.settings.timeout = Duration::from_millis(50);
    all_failed_by(&run(&spec).unwrap(), ErrorClass::Timeout);
}

/// All of 127.0.0.0/8 is this host.
#[test]
fn source_addresses_are_used_in_turn() {
    let seen = Arc::new(Mutex::new(BTreeMap::<IpAddr, u32>::new()));
    let peers = Arc::clone(&seen);
    let server = tcp(move |mut stream, _| {
        *peers.lock().unwrap().entry(stream.peer_addr().unwrap().ip()).or_default() += 1;
        let _ = stream.read(&mut [0]);
    });
    let mut spec = spec(&server, 30, NOTHING);
    let sources = ["127.0.0.2", "127.0.0.3", "127.0.0.4"].map(|source| source.parse::<IpAddr>().unwrap());
    spec.settings.bind = sources.to_vec();
    assert!(run(&spec).unwrap().is_clean());
    crate::honest::eventually(|| {
        *seen.lock().unwrap() == sources.map(|source| (source, 10)).into_iter().collect()
    });
}

#[test]
fn specs_without_sense_are_refused() {
    let server = nobody();
    let refused = |spec: &Spec| run(spec).unwrap_err().to_string();
    let stream = Exchange::Stream { send: true, receive: true };
    assert!(refused(&Spec { settings: open(&server, 1.0, 1), exchange: stream }).contains("no rate"));
    let neither = Exchange::Stream { send: false, receive: false };
    assert!(refused(&spec(&server, 1, neither)).contains("neither"));
    let mut limited = Spec { settings: open(&server, 1.0, 1), exchange: NOTHING };
    limited.settings.connections_max = Some(1);
    assert!(refused(&limited).contains("a request is a connection"));
    limited.settings = closed(&server, 1, 1);
    limited.settings.duration = Duration::from_secs(8 * 86_400);
    assert!(refused(&limited).contains("7 days"));
}
