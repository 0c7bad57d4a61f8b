//! The plan: who keeps an id over a reload, who may get flows, what the front steers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests report by panicking, and count small numbers"
)]

use ringlead_control::config::{self, Config};
use ringlead_control::plan::{Health, HopKey, Obstacle, Plan, Unreachable};
use ringlead_flow::ServerId;
use ringlead_flow::snat::{Mapping, SnatRandom};
use ringlead_l4::attempts::Attempted;
use ringlead_l4::tables::Tables;
use ringlead_wire::{Endpoint, Ip, Protocol};
use std::collections::BTreeSet;
use std::net::IpAddr;

const HEAD: &str = r#"
version = 1
[dataplane]
cores = [0]
[port.wan]
device = "eth1"
[health.tcp]
type = "tcp"
"#;

fn service(name: &str, listen: &str, mode: &str, pool: &str) -> String {
    format!(
        "[service.{name}]\nlisten = \"{listen}\"\nprotocol = \"tcp\"\nmode = \"{mode}\"\npool = \"{pool}\"\n"
    )
}

fn pool(name: &str, servers: &[(&str, &str)], more: &str) -> String {
    let servers: Vec<String> = servers
        .iter()
        .map(|(name, address)| format!("{{ name = \"{name}\", address = \"{address}\" }}"))
        .collect();
    format!("[pool.{name}]\nalgorithm = \"maglev\"\n{more}\nserver = [ {} ]\n", servers.join(", "))
}

fn config(parts: &[String]) -> Config {
    let text = format!("{HEAD}{}", parts.concat());
    config::parse("test.toml", &text).unwrap_or_else(|e| panic!("{e}")).0
}

fn web(servers: &[(&str, &str)]) -> Config {
    config(&[service("web", "192.0.2.1:80", "nat", "app"), pool("app", servers, "health = \"tcp\"")])
}

const S1: (&str, &str) = ("s1", "10.0.0.1:80");
const S2: (&str, &str) = ("s2", "10.0.0.2:80");
const S3: (&str, &str) = ("s3", "10.0.0.3:80");

/// Everybody reachable, everybody up.
fn all_up(plan: &mut Plan) {
    let all: Vec<(ServerId, IpAddr)> = plan.servers().map(|s| (s.id, s.key.address.ip())).collect();
    for (id, ip) in all {
        plan.set_health(id, Health::Up, "connected".to_owned());
        plan.set_reach(id, Ok(HopKey::untagged(0, ip))).unwrap();
    }
}

fn id(plan: &Plan, name: &str) -> ServerId {
    plan.servers().find(|s| s.key.name == name).map(|s| s.id).unwrap()
}

fn members(tables: &Tables) -> BTreeSet<ServerId> {
    tables.services.slots().iter().flatten().flat_map(|s| s.pool.members.iter().copied()).collect()
}

#[test]
fn servers_get_flows_only_when_up_and_reachable() {
    let mut plan = Plan::new(web(&[S1, S2, S3])).unwrap();
    assert!(members(&plan.snapshot()).is_empty(), "nobody has been checked yet");
    all_up(&mut plan);
    assert_eq!(members(&plan.snapshot()).len(), 3);
    let (s1, s2, s3) = (id(&plan, "s1"), id(&plan, "s2"), id(&plan, "s3"));
    assert!(plan.set_health(s1, Health::Down, "connection refused".to_owned()));
    assert!(!plan.set_health(s1, Health::Down, "connection refused".to_owned()), "nothing new");
    let unreachable = Unreachable { what: Obstacle::NoRoute, why: "no route".to_owned() };
    plan.set_reach(s2, Err::<HopKey, _>(unreachable)).unwrap();
    let tables = plan.snapshot();
    assert_eq!(members(&tables), BTreeSet::from([s3]));
    assert!(tables.server(s1).unwrap().down, "known, but its UDP flows choose again");
    assert!(tables.server(s2).is_none(), "nowhere to send to");
}

