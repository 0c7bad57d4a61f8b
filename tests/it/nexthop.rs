//! The network between balancer and server changes while clients are served: traffic goes on within seconds.

use std::time::Duration;

use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer, Tunnels, config,
    needs_ringlead, wait_until,
};

use crate::carries;

/// Where server 3 lives behind a router.
const FAR: [(Family, &str); 2] = [(Family::V4, "10.3.0.13"), (Family::V6, "fd03::13")];

/// Server 3 behind a router, which is server 1 or 2: both would forward. The router that is left is cut off, so that what still
/// went there would be lost. In mode tunnel, which is the one for servers in other networks.
#[test]
fn a_route_that_moves_to_another_gateway_is_followed() {
    needs_ringlead!();
    let lab = Lab::new("gateway");
    let _farm = Farm::start(&lab);
    let far = || FAR.map(|(_, ip)| ip.parse().unwrap()).to_vec();
    let _tunnels = Tunnels::at(&lab, |number| if number == 3 { far() } else { Vec::new() });
    far_server(&lab);
    route_by(&lab, 1);
    let mut config = Config::empty(&lab);
    let mut clients = Vec::new();
    for service in carries::services(Mode::Tunnel) {
        let mut service = service.with_servers(&[3]).unchecked();
        let (_, ip) = FAR[usize::from(carries::family(&service) == Family::V6)];
        service.servers[0].1.set_ip(ip.parse().unwrap());
        clients.push(service.clone());
        config = config.service(service);
    }
    let _ringlead = Ringlead::start(&lab, &config.render());
    clients.iter().for_each(|service| lab.await_servers(service, "3"));
    for router in [2, 1] {
        moved(&lab, &clients, Node::Server(router), Some(3 - router), || route_by(&lab, router));
    }
    a_policy_rule_is_followed(&lab, &clients);
    a_gateway_that_moves_to_another_port_is_followed(&lab, &clients);
}

/// After the change all goes by this router, also when the one that it went by before is cut off.
fn moved(lab: &Lab, clients: &[Service], router: Node, last: Option<u8>, change: impl FnOnce()) {
    let before = forwarded(lab, router);
    change();
    let link = |state| {
        last.map(|last| lab.must_run(Node::Switch, "ip", &["link", "set", &format!("to-s{last}"), state]))
    };
    link("down");
    clients.iter().for_each(|service| lab.await_servers(service, "3"));
    assert!(forwarded(lab, router) > before + 100, "{router} did not forward");
    link("up");
}

/// The way by the second router is in a table of its own, which a rule begins and ends to name. No route changes then.
fn a_policy_rule_is_followed(lab: &Lab, clients: &[Service]) {
    let each = |arguments: &[&str]| {
        for (family, ip) in FAR {
            let (to, via) = (prefix(family, ip), Lab::server(family, 2).to_string());
            let family = if family == Family::V4 { "-4" } else { "-6" };
            let word = |word: &&str| match *word {
                "TO" => to.clone(),
                "VIA" => via.clone(),
                other => other.to_owned(),
            };
            let words: Vec<String> = arguments.iter().map(word).collect();
            let words: Vec<&str> = [family].into_iter().chain(words.iter().map(String::as_str)).collect();
            lab.must_run(Node::Balancer, "ip", &words);
        }
    };
    each(&["route", "add", "TO", "via", "VIA", "table", "100"]);
    clients.iter().for_each(|service| lab.await_servers(service, "3"));
    moved(lab, clients, Node::Server(2), Some(1), || each(&["rule", "add", "to", "TO", "lookup", "100"]));
    moved(lab, clients, Node::Server(1), Some(2), || each(&["rule", "del", "to", "TO", "lookup", "100"]));
}

/// The gateway's address is behind the port towards the servers first, at server 1, then behind the one towards the clients, at
/// the client, which forwards by its other port.
fn a_gateway_that_moves_to_another_port_is_followed(lab: &Lab, clients: &[Service]) {
    let gateways = [(Family::V4, "10.4.0.1"), (Family::V6, "fd04::1")];
    let have = |node, what, device: &str| {
        for (family, ip) in gateways {
            let address = prefix(family, ip);
            let nodad: &[&str] = if family == Family::V6 && what == "add" { &["nodad"] } else { &[] };
            lab.must_run(node, "ip", &[&["addr", what, &address, "dev", device], nodad].concat());
        }
    };
    let by = |port: &str| {
        for ((family, gateway), (_, far)) in gateways.into_iter().zip(FAR) {
            let (gateway_prefix, to) = (prefix(family, gateway), prefix(family, far));
            let route =
                |more: &[&str]| lab.must_run(Node::Balancer, "ip", &[&["route", "replace"], more].concat());
            route(&[&gateway_prefix, "dev", port]);
            route(&[&to, "via", gateway, "dev", port, "onlink"]);
        }
    };
    forwards(lab, Node::Client);
    for (family, far) in FAR {
        let via = Lab::server(family, 3).to_string();
        lab.must_run(Node::Client, "ip", &["route", "add", &prefix(family, far), "via", &via]);
    }
    have(Node::Server(1), "add", "e0");
    moved(lab, clients, Node::Server(1), Some(2), || by("l1"));
    moved(lab, clients, Node::Client, Some(1), || {
        have(Node::Server(1), "del", "e0");
        have(Node::Client, "add", "c0");
        by("l0");
    });
}

