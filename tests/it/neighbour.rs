//! A server's MAC is unknown at first, or changes: traffic waits, is lost for a moment, and flows.

use std::fs;
use std::thread;
use std::time::Duration;

use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer, Tunnels, needs_ringlead,
};

use crate::carries;

/// The servers are not checked, so that the first packet meets a neighbour that nothing else has resolved.
#[test]
fn traffic_flows_once_a_missing_server_is_there() {
    needs_ringlead!();
    let lab = Lab::new("missing");
    let _farm = Farm::start(&lab);
    let _tunnels = Tunnels::start(&lab);
    lab.must_run(Node::Switch, "ip", &["link", "set", "to-s1", "down"]);
    let mut config = Config::empty(&lab);
    let mut services = Vec::new();
    for mode in Mode::ALL {
        for family in Family::ALL {
            services.push(Service::standard(mode, Protocol::Tcp, family).with_servers(&[1]).unchecked());
        }
    }
    config.services.clone_from(&services);
    let _ringlead = Ringlead::start(&lab, &config.render());
    thread::scope(|scope| {
        let mut clients = Vec::new();
        for service in &services {
            let lab = &lab;
            clients.push(scope.spawn(move || {
                let patient = Transfer::new(service.listen).timeout(Duration::from_secs(20));
                lab.within(Node::Client, || patient.make())
                    .unwrap_or_else(|e| panic!("{}: {e}", service.name))
            }));
        }
        thread::sleep(Duration::from_millis(1500));
        assert!(clients.iter().all(|client| !client.is_finished()), "a server that is not there answered");
        // As the kernel's garbage collection does with one that has failed, in a table of more than gc_thresh1.
        for server in Family::ALL.map(|family| Lab::server(family, 1).to_string()) {
            // Perhaps it has done so.
            let _ = lab.run(Node::Balancer, "ip", &["neighbour", "del", &server, "dev", "l1"]);
        }
        lab.must_run(Node::Switch, "ip", &["link", "set", "to-s1", "up"]);
        for client in clients {
            assert_eq!(client.join().unwrap().server, '1');
        }
    });
}

#[test]
fn a_server_with_a_new_mac_is_found_again() {
    needs_ringlead!();
    let lab = Lab::new("new-mac");
    let _farm = Farm::start(&lab);
    let _tunnels = Tunnels::start(&lab);
    let _ringlead = Ringlead::start(&lab, &Config::standard(&lab).render());
    let services = Mode::ALL.map(carries::services).concat();
    for service in &services {
        lab.await_servers(service, "123");
    }
    // As the interface that takes over does, it announces itself.
    for notify in ["ipv4/conf/all/arp_notify", "ipv6/conf/all/ndisc_notify"] {
        lab.within(Node::Server(2), || fs::write(format!("/proc/sys/net/{notify}"), "1")).unwrap();
    }
    lab.must_run(Node::Server(2), "ip", &["link", "set", "e0", "address", "02:00:00:00:99:02"]);
    for service in &services {
        lab.await_servers(service, "123");
    }
}
