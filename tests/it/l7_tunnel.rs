//! layer l7 of two nodes that hand each other's flows on in tunnels. Each takes the outer headers off at a device of its own,
//! `t0`, because the program of ringlead is on the ports.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use ringlead_decap::{Counters, Decap, GUE_PORT};
use ringlead_pick::{FrontHash, Maglev, Member, default_size};
use ringlead_tests::{
    Family, Lab, Network, Node, Ringlead, Transfer, needs_ringlead, tcp_transfers, wait_until,
};

use crate::l7::{
    HEALTH_PORT, KEY, LIMIT, family, hash_of, listen, nobody_answers, node_config, node_named, nodes_up,
    service, transfers,
};

const NODES: [Node; 2] = [Node::Balancer, Node::Second];

/// Where a node, 1 or 2, is given flows: its address on `t0`.
fn tunnel_end(family: Family, number: u8) -> IpAddr {
    Lab::node(family, 20 + number)
}

/// A device more on both nodes, joined by the switch. Only it answers for its address, which no route goes by.
fn add_devices(lab: &Lab) {
    for (node, number) in NODES.into_iter().zip(1..) {
        let far = format!("to-t{number}");
        let netns = format!("{}-{}", lab.prefix(), Node::Switch);
        lab.must_run(
            node,
            "ip",
            &["link", "add", "t0", "type", "veth", "peer", "name", &far, "netns", &netns],
        );
        lab.must_run(Node::Switch, "ip", &["link", "set", &far, "master", "br0", "up"]);
        lab.must_run(node, "ethtool", &["-K", "t0", "rx", "off", "tx", "off", "tso", "off", "gso", "off"]);
        lab.must_run(Node::Switch, "ethtool", &["-K", &far, "rx", "off", "tx", "off", "tso", "off"]);
        // The other devices neither answer for its address nor ask in its name.
        let arp = "cd /proc/sys/net/ipv4/conf/all && echo 1 >arp_ignore && echo 2 >arp_announce";
        lab.must_run(node, "sh", &["-c", arp]);
        lab.must_run(node, "ip", &["link", "set", "t0", "up"]);
        for family in Family::ALL {
            let at = tunnel_end(family, number);
            let (at, nodad) =
                if at.is_ipv4() { (format!("{at}/32"), None) } else { (format!("{at}/128"), Some("nodad")) };
            let mut add = vec!["addr", "add", &at, "dev", "t0"];
            add.extend(nodad);
            lab.must_run(node, "ip", &add);
        }
    }
}

/// IPIP for IPv4, GUE for IPv6.
fn config(lab: &Lab, number: u8) -> String {
    let mut text = node_config(lab, number);
    for (family, digit, tunnel) in [(Family::V4, 4, "ipip"), (Family::V6, 6, "gue")] {
        for n in [1, 2] {
            let [own, end] = [Lab::node(family, n), tunnel_end(family, n)].map(|ip| SocketAddr::new(ip, 0));
            text = text.replace(&format!("\"{own}\""), &format!("\"{end}\""));
        }
        let nodes = format!("nodes = \"edge{digit}\"\n");
        assert!(text.contains(&nodes) && text.contains(&tunnel_end(family, 2).to_string()));
        text = text.replace(&nodes, &format!("{nodes}hand-off = \"tunnel\"\ntunnel = \"{tunnel}\"\n"));
    }
    text
}

/// The node, 1 or 2, whose flow it is.
fn owner(client: SocketAddr, to: SocketAddr) -> usize {
    let front = FrontHash::new(KEY);
    let member = |n| Member { identity: front.server(IpAddr::into(tunnel_end(family(to), n)), 0), weight: 1 };
    let table = Maglev::build(&[member(1), member(2)], default_size(2));
    1 + table.pick(hash_of(client, to)).unwrap()
}

/// What answers health checks at the address of `t0`; closed when dropped.
fn answer_checks(lab: &Lab) -> Vec<TcpListener> {
    let ends = |number| Family::ALL.map(|family| SocketAddr::new(tunnel_end(family, number), HEALTH_PORT));
    let on = |(node, number)| lab.within(node, || ends(number).map(|end| TcpListener::bind(end).unwrap()));
    NODES.into_iter().zip(1..).flat_map(on).collect()
}

fn decapsulate(lab: &Lab) -> Vec<Decap> {
    let on = |(node, number)| {
        let ends = Family::ALL.map(|family| tunnel_end(family, number));
        lab.within(node, || Decap::attach("t0", &ends, GUE_PORT).unwrap())
    };
    NODES.into_iter().zip(1..).map(on).collect()
}

#[test]
fn flows_of_another_node_reach_it_in_tunnels() {
    needs_ringlead!();
    let lab = Lab::with("l7-tunnel", Network { nodes: 2, ..Network::default() });
    add_devices(&lab);
    let services = Family::ALL.map(service);
    let _servers = NODES.map(|node| listen(&lab, node, &services));
    let _checked = answer_checks(&lab);
    services.iter().for_each(|to| nobody_answers(&lab, *to));
    let nodes = [Ringlead::start(&lab, &config(&lab, 1)), Ringlead::start_second(&lab, &config(&lab, 2))];
    for node in &nodes {
        wait_until(LIMIT, "both nodes to be up", || nodes_up(node, 2));
    }
    services.iter().for_each(|to| only_own_flows_without_decapsulation(&lab, *to));
    let decaps = decapsulate(&lab);
    for to in services {
        for way in [1, 2] {
            lab.route_by(to.ip(), way);
            let mut share = BTreeMap::new();
            for one in transfers(&lab, to, 120) {
                assert_eq!(node_named(one.server), owner(one.client, to), "{} by node {way}", one.client);
                *share.entry(node_named(one.server)).or_insert(0) += 1;
            }
            assert!(share.len() == 2 && share.values().all(|n| *n > 20), "{to} by node {way}: {share:?}");
        }
    }
    for Counters { ipip, gue0, gue1, refused, .. } in decaps.iter().map(Decap::counters) {
        assert!(ipip.v4_in_v4 > 20 && gue0.v6_in_v6 + gue1.v6_in_v6 > 20 && refused == 0, "{decaps:?}");
    }
}

/// What is handed on is in a tunnel: where nobody takes the outer headers off, only the node's own flows are answered.
fn only_own_flows_without_decapsulation(lab: &Lab, to: SocketAddr) {
    lab.route_by(to.ip(), 1);
    let each = Transfer::new(to).bytes(100, 100).timeout(Duration::from_millis(800));
    let made = lab.within(Node::Client, || tcp_transfers(each, 40, &Lab::clients(family(to))));
    let answered: Vec<_> = made.iter().flatten().collect();
    assert!((5..36).contains(&answered.len()), "{} of 40 answered without decapsulation", answered.len());
    for one in answered {
        assert_eq!((node_named(one.server), owner(one.client, to)), (1, 1), "{}", one.client);
    }
}
