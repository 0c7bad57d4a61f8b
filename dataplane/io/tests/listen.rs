//! Listeners of one address: each flow is accepted by the one that `listener_of` says.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test, with deadlines"
)]

mod steer_common;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use aya::programs::SkReuseport;
use ringlead_io::listen::{LISTENERS_MAX, ListenError, Listeners, listener_of};
use ringlead_pick::FrontHash;
use ringlead_wire::Ip;
use steer_common::{in_namespace, sh};

const KEY: [u8; 16] = *b"which listener??";
const LISTENERS: usize = 4;
const FLOWS: usize = 2_000;
/// Far more than an accept needs; only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn every_flow_is_accepted_by_the_listener_of_its_hash() {
    in_namespace("listen", |_| {
        up();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (group, listeners) = open(address);
            let mut each = [0_usize; LISTENERS];
            for _ in 0..FLOWS {
                let flow = TcpStream::connect(group.address()).unwrap();
                let expected = expected(&flow);
                assert_eq!(accepted(&listeners, &flow), expected, "{flow:?}");
                each[expected] += 1;
            }
            println!("{address}: {each:?}");
            assert!(each.iter().all(|n| *n > FLOWS / LISTENERS / 2), "{each:?}");
        }
    });
}

#[test]
fn without_the_program_the_kernel_chooses_otherwise() {
    in_namespace("listen-off", |_| {
        up();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (group, listeners) = open(address);
            SkReuseport::detach(&listeners[0]).unwrap();
            let elsewhere = (0..200).filter(|_| {
                let flow = TcpStream::connect(group.address()).unwrap();
                accepted(&listeners, &flow) != expected(&flow)
            });
            assert!(elsewhere.count() > 100, "three of four, but for chance");
        }
    });
}

#[test]
fn a_listener_that_closes_leaves_its_flows_to_the_others_until_it_is_opened_again() {
    in_namespace("listen-close", |_| {
        up();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (mut group, mut listeners) = open(address);
            let waiting: Vec<_> = (0..100).map(|_| TcpStream::connect(group.address()).unwrap()).collect();
            assert!(waiting.iter().any(|flow| expected(flow) == 1));
            let last = listeners.split_off(2);
            drop(listeners.remove(1));
            listeners.extend(last);
            let ports: Vec<_> = waiting.iter().map(|flow| flow.local_addr().unwrap()).collect();
            for _ in &waiting {
                let (_, client) = accept_any(&listeners);
                assert!(ports.contains(&client), "{client}");
            }
            for flow in (0..50).map(|_| TcpStream::connect(group.address()).unwrap()) {
                accepted(&listeners, &flow);
            }
            listeners.insert(1, nonblocking(group.reopen(1).unwrap()));
            for _ in 0..200 {
                let flow = TcpStream::connect(group.address()).unwrap();
                assert_eq!(accepted(&listeners, &flow), expected(&flow));
            }
            // And after all of them were gone.
            listeners.clear();
            nobody_listens_soon(group.address());
            listeners.extend((0..LISTENERS).map(|n| nonblocking(group.reopen(n).unwrap())));
            for _ in 0..200 {
                let flow = TcpStream::connect(group.address()).unwrap();
                assert_eq!(accepted(&listeners, &flow), expected(&flow));
            }
        }
    });
}

#[test]
fn an_address_that_the_node_does_not_have_yet_can_be_listened_on() {
    in_namespace("listen-early", |_| {
        up();
        for (address, assign) in [
            ("192.0.2.10:80", "ip addr add 192.0.2.10/32 dev lo"),
            ("[2001:db8::10]:80", "ip addr add 2001:db8::10 dev lo"),
        ] {
            let (group, listeners) = open(address);
            assert!(TcpStream::connect(group.address()).is_err(), "not yet there");
            sh(assign);
            let flow = connect_soon(group.address());
            assert_eq!(accepted(&listeners, &flow), expected(&flow));
        }
    });
}

#[test]
fn what_cannot_be_had_is_named() {
    in_namespace("listen-refused", |_| {
        up();
        let address = "127.0.0.1:7".parse().unwrap();
        for count in [0, LISTENERS_MAX + 1] {
            let error = Listeners::open(address, count, KEY).unwrap_err();
            assert_eq!(error, ListenError::Count { listeners: count, max: LISTENERS_MAX });
        }
        let _other = TcpListener::bind(address).unwrap();
        let error = Listeners::open(address, 2, KEY).unwrap_err().to_string();
        assert!(error.starts_with("listener on 127.0.0.1:7: bind it: EADDRINUSE"), "{error}");
        let (mut group, _listeners) = open("127.0.0.1:0");
        let unknown = ListenError::Unknown { listener: LISTENERS, listeners: LISTENERS };
        assert_eq!(group.reopen(LISTENERS).unwrap_err(), unknown);
    });
}

fn up() {
    sh("ip link set lo up");
}

fn open(address: &str) -> (Listeners, Vec<TcpListener>) {
    let (group, listeners) = Listeners::open(address.parse().unwrap(), LISTENERS, KEY).unwrap();
    (group, listeners.into_iter().map(nonblocking).collect())
}

fn nonblocking(listener: TcpListener) -> TcpListener {
    listener.set_nonblocking(true).unwrap();
    listener
}

/// The listener of a client's flow, as the library says.
fn expected(flow: &TcpStream) -> usize {
    let (client, service) = (flow.local_addr().unwrap(), flow.peer_addr().unwrap());
    let ip = |a: SocketAddr| Ip::from(a.ip());
    let hash = FrontHash::new(KEY).flow(ip(client), ip(service), client.port(), service.port(), 6);
    listener_of(hash, LISTENERS)
}

/// The listener that accepted a client's flow, which is the only one.
fn accepted(listeners: &[TcpListener], flow: &TcpStream) -> usize {
    let (listener, client) = accept_any(listeners);
    assert_eq!(client, flow.local_addr().unwrap());
    listener
}

/// Accepts the next connection, at whichever listener.
fn accept_any(listeners: &[TcpListener]) -> (usize, SocketAddr) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        for (n, listener) in listeners.iter().enumerate() {
            match listener.accept() {
                Ok((_, client)) => return (n, client),
                Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
            }
        }
        std::thread::yield_now();
    }
    panic!("nobody accepted the connection");
}

/// A process that another test is starting at this moment has its copy of every socket until it runs its program, and a
/// connection to a port that the kernel gives out may meet itself.
fn nobody_listens_soon(address: SocketAddr) {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "somebody listens at {address}");
    }
}

/// Connects to an address that has just been added.
fn connect_soon(address: SocketAddr) -> TcpStream {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(address) {
            Ok(flow) => return flow,
            Err(e) => assert!(Instant::now() < deadline, "{address}: {e}"),
        }
        std::thread::yield_now();
    }
}
