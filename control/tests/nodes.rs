//! The nodes that share a service of layer l7: whose flows are whose, on each of them, as they come and go.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "tests report by panicking")]

use ringlead_control::config::{self, Config};
use ringlead_control::plan::{Health, HopKey, NodeDrain, Plan, Way};
use ringlead_flow::ServerId;
use ringlead_io::steer::{NodeTable, Nodes, Whose};
use ringlead_l4::tables::Chooser;
use ringlead_pick::FrontHash;
use ringlead_wire::{Endpoint, Ip, Protocol};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

const NAMES: [&str; 3] = ["lb1", "lb2", "lb3"];

/// Three nodes on two ports, the third one with this more; a service beside them of each node alone, and one of layer l4.
fn config(name: &str, more: &str) -> Config {
    let text = format!(
        r#"
version = 1
[node]
name = "{name}"
[dataplane]
cores = [0]
[port.wan]
device = "eth1"
[health.tcp]
type = "tcp"
port = 443
[service.web]
listen = ["192.0.2.1:443", "192.0.2.1:8443"]
protocol = "tcp"
layer = "l7"
nodes = "edge"
[service.alone]
listen = "192.0.2.1:444"
protocol = "tcp"
layer = "l7"
[service.l4]
listen = "192.0.2.1:80"
protocol = "tcp"
mode = "nat"
pool = "app"
[pool.app]
algorithm = "maglev"
server = [ {{ name = "s1", address = "10.0.0.1:80" }} ]
[pool.edge]
algorithm = "maglev"
health = "tcp"
server = [
  {{ name = "lb1", address = "10.0.1.1:0" }},
  {{ name = "lb2", address = "10.0.1.2:0" }},
  {{ name = "lb3", address = "10.0.1.3:0"{more} }},
]
"#
    );
    config::parse("test.toml", &text).unwrap_or_else(|e| panic!("{e}")).0
}

fn id(plan: &Plan, name: &str) -> ServerId {
    plan.servers().find(|s| s.key.name == name).map(|s| s.id).unwrap()
}

/// The plan of a node that sees these nodes up.
fn node(name: &str, up: &[&str], more: &str) -> Plan {
    let mut plan = Plan::new(config(name, more)).unwrap();
    for other in NAMES {
        let health = if up.contains(&other) { Health::Up } else { Health::Down };
        plan.set_health(id(&plan, other), health, "checked".to_owned());
        let way = if other == name {
            Way::Itself
        } else {
            Way::Via(HopKey::untagged(0, "10.0.1.9".parse().unwrap()))
        };
        plan.set_reach(id(&plan, other), Ok(way)).unwrap();
    }
    plan
}

fn at(port: u16) -> Endpoint {
    let ip = Ip::from("192.0.2.1".parse::<IpAddr>().unwrap());
    Endpoint { ip, port, protocol: Protocol::Tcp }
}

fn table(plan: &Plan, port: u16) -> Arc<NodeTable> {
    match plan.rules(&BTreeSet::new()).l7.get(&at(port)) {
        Some(Nodes::Several(table)) => Arc::clone(table),
        other => panic!("{other:?}"),
    }
}

/// Whether each of a thousand flows is this node's.
fn own(plan: &Plan) -> Vec<bool> {
    let table = table(plan, 443);
    let client = Ip::from_v4([198, 51, 100, 7]);
    (1..=1000).map(|port| table.is_own(client, at(443).ip, port, 443, Protocol::Tcp)).collect()
}

fn count(own: &[bool]) -> usize {
    own.iter().filter(|own| **own).count()
}

#[test]
fn each_flow_is_exactly_one_nodes() {
    let all = NAMES.map(|name| {
        let mut plan = node(name, &NAMES, "");
        drop(plan.snapshot());
        own(&plan)
    });
    let [a, b, c] = &all;
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        assert_eq!(u8::from(*a) + u8::from(*b) + u8::from(*c), 1);
    }
    assert!(all.iter().all(|own| (270..400).contains(&count(own))), "{:?}", all.map(|own| count(&own)));
}