/// Server 3 has an address of its own network, and servers 1 and 2 forward to it.
fn far_server(lab: &Lab) {
    for (family, ip) in FAR {
        let to = prefix(family, ip);
        lab.must_run(Node::Server(3), "ip", &["addr", "add", &to, "dev", "lo"]);
        let via = Lab::server(family, 3).to_string();
        for router in [1, 2] {
            lab.must_run(Node::Server(router), "ip", &["route", "add", &to, "via", &via]);
        }
    }
    [1, 2].into_iter().for_each(|router| forwards(lab, Node::Server(router)));
}

fn forwards(lab: &Lab, node: Node) {
    for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        lab.within(node, || std::fs::write(format!("/proc/sys/net/{path}"), "1")).unwrap();
    }
}

fn route_by(lab: &Lab, router: u8) {
    for (family, ip) in FAR {
        let (to, via) = (prefix(family, ip), Lab::server(family, router).to_string());
        lab.must_run(Node::Balancer, "ip", &["route", "replace", &to, "via", &via]);
    }
}

fn prefix(family: Family, ip: &str) -> String {
    format!("{ip}/{}", if family == Family::V4 { 32 } else { 128 })
}

/// Packets that a node's kernel forwarded, of both families.
fn forwarded(lab: &Lab, node: Node) -> u64 {
    let read = |file: &str| lab.within(node, || std::fs::read_to_string(file)).unwrap();
    let v4 = read("/proc/thread-self/net/snmp");
    let mut lines = v4.lines().filter(|line| line.starts_with("Ip:")).map(str::split_whitespace);
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let v4 = names.zip(values).find(|(name, _)| *name == "ForwDatagrams").unwrap().1;
    let v6 = read("/proc/thread-self/net/snmp6");
    let v6 = v6.lines().find_map(|line| line.strip_prefix("Ip6OutForwDatagrams")).unwrap();
    v4.parse::<u64>().unwrap() + v6.trim().parse::<u64>().unwrap()
}

/// The port towards the servers loses its carrier and gets it back, then the port towards the clients: flows pause and go on.
#[test]
fn flows_go_on_after_a_port_was_down() {
    needs_ringlead!();
    let lab = Lab::new("port-down");
    let _farm = Farm::start(&lab);
    let _tunnels = Tunnels::start(&lab);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    let services = Mode::ALL.map(carries::services).concat();
    services.iter().for_each(|service| lab.await_servers(service, "123"));
    for (node, port) in [(Node::Switch, "to-lb"), (Node::Client, "c0")] {
        std::thread::scope(|scope| {
            let clients: Vec<_> = Mode::ALL
                .into_iter()
                .map(|mode| {
                    let to = Service::standard(mode, Protocol::Tcp, Family::V4).listen;
                    let long = Transfer::new(to)
                        .bytes(1_000_003, 1_000_003)
                        .lasting(Duration::from_secs(5))
                        .timeout(Duration::from_secs(20));
                    let lab = &lab;
                    (to, scope.spawn(move || lab.within(Node::Client, || long.make())))
                })
                .collect();
            std::thread::sleep(Duration::from_millis(1500));
            lab.must_run(node, "ip", &["link", "set", port, "down"]);
            std::thread::sleep(Duration::from_millis(400)); // shorter than the checks need to tell a server down
            assert!(clients.iter().all(|(_, client)| !client.is_finished()), "they were to last across it");
            lab.must_run(node, "ip", &["link", "set", port, "up"]);
            if port == "c0" {
                routes_of_the_client(&lab);
            }
            for (to, client) in clients {
                client.join().unwrap().unwrap_or_else(|e| panic!("{to}, {port}: {e}"));
            }
        });
        services.iter().for_each(|service| lab.await_servers(service, "123"));
    }
}

/// A kernel forgets the routes by a port that goes down: the lab's are put back.
fn routes_of_the_client(lab: &Lab) {
    for mode in Mode::ALL {
        for family in Family::ALL {
            let (to, via) = (Lab::service(family, mode).to_string(), Lab::balancer(family).to_string());
            let source = Lab::clients(family)[0].to_string();
            wait_until(Duration::from_secs(3), "the client's route", || {
                let route = ["route", "replace", &to, "via", &via, "src", &source];
                lab.run(Node::Client, "ip", &route).status.success()
            });
        }
    }
}
