//! Two nodes of which one drains and comes back under load: connections stay with the node that has them, by whichever they come
//! in and whosever the table says that new ones are.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringlead_tests::{Held, Lab, Node, Ringlead, Transfer, Transferred, ringlead_binary, wait_until};

use crate::l7::{LIMIT, family, node_named, node_of, nodes_up};

/// Connections of each family that live across both changes.
const LONG: usize = 160;
/// Those that begin while the node is drained.
const NEW: usize = 80;

/// IPv4 comes in by the first node, which gets the second one's slots and gives them back; IPv6 by the second, which gives its
/// own away and gets them back.
pub(crate) fn a_node_drains_and_comes_back(lab: &Lab, services: [SocketAddr; 2], nodes: &[Ringlead; 2]) {
    services.iter().zip(1..).for_each(|(to, way)| lab.route_by(to.ip(), way));
    let (begun, back) = (begin(lab, services, LONG), AtomicBool::new(false));
    thread::scope(|scope| {
        let long = scope.spawn(|| carry(begun, &back));
        say(nodes, "drain", 1);
        let new = begin(lab, services, NEW);
        let new = scope.spawn(|| carry(new, &back));
        say(nodes, "ready", 2);
        // Some more rounds of each, by the new tables.
        thread::sleep(Duration::from_millis(300));
        back.store(true, Ordering::Relaxed);
        for (to, one) in long.join().unwrap() {
            let of = node_of(one.client, to);
            assert_eq!(node_named(one.server), of, "{} to {to} began while both were up", one.client);
        }
        for (to, one) in new.join().unwrap() {
            assert_eq!(node_named(one.server), 1, "{} to {to} began while the second drained", one.client);
        }
    });
}

fn begin(lab: &Lab, services: [SocketAddr; 2], count: usize) -> Vec<(SocketAddr, Held)> {
    let each = services.into_iter().flat_map(|to| (0..count).map(move |number| (to, number)));
    let held = |(to, number): (SocketAddr, usize)| {
        let sources = Lab::clients(family(to));
        let transfer = Transfer::new(to).bytes(60_013, 5_003).from(sources[number % sources.len()]);
        (to, transfer.hold().unwrap_or_else(|e| panic!("{to}: {e}")))
    };
    lab.within(Node::Client, || each.map(held).collect())
}

/// Sends a little by every connection again and again until told to finish them all, and none may be broken.
fn carry(mut all: Vec<(SocketAddr, Held)>, end: &AtomicBool) -> Vec<(SocketAddr, Transferred)> {
    while !end.load(Ordering::Relaxed) {
        for (to, held) in &mut all {
            held.send(100).unwrap_or_else(|e| panic!("{to}: {e}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    all.into_iter().map(|(to, held)| (to, held.finish().unwrap_or_else(|e| panic!("{to}: {e}")))).collect()
}

/// Tells both nodes what is wanted of the second, and waits until each has so many that are up.
fn say(nodes: &[Ringlead; 2], what: &str, up: u64) {
    let binary = ringlead_binary().unwrap();
    for node in nodes {
        for pool in ["edge4", "edge6"] {
            let server = format!("{pool}/n2");
            let told = Command::new(&binary).args(["server", what, &server, "-c"]).arg(node.file()).output();
            let told = told.unwrap();
            assert!(told.status.success(), "{what} {server}: {}", String::from_utf8_lossy(&told.stderr));
        }
    }
    for node in nodes {
        wait_until(LIMIT, "the nodes to agree", || nodes_up(node, up));
    }
}
