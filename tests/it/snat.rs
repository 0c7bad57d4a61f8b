//! snat: source and destination translated, so that a server answers to an address of the balancer's on its own network.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringlead_tests::{
    Config, Exchange, Family, Farm, Lab, Mode, Network, Node, Protocol, Ringlead, Service, Transfer, config,
    needs_ringlead, tcp_transfers, wait_until,
};

use crate::{carries, tunnel};

#[test]
fn snat_carries_tcp_and_udp_of_both_families() {
    needs_ringlead!();
    let lab = Lab::new("snat");
    let _farm = Farm::start(&lab);
    carries::nothing_answers(&lab, Mode::Snat);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    carries::all_services(&lab, Mode::Snat);
}

#[test]
fn snat_repairs_partial_checksums() {
    needs_ringlead!();
    let lab = Lab::with("snat-partial", Network { offload: true, ..Network::default() });
    let _farm = Farm::start(&lab);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    carries::all_services(&lab, Mode::Snat);
}

/// NAT64 and NAT46 (RFC 7915): clients of one family, servers of the other. An IPv6 header is 20 bytes longer than an IPv4
/// header, which IPv4 clients must be told. Not by TCP, where the servers' MSS says it.
#[test]
fn snat_translates_between_the_families() {
    needs_ringlead!();
    let lab = Lab::new("snat-64");
    let _farm = Farm::start(&lab);
    let mut config = Config::empty(&lab);
    for service in carries::services(Mode::Snat) {
        let other = if carries::family(&service) == Family::V4 { Family::V6 } else { Family::V4 };
        config = config.service(service.reached_by(other));
    }
    carries::nothing_answers(&lab, Mode::Snat);
    let _ringlead = Ringlead::start(&lab, &config.render());
    carries::all_services(&lab, Mode::Snat);
    for family in Family::ALL {
        let to = Service::standard(Mode::Snat, Protocol::Udp, family).listen;
        let size = if family == Family::V4 { 1460 } else { 1451 }; // an answer is a byte longer
        let long = Exchange::new(to).times(4, 1).size(size).timeout(Duration::from_millis(300));
        let stats = lab.within(Node::Client, || long.hold());
        assert_eq!(stats.answered, if family == Family::V4 { 0 } else { 4 }, "{stats:?}");
    }
    let learnt = Family::ALL.map(|family| tunnel::path_mtu(&lab, Lab::service(family, Mode::Snat)));
    assert_eq!(learnt, [Some(1480), None], "path MTUs of the IPv4 and the IPv6 client");
}

/// Servers see addresses of the pool, more than one, and no client's; two flows never have one mapping.
#[test]
fn servers_see_the_pool_in_place_of_clients() {
    needs_ringlead!();
    let lab = Lab::new("snat-seen");
    let _farm = Farm::start(&lab);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    for family in Family::ALL {
        let service = Service::standard(Mode::Snat, Protocol::Tcp, family);
        lab.await_servers(&service, "123");
        let peers = thread::scope(|scope| {
            let clients = scope.spawn(|| {
                let long = Transfer::new(service.listen).lasting(Duration::from_secs(4));
                lab.within(Node::Client, || tcp_transfers(long, 30, &Lab::clients(family)))
            });
            let mut peers = Vec::new();
            wait_until(Duration::from_secs(3), "the servers to have 30 connections", || {
                peers = (1..=3).flat_map(|n| peers_of(&lab, n, family)).collect();
                peers.len() == 30
            });
            for made in clients.join().unwrap() {
                made.unwrap_or_else(|e| panic!("{}: {e}", service.name));
            }
            peers
        });
        let own: BTreeSet<IpAddr> = peers.iter().map(SocketAddr::ip).collect();
        assert!(own.is_subset(&pool(family).collect()), "{own:?}");
        assert_eq!(
            own.len() > 1,
            family == Family::V4,
            "of several addresses more than one is used: {own:?}"
        );
        assert_eq!(peers.iter().collect::<BTreeSet<_>>().len(), 30, "flows share a mapping: {peers:?}");
        assert!(peers.iter().all(|peer| peer.port() >= 1024), "{peers:?}");
    }
}

/// The pool's addresses of a family, as [`Lab::SNAT_V4`] and [`Lab::SNAT_V6`] write them.
fn pool(family: Family) -> impl Iterator<Item = IpAddr> {
    let all: Vec<IpAddr> = match family {
        Family::V4 => (200..=203).map(|host| [10, 2, 0, host].into()).collect(),
        Family::V6 => vec![Lab::SNAT_V6.parse().unwrap()],
    };
    all.into_iter()
}

/// Who is connected to a server's service port, the node's own health checks left out.
fn peers_of(lab: &Lab, number: u8, family: Family) -> Vec<SocketAddr> {
    let flag = if family == Family::V4 { "-4" } else { "-6" };
    let asked = ["-H", "-t", "-n", flag, "state", "established", "( sport = :8080 )"];
    let text = lab.must_run(Node::Server(number), "ss", &asked);
    let peers = text.lines().filter_map(|line| line.split_whitespace().nth(3)?.parse().ok());
    peers.filter(|peer: &SocketAddr| peer.ip() != near(family)).collect()
}

