//! `ringlead bench verify`: an honest balancer is found clean, and what goes missing is named.

use crate::bench::{TRIES, bench, bench_across, starved};
use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Tunnels, config, needs_ringlead,
};

/// Gentle, and never invalid for want of a core: what is tested is frames.
const GENTLE: [&str; 8] = ["--rate", "2kpps", "--duration", "2s", "--lag-max", "30s", "--flows", "300"];

const IMIX: [&str; 2] = ["--size", "imix"];

/// Both ways, both families, both protocols, several sizes; the servers' kernels go on answering health checks.
fn is_clean(mode: Mode, more: &[&str]) {
    let lab = Lab::new("bench-clean");
    let _farm = Farm::start(&lab);
    let tunnels = Tunnels::start(&lab);
    let ringlead = Ringlead::start(&lab, &config(&lab));
    for service in crate::carries::services(mode) {
        lab.await_servers(&service, "123");
    }
    drop(tunnels); // the generator plays the servers, and judges what arrives at their ports
    run_is_clean(&lab, &ringlead, mode, (&Family::ALL, &Family::ALL), more);
}

fn run_is_clean(lab: &Lab, ringlead: &Ringlead, mode: Mode, families: (&[Family], &[Family]), more: &[&str]) {
    let options = ["--reply", "--proto", "tcp,udp", "--new-flows", "50"];
    let run = || bench_across(lab, "verify", mode, families, &[&GENTLE[..], &options[..], more].concat());
    let mut ran = run();
    for _ in 1..TRIES {
        if ran.code == Some(0) || !starved(ringlead) {
            break;
        }
        eprintln!("a worker had no core for a second: once more");
        ran = run();
    }
    assert_eq!(ran.code, Some(0), "{}", ran.summary());
    let (sent, received) = (ran.count("sent"), ran.count("received"));
    assert!(sent > 3000 && received == sent, "{}", ran.summary());
    assert_eq!(ran.outcome()["replies"]["received"], sent, "{}", ran.summary());
    assert_eq!(ran.outcome()["findings"]["forward"]["received"], sent, "not every frame was judged");
    assert_eq!(ran.outcome()["findings"]["moves"]["flows"], 0, "{}", ran.summary());
    assert!(ran.outcome()["latency"]["p50_ns"].as_u64().is_some_and(|ns| ns > 0), "{}", ran.summary());
}

#[test]
fn nat_is_clean() {
    needs_ringlead!();
    is_clean(Mode::Nat, &IMIX);
}

#[test]
fn dsr_is_clean() {
    needs_ringlead!();
    is_clean(Mode::Dsr, &IMIX);
}

#[test]
fn tunnel_is_clean() {
    needs_ringlead!();
    let room = ["--size", "64,594,1470"]; // with its FCS the longest that still fits behind GUE over IPv6
    let sources = ["--tunnel", "gue", "--tunnel-source", "172.16.0.0/16,100::/64"];
    is_clean(Mode::Tunnel, &[&room[..], &sources[..]].concat());
}

#[test]
fn snat_is_clean() {
    needs_ringlead!();
    let sources = ["--snat-source", "10.2.0.200/30,fd02::c8/128", "--snat-ports", "1024-65535"];
    is_clean(Mode::Snat, &[&IMIX[..], &sources[..]].concat());
}

/// NAT64 and NAT46 (RFC 7915), with lengths on both sides of 1260 bytes of IPv4, where DF changes.
#[test]
fn translation_is_clean() {
    needs_ringlead!();
    let lab = Lab::new("bench-64");
    let _farm = Farm::start(&lab);
    let mut config = Config::empty(&lab);
    for service in crate::carries::services(Mode::Snat) {
        let other = if crate::carries::family(&service) == Family::V4 { Family::V6 } else { Family::V4 };
        config = config.service(service.reached_by(other));
    }
    let without = bench_across(
        &lab,
        "verify",
        Mode::Snat,
        (&[Family::V6], &[Family::V4]),
        &[&GENTLE[..], &TRANSLATED].concat(),
    );
    assert!(without.code != Some(0) && without.count("received") == 0, "{}", without.summary());
    let ringlead = Ringlead::start(&lab, &config.render());
    for service in &config.services {
        lab.await_servers(service, "123");
    }
    // With its FCS and 20 bytes more the longest is an IPv4 client's longest, and 1298 bytes of IPv6 are 1260 of IPv4.
    for (client, server, sizes) in
        [(Family::V6, Family::V4, "64,594,1298,1299,1518"), (Family::V4, Family::V6, "64,594,1278,1279,1498")]
    {
        let more = [&TRANSLATED[..], &["--size", sizes, "--tos", "185"]].concat();
        run_is_clean(&lab, &ringlead, Mode::Snat, (&[client], &[server]), &more);
    }
}

const TRANSLATED: [&str; 4] = ["--snat-source", "10.2.0.200/30,fd02::c8/128", "--snat-ports", "1024-65535"];

/// A server whose link is down: its frames are lost behind the balancer, and named one by one.
#[test]
fn frames_of_a_server_that_is_cut_off_are_named() {
    needs_ringlead!();
    let lab = Lab::new("bench-cut");
    let service = Service::standard(Mode::Nat, Protocol::Udp, Family::V4).unchecked();
    let config = Config::empty(&lab).service(service);
    let _ringlead = Ringlead::start(&lab, &config.render());
    let udp = ["--proto", "udp"];
    let whole = bench(&lab, "verify", Mode::Nat, &[Family::V4], &[&GENTLE[..], &udp[..]].concat());
    assert_eq!(whole.code, Some(0), "{}", whole.summary());

    lab.must_run(Node::Switch, "ip", &["link", "set", "to-s2", "down"]);
    let cut = bench(&lab, "verify", Mode::Nat, &[Family::V4], &[&GENTLE[..], &udp[..]].concat());
    let lost = cut.count("lost");
    assert!(cut.code == Some(1) && lost > 100, "{}", cut.summary());
    let findings = &cut.outcome()["findings"];
    assert_eq!(findings["counts"]["lost"], lost, "{}", cut.summary());
    let named = findings["missing"]["forward"].as_array().unwrap();
    let named: u64 = named.iter().map(|gap| gap["count"].as_u64().unwrap()).sum();
    assert_eq!((named, &findings["missing"]["complete"]), (lost, &true.into()), "{}", cut.summary());
    let loss = &cut.outcome()["loss"];
    let inside: u64 = loss["inside"].as_object().unwrap().values().filter_map(|count| count.as_u64()).sum();
    let places = (loss["before"].as_u64().unwrap(), loss["after"].as_u64().unwrap());
    assert_eq!(places.0 + inside + places.1, lost, "{loss}");
    assert!(places.1 > 0, "nothing was lost behind the balancer: {loss}");
}
