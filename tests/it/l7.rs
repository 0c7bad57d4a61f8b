//! layer l7: connections are accepted on the node, each by the listener that the flow's hash says; and of several nodes, each
//! on the node that their table says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use crate::l7_guests::a_node_drains_and_comes_back;
use ringlead_io::listen::{Listeners, listener_of};
use ringlead_pick::{FrontHash, Maglev, Member, default_size};
use ringlead_tests::{
    BlobServer, Config, Exchange, Family, Farm, Lab, Mode, Network, Node, Protocol, Ringlead, Service,
    Transfer, Transferred, needs_ringlead, tcp_transfers, wait_until,
};

/// As both configurations say.
pub(crate) const KEY: [u8; 16] = *b"ringlead-default";
const PORT: u16 = 443;
/// Where a node's health is asked for.
pub(crate) const HEALTH_PORT: u16 = 8443;
/// Listeners of a service on one node.
pub(crate) const LISTENERS: usize = 4;
pub(crate) const LIMIT: Duration = Duration::from_secs(15);

/// The test server of a node: listeners by the front's hash on these addresses, and one that answers health checks. The
/// first node's listeners are called a to d, the second one's A to D.
pub(crate) fn listen(lab: &Lab, node: Node, addresses: &[SocketAddr]) -> BlobServer {
    let (first, number) = if node == Node::Second { ('A', 2) } else { ('a', 1) };
    let mut all = Vec::new();
    lab.within(node, || {
        for &address in addresses {
            let (_group, sockets) = Listeners::open(address, LISTENERS, KEY).unwrap();
            all.extend((first..).zip(sockets));
        }
        for family in Family::ALL {
            let health = SocketAddr::new(Lab::node(family, number), HEALTH_PORT);
            all.push(('-', std::net::TcpListener::bind(health).unwrap()));
        }
    });
    BlobServer::on(all)
}

pub(crate) fn hash_of(client: SocketAddr, service: SocketAddr) -> u64 {
    FrontHash::new(KEY).flow(client.ip().into(), service.ip().into(), client.port(), service.port(), 6)
}

/// Many short transfers, 40 at a time, of which none may fail.
pub(crate) fn transfers(lab: &Lab, to: SocketAddr, count: usize) -> Vec<Transferred> {
    let sources = Lab::clients(family(to));
    let each = Transfer::new(to).bytes(3_001, 5_003);
    let some = |_| lab.within(Node::Client, || tcp_transfers(each, 40, &sources));
    let made = (0..count.div_ceil(40)).flat_map(some);
    made.map(|one| one.unwrap_or_else(|e| panic!("{to}: {e}"))).collect()
}

pub(crate) fn family(at: SocketAddr) -> Family {
    if at.is_ipv4() { Family::V4 } else { Family::V6 }
}

pub(crate) fn nobody_answers(lab: &Lab, to: SocketAddr) {
    let quick = Transfer::new(to).timeout(Duration::from_millis(300));
    let made = lab.within(Node::Client, || quick.make());
    assert!(made.is_err(), "{to} answers without a balancer: {made:?}");
}

/// Services of layer l7 on the addresses of nat and dsr services.
fn beside() -> [SocketAddr; 4] {
    let at = |mode, family| SocketAddr::new(Lab::service(family, mode), PORT);
    [
        at(Mode::Nat, Family::V4),
        at(Mode::Nat, Family::V6),
        at(Mode::Dsr, Family::V4),
        at(Mode::Dsr, Family::V6),
    ]
}

fn alone(lab: &Lab) -> String {
    let mut config = Config::empty(lab);
    for (mode, family) in [Mode::Nat, Mode::Dsr].into_iter().flat_map(|m| Family::ALL.map(|f| (m, f))) {
        config = config.service(Service::standard(mode, Protocol::Udp, family));
    }
    let addresses: Vec<String> = beside().iter().map(|at| format!("\"{at}\"")).collect();
    format!(
        "{}\n[service.web]\nlisten = [{}]\nprotocol = \"tcp\"\nlayer = \"l7\"\n",
        config.render(),
        addresses.join(", ")
    )
}

fn l7_status(ringlead: &Ringlead, name: &str) -> serde_json::Value {
    let status = ringlead.status();
    let services = status["services"].as_array().unwrap();
    services.iter().find(|service| service["name"] == name).unwrap().clone()
}