/// The node's own address on the servers' network.
fn near(family: Family) -> IpAddr {
    match family {
        Family::V4 => [10, 2, 0, 1].into(),
        Family::V6 => [0xfd02, 0, 0, 0, 0, 0, 0, 1].into(),
    }
}

/// Servers that know no way back to clients, by the balancer or otherwise.
#[test]
fn servers_without_a_route_to_clients_answer() {
    needs_ringlead!();
    let lab = Lab::new("snat-route");
    let _farm = Farm::start(&lab);
    for n in [1, 2, 3] {
        for (family, clients) in [("-4", "10.1.0.0/24"), ("-6", "fd01::/64")] {
            lab.must_run(Node::Server(n), "ip", &[family, "route", "del", clients]);
        }
    }
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    carries::all_services(&lab, Mode::Snat);
    carries::nothing_answers(&lab, Mode::Nat); // it does need such a route
}

/// Server 3 is a client of servers 1 and 2 beside it, and of a service whose only server it is itself.
#[test]
fn clients_among_the_servers_are_served() {
    needs_ringlead!();
    let lab = Lab::new("snat-near");
    let _farm = Farm::start(&lab);
    let mut config = Config::empty(&lab);
    for mode in [Mode::Nat, Mode::Snat] {
        for (protocol, word) in [(Protocol::Tcp, "tcp"), (Protocol::Udp, "udp")] {
            for family in Family::ALL {
                config = config.service(Service::standard(mode, protocol, family).with_servers(&[1, 2]));
                let name = format!("own-{}-{word}-{family:?}", mode.word()).to_lowercase();
                let own = Service::on(&name, mode, protocol, family, 81, mode.server_port());
                config = config.service(own.with_servers(&[3]));
            }
        }
    }
    for mode in [Mode::Nat, Mode::Snat] {
        for family in Family::ALL {
            let (to, via) = (Lab::service(family, mode).to_string(), near(family).to_string());
            lab.must_run(Node::Server(3), "ip", &["route", "add", &to, "via", &via]);
        }
    }
    let services = config.services.clone();
    let _ringlead = Ringlead::start(&lab, &config.render());
    carries::services(Mode::Snat).iter().for_each(|service| lab.await_servers(service, "12"));
    for service in &services {
        let served = from_the_servers_network(&lab, service);
        // nat: the server answers the client beside it directly, or itself, from an address that was not asked.
        let wanted = match (service.mode, service.listen.port()) {
            (Mode::Snat, 80) => "12",
            (Mode::Snat, _) => "3",
            _ => "-",
        };
        assert_eq!(served, wanted.chars().collect(), "{}", service.name);
    }
}

/// Which servers answer server 3 as a client.
fn from_the_servers_network(lab: &Lab, service: &Service) -> BTreeSet<char> {
    lab.within(Node::Server(3), || match service.protocol {
        Protocol::Tcp => {
            let own = Lab::server(carries::family(service), 3);
            let each = Transfer::new(service.listen).timeout(Duration::from_secs(1));
            let made = tcp_transfers(each, 16, &[own]);
            made.into_iter().map(|made| made.map_or(Lab::NOBODY, |made| made.server)).collect()
        }
        Protocol::Udp => {
            let stats = Exchange::new(service.listen).times(16, 3).timeout(Duration::from_millis(500)).hold();
            let nobody = (stats.answered < stats.sent).then_some(Lab::NOBODY);
            stats.per_server.into_keys().chain(nobody).collect()
        }
    })
}

/// Who speaks to a source address without having been spoken to hears nothing where the range is: not the kernel's reset
/// either, which answers beside the range.
#[test]
fn nobody_answers_on_a_source_port_without_flow() {
    needs_ringlead!();
    let lab = Lab::new("snat-silence");
    let _farm = Farm::start(&lab);
    let ringlead = Ringlead::start(&lab, &config(&lab));
    for family in Family::ALL {
        lab.await_servers(&Service::standard(Mode::Snat, Protocol::Tcp, family), "123");
        let kind = |port| {
            let to = SocketAddr::new(pool(family).next().unwrap(), port);
            let asked = Transfer::new(to).timeout(Duration::from_secs(1));
            lab.within(Node::Server(1), || asked.make()).unwrap_err().kind()
        };
        let before = drops(&ringlead, "server-without-flow");
        assert_eq!(kind(80), ErrorKind::ConnectionRefused, "beside the range it is the kernel's");
        assert_eq!(kind(5000), ErrorKind::TimedOut);
        wait_until(Duration::from_secs(3), "the SYNs to be counted", || {
            drops(&ringlead, "server-without-flow") > before
        });
    }
}