/// What the program hands to a worker, the worker sends to another node; what it leaves to the kernel, the worker would not.
#[test]
fn the_program_and_the_snapshot_have_one_table() {
    let mut plan = node("lb2", &NAMES, "");
    let tables = plan.snapshot();
    let service = tables.listener(at(443)).unwrap();
    let Chooser::Maglev { table, .. } = &service.pool.chooser else { panic!("{:?}", service.pool) };
    let hash = FrontHash::new(config::HASH_KEY_DEFAULT);
    let client = Ip::from_v4([198, 51, 100, 7]);
    for (port, own) in (1..=1000).zip(own(&plan)) {
        let member = table.pick(hash.flow(client, at(443).ip, port, 443, 6)).unwrap();
        assert_eq!(own, Some(service.pool.members[member]) == service.own, "port {port}");
    }
    assert_eq!(service.own, Some(id(&plan, "lb2")));
    assert!(tables.listener(at(444)).is_none(), "the kernel's alone");
    assert!(tables.listener(at(80)).unwrap().own.is_none());
}

#[test]
fn services_are_steered_by_their_layer() {
    let mut plan = node("lb1", &NAMES, "");
    drop(plan.snapshot());
    let rules = plan.rules(&BTreeSet::new());
    assert_eq!(rules.services, BTreeSet::from([at(80)]));
    assert_eq!(rules.l7.keys().copied().collect::<Vec<_>>(), [at(443), at(444), at(8443)]);
    assert_eq!(rules.l7[&at(444)], Nodes::Alone);
    assert!(Arc::ptr_eq(&table(&plan, 443), &table(&plan, 443)) || table(&plan, 443) == table(&plan, 8443));
    assert_eq!(plan.managed_addresses(), BTreeSet::from(["192.0.2.1".parse().unwrap()]));
    assert_eq!(plan.own_nodes(), BTreeSet::from([id(&plan, "lb1")]));
}

#[test]
fn a_node_that_goes_down_leaves_its_flows_to_the_others_and_they_keep_theirs() {
    let mut plan = node("lb1", &NAMES, "");
    drop(plan.snapshot());
    let before = own(&plan);
    plan.set_health(id(&plan, "lb3"), Health::Down, "refused".to_owned());
    drop(plan.snapshot());
    let after = own(&plan);
    let lost = before.iter().zip(&after).filter(|(before, after)| **before && !**after).count();
    assert!(lost < 40, "{lost} of {} flows went to lb2 though their node is up", count(&before));
    assert!((430..570).contains(&count(&after)), "{}", count(&after));
}

#[test]
fn a_node_that_leaves_takes_no_new_flow_while_another_can() {
    for leaving in ["drain", "offline"] {
        let state = format!(", state = \"{leaving}\"");
        let mut plan = node("lb3", &NAMES, &state);
        drop(plan.snapshot());
        assert_eq!(count(&own(&plan)), 0, "{leaving}");
        for other in ["lb1", "lb2"] {
            plan.set_health(id(&plan, other), Health::Down, "refused".to_owned());
        }
        drop(plan.snapshot());
        assert_eq!(count(&own(&plan)), 1000, "{leaving}: nobody else could");
    }
}

/// By `node drain`: from the start on, too, and back.
#[test]
fn a_node_that_drains_leaves_its_l7_flows_to_the_others() {
    let drain = || Some(NodeDrain { reason: None, since: 0 });
    let mut plan = node("lb3", &NAMES, "");
    plan.set_node_drain(drain());
    assert_eq!(count(&own(&plan)), 0, "before the first snapshot");
    drop(plan.snapshot());
    assert_eq!(count(&own(&plan)), 0);
    for other in ["lb1", "lb2"] {
        plan.set_health(id(&plan, other), Health::Down, "refused".to_owned());
    }
    drop(plan.snapshot());
    assert_eq!(count(&own(&plan)), 1000, "nobody else could");
    let mut ready = node("lb3", &NAMES, "");
    ready.set_node_drain(drain());
    ready.set_node_drain(None);
    drop(ready.snapshot());
    assert!(count(&own(&ready)) > 200);
}

