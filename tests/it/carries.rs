//! What every mode must do, in one place: carry TCP and UDP of both families byte by byte, to more than one server.

use std::collections::BTreeSet;
use std::time::Duration;

use ringlead_tests::{Exchange, Family, Lab, Mode, Node, Protocol, Service, Transfer, tcp_transfers};

/// The four standard services of a mode.
pub(crate) fn services(mode: Mode) -> Vec<Service> {
    let both = |protocol| Family::ALL.map(|family| Service::standard(mode, protocol, family));
    [both(Protocol::Tcp), both(Protocol::Udp)].concat()
}

/// The negative control: with servers running and no balancer, no service answers.
pub(crate) fn nothing_answers(lab: &Lab, mode: Mode) {
    lab.nobody_answers(&services(mode));
}

/// All four services of a mode carry traffic to all three servers.
pub(crate) fn all_services(lab: &Lab, mode: Mode) {
    for service in services(mode) {
        lab.await_servers(&service, "123");
        match service.protocol {
            Protocol::Tcp => tcp(lab, &service),
            Protocol::Udp => udp(lab, &service),
        }
    }
}

/// Sixteen transfers at a time and a long one, each exact; at least two servers take part.
pub(crate) fn tcp(lab: &Lab, service: &Service) {
    let family = family(service);
    let each = Transfer::new(service.listen).bytes(100_003, 300_007).timeout(Duration::from_secs(10));
    let made = lab.within(Node::Client, || tcp_transfers(each, 16, &Lab::clients(family)));
    let names: BTreeSet<char> = made
        .into_iter()
        .map(|made| made.unwrap_or_else(|e| panic!("{}: {e}", service.name)).server)
        .collect();
    assert!(names.len() >= 2, "{}: only {names:?} served", service.name);

    let long = each.bytes(6_000_011, 6_000_023);
    lab.within(Node::Client, || long.make()).unwrap_or_else(|e| panic!("{}, long: {e}", service.name));
}

/// Sixty-four conversations, short and nearly MTU-long: no loss, no doubles, each with one server; at least two servers.
pub(crate) fn udp(lab: &Lab, service: &Service) {
    let sources = Lab::clients(family(service));
    for size in [1, 64, 1400] {
        let talk = Exchange::new(service.listen).from(&sources).size(size);
        let stats = lab.within(Node::Client, || talk.hold());
        assert!(stats.perfect(), "{}, {size} bytes: {stats:?}", service.name);
        assert!(stats.per_server.len() >= 2, "{}: {stats:?}", service.name);
    }
}

pub(crate) fn family(service: &Service) -> Family {
    if service.listen.is_ipv4() { Family::V4 } else { Family::V6 }
}
