//! One port for clients and servers: both behind the same wire, the clients in a network of their own or in the servers'.

use std::collections::BTreeSet;

use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer, Tunnels, needs_ringlead,
};

use crate::carries;

/// The lab with the balancer's second port and the client on the switch alone: l1, to which c1 is one more neighbour. The
/// client's own network, 10.1.0.0/24 and fd01::/64, moves there with it.
fn one_wire(name: &str) -> Lab {
    let lab = Lab::new(name);
    for (node, device) in [(Node::Client, "c0"), (Node::Balancer, "l0")] {
        lab.must_run(node, "ip", &["addr", "flush", "dev", device, "scope", "global"]);
        lab.must_run(node, "ip", &["link", "set", device, "down"]);
    }
    for family in Family::ALL {
        let (length, nodad): (_, &[&str]) =
            if family == Family::V4 { ("24", &[]) } else { ("64", &["nodad"]) };
        let add = |node, ip: String, device| {
            let address = format!("{ip}/{length}");
            lab.must_run(node, "ip", &[&["addr", "add", &address, "dev", device], nodad].concat());
        };
        add(Node::Balancer, Lab::balancer(family).to_string(), "l1");
        Lab::clients(family).iter().for_each(|ip| add(Node::Client, ip.to_string(), "c1"));
        for mode in Mode::ALL {
            route_to(&lab, mode, family, Lab::clients(family)[0].to_string());
        }
    }
    lab
}

/// The client reaches the services by the balancer, from this address unless it names another.
fn route_to(lab: &Lab, mode: Mode, family: Family, source: String) {
    let (to, via) = (Lab::service(family, mode).to_string(), Lab::balancer(family).to_string());
    lab.must_run(Node::Client, "ip", &["route", "replace", &to, "via", &via, "src", &source]);
}

/// One `[port.*]` that faces both.
fn config(lab: &Lab) -> Config {
    let mut config = Config::standard(lab);
    config.ports = vec![("net", "l1", "both")];
    config
}

#[test]
fn every_mode_serves_by_one_port() {
    needs_ringlead!();
    let lab = one_wire("one-port");
    let _farm = Farm::start(&lab);
    let _tunnels = Tunnels::start(&lab);
    lab.nobody_answers(&Mode::ALL.map(carries::services).concat());
    let ringlead = Ringlead::start(&lab, &config(&lab).render());
    Mode::ALL.into_iter().for_each(|mode| carries::all_services(&lab, mode));
    assert_eq!(ringlead.status()["ports"].as_array().map(Vec::len), Some(1));
}

/// A client with an address of the servers' own network: snat serves it, and nat does not, because servers answer it past the
/// node, from an address that it never asked.
#[test]
fn clients_in_the_servers_network_are_served_by_snat_and_not_by_nat() {
    needs_ringlead!();
    let lab = one_wire("one-port-near");
    let _farm = Farm::start(&lab);
    let near = [(Family::V4, "10.2.0.254"), (Family::V6, "fd02::fe")];
    for (family, ip) in near {
        for mode in [Mode::Nat, Mode::Snat] {
            route_to(&lab, mode, family, ip.to_owned());
        }
    }
    let answered = |service: &Service| {
        let (_, ip) = near[usize::from(carries::family(service) == Family::V6)];
        lab.servers_seen_from(service, &[ip.parse().unwrap()])
    };
    for service in carries::services(Mode::Snat) {
        assert_eq!(answered(&service), BTreeSet::from([Lab::NOBODY]), "{} without a balancer", service.name);
    }
    let _ringlead = Ringlead::start(&lab, &config(&lab).render());
    for service in carries::services(Mode::Snat) {
        lab.await_servers(&service, "123");
        assert_eq!(answered(&service), BTreeSet::from(['1', '2', '3']), "{}", service.name);
        if service.protocol == Protocol::Tcp {
            let (_, ip) = near[usize::from(carries::family(&service) == Family::V6)];
            let long = Transfer::new(service.listen).from(ip.parse().unwrap()).bytes(1_000_003, 3_000_017);
            lab.within(Node::Client, || long.make()).unwrap_or_else(|e| panic!("{}: {e}", service.name));
        }
    }
    for service in carries::services(Mode::Nat) {
        lab.await_servers(&service, "123"); // from its other network
        // A server answers UDP from its own address, which the client's connected socket does not take either.
        assert_eq!(answered(&service), BTreeSet::from([Lab::NOBODY]), "{}", service.name);
    }
}
