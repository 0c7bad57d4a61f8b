//! What servers receive carries valid checksums, as their own tcpdump sees it.

use ringlead_tests::{
    Exchange, Family, Farm, Lab, Mode, Network, Node, Protocol, Ringlead, Service, Tunnels, config,
    needs_ringlead, tcp_transfer, wait_until,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Not the balancer's own health checks: their sums are completed by the device, which a veth leaves undone.
const FILTER: &str = "(tcp or udp) and not host 10.2.0.1 and not host fd02::1";

/// Offloads are on, so that the client's frames arrive with partial checksums: the worst case. TCP and UDP, both families,
/// both modes.
#[test]
fn tcpdump_on_a_server_sees_valid_checksums() {
    needs_ringlead!();
    let lab = Lab::with("checksums", Network { offload: true, ..Network::default() });
    let _farm = Farm::start(&lab);
    let _tunnels = Tunnels::start(&lab);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    // Received frames only: what the server itself sends is completed by its device, too.
    let dump = lab.spawn(Node::Server(1), "tcpdump", &["-i", "e0", "-Q", "in", "-nn", "-vv", "-l", FILTER]);
    wait_until(Duration::from_secs(5), "tcpdump to listen", || dump.output().contains("listening on"));
    for mode in Mode::ALL {
        for family in Family::ALL {
            let tcp = Service::standard(mode, Protocol::Tcp, family);
            lab.await_servers(&tcp, "123");
            for _ in 0..8 {
                lab.within(Node::Client, || tcp_transfer(tcp.listen)).unwrap();
            }
            let udp = Service::standard(mode, Protocol::Udp, family);
            lab.await_servers(&udp, "123");
            let talk = Exchange::new(udp.listen).times(32, 2);
            assert!(lab.within(Node::Client, || talk.hold()).perfect());
        }
    }
    let verdicts = || {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let output = dump.output();
        for line in output.lines().map(str::to_owned) {
            let right = line.contains("(correct)") || line.contains("udp sum ok");
            let wrong =
                line.contains("incorrect") || line.contains("bad udp cksum") || line.contains("bad cksum");
            let verdict = if wrong {
                "wrong"
            } else if right {
                "right"
            } else {
                continue;
            };
            *seen.entry(verdict).or_default() += 1;
        }
        seen
    };
    wait_until(Duration::from_secs(5), "tcpdump to have seen traffic", || {
        verdicts().get("right").is_some_and(|n| *n > 100)
    });
    assert_eq!(verdicts().get("wrong"), None, "{}", dump.output());
}
