//! Servers die and come back; new flows follow.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use ringlead_tests::{
    Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer, Tunnels, config, needs_ringlead,
    wait_until,
};

use crate::carries;

#[test]
fn a_server_that_dies_gets_no_new_flow_until_it_is_back() {
    needs_ringlead!();
    let lab = Lab::new("health");
    let mut farm = Farm::start(&lab);
    let _tunnels = Tunnels::start(&lab);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    let services = Mode::ALL.map(carries::services).concat();
    for service in &services {
        lab.await_servers(service, "123");
    }
    farm.kill(2);
    for service in &services {
        lab.await_servers(service, "13");
        carries_by(&lab, service);
    }
    farm.bring_back(2);
    for service in &services {
        lab.await_servers(service, "123");
    }
}

/// A server that vanishes answers nothing at all, not even with a reset.
#[test]
fn a_server_that_vanishes_is_noticed() {
    needs_ringlead!();
    let lab = Lab::new("vanish");
    let _farm = Farm::start(&lab);
    let _tunnels = Tunnels::start(&lab);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    let services = Mode::ALL.map(carries::services).concat();
    for service in &services {
        lab.await_servers(service, "123");
    }
    lab.must_run(Node::Switch, "ip", &["link", "set", "to-s3", "down"]);
    for service in &services {
        lab.await_servers(service, "12");
        carries_by(&lab, service);
    }
    lab.must_run(Node::Switch, "ip", &["link", "set", "to-s3", "up"]);
    for service in &services {
        lab.await_servers(service, "123");
    }
}

/// With no server left a TCP client is reset at once (`on-no-server` is reset for TCP), and served when one is back.
#[test]
fn without_any_server_clients_are_told_at_once() {
    needs_ringlead!();
    let lab = Lab::new("none-up");
    let mut farm = Farm::start(&lab);
    let _tunnels = Tunnels::start(&lab);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    let of_mode = |mode| Family::ALL.map(|family| Service::standard(mode, Protocol::Tcp, family));
    let services = Mode::ALL.map(of_mode).concat();
    services.iter().for_each(|service| lab.await_servers(service, "123"));
    for n in [1, 2, 3] {
        farm.kill(n);
    }
    // Sent by the balancer or, until it noticed, by a server: what counts is that it goes on being sent.
    std::thread::sleep(Duration::from_millis(1500));
    lab.must_run(Node::Switch, "ip", &["link", "set", "br0", "down"]); // now it can only be the balancer
    for service in &services {
        wait_until(Duration::from_secs(5), "a reset by the balancer", || {
            let begin = Instant::now();
            let asked = lab.within(Node::Client, || Transfer::new(service.listen).make());
            let kind = asked.err().map(|e| e.kind());
            kind == Some(ErrorKind::ConnectionRefused) && begin.elapsed() < Duration::from_secs(1)
        });
    }
    lab.must_run(Node::Switch, "ip", &["link", "set", "br0", "up"]);
    for n in [1, 2, 3] {
        farm.bring_back(n);
    }
    services.iter().for_each(|service| lab.await_servers(service, "123"));
}

/// Not one flow of many fails once the server is known to be down.
fn carries_by(lab: &Lab, service: &Service) {
    match service.protocol {
        Protocol::Tcp => carries::tcp(lab, service),
        Protocol::Udp => carries::udp(lab, service),
    }
}