fn drops(ringlead: &Ringlead, reason: &str) -> u64 {
    ringlead.status()["drops"][reason].as_u64().unwrap_or(0)
}

/// The addresses are on the port that faces the servers while it runs, and no socket of the node's own has one.
#[test]
fn source_addresses_come_and_go_and_are_no_sockets() {
    needs_ringlead!();
    let lab = Lab::new("snat-addresses");
    let _farm = Farm::start(&lab);
    let on = |port| lab.must_run(Node::Balancer, "ip", &["-brief", "address", "show", port]);
    let (front, back) = (on("l0"), on("l1"));
    let ringlead = Ringlead::start(&lab, &config(&lab));
    for ip in Family::ALL.into_iter().flat_map(pool) {
        assert!(on("l1").contains(&format!(" {ip}/")), "{ip} is not on l1: {}", on("l1"));
        assert!(!on("l0").contains(&format!(" {ip}/")), "{ip} is on l0: {}", on("l0"));
    }
    for family in Family::ALL {
        for server in [1, 2, 3] {
            let own = lab.within(Node::Balancer, || {
                let socket =
                    UdpSocket::bind((if family == Family::V4 { "0.0.0.0" } else { "::" }, 0)).unwrap();
                socket.connect((Lab::server(family, server), 80)).unwrap();
                socket.local_addr().unwrap().ip()
            });
            assert_eq!(own, near(family), "the source of the node's own socket");
        }
    }
    assert!(ringlead.stop().success());
    assert_eq!((on("l0"), on("l1")), (front, back));
}

/// Servers answer to a new source address from its first flow on: it is there before a flow has it. Else a server asks in
/// vain who has it, and asks again a second later.
#[test]
fn new_source_addresses_are_answered_for_at_once() {
    needs_ringlead!();
    let lab = Lab::new("snat-grow");
    let _farm = Farm::start(&lab);
    let with = |address: &str| {
        let service = Service::standard(Mode::Snat, Protocol::Tcp, Family::V4);
        let mut config = Config::empty(&lab).service(service);
        config.snat = (vec![address.to_owned()], "1024-65535".to_owned());
        config.render()
    };
    let mut ringlead = Ringlead::start(&lab, &with("10.2.0.200"));
    let service = Service::standard(Mode::Snat, Protocol::Tcp, Family::V4);
    lab.await_servers(&service, "123");
    let stop = AtomicBool::new(false);
    let client = || {
        while !stop.load(Ordering::Relaxed) {
            Transfer::new(service.listen).make().unwrap_or_else(|e| panic!("a new flow: {e}"));
        }
    };
    let before = lab.within(Node::Client, retransmitted);
    thread::scope(|scope| {
        let clients = [(); 4].map(|()| scope.spawn(|| lab.within(Node::Client, client)));
        for host in 201..=RELOADS + 200 {
            ringlead.reload(&with(&format!("10.2.0.{host}")));
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    // A server that asks for an address which nobody has yet asks again after a second, and its clients before that.
    let again = lab.within(Node::Client, retransmitted) - before;
    assert!(again < RELOADS, "{again} segments were sent again in {RELOADS} reloads");
}

/// Reloads of that test.
const RELOADS: u64 = 20;

/// TCP segments that this namespace has sent again so far.
fn retransmitted() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut tcp = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (tcp.next().unwrap(), tcp.next().unwrap());
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs.find(|(name, _)| *name == "RetransSegs").unwrap().1.parse().unwrap()
}

/// An address that the node itself has: refused where its kernel gives out the same ports, and usable beside them.
#[test]
fn a_range_that_the_kernels_own_sockets_use_is_refused() {
    needs_ringlead!();
    let lab = Lab::new("snat-own");
    let _farm = Farm::start(&lab);
    let with = |ports: &str| {
        let mut config = Config::empty(&lab);
        config.services = carries::services(Mode::Snat);
        config.snat = (Family::ALL.map(|family| near(family).to_string()).to_vec(), ports.to_owned());
        config.render()
    };
    let refusal = Ringlead::refused(&lab, &with("1024-65535"));
    assert!(!refusal.status.success());
    for word in ["[snat.out]", "10.2.0.1", "ip_local_port_range", "32768-60999"] {
        assert!(refusal.said.contains(word), "{word} is not in:\n{}", refusal.said);
    }
    let mut ringlead = Ringlead::start(&lab, &with("10000-20000"));
    carries::all_services(&lab, Mode::Snat);
    let said = ringlead.reload(&with("20000-40000"));
    assert!(said.contains("ip_local_port_range"), "the reload is not refused:\n{said}");
    carries::all_services(&lab, Mode::Snat);
    assert!(ringlead.stop().success());
    let left = lab.must_run(Node::Balancer, "ip", &["-brief", "address", "show", "l1"]);
    assert!(
        left.contains("10.2.0.1/24") && left.contains("fd02::1/64"),
        "the node's own addresses went: {left}"
    );
}
