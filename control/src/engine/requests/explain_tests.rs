//! What keeps each server of a pool from a flow, where that is not its own state: a panic, and a node that drains.

use super::explain::ExplainAnswer;
use super::flows::FlowWalk;
use super::walk_tests::{add, explain, id, walk, walk_of};
use crate::plan::{Health, NodeDrain, Obstacle, Plan, Unreachable, Way};
use std::sync::Arc;

const CLIENT: &str = "172.16.0.1:4000";

/// A pool of three and a backup, of which `a` and `b` are down.
fn half_dead(then: &str) -> FlowWalk {
    let text = format!(
        r#"[service.web]
listen = "10.9.0.1:80"
protocol = "tcp"
mode = "nat"
pool = "web"
[pool.web]
algorithm = "round-robin"
health = "tcp"
panic = {{ below = 60, then = "{then}" }}
server = [
  {{ name = "a", address = "10.0.0.1:80" }},
  {{ name = "b", address = "10.0.0.2:80" }},
  {{ name = "c", address = "10.0.0.3:80" }},
  {{ name = "d", address = "10.0.0.4:80", backup = true }},
]
[health.tcp]
type = "tcp"
"#
    );
    let mut walk = walk_of(&text, 64);
    for (name, health) in [("a", Health::Down), ("b", Health::Down), ("c", Health::Up), ("d", Health::Up)] {
        let server = id(&walk, "web", name);
        Arc::make_mut(&mut walk.plan).set_health(server, health, "refused".to_owned());
    }
    publish(&mut walk, |_| ());
    walk
}

fn publish(walk: &mut FlowWalk, change: impl FnOnce(&mut Plan)) {
    let plan = Arc::make_mut(&mut walk.plan);
    change(plan);
    walk.shared.tables.store(Arc::new(plan.snapshot()));
}

fn reasons(answer: &ExplainAnswer) -> Vec<&str> {
    answer.servers.iter().map(|server| server.why.as_str()).collect()
}

#[test]
fn a_panic_is_told_by_what_it_does() {
    let all = explain(half_dead("all"), CLIENT, "web", "tcp").unwrap();
    assert_eq!(all.candidates, ["web/a", "web/b", "web/c"], "checks are disbelieved");
    assert_eq!(reasons(&all)[..3], ["may get it"; 3]);
    assert_eq!(reasons(&all)[3], "backup: enough other servers are up");
    let backup = explain(half_dead("backup"), CLIENT, "web", "tcp").unwrap();
    assert_eq!(backup.server.as_deref(), Some("web/d"));
    let c = "panic: only the pool's backups get flows";
    assert_eq!(reasons(&backup)[..3], ["down: refused", "down: refused", c]);
    let none = explain(half_dead("none"), CLIENT, "web", "tcp").unwrap();
    assert_eq!((none.server.as_deref(), none.decided_by.as_deref()), (None, Some("nobody")));
    let nobody = "panic: no server of the pool gets flows";
    assert_eq!(reasons(&none), ["down: refused", "down: refused", nobody, nobody]);
    assert!(none.says.starts_with("pool web is in panic, and then nobody can take it"), "{}", none.says);
}

/// A server that is down and gets the flow all the same is not passed off as a healthy one.
#[test]
fn who_is_down_and_gets_a_flow_by_a_panic_is_told_to_be_down() {
    let mut walk = half_dead("all");
    let (b, c) = (id(&walk, "web", "b"), id(&walk, "web", "c"));
    publish(&mut walk, |plan| {
        for server in [b, c] {
            plan.set_reach(
                server,
                Err::<Way, _>(Unreachable { what: Obstacle::NoRoute, why: "no route".to_owned() }),
            )
            .unwrap();
        }
    });
    let answer = explain(walk, CLIENT, "web", "tcp").unwrap();
    assert_eq!(answer.server.as_deref(), Some("web/a"));
    let why = "the algorithm leaves nobody else; down, which the pool in panic does not believe";
    assert_eq!(reasons(&answer)[..3], [why, "unreachable: no route", "unreachable: no route"]);
}

/// This node is `lb1`.
fn nodes() -> FlowWalk {
    let text = r#"[node]
name = "lb1"
[service.edge]
listen = "10.9.0.1:443"
protocol = "tcp"
layer = "l7"
nodes = "edge"
[pool.edge]
algorithm = "maglev"
health = "tcp"
server = [{ name = "lb1", address = "10.0.0.1:0" }, { name = "lb2", address = "10.0.0.2:0" }]
[health.tcp]
type = "tcp"
port = 443
"#;
    let mut walk = walk_of(text, 64);
    let this = id(&walk, "edge", "lb1");
    let other = id(&walk, "edge", "lb2");
    publish(&mut walk, |plan| {
        plan.set_reach(this, Ok(Way::Itself)).unwrap();
        for node in [this, other] {
            plan.set_health(node, Health::Up, "connected".to_owned());
        }
    });
    walk
}

#[test]
fn a_node_that_drains_is_told_to_and_where_nobody_else_is_takes_its_own() {
    let drain = NodeDrain { reason: Some("new kernel".to_owned()), since: 0 };
    let mut walk = nodes();
    publish(&mut walk, |plan| plan.set_node_drain(Some(drain.clone())));
    let answer = explain(walk, CLIENT, "edge", "tcp").unwrap();
    assert_eq!(answer.server.as_deref(), Some("edge/lb2"));
    assert_eq!(reasons(&answer)[0], "this node itself, which drains (\"new kernel\")");
    let mut walk = nodes();
    let other = id(&walk, "edge", "lb2");
    publish(&mut walk, |plan| {
        plan.set_node_drain(Some(drain));
        plan.set_reach(
            other,
            Err::<Way, _>(Unreachable { what: Obstacle::NoRoute, why: "no route".to_owned() }),
        )
        .unwrap();
    });
    let answer = explain(walk, CLIENT, "edge", "tcp").unwrap();
    assert_eq!(answer.decided_by.as_deref(), Some("own-node"), "{}", answer.says);
}

#[test]
fn a_full_flow_table_is_told_with_its_figures_and_the_reason_of_the_drop() {
    let full = |flows_max: usize| {
        let walk = walk(flows_max);
        (0..u32::try_from(flows_max).unwrap())
            .for_each(|n| add(&walk, "web", [10, 9, 0, 1], ("a", 1), n, 0, 0));
        walk
    };
    let client = "172.17.0.1:4000";
    let answer = explain(full(2), client, "web", "tcp").unwrap();
    assert_eq!((answer.decided_by.as_deref(), answer.drop.as_deref()), (Some("nobody"), Some("table-full")));
    let says = "the flow table is full: 0 of 2 entries free in this family (IPv4): nobody can take it: the packet is dropped (table-full: ";
    assert!(answer.says.starts_with(says), "{}", answer.says);
    assert_eq!(reasons(&answer), ["the flow table has no room"; 3]);
    // dsr with Maglev needs no entry.
    let answer = explain(full(2), client, "dns", "udp").unwrap();
    assert_eq!((answer.server.as_deref(), answer.drop), (Some("dns/a"), None));
    let says = "; the flow table is full: 0 of 2 entries free in this family (IPv4), so its packets are forwarded without an entry";
    assert!(answer.says.ends_with(says), "{}", answer.says);
}