#[test]
fn a_pool_without_check_is_up_and_a_drained_server_is_not_chosen() {
    let text = pool("app", &[S1, S2], "").replace("10.0.0.2:80\"", "10.0.0.2:80\", state = \"drain\"");
    let mut plan = Plan::new(config(&[service("web", "192.0.2.1:80", "nat", "app"), text])).unwrap();
    for name in ["s1", "s2"] {
        plan.set_reach(id(&plan, name), Ok(HopKey::untagged(0, "10.0.0.9".parse().unwrap()))).unwrap();
    }
    assert_eq!(members(&plan.snapshot()), BTreeSet::from([id(&plan, "s1")]));
}

#[test]
fn a_reload_keeps_ids_and_makes_ghosts_of_the_removed() {
    let mut plan = Plan::new(web(&[S1, S2])).unwrap();
    all_up(&mut plan);
    let (s1, s2) = (id(&plan, "s1"), id(&plan, "s2"));
    plan.adopt(web(&[S2, S3])).unwrap();
    plan.set_reach(id(&plan, "s3"), Ok(HopKey::untagged(0, "10.0.0.3".parse().unwrap()))).unwrap();
    assert_eq!(id(&plan, "s2"), s2);
    assert!(![s1, s2].contains(&id(&plan, "s3")), "a ghost's id is not given away");
    let tables = plan.snapshot();
    assert_eq!(members(&tables), BTreeSet::from([s2]), "s3 has not been checked yet");
    assert!(tables.server(s1).is_some(), "established flows of a removed server go on");
    let at = |ip: &str| Endpoint {
        ip: Ip::from(ip.parse::<IpAddr>().unwrap()),
        port: 80,
        protocol: Protocol::Tcp,
    };
    assert!(tables.is_nat_server(at("10.0.0.1")) && tables.is_nat_server(at("10.0.0.3")));
    assert!(plan.rules(&BTreeSet::new()).nat_servers.contains(&at("10.0.0.1")));

    assert_eq!(plan.forget_ghosts(|_| false), 0, "it still has flows");
    assert_eq!(plan.forget_ghosts(|id| id == s1), 1);
    assert!(plan.snapshot().server(s1).is_none());
    assert!(!plan.rules(&BTreeSet::new()).nat_servers.contains(&at("10.0.0.1")));

    // It comes back: as somebody new, unchecked.
    plan.adopt(web(&[S1, S2])).unwrap();
    assert_eq!(plan.server(id(&plan, "s1")).map(|s| s.health), Some(Health::Unknown));
}

/// Workers' counts go on, whoever has the id.
#[test]
fn who_gets_anothers_id_does_not_get_what_it_counted() {
    let counted = |answered: u32| move |_| Attempted { answered, ..Attempted::default() };
    let mut plan = Plan::new(web(&[S1, S2])).unwrap();
    let (s1, s2) = (id(&plan, "s1"), id(&plan, "s2"));
    assert_eq!(plan.note_attempts_before(counted(0)), [s1, s2]);
    plan.adopt(web(&[S2])).unwrap();
    assert!(plan.note_attempts_before(counted(5)).is_empty(), "the same servers, and a ghost");
    assert_eq!(plan.forget_ghosts(|id| id == s1), 1);
    plan.adopt(web(&[S2, S3])).unwrap();
    assert_eq!(id(&plan, "s3"), s1, "the id is given anew");
    assert_eq!(plan.note_attempts_before(counted(9)), [s1]);
    let before = |id| plan.server(id).unwrap().attempts_before.unwrap().answered;
    assert_eq!([before(s1), before(s2)], [9, 0]);
}

#[test]
fn a_ghost_that_comes_back_is_itself_as_its_checks_went_on() {
    let mut plan = Plan::new(web(&[S1, S2])).unwrap();
    all_up(&mut plan);
    let s1 = id(&plan, "s1");
    plan.adopt(web(&[S2])).unwrap();
    plan.set_health(s1, Health::Down, "connection refused".to_owned());
    plan.adopt(web(&[S1, S2])).unwrap();
    assert_eq!(id(&plan, "s1"), s1);
    assert_eq!(plan.server(s1).map(|s| s.health), Some(Health::Down));
    assert_eq!(plan.server(id(&plan, "s2")).map(|s| s.health), Some(Health::Up), "s2 was never away");
}

