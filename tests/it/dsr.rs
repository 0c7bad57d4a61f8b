//! dsr: only the MAC changes, and replies go around the balancer.

use std::time::Duration;

use ringlead_tests::{
    Family, Farm, Lab, Mode, Network, Node, Protocol, Ringlead, Service, Transfer, config, needs_ringlead,
};

use crate::carries;

#[test]
fn dsr_carries_tcp_and_udp_of_both_families() {
    needs_ringlead!();
    let lab = Lab::new("dsr");
    let _farm = Farm::start(&lab);
    carries::nothing_answers(&lab, Mode::Dsr);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    carries::all_services(&lab, Mode::Dsr);
}

#[test]
fn dsr_leaves_partial_checksums_right() {
    needs_ringlead!();
    let lab = Lab::with("dsr-partial", Network { offload: true, ..Network::default() });
    let _farm = Farm::start(&lab);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    carries::all_services(&lab, Mode::Dsr);
}

#[test]
fn dsr_replies_go_around_the_balancer() {
    needs_ringlead!();
    let lab = Lab::new("dsr-around");
    let _farm = Farm::start(&lab);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    for family in Family::ALL {
        let service = Service::standard(Mode::Dsr, Protocol::Tcp, family);
        lab.await_servers(&service, "123");
        let before = bytes_from(&lab, Node::Client, "c1");
        let download = Transfer::new(service.listen).bytes(1000, 4_000_000).timeout(Duration::from_secs(10));
        lab.within(Node::Client, || download.make()).unwrap();
        let around = bytes_from(&lab, Node::Client, "c1") - before;
        assert!(around > 4_000_000, "{}: only {around} bytes came around the balancer", service.name);
    }
}

/// Bytes that a port received.
fn bytes_from(lab: &Lab, node: Node, port: &str) -> u64 {
    let text = lab.must_run(node, "ip", &["-json", "-statistics", "link", "show", port]);
    let links: serde_json::Value = serde_json::from_str(&text).unwrap();
    links[0]["stats64"]["rx"]["bytes"].as_u64().unwrap()
}
