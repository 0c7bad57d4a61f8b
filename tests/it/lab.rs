//! The lab itself, without a balancer: what must work does, and what only a balancer can do does not.
//! Without these a test that passes proves nothing.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ringlead_tests::{
    BlobServer, EchoServer, Exchange, Family, Farm, Lab, Mode, Network, Node, Transfer, needs_root, ping,
    workspace_root,
};

#[test]
fn nothing_answers_without_a_balancer() {
    needs_root!();
    let lab = Lab::new("negative");
    for family in Family::ALL {
        for mode in [Mode::Nat, Mode::Dsr] {
            let to = SocketAddr::new(Lab::service(family, mode), 80);
            let servers = [1, 2, 3].map(|n| {
                let port = if mode == Mode::Nat { 8080 } else { 80 };
                let mut addresses = vec![SocketAddr::new(Lab::server(family, n), port)];
                if mode == Mode::Dsr {
                    addresses.push(to);
                }
                let name = char::from(b'0' + n);
                let node = Node::Server(n);
                (
                    BlobServer::start(&lab, node, name, &addresses),
                    EchoServer::start(&lab, node, name, &addresses),
                )
            });
            let quick = Duration::from_millis(300);
            let tcp = lab.within(Node::Client, || Transfer::new(to).timeout(quick).make());
            assert!(tcp.is_err(), "{to} answered TCP: {tcp:?}");
            let udp = lab.within(Node::Client, || Exchange::new(to).times(8, 1).timeout(quick).hold());
            assert_eq!((udp.sent, udp.answered), (8, 0), "{to} answered UDP: {udp:?}");
            drop(servers);
        }
    }
}

#[test]
fn servers_answer_the_client_directly() {
    needs_root!();
    let lab = Lab::new("direct");
    for family in Family::ALL {
        for n in [1, 2, 3] {
            let address = SocketAddr::new(Lab::server(family, n), 8080);
            let name = char::from(b'0' + n);
            let blob = BlobServer::start(&lab, Node::Server(n), name, &[address]);
            let echo = EchoServer::start(&lab, Node::Server(n), name, &[address]);
            let big = Transfer::new(address).bytes(3_000_001, 5_000_003);
            let made = lab.within(Node::Client, || big.make()).unwrap();
            assert_eq!((made.server, made.bytes), (name, 8_000_004));
            assert_eq!(blob.served(), 1);
            let stats = lab.within(Node::Client, || Exchange::new(address).size(1400).hold());
            assert!(stats.perfect(), "{stats:?}");
            assert_eq!((stats.sent, echo.answered(), stats.per_server[&name]), (640, 640, 640));
        }
    }
}

#[test]
fn the_balancer_forwards_nothing_by_itself() {
    needs_root!();
    let lab = Lab::new("no-forward");
    for family in Family::ALL {
        // Reached from its back network, a server answers; through the balancer, nobody does.
        let server = Lab::server(family, 1);
        let quick = Duration::from_millis(500);
        let direct = lab.within(Node::Client, || ping(server, Duration::from_secs(2))).unwrap();
        assert!(direct.is_some(), "{server} does not answer");
        let (via, prefix) = (Lab::balancer(family).to_string(), if family == Family::V4 { 32 } else { 128 });
        let route = format!("{server}/{prefix}");
        lab.must_run(Node::Client, "ip", &["route", "replace", &route, "via", &via, "dev", "c0"]);
        let through = lab.within(Node::Client, || ping(server, quick)).unwrap();
        assert_eq!(through, None, "the balancer's kernel forwarded to {server}");
    }
}

/// A balancer that only routes, each service to one server, shows that the ways there and back are open: a server's own
/// address stands for nat, whose replies come back through the balancer, and the dsr address for dsr.
#[test]
fn routing_alone_carries_both_ways_of_reply() {
    needs_root!();
    let lab = Lab::new("routed");
    let _farm = Farm::start(&lab);
    for (path, via) in [
        ("/proc/sys/net/ipv4/ip_forward", "10.2.0.12"),
        ("/proc/sys/net/ipv6/conf/all/forwarding", "fd02::12"),
    ] {
        lab.within(Node::Balancer, || fs::write(path, "1")).unwrap();
        let service = if via.contains(':') { "fd09::2" } else { "10.9.0.2" };
        lab.must_run(Node::Balancer, "ip", &["route", "add", service, "via", via]);
        let (server, front) = if via.contains(':') { (via, "fd01::1") } else { (via, "10.1.0.1") };
        lab.must_run(Node::Client, "ip", &["route", "add", server, "via", front]);
    }
    for family in Family::ALL {
        for mode in [Mode::Nat, Mode::Dsr] {
            let ip = if mode == Mode::Dsr { Lab::service(family, mode) } else { Lab::server(family, 2) };
            let port = mode.server_port();
            let (to, source) = (SocketAddr::new(ip, port), Lab::clients(family)[7]);
            let before = received(&lab, "c1");
            let download = Transfer::new(to).from(source).bytes(10_000, 1_000_000);
            let made = lab.within(Node::Client, || download.make()).unwrap();
            assert_eq!(made.server, '2');
            let around = received(&lab, "c1") - before;
            assert_eq!(
                around > 1_000_000,
                mode == Mode::Dsr,
                "{to}: {around} bytes came around the balancer"
            );
            let stats = lab.within(Node::Client, || Exchange::new(to).from(&[source]).hold());
            assert!(stats.perfect(), "{to}: {stats:?}");
        }
    }
}

