//! What is told of a network in which some packets will not arrive: too narrow towards servers, or nat beside clients.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report by panicking")]

use ringlead_control::config;
use ringlead_control::plan::{HopKey, Plan, Spot};
use ringlead_flow::ServerId;
use std::net::IpAddr;

/// The first port, facing clients.
const WAN: u8 = 0;
/// The second one, facing servers.
const LAN: u8 = 1;

/// A service in this mode, with one server behind this next hop.
fn plan(listen: &str, keys: &str, server: &str, hop: (u8, &str)) -> Plan {
    let text = format!(
        "version = 1\n[dataplane]\ncores = [0]\n\
         [port.wan]\ndevice = \"eth0\"\nfaces = \"clients\"\n[port.lan]\ndevice = \"eth1\"\nfaces = \"servers\"\n\
         [snat.out]\naddresses = [\"10.9.0.1\", \"fd09::1\"]\n\
         [service.a]\nlisten = \"{listen}\"\nprotocol = \"tcp\"\npool = \"a\"\n{keys}\n\
         [pool.a]\nalgorithm = \"maglev\"\nserver = [ {{ name = \"s1\", address = \"{server}\" }} ]\n"
    );
    let (config, _) = config::parse("fit.toml", &text).unwrap_or_else(|e| panic!("{e}"));
    let mut plan = Plan::new(config).unwrap();
    let all: Vec<ServerId> = plan.servers().map(|server| server.id).collect();
    for id in all {
        let gateway: IpAddr = hop.1.parse().unwrap();
        plan.set_reach(id, Ok(HopKey::untagged(hop.0, gateway))).unwrap();
    }
    plan
}

/// What would be needed and what fits, by the ports' MTUs.
fn narrow(plan: &Plan, mtus: [u32; 2]) -> Option<(u32, u32)> {
    let all = plan.too_narrow(&mtus);
    assert!(all.len() <= 1);
    all.first().map(|narrow| (narrow.needed, narrow.fits))
}

#[test]
fn an_outer_header_must_fit_on_the_way_to_servers() {
    let gue = plan("192.0.2.1:80", "mode = \"tunnel\"", "10.0.0.1:80", (LAN, "10.0.0.1"));
    assert_eq!(narrow(&gue, [1500, 1500]), Some((1528, 1472)));
    assert_eq!(narrow(&gue, [1500, 1528]), None);
    assert_eq!(narrow(&gue, [1472, 1500]), None);
    let ipip = "mode = \"tunnel\"\ntunnel = \"ipip\"";
    let ipip = plan("[2001:db8::1]:80", ipip, "[fd00::1]:80", (LAN, "fd00::1"));
    assert_eq!(narrow(&ipip, [1500, 1539]), Some((1540, 1499)));
    assert_eq!(narrow(&ipip, [1500, 1540]), None);
}

#[test]
fn the_other_familys_header_must_fit_too() {
    let longer = plan("192.0.2.1:80", "mode = \"snat\"", "[fd00::1]:80", (LAN, "fd00::1"));
    assert_eq!(narrow(&longer, [1500, 1500]), Some((1520, 1480)));
    assert_eq!(narrow(&longer, [1500, 1520]), None);
    let shorter = plan("[2001:db8::1]:80", "mode = \"snat\"", "10.0.0.1:80", (LAN, "10.0.0.1"));
    assert_eq!(narrow(&shorter, [1500, 1480]), None);
    assert_eq!(narrow(&shorter, [1500, 1479]), Some((1480, 1499)));
}

#[test]
fn a_narrow_way_is_told_in_every_mode() {
    for mode in ["nat", "dsr", "snat"] {
        let plan = plan("192.0.2.1:80", &format!("mode = \"{mode}\""), "10.0.0.1:80", (LAN, "10.0.0.254"));
        assert_eq!(narrow(&plan, [9000, 1500]), Some((9000, 1500)), "{mode}");
        assert_eq!(narrow(&plan, [1500, 1500]), None, "{mode}");
    }
}

#[test]
fn a_clamped_segment_size_that_fits_is_no_matter() {
    let clamped = |listen, mode, mss| {
        let keys = format!("mode = \"{mode}\"\nmss-clamp = {mss}");
        narrow(&plan(listen, &keys, "[fd00::1]:80", (LAN, "fd00::1")), [1500, 1400])
    };
    assert_eq!(clamped("192.0.2.1:80", "snat", 1340), None);
    assert!(clamped("192.0.2.1:80", "snat", 1341).is_some());
    assert_eq!(clamped("[2001:db8::1]:80", "nat", 1340), None);
    assert!(clamped("[2001:db8::1]:80", "nat", 1341).is_some());
    // What servers offer does not pass this node.
    assert!(clamped("[2001:db8::1]:80", "tunnel", 536).is_some());
    assert!(clamped("[2001:db8::1]:80", "dsr", 536).is_some());
}

#[test]
fn nat_servers_on_a_network_of_clients_are_told() {
    let beside = |mode: &str, hop| {
        let plan = plan("192.0.2.1:80", &format!("mode = \"{mode}\""), "10.0.0.1:80", hop);
        let server = |at: Spot| plan.config().pools[at.pool].servers[at.server].address.ip();
        let mut told = plan.beside_clients().into_iter();
        told.next().map(|beside| format!("{} {}", beside.service.name, server(beside.at)))
    };
    assert_eq!(beside("nat", (WAN, "10.0.0.1")).as_deref(), Some("a 10.0.0.1"));
    assert_eq!(beside("nat", (LAN, "10.0.0.1")), None, "no clients there");
    assert_eq!(beside("nat", (WAN, "10.0.0.254")), None, "behind a router: in a network of their own");
    assert_eq!(beside("snat", (WAN, "10.0.0.1")), None, "answers come to our address");
    assert_eq!(beside("dsr", (WAN, "10.0.0.1")), None, "servers answer clients anyway");
}