#[test]
fn each_connection_is_accepted_by_the_listener_that_its_hash_says_beside_layer_4() {
    needs_ringlead!();
    let lab = Lab::new("l7");
    let _farm = Farm::start(&lab);
    for to in beside() {
        nobody_answers(&lab, to);
    }
    let mut ringlead = Ringlead::start(&lab, &alone(&lab));
    let status = l7_status(&ringlead, "web");
    assert_eq!(
        (&status["layer"], &status["mode"], &status["listening"]),
        (&"l7".into(), &"kernel".into(), &false.into())
    );
    let _server = listen(&lab, Node::Balancer, &beside());
    assert_eq!(l7_status(&ringlead, "web")["listening"], true);
    let layer4 = [Mode::Nat, Mode::Dsr].map(|mode| Service::standard(mode, Protocol::Udp, Family::V4));
    layer4.iter().for_each(|service| lab.await_servers(service, "123"));
    thread::scope(|scope| {
        let lab = &lab;
        let udp = layer4.map(|service| {
            let talk = Exchange::new(service.listen).times(32, 200);
            scope.spawn(move || lab.within(Node::Client, || talk.hold()))
        });
        for to in beside() {
            let mut seen = BTreeSet::new();
            for one in transfers(lab, to, 160) {
                let listener = listener_of(hash_of(one.client, to), LISTENERS);
                assert_eq!(
                    one.server,
                    char::from(b'a' + u8::try_from(listener).unwrap()),
                    "{} to {to}",
                    one.client
                );
                seen.insert(one.server);
            }
            assert_eq!(seen.len(), LISTENERS, "{to}");
        }
        for talk in udp {
            let stats = talk.join().unwrap();
            assert!(stats.perfect(), "layer 4 beside it: {stats:?}");
        }
    });
    // A reload while connections live, which adds and removes services of the address.
    thread::scope(|scope| {
        let lab = &lab;
        let long = beside().map(|to| {
            let each = Transfer::new(to).bytes(300_007, 300_007).lasting(Duration::from_secs(4));
            scope
                .spawn(move || lab.within(Node::Client, || tcp_transfers(each, 8, &Lab::clients(family(to)))))
        });
        thread::sleep(Duration::from_millis(500));
        let less: String = alone(lab).replace("protocol = \"udp\"", "protocol = \"tcp\"");
        assert!(ringlead.reload(&less).contains("in force"));
        assert!(ringlead.reload(&alone(lab)).contains("in force"));
        for one in long.into_iter().flat_map(|all| all.join().unwrap()) {
            one.unwrap();
        }
    });
}

/// A node of two, by its number: services of both families, with dsr or, for IPv4 alone, a tunnel.
pub(crate) fn node_config(lab: &Lab, number: u8) -> String {
    let (files, bpf) = (lab.files().display(), [lab.bpf_dir(), lab.second_bpf_dir()]);
    let bpf = bpf[usize::from(number - 1)].display();
    std::fs::create_dir_all(lab.files().join(format!("state{number}"))).unwrap();
    let mut text = format!(
        "version = 1\n[node]\nname = \"n{number}\"\nstate-dir = \"{files}/state{number}\"\n\
         control = \"unix:{files}/control{number}.sock\"\nbpf-dir = \"{bpf}\"\n\
         [dataplane]\ncores = [0, 1]\nmax-flows = 65536\n\
         [port.wan]\ndevice = \"l0\"\nfaces = \"clients\"\n[port.lan]\ndevice = \"l1\"\nfaces = \"servers\"\n\
         [health.tcp]\ntype = \"tcp\"\nport = {HEALTH_PORT}\ninterval = \"300ms\"\ntimeout = \"200ms\"\n\
         rise = 1\nfall = 2\n"
    );
    for family in Family::ALL {
        let (digit, to) = (if family == Family::V4 { 4 } else { 6 }, service(family));
        let nodes = [1, 2].map(|n| {
            format!("{{ name = \"n{n}\", address = \"{}\" }}", SocketAddr::new(Lab::node(family, n), 0))
        });
        text += &format!(
            "[service.web{digit}]\nlisten = \"{to}\"\nprotocol = \"tcp\"\nlayer = \"l7\"\nnodes = \"edge{digit}\"\n\
             [pool.edge{digit}]\nalgorithm = \"maglev\"\nhealth = \"tcp\"\nserver = [{}]\n",
            nodes.join(", ")
        );
    }
    text
}

pub(crate) fn service(family: Family) -> SocketAddr {
    SocketAddr::new(Lab::l7_service(family), PORT)
}

/// The node, 1 or 2, whose flow it is while both are up.
pub(crate) fn node_of(client: SocketAddr, to: SocketAddr) -> usize {
    let front = FrontHash::new(KEY);
    let member = |n| Member { identity: front.server(IpAddr::into(Lab::node(family(to), n)), 0), weight: 1 };
    let table = Maglev::build(&[member(1), member(2)], default_size(2));
    1 + table.pick(hash_of(client, to)).unwrap()
}

/// The node that a listener's name belongs to.
pub(crate) fn node_named(name: char) -> usize {
    if name.is_ascii_lowercase() { 1 } else { 2 }
}

