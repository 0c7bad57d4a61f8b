//! tunnel: packets reach their servers inside other packets, IPIP or GUE, of either family; replies go around the balancer.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4Tos, Ipv6TClass};
use ringlead_decap::{Counters, Kind, Outer, Taken};
use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Tunnels, config, needs_ringlead,
    wait_until,
};

use crate::carries;

/// MTU of the lab's ports.
const MTU: u64 = 1500;

#[test]
fn gue_carries_both_families_over_both() {
    needs_ringlead!();
    carries_in(Kind::Gue1);
}

#[test]
fn gue_variant_0_carries_both_families_over_both() {
    needs_ringlead!();
    carries_in(Kind::Gue0);
}

#[test]
fn ipip_carries_both_families_over_both() {
    needs_ringlead!();
    carries_in(Kind::Ipip);
}

/// Services of both families, first with IPv4 servers, after a reload with IPv6 servers: whole transfers, in this tunnel and
/// no other, from many outer sources. Full-sized packets of a client's kernel do not fit: it learns the exact MTU.
fn carries_in(kind: Kind) {
    let lab = Lab::new("tunnel");
    let _farm = Farm::start(&lab);
    let tunnels = Tunnels::start(&lab);
    carries::nothing_answers(&lab, Mode::Tunnel);
    let mut ringlead: Option<Ringlead> = None;
    for outer in Family::ALL {
        let text = file(&lab, kind, outer);
        match &mut ringlead {
            Some(running) => drop(running.reload(&text)),
            None => ringlead = Some(Ringlead::start(&lab, &text)),
        }
        for service in carries::services(Mode::Tunnel) {
            lab.await_servers(&service, "123");
        }
        forget_path_mtus(&lab);
        let before = once_quiet(&tunnels);
        carries::all_services(&lab, Mode::Tunnel);
        for (after, before) in tunnels.counters().iter().zip(&before) {
            only_these_were_taken(kind, outer, after, before);
        }
        for outers in tunnels.outers() {
            sources_are_spread(kind, outer, &outers);
        }
        for inner in Family::ALL {
            let learnt = path_mtu(&lab, Lab::service(inner, Mode::Tunnel));
            assert_eq!(learnt, Some(MTU - overhead(kind, outer)), "{inner:?} over {outer:?}");
        }
    }
}

/// A configuration with the standard tunnel services, their servers reached by `outer`.
fn file(lab: &Lab, kind: Kind, outer: Family) -> String {
    let mut config = Config::empty(lab);
    for mut service in carries::services(Mode::Tunnel) {
        service.lines = match kind {
            Kind::Gue1 => String::new(), // the default
            Kind::Gue0 => "tunnel = \"zero\"\n".to_owned(),
            Kind::Ipip => "tunnel = \"ipip\"\n".to_owned(),
        };
        config = config.service(service.reached_by(outer));
    }
    let table = if kind == Kind::Gue0 { "[tunnel.zero]\ntype = \"gue\"\nvariant = 0\n" } else { "" };
    config.render() + table
}

/// Bytes in front of the inner packet.
fn overhead(kind: Kind, outer: Family) -> u64 {
    let ip = if outer == Family::V4 { 20 } else { 40 };
    ip + match kind {
        Kind::Ipip => 0,
        Kind::Gue1 => 8,
        Kind::Gue0 => 12,
    }
}

/// The counters once nothing moves for longer than a kernel waits before it sends again: connections that ended keep
/// their server, and their last segments may come late.
fn once_quiet(tunnels: &Tunnels) -> Vec<Counters> {
    let quiet = Duration::from_millis(500);
    let taken = |all: &[Counters]| all.iter().map(Counters::taken).sum::<u64>();
    let mut last = tunnels.counters();
    wait_until(Duration::from_secs(20), "tunnels fall silent", || {
        thread::sleep(quiet);
        let before = taken(&last);
        last = tunnels.counters();
        taken(&last) == before
    });
    last
}

/// In this tunnel, over this family: packets of both families. Nothing else in any other way, and nothing damaged.
fn only_these_were_taken(kind: Kind, outer: Family, after: &Counters, before: &Counters) {
    let of = |counters: &Counters| match kind {
        Kind::Ipip => counters.ipip,
        Kind::Gue0 => counters.gue0,
        Kind::Gue1 => counters.gue1,
    };
    let families = |taken: Taken| match outer {
        Family::V4 => [taken.v4_in_v4, taken.v6_in_v4],
        Family::V6 => [taken.v4_in_v6, taken.v6_in_v6],
    };
    let (was, is) = (families(of(before)), families(of(after)));
    let new = [is[0] - was[0], is[1] - was[1]];
    assert!(new.iter().all(|count| *count > 100), "{kind:?} over {outer:?}: {after:?}");
    // None before the reload to the second family. After it a client's port that comes again finds its old flow, which keeps its server.
    let others = after.taken() - before.taken() - new[0] - new[1];
    let others_max = if outer == Family::ALL[0] { 0 } else { (new[0] + new[1]) / 50 };
    assert!(others <= others_max, "{others} in another way than {kind:?} over {outer:?}: {after:?}");
    assert_eq!((after.refused, after.dropped_ecn), (0, 0), "{after:?}");
}

/// A server's card spreads what it gets by the outer header: of the last flows, most have one of their own.
fn sources_are_spread(kind: Kind, outer: Family, outers: &[Outer]) {
    let ours = |source: IpAddr| match source {
        IpAddr::V4(ip) => outer == Family::V4 && ip.octets()[..2] == [172, 16],
        IpAddr::V6(ip) => outer == Family::V6 && ip.segments()[..4] == [0x100, 0, 0, 0],
    };
    assert!(outers.iter().all(|header| ours(header.src)), "sources outside the default prefixes: {outers:?}");
    let sources: BTreeSet<IpAddr> = outers.iter().map(|header| header.src).collect();
    assert!(sources.len() >= 5, "only {sources:?}");
    let ports: BTreeSet<u16> = outers.iter().map(|header| header.sport).collect();
    assert_eq!(ports.len() >= 5, kind != Kind::Ipip, "{ports:?}");
}

