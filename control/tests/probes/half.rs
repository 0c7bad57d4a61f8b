//! Half handshakes by the service's own path, to a kernel: whatever becomes of the check, nothing of them stays.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringlead_control::config;
use ringlead_control::health::{CheckSpec, Checker, FlapRule, PathProbe, Probe, Prober, Road};
use ringlead_control::plan::Plan;
use ringlead_flow::{FlowTable, ServerId, Sizes};
use ringlead_l4::Shared;
use ringlead_l4::neighbours::{NeighbourId, NextHop};
use tokio::sync::mpsc;

use crate::asked::{PATIENT, SHORT, asked, passes};
use crate::lab::{self, HERE_MAC, Lab, PEER_MAC};

const FILE: &str = r#"
version = 1
[dataplane]
cores = [1]
[port.lan]
device = "p0"
[service.web]
listen = "10.9.0.2:80"
protocol = "tcp"
mode = "dsr"
pool = "web"
[pool.web]
algorithm = "maglev"
server = [{ name = "a", address = "10.1.0.2:80" }]
"#;

/// Handshakes that the server has begun, and what came of them.
fn kept(lab: &Lab) -> String {
    lab.peer("ss -Htan state connected '( sport = 80 )'")
}

async fn until(lab: &Lab, what: &str, is_so: impl Fn(&str) -> bool) {
    let begin = Instant::now();
    while !is_so(&kept(lab)) {
        assert!(begin.elapsed() < PATIENT, "the server is to keep {what}: {}", kept(lab));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_server_keeps_nothing_of_a_handshake_whose_answer_is_lost_or_not_waited_for() {
    lab::run(async |lab| {
        let services = ["10.9.0.2:80", "[fd09::2]:80"].map(|at| at.parse::<SocketAddr>().unwrap());
        for command in ["ip address add 10.9.0.2/32 dev lo", "ip address add fd09::2/128 dev lo nodad"] {
            // As on a node and its server: the kernel here resets nothing at the server.
            lab.here(command);
            lab.peer(command);
        }
        // A server that asks for the node's address from the service's gets no answer.
        for node in ["10.1.0.1", "fd00:1::1"] {
            lab.peer(&format!("ip neighbour replace {node} dev p1 lladdr 02:00:00:00:00:01 nud permanent"));
        }
        let _listeners =
            services.map(|service| lab.at_peer(move || std::net::TcpListener::bind(service).unwrap()));
        let plan = Plan::new(config::parse("half.toml", FILE).unwrap().0).unwrap();
        let flows = FlowTable::new(&Sizes { flows_max: 64, workers: 1, seed: [1, 2, 3, 4] }).unwrap();
        let shared = Shared::new(plan.clone().snapshot(), Arc::new(flows), 16, 64, 1);
        shared.neighbours.set(NeighbourId(3), Some(NextHop { port: 0, vlan: None, mac: PEER_MAC }));
        let prober = Prober::new(shared, vec![(lab.ifindex("p0"), HERE_MAC)]);
        for service in services {
            let source = if service.is_ipv4() { "10.1.0.1" } else { "fd00:1::1" };
            let probe = Probe::Path(PathProbe {
                asks: Arc::new(Probe::Tcp),
                server: ServerId(50),
                first_hop: Some(NeighbourId(3)),
                roads: vec![Road { service, tunnel: None }],
                source: Some(source.parse().unwrap()),
                prober: prober.clone(),
            });
            passes(probe.clone(), service, "by the service's path: accepted").await;
            until(&lab, "nothing that is over", str::is_empty).await;
            // Answers leave by a device that nobody hears at.
            let bits = if service.is_ipv4() { 32 } else { 128 };
            lab.peer(&format!("ip route add {source}/{bits} dev lo"));
            let (up, why) = asked(probe.clone(), service, SHORT).await;
            assert!(!up && why.starts_with("no answer from"), "{why}");
            until(&lab, "nothing that is given up", str::is_empty).await;

            let (events, _kept) = mpsc::channel(1);
            let mut checker = Checker::new(events);
            checker.reconcile(vec![waits_long(probe, service)]);
            until(&lab, "a handshake", |kept| kept.contains("SYN-RECV")).await;
            checker.reconcile(Vec::new());
            until(&lab, "nothing that is broken off", str::is_empty).await;
        }
    });
}

fn waits_long(probe: Probe, target: SocketAddr) -> CheckSpec {
    CheckSpec {
        pool: "p".into(),
        id: 1,
        target,
        probe: Arc::new(probe),
        interval: 10 * PATIENT,
        interval_changing: None,
        timeout: 5 * PATIENT,
        rise: 1,
        fall: 1,
        flaps: FlapRule::NEVER,
    }
}