/// Bytes that a port of the client received.
fn received(lab: &Lab, port: &str) -> u64 {
    let text = lab.must_run(Node::Client, "ip", &["-json", "-statistics", "link", "show", port]);
    let links: serde_json::Value = serde_json::from_str(&text).unwrap();
    links[0]["stats64"]["rx"]["bytes"].as_u64().unwrap()
}

#[test]
fn replies_of_nat_and_dsr_take_different_ways() {
    needs_root!();
    let lab = Lab::new("ways");
    for n in [1, 2, 3] {
        for family in Family::ALL {
            let client = Lab::clients(family)[5].to_string();
            let (nat, dsr) = match family {
                Family::V4 => ("10.2.0.1", "10.2.0.254"),
                Family::V6 => ("fd02::1", "fd02::fe"),
            };
            let own = Lab::server(family, n).to_string();
            let [dsr_service, tunnel_service] =
                [Mode::Dsr, Mode::Tunnel].map(|mode| Lab::service(family, mode).to_string());
            for (from, via) in [(own, nat), (dsr_service, dsr), (tunnel_service, dsr)] {
                let route = lab.must_run(Node::Server(n), "ip", &["route", "get", &client, "from", &from]);
                assert!(route.contains(&format!("via {via} ")), "from {from}: {route}");
            }
        }
    }
}

#[test]
fn the_network_is_what_was_asked_for() {
    needs_root!();
    for (queues, far_queues, offload) in [(2, 2, false), (1, 1, true), (1, 2, false)] {
        let lab = Lab::with("asked", Network { queues, far_queues, offload, mtu: 1400, nodes: 1 });
        for port in ["l0", "l1"] {
            let channels = lab.must_run(Node::Balancer, "ethtool", &["-l", port]);
            let current = channels.split("Current").nth(1).unwrap();
            assert!(current.contains(&format!("RX:\t\t{queues}\n")), "{port}: {channels}");
            let link = lab.must_run(Node::Balancer, "ip", &["link", "show", port]);
            assert!(link.contains("mtu 1400 "), "{link}");
        }
        let far = lab.must_run(Node::Client, "ethtool", &["-l", "c0"]);
        assert!(far.split("Current").nth(1).unwrap().contains(&format!("TX:\t\t{far_queues}\n")), "{far}");
        let features = lab.must_run(Node::Client, "ethtool", &["-k", "c0"]);
        let state = if offload { "on" } else { "off" };
        for feature in ["tx-checksumming", "tcp-segmentation-offload"] {
            assert!(features.contains(&format!("{feature}: {state}")), "{features}");
        }
    }
}

#[test]
fn a_lab_leaves_nothing_behind() {
    needs_root!();
    let lab = Lab::new("gone");
    let prefix = lab.prefix().to_owned();
    let mut sleeper = lab.spawn(Node::Server(2), "sleep", &["60"]);
    let pinned = lab.bpf_dir();
    fs::create_dir(&pinned).unwrap();
    assert!(Path::new("/run/netns").join(format!("{prefix}-s2")).exists());
    drop(lab);
    assert!(sleeper.wait(Duration::from_secs(1)).is_some(), "a process outlived its lab");
    assert!(!pinned.exists());
    let left: Vec<_> = fs::read_dir("/run/netns").unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(&prefix)), "{left:?}");
}

/// The script is embedded in the product and fed to a shell; and a lab that could not be finished is taken down again.
#[test]
fn the_script_runs_from_standard_input_and_undoes_a_failure() {
    needs_root!();
    let prefix = format!("{}fed", Lab::new("feeding").prefix());
    let feed = |verb: &str, mtu: &str| {
        let script = fs::File::open(workspace_root().join("tools/lab")).unwrap();
        let mut bash = Command::new("bash");
        bash.args(["-s", &prefix, verb]).env("MTU", mtu).stdin(script).output().unwrap()
    };
    let up = feed("up", "1500");
    assert!(up.status.success(), "{up:?}");
    assert_eq!(namespaces(&prefix), 6);
    assert!(feed("down", "1500").status.success());
    assert_eq!(namespaces(&prefix), 0);
    assert!(feed("down", "1500").status.success(), "down may be repeated");
    assert!(!feed("show", "1500").status.success(), "there is nothing to show");
    assert!(!feed("up", "1").status.success(), "no Ethernet has an MTU of 1");
    assert_eq!(namespaces(&prefix), 0);
}

#[test]
fn a_lab_of_a_killed_process_is_removed_by_the_next() {
    needs_root!();
    let lab = Lab::new("first");
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let ours = std::process::id().to_string();
    let prefix = lab.prefix().replacen(&ours, &ended.id().to_string(), 1);
    let script = workspace_root().join("tools/lab");
    assert!(Command::new(script).args([&prefix, "up"]).status().unwrap().success());
    assert_eq!(namespaces(&prefix), 6);
    let _next = Lab::new("next");
    assert_eq!((namespaces(&prefix), namespaces(lab.prefix())), (0, 6));
}

/// Namespaces of a lab.
fn namespaces(prefix: &str) -> usize {
    let names = fs::read_dir("/run/netns").unwrap().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().starts_with(&format!("{prefix}-"))).count()
}
