//! Two workers: a flow's replies land on any queue, and either worker knows the flow.

use ringlead_tests::{
    Exchange, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, config, needs_ringlead,
};

use crate::carries;

#[test]
fn replies_may_come_on_the_other_workers_queue() {
    needs_ringlead!();
    let lab = Lab::new("two-workers");
    let _farm = Farm::start(&lab);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    for family in Family::ALL {
        let udp = Service::standard(Mode::Nat, Protocol::Udp, family);
        lab.await_servers(&udp, "123");
        let talk = Exchange::new(udp.listen).from(&Lab::clients(family)).times(256, 20);
        let stats = lab.within(Node::Client, || talk.hold());
        assert!(stats.perfect(), "{stats:?}");
        carries::tcp(&lab, &Service::standard(Mode::Nat, Protocol::Tcp, family));
    }
    for port in ["l0", "l1"] {
        let packets = packets_of_queues(&lab, port);
        assert!(packets.iter().all(|queue| *queue > 100), "{port}: not all queues were used: {packets:?}");
    }
}

/// Packets that the steering program saw on each receive queue.
fn packets_of_queues(lab: &Lab, port: &str) -> Vec<u64> {
    let text = lab.must_run(Node::Balancer, "ethtool", &["-S", port]);
    let counted = |queue: u8| {
        let key = format!("rx_queue_{queue}_xdp_packets:");
        let line = text.lines().find_map(|line| line.trim().strip_prefix(&key));
        line.unwrap_or_else(|| panic!("no {key} in\n{text}")).trim().parse().unwrap()
    };
    (0..lab.network().queues).map(counted).collect()
}
