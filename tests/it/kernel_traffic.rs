//! What is not ours goes to the kernel as if there were no balancer, while the balancer is busy.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringlead_tests::{
    BlobServer, EchoServer, Exchange, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer,
    config, needs_ringlead, ping,
};

const PATIENCE: Duration = Duration::from_secs(3);

#[test]
fn the_kernel_keeps_its_own_traffic_under_load() {
    needs_ringlead!();
    let lab = Lab::new("kernel");
    let _farm = Farm::start(&lab);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    let load = Service::standard(Mode::Nat, Protocol::Udp, Family::V4);
    lab.await_servers(&load, "123");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let loaded = scope.spawn(|| {
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                let stats = lab.within(Node::Client, || Exchange::new(load.listen).times(32, 50).hold());
                // Flushing a neighbour below drops what the sender's kernel keeps waiting for it: a request or two.
                assert!(stats.wrong == 0 && stats.moved == 0, "{stats:?}");
                assert!(stats.answered + 5 >= stats.sent, "{stats:?}");
                sent += stats.sent;
            }
            sent
        });
        let ended = Ended(&done); // also when an assertion below fails
        for family in Family::ALL {
            pings(&lab, family);
            neighbours_are_found_again(&lab, family);
            own_sockets_are_reached(&lab, family);
            servers_are_reached_from_the_node(&lab, family);
            other_ports_of_a_service_address_are_the_kernels(&lab, family);
        }
        drop(ended);
        assert!(loaded.join().unwrap() > 0);
    });
}

struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Echo passes: to the node's own addresses from both sides, and to a service's address.
fn pings(lab: &Lab, family: Family) {
    let service = Lab::service(family, Mode::Nat);
    for (node, to) in
        [(Node::Client, Lab::balancer(family)), (Node::Server(1), back(family)), (Node::Client, service)]
    {
        let answered = lab.within(node, || ping(to, PATIENCE)).unwrap();
        assert!(answered.is_some(), "{to} does not answer a ping from {node}");
    }
}

/// ARP and neighbour discovery.
fn neighbours_are_found_again(lab: &Lab, family: Family) {
    for (node, port) in [(Node::Client, "c0"), (Node::Server(1), "e0")] {
        let flushed = lab.run(node, "ip", &["neigh", "flush", "dev", port]);
        // Under load entries come back at once; ip gives up after ten rounds, each of which emptied the table.
        let words = String::from_utf8_lossy(&flushed.stderr);
        assert!(flushed.status.success() || words.contains("after 10 rounds"), "{node} {port}: {words}");
    }
    pings(lab, family);
}

/// TCP and UDP to the node's own address, on the very ports that services use.
fn own_sockets_are_reached(lab: &Lab, family: Family) {
    let own = SocketAddr::new(Lab::balancer(family), 80);
    let _blob = BlobServer::start(lab, Node::Balancer, 'n', &[own]);
    let _echo = EchoServer::start(lab, Node::Balancer, 'n', &[own]);
    let made = lab.within(Node::Client, || Transfer::new(own).make()).unwrap();
    assert_eq!(made.server, 'n');
    let stats = lab.within(Node::Client, || Exchange::new(own).times(8, 5).hold());
    assert!(stats.perfect(), "{own}: {stats:?}");
}

/// The node's own connections to a nat server, as checks make them: the answers come from an address, port and
/// protocol that the steering program knows, and are the kernel's all the same.
fn servers_are_reached_from_the_node(lab: &Lab, family: Family) {
    let server = SocketAddr::new(Lab::server(family, 1), Service::NAT_SERVER_PORT);
    let made = lab.within(Node::Balancer, || Transfer::new(server).make()).unwrap();
    assert_eq!(made.server, '1');
    let stats = lab.within(Node::Balancer, || Exchange::new(server).times(8, 5).hold());
    assert!(stats.perfect(), "{server}: {stats:?}");
}

/// Nobody listens there, and the kernel says so.
fn other_ports_of_a_service_address_are_the_kernels(lab: &Lab, family: Family) {
    let other = SocketAddr::new(Lab::service(family, Mode::Nat), 81);
    let error = lab.within(Node::Client, || Transfer::new(other).make()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{other}: {error}");
}

/// The node's address that faces the servers.
fn back(family: Family) -> IpAddr {
    match family {
        Family::V4 => [10, 2, 0, 1].into(),
        Family::V6 => [0xfd02, 0, 0, 0, 0, 0, 0, 1].into(),
    }
}
