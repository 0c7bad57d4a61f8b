//! Checks by the service's own path see what direct ones cannot: whether the server takes what clients send it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringlead_tests::{
    Config, Family, Farm, Held, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer, Tunnels,
    needs_ringlead, wait_until,
};
use serde_json::Value;

use crate::carries;

/// The balancer's own address on the servers' network.
const BALANCER_V4: &str = "10.2.0.1";

/// A TCP service whose servers are checked by its path.
fn by_path(mode: Mode, family: Family) -> Service {
    let mut service = Service::standard(mode, Protocol::Tcp, family).unchecked();
    service.pool_lines = "health = \"path\"\n".to_owned();
    service
}

/// The two services, one a family, and one whose servers are the same and checked directly.
fn services(mode: Mode) -> ([Service; 2], Service) {
    let direct = Service::on("direct", Mode::Nat, Protocol::Tcp, Family::V4, 81, mode.server_port());
    (Family::ALL.map(|family| by_path(mode, family)), direct)
}

fn file(lab: &Lab, mode: Mode) -> String {
    let ([v4, v6], direct) = services(mode);
    let text = Config::empty(lab).service(v4).service(v6).service(direct).render();
    let times = "interval = \"300ms\"\ntimeout = \"250ms\"\nrise = 1\nfall = 2\n";
    format!("{text}[health.path]\ntype = \"tcp\"\nvia = \"service-path\"\n{times}")
}

/// Server 2 of each pool: whether it is up, and why.
fn second(ringlead: &Ringlead) -> BTreeMap<String, (String, String)> {
    let status = ringlead.status();
    let pools = status["pools"].as_array().unwrap();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let server = |pool: &Value| {
        let server =
            pool["servers"].as_array().unwrap().iter().find(|server| server["name"] == "s2").unwrap();
        (word(&pool["name"]), (word(&server["health"]), word(&server["reason"])))
    };
    pools.iter().map(server).collect()
}

/// Breaks and mends server 2: its services see it, the direct check does not, and nobody else's traffic does.
fn broken_and_mended(
    lab: &Lab,
    mode: Mode,
    ringlead: &Ringlead,
    reason: &str,
    mut set_well: impl FnMut(bool),
) {
    let (services, direct) = services(mode);
    let see = |names: &str| services.iter().for_each(|service| lab.await_servers(service, names));
    see("123");
    lab.await_servers(&direct, "123");
    let held: Vec<_> = (1..=20).map(|_| lab.within(Node::Client, || hold(&services[0]))).collect();
    set_well(false);
    see("13");
    let now = second(ringlead);
    for service in &services {
        let (health, why) = &now[&service.name];
        assert_eq!(health, "down", "{now:?}");
        assert!(why.contains(reason) && why.contains(&service.listen.ip().to_string()), "{now:?}");
        carries::tcp(lab, service);
    }
    assert_eq!(now["direct"].0, "up", "a direct check sees nothing: {now:?}");
    set_well(true);
    see("123");
    for service in &services {
        carries::tcp(lab, service);
    }
    // Also those that server 2 has: it was away for less than TCP waits.
    for transfer in held {
        lab.within(Node::Client, || transfer.finish()).unwrap();
    }
    let drops = ringlead.status()["drops"].clone();
    // A client learns by ICMP what fits into a tunnel, and its packet is dropped.
    let counted = drops.as_object().unwrap().iter().filter(|(reason, _)| *reason != "too-big");
    let dropped: u64 = counted.filter_map(|(_, count)| count.as_u64()).sum();
    assert_eq!(dropped, 0, "{drops}");
}

fn hold(service: &Service) -> Held {
    Transfer::new(service.listen).bytes(10_000, 10_000).timeout(Duration::from_secs(30)).hold().unwrap()
}

#[test]
fn a_dsr_server_without_the_services_address_is_taken_out_and_comes_back() {
    needs_ringlead!();
    let lab = Lab::new("path-dsr");
    let _farm = Farm::start(&lab);
    let ([v4, v6], _) = services(Mode::Dsr);
    assert_eq!(lab.servers_seen(&v4), BTreeSet::from([Lab::NOBODY]), "without a balancer");
    let mut ringlead = Ringlead::start(&lab, &file(&lab, Mode::Dsr));
    // It forwards: what it does not take for its own, it would send back to the balancer, and another server answered.
    for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        lab.within(Node::Server(2), || std::fs::write(format!("/proc/sys/net/{path}"), "1")).unwrap();
    }
    for (service, back) in [(&v4, BALANCER_V4), (&v6, "fd02::1")] {
        let to = service.listen.ip().to_string();
        lab.must_run(Node::Server(2), "ip", &["route", "add", &to, "via", back, "metric", "4096"]);
    }
    broken_and_mended(&lab, Mode::Dsr, &ringlead, "has it the address", |well| {
        for (service, bits) in [(&v4, 32), (&v6, 128)] {
            let address = format!("{}/{bits}", service.listen.ip());
            let verb = if well { "add" } else { "del" };
            lab.must_run(Node::Server(2), "ip", &["addr", verb, &address, "dev", "lo"]);
        }
    });
    source_is_said_and_must_be_ours(&lab, &mut ringlead);
    assert!(packet_sockets(&lab) > 0);
    assert!(ringlead.stop().success());
    assert_eq!(packet_sockets(&lab), 0, "nothing is left");
}

/// An address that is not the node's is no server's fault; one that is, serves.
fn source_is_said_and_must_be_ours(lab: &Lab, ringlead: &mut Ringlead) {
    let ([v4, _], _) = services(Mode::Dsr);
    let with = |source: &str| {
        let text = Config::empty(lab).service(v4.clone()).render();
        format!(
            "{text}[health.path]\ntype = \"tcp\"\nvia = \"service-path\"\nprobe-source = \"{source}\"\ninterval = \"200ms\"\n\
             timeout = \"200ms\"\nrise = 1\nfall = 1\n"
        )
    };
    ringlead.reload(&with("10.2.0.99"));
    wait_until(Duration::from_secs(10), "a word about the source", || {
        ringlead.log().contains("cannot ask from 10.2.0.99")
    });
    assert_eq!(second(ringlead)[&v4.name].0, "up");
    ringlead.reload(&with(BALANCER_V4));
    lab.await_servers(&v4, "123");
}

/// Packet sockets on the balancer.
fn packet_sockets(lab: &Lab) -> usize {
    lab.must_run(Node::Balancer, "cat", &["/proc/net/packet"]).lines().count() - 1
}

#[test]
fn a_server_that_stops_to_decapsulate_is_taken_out_and_comes_back() {
    needs_ringlead!();
    let lab = Lab::new("path-tunnel");
    let _farm = Farm::start(&lab);
    let mut tunnels = Some(Tunnels::start(&lab));
    let ringlead = Ringlead::start(&lab, &file(&lab, Mode::Tunnel));
    broken_and_mended(&lab, Mode::Tunnel, &ringlead, "tunnel", |well| {
        let tunnels = tunnels.as_mut().unwrap();
        if well { tunnels.put_on(&lab, 2) } else { tunnels.take_off(2) }
    });
}