/// Of which of a thousand flows a connection that the kernel does not have may be another node's.
fn guests(plan: &Plan) -> Vec<bool> {
    let table = table(plan, 443);
    let client = Ip::from_v4([198, 51, 100, 7]);
    let whose = |port| table.whose(client, at(443).ip, port, 443, Protocol::Tcp);
    (1..=1000).map(|port| whose(port) == Whose::Guests).collect()
}

#[test]
fn a_slot_that_was_another_nodes_may_have_guests_until_no_other_has_a_flow() {
    let mut plan = node("lb1", &NAMES, "");
    drop(plan.snapshot());
    let first = own(&plan);
    assert!(count(&guests(&plan)) == 0 && !plan.has_guests(), "nobody has been handed on yet");
    for round in 0..2 {
        plan.set_health(id(&plan, "lb3"), Health::Down, "refused".to_owned());
        drop(plan.snapshot());
        for ((first, now), guest) in first.iter().zip(own(&plan)).zip(guests(&plan)) {
            // Those that stay away may be guests once they come.
            assert_eq!(guest, now && !first, "round {round}: what came from lb3 and lb2, and nothing else");
        }
        plan.set_health(id(&plan, "lb3"), Health::Up, "answers".to_owned());
        drop(plan.snapshot());
    }
    // It is away itself, and comes back.
    plan.set_health(id(&plan, "lb1"), Health::Down, "refused".to_owned());
    drop(plan.snapshot());
    assert_eq!((count(&own(&plan)), count(&guests(&plan))), (0, 0));
    plan.set_health(id(&plan, "lb1"), Health::Up, "answers".to_owned());
    drop(plan.snapshot());
    assert_eq!((own(&plan), guests(&plan)), (first.clone(), first.clone()));
    let third = id(&plan, "lb3");
    assert!(plan.has_guests() && !plan.other_nodes_are(|id| id != third) && plan.other_nodes_are(|_| true));
    plan.forget_guests();
    assert!(!plan.has_guests() && count(&guests(&plan)) == 0 && own(&plan) == first);
    plan.set_health(id(&plan, "lb2"), Health::Down, "refused".to_owned());
    drop(plan.snapshot());
    assert!(plan.has_guests(), "noted anew");
}

#[test]
fn what_is_not_known_may_have_guests() {
    let mut follower = node("lb1", &NAMES, "").expecting_guests();
    drop(follower.snapshot());
    assert_eq!(guests(&follower), own(&follower), "flows came from a predecessor");
    follower.forget_guests();
    assert_eq!(count(&guests(&follower)), 0);
    // A table of another size has other slots.
    let mut plan = node("lb1", &NAMES, "");
    drop(plan.snapshot());
    let more: String =
        (4..12).map(|n| format!(" }},\n  {{ name = \"lb{n}\", address = \"10.0.1.{n}:0\"")).collect();
    plan.adopt(config("lb1", &more)).unwrap();
    drop(plan.snapshot());
    assert_eq!(guests(&plan), own(&plan));
    // Nobody is up: all are this node's, and all may be guests.
    let mut nobody = node("lb2", &[], "");
    drop(nobody.snapshot());
    assert_eq!((count(&own(&nobody)), count(&guests(&nobody))), (1000, 1000));
}

#[test]
fn the_only_node_that_is_up_takes_all() {
    let mut plan = node("lb2", &["lb2"], "");
    drop(plan.snapshot());
    assert_eq!(count(&own(&plan)), 1000);
    let mut nobody = node("lb2", &[], "");
    drop(nobody.snapshot());
    assert_eq!(count(&own(&nobody)), 1000, "checks may be wrong, and nobody else is any better");
}

/// At start, before any check has ended: taking all would reset what the others have.
#[test]
fn before_the_first_snapshot_all_nodes_count_as_up() {
    let plan = Plan::new(config("lb1", "")).unwrap();
    let soon = own(&plan);
    let mut later = node("lb1", &NAMES, "");
    drop(later.snapshot());
    assert_eq!(soon, own(&later));
    assert_eq!(count(&own(&Plan::new(config("lb3", ", state = \"drain\"")).unwrap())), 0);
}