#[test]
fn a_service_that_moves_to_another_pool_keeps_its_flows() {
    let with = |pool_of_web: &str| {
        config(&[
            service("web", "192.0.2.1:80", "nat", pool_of_web),
            pool("blue", &[S1], ""),
            pool("green", &[S2], ""),
        ])
    };
    let mut plan = Plan::new(with("blue")).unwrap();
    all_up(&mut plan);
    plan.adopt(with("green")).unwrap();
    let at = |ip: &str| Endpoint {
        ip: Ip::from(ip.parse::<IpAddr>().unwrap()),
        port: 80,
        protocol: Protocol::Tcp,
    };
    let steered = |plan: &Plan| plan.rules(&BTreeSet::new()).nat_servers;
    assert_eq!(
        steered(&plan),
        BTreeSet::from([at("10.0.0.1"), at("10.0.0.2")]),
        "blue's flows are answered through us"
    );
    assert!(!plan.forget_nat(|_| false), "it still has flows");
    assert!(plan.forget_nat(|_| true));
    assert_eq!(steered(&plan), BTreeSet::from([at("10.0.0.2")]));
}

/// Flows with a tuple of each family are looked for only where there may be some, and as long as they may live.
#[test]
fn flows_of_two_families_are_looked_for_from_their_first_service_on() {
    let source = "[snat.out]\naddresses = [\"10.0.0.200\", \"2001:db8:1::200\"]\n".to_owned();
    let six = [("s1", "[2001:db8:1::1]:80")];
    let of = |listen: &str, mode: &str, servers: &[(&str, &str)]| {
        config(&[service("web", listen, mode, "app"), pool("app", servers, ""), source.clone()])
    };
    let mixed = |config: Config| Plan::new(config).unwrap().snapshot().mixed;
    assert!(!mixed(of("192.0.2.1:80", "snat", &[S1])));
    assert!(!mixed(of("[2001:db8::1]:80", "snat", &six)));
    assert!(!mixed(of("192.0.2.1:80", "nat", &[S1])));
    assert!(mixed(of("[2001:db8::1]:80", "snat", &[S1])), "NAT64");
    assert!(mixed(of("192.0.2.1:80", "snat", &six)), "NAT46");
    let mut plan = Plan::new(of("192.0.2.1:80", "snat", &[S1])).unwrap();
    assert!(!plan.snapshot().mixed);
    for (servers, why) in [(&six, "it has such servers"), (&[S1], "its flows to those go on")] {
        plan.adopt(of("192.0.2.1:80", "snat", servers)).unwrap();
        assert!(plan.snapshot().mixed, "{why}");
    }
}

/// Flows of the pool that is now do not keep one that is gone: an address that was taken out leaves the node when its own
/// flows have ended.
#[test]
fn an_address_out_of_a_pool_is_kept_for_its_own_flows_only() {
    let with = |addresses: &str, ports: &str| {
        let source = format!("[snat.out]\naddresses = [{addresses}]\nports = \"{ports}\"\n");
        config(&[service("web", "192.0.2.1:80", "snat", "app"), pool("app", &[S1], ""), source])
    };
    let both = "\"10.0.0.200\", \"10.0.0.201\"";
    let ip = |last| IpAddr::from([10, 0, 0, last]);
    let mut plan = Plan::new(with(both, "1024-65535")).unwrap();
    let mut random = SnatRandom::new([1; 4]);
    let mut take = |tables: &Tables| {
        std::iter::repeat_with(|| tables.snat_pools[0].take(0, Protocol::Tcp, true, &mut random).unwrap())
            .take(64)
            .collect::<Vec<_>>()
    };
    let give_back = |tables: &Tables, held: &[Mapping], ip: IpAddr| {
        for at in held.iter().filter(|at| IpAddr::from(at.ip) == ip) {
            tables.snat[&at.ip].give_back(at.ip, at.port, Protocol::Tcp);
        }
    };
    let held = take(&plan.snapshot());
    plan.adopt(with("\"10.0.0.200\"", "1024-65535")).unwrap();
    let tables = plan.snapshot();
    let more = take(&tables);
    plan.forget_snat();
    assert_eq!(plan.snat_addresses(), BTreeSet::from([ip(200), ip(201)]));
    give_back(&tables, &held, ip(201));
    assert!(plan.forget_snat());
    assert_eq!(plan.snat_addresses(), BTreeSet::from([ip(200)]));
    assert!(!plan.has_past_snat());
    // The same address with other ports, there and back: they all have those that flows hold.
    for ports in ["1000-65535", "1024-65535", "1000-65535"] {
        plan.adopt(with("\"10.0.0.200\"", ports)).unwrap();
        plan.forget_snat();
        assert!(!plan.has_past_snat(), "{ports}: {} flows go on", more.len());
    }
}