/// Path MTUs that the client's kernel learnt before.
fn forget_path_mtus(lab: &Lab) {
    for family in ["-4", "-6"] {
        lab.must_run(Node::Client, "ip", &[family, "route", "flush", "cache"]);
    }
}

/// The path MTU to `to` that the client's kernel has learnt; `None` when it knows of none but its port's.
pub(crate) fn path_mtu(lab: &Lab, to: IpAddr) -> Option<u64> {
    let text = lab.must_run(Node::Client, "ip", &["-json", "route", "get", &to.to_string()]);
    let routes: serde_json::Value = serde_json::from_str(&text).unwrap();
    routes[0]["metrics"][0]["mtu"].as_u64()
}

/// The servers' kernels know no tunnel: that they answer is the decapsulating program's doing, not a plain packet's.
#[test]
fn without_decapsulation_nobody_answers() {
    needs_ringlead!();
    let lab = Lab::new("tunnel-off");
    let _farm = Farm::start(&lab);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    let services = carries::services(Mode::Tunnel);
    for on in [true, false, true] {
        let tunnels = on.then(|| Tunnels::start(&lab));
        if tunnels.is_some() {
            services.iter().for_each(|service| lab.await_servers(service, "123"));
        } else {
            carries::nothing_answers(&lab, Mode::Tunnel);
        }
    }
}

/// What a tunnel is for: server 3 is reached at an address of another network, behind server 2, which forwards.
#[test]
fn a_server_behind_a_router_is_reached() {
    needs_ringlead!();
    let lab = Lab::new("tunnel-far");
    let _farm = Farm::start(&lab);
    for (family, far, near, own) in
        [("-4", "10.3.0.13", "10.2.0.12", "10.2.0.13"), ("-6", "fd03::13", "fd02::12", "fd02::13")]
    {
        let bits = if family == "-4" { 32 } else { 128 };
        let to = format!("{far}/{bits}");
        lab.must_run(Node::Server(3), "ip", &[family, "addr", "add", &to, "dev", "lo"]);
        lab.must_run(Node::Server(2), "ip", &[family, "route", "add", &to, "via", own]);
        lab.must_run(Node::Balancer, "ip", &[family, "route", "add", &to, "via", near]);
    }
    let forwards = |on: &str| {
        for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            lab.within(Node::Server(2), || std::fs::write(format!("/proc/sys/net/{path}"), on)).unwrap();
        }
    };
    let tunnels = Tunnels::at(&lab, |number| if number == 3 { far_addresses() } else { Vec::new() });
    let mut config = Config::empty(&lab);
    let mut services = Vec::new();
    for (service, far) in carries::services(Mode::Tunnel).into_iter().zip(far_addresses().into_iter().cycle())
    {
        let mut service = service.with_servers(&[3]).unchecked();
        service.servers[0].1.set_ip(far);
        services.push(service);
    }
    config.services.clone_from(&services);
    let _ringlead = Ringlead::start(&lab, &config.render());
    carries::nothing_answers(&lab, Mode::Tunnel); // the router does not forward yet
    forwards("1");
    for service in &services {
        lab.await_servers(service, "3");
    }
    let outers = &tunnels.outers()[2];
    assert!(outers.iter().all(|outer| far_addresses().contains(&outer.dst)), "{outers:?}");
}

fn far_addresses() -> Vec<IpAddr> {
    vec!["10.3.0.13".parse().unwrap(), "fd03::13".parse().unwrap()]
}

/// RFC 2983 §3.1 and RFC 6040 §4.1: what the network between shall see of a packet is on its outer header.
#[test]
fn dscp_and_ecn_are_on_the_outer_header() {
    needs_ringlead!();
    const EF_ECT1: u8 = 0xb9;
    let lab = Lab::new("tunnel-ecn");
    let _farm = Farm::start(&lab);
    let tunnels = Tunnels::start(&lab);
    let mut config = Config::empty(&lab);
    config.services.extend(carries::services(Mode::Tunnel).into_iter().map(|s| s.with_servers(&[1])));
    let _ringlead = Ringlead::start(&lab, &config.render());
    for family in Family::ALL {
        let service = Service::standard(Mode::Tunnel, Protocol::Udp, family);
        lab.await_servers(&service, "1");
        let marked = || {
            let outers = tunnels.outers().swap_remove(0);
            let of_family = outers.into_iter().filter(|outer| outer.dst.is_ipv4() == (family == Family::V4));
            of_family.filter(|outer| outer.service != 0).map(|outer| outer.service).collect::<Vec<_>>()
        };
        assert_eq!(marked(), Vec::<u8>::new(), "marked before anybody asked");
        lab.within(Node::Client, || send_marked(service.listen, EF_ECT1));
        wait_until(Duration::from_secs(5), "three marked packets", || marked() == [EF_ECT1; 3]);
    }
}

/// Three datagrams with this TOS or traffic class, and their answers: to a socket that is gone, the kernel would tell of it.
fn send_marked(to: SocketAddr, service: u8) {
    let any: IpAddr = if to.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    if to.is_ipv4() {
        setsockopt(&socket, Ipv4Tos, &service.into()).unwrap();
    } else {
        setsockopt(&socket, Ipv6TClass, &service.into()).unwrap();
    }
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    for _ in 0..3 {
        socket.send_to(b"marked", to).unwrap();
        assert_eq!(socket.recv(&mut [0; 16]).unwrap(), 7);
    }
}