/// Whether a node has so many nodes up, itself among them, in each service.
pub(crate) fn nodes_up(ringlead: &Ringlead, wanted: u64) -> bool {
    let status = ringlead.status();
    status["services"].as_array().unwrap().iter().all(|s| s["servers_eligible"] == wanted)
}

#[test]
fn each_flow_is_accepted_by_its_node_whichever_it_came_to() {
    needs_ringlead!();
    let lab = Lab::with("l7-nodes", Network { nodes: 2, ..Network::default() });
    let services = Family::ALL.map(service);
    let _first = listen(&lab, Node::Balancer, &services);
    let second = listen(&lab, Node::Second, &services);
    for to in services {
        nobody_answers(&lab, to);
    }
    let nodes =
        [Ringlead::start(&lab, &node_config(&lab, 1)), Ringlead::start_second(&lab, &node_config(&lab, 2))];
    for node in &nodes {
        wait_until(LIMIT, "both nodes to be up", || nodes_up(node, 2));
    }
    for to in services {
        for way in [1, 2] {
            lab.route_by(to.ip(), way);
            let mut share = BTreeMap::new();
            for one in transfers(&lab, to, 120) {
                let node = node_of(one.client, to);
                assert_eq!(node_named(one.server), node, "{} by node {way}", one.client);
                // Its listener is the one of the hash on whichever node.
                let listener = listener_of(hash_of(one.client, to), LISTENERS);
                assert_eq!(usize::from(one.server.to_ascii_lowercase() as u8 - b'a'), listener);
                *share.entry(node).or_insert(0) += 1;
            }
            assert!(share.len() == 2 && share.values().all(|n| *n > 20), "{to} by node {way}: {share:?}");
        }
    }
    established_flows_are_sprayed_anew(&lab, services);
    a_node_drains_and_comes_back(&lab, services, &nodes);
    let dropped: u64 = nodes.iter().map(|n| n.status()["drops"]["own-node"].as_u64().unwrap_or(0)).sum();
    assert_eq!(dropped, 0, "nobody's table differed from its program's");
    the_second_dies(&lab, services, second, &nodes[0]);
}

/// Connections go on while a router sends their packets to the one node and to the other.
fn established_flows_are_sprayed_anew(lab: &Lab, services: [SocketAddr; 2]) {
    thread::scope(|scope| {
        let long = services.map(|to| {
            let each = Transfer::new(to).bytes(1_000_003, 1_000_003).lasting(Duration::from_secs(4));
            scope.spawn(move || {
                lab.within(Node::Client, || tcp_transfers(each, 16, &Lab::clients(family(to))))
            })
        });
        for way in [1, 2, 1, 2, 1] {
            thread::sleep(Duration::from_millis(500));
            services.iter().for_each(|to| lab.route_by(to.ip(), way));
        }
        for (to, all) in services.iter().zip(long) {
            for one in all.join().unwrap() {
                let one = one.unwrap_or_else(|e| panic!("{to}: {e}"));
                assert_eq!(node_named(one.server), node_of(one.client, *to));
            }
        }
    });
}

/// New flows go to the node that is left; what it has stays.
fn the_second_dies(lab: &Lab, services: [SocketAddr; 2], second: BlobServer, first: &Ringlead) {
    thread::scope(|scope| {
        let long = services.map(|to| {
            let each = Transfer::new(to).bytes(1_000_003, 1_000_003).lasting(Duration::from_secs(4));
            scope.spawn(move || {
                lab.within(Node::Client, || tcp_transfers(each, 16, &Lab::clients(family(to))))
            })
        });
        thread::sleep(Duration::from_millis(500));
        drop(second);
        wait_until(LIMIT, "the second node to be down", || nodes_up(first, 1));
        for to in services {
            // The workers and the program on the port hear of it a moment after the status.
            wait_until(LIMIT, "no new flow to go to the second node", || {
                let quick = Transfer::new(to).bytes(100, 100).timeout(Duration::from_secs(1));
                let made = lab.within(Node::Client, || tcp_transfers(quick, 40, &Lab::clients(family(to))));
                made.iter().all(Result::is_ok)
            });
            assert!(transfers(lab, to, 40).iter().all(|one| node_named(one.server) == 1), "{to}");
        }
        let made: Vec<_> = long.into_iter().flat_map(|all| all.join().unwrap()).collect();
        let whole: Vec<_> = made.iter().flatten().collect();
        assert!(whole.iter().all(|one| node_named(one.server) == 1) && whole.len() > 5, "{made:?}");
        // Those that broke are the dead node's: about half of 32.
        assert!((5..27).contains(&whole.len()), "{} of {} connections went on", whole.len(), made.len());
    });
}