#[test]
fn a_pool_that_gets_its_first_check_goes_on_serving_until_that_has_spoken() {
    let with =
        |check: &str| config(&[service("web", "192.0.2.1:80", "nat", "app"), pool("app", &[S1], check)]);
    let mut plan = Plan::new(with("")).unwrap();
    plan.set_reach(id(&plan, "s1"), Ok(HopKey::untagged(0, "10.0.0.1".parse().unwrap()))).unwrap();
    plan.adopt(with("health = \"tcp\"")).unwrap();
    assert_eq!(members(&plan.snapshot()).len(), 1);
    plan.set_health(id(&plan, "s1"), Health::Down, "connection refused".to_owned());
    assert!(members(&plan.snapshot()).is_empty());
}

#[test]
fn a_services_slot_is_never_the_same_service_again() {
    let app = pool("app", &[S1], "");
    let mut plan = Plan::new(config(&[service("one", "192.0.2.1:80", "nat", "app"), app.clone()])).unwrap();
    let one = plan.service_id("one").unwrap();
    plan.adopt(config(&[service("two", "192.0.2.2:80", "nat", "app"), app.clone()])).unwrap();
    let two = plan.service_id("two").unwrap();
    assert_eq!(one.slot, two.slot, "slots are reused");
    assert_ne!(one, two, "identities are not");
    assert!(plan.snapshot().service(one).is_none());
    plan.adopt(config(&[service("two", "192.0.2.2:80", "nat", "app"), app])).unwrap();
    assert_eq!(plan.service_id("two"), Some(two));
}

#[test]
fn unchanged_pools_are_shared_between_snapshots() {
    let both = |servers: &[(&str, &str)]| {
        config(&[
            service("web", "192.0.2.1:80", "nat", "app"),
            service("api", "192.0.2.2:80", "nat", "other"),
            pool("app", servers, ""),
            pool("other", &[("x", "10.0.1.1:80")], ""),
        ])
    };
    let mut plan = Plan::new(both(&[S1])).unwrap();
    all_up(&mut plan);
    let before = plan.snapshot();
    plan.adopt(both(&[S1, S2])).unwrap();
    all_up(&mut plan);
    let after = plan.snapshot();
    let pool = |tables: &Tables, name: &str| {
        tables.services.slots().iter().flatten().find(|s| &*s.name == name).map(|s| s.pool.clone()).unwrap()
    };
    assert!(std::sync::Arc::ptr_eq(&pool(&before, "api"), &pool(&after, "api")));
    assert!(!std::sync::Arc::ptr_eq(&pool(&before, "web"), &pool(&after, "web")));
}

#[test]
fn two_nodes_with_one_configuration_choose_alike() {
    let tables = |order: &[(&str, &str)]| {
        let mut plan = Plan::new(web(order)).unwrap();
        all_up(&mut plan);
        plan.snapshot()
    };
    let (a, b) = (tables(&[S1, S2, S3]), tables(&[S3, S1, S2]));
    let address = |tables: &Tables, hash: u64| {
        let pool = &tables.services.get(0).unwrap().pool;
        let ringlead_l4::tables::Chooser::Maglev { table: maglev, .. } = &pool.chooser else {
            panic!("not maglev")
        };
        tables.server(pool.members[maglev.pick(hash).unwrap()]).unwrap().ip
    };
    for n in 0..1000_u64 {
        let hash = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        assert_eq!(address(&a, hash), address(&b, hash));
    }
}
