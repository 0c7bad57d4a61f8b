//! What moves when one of ten servers leaves and comes back, measured by the judge: live flows, and new flows of the same
//! clients and ports. The README's table is printed by
//!
//! ```text
//! cargo test -p ringlead-tests --test it -- --ignored --nocapture --test-threads=1 disruption
//! ```

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use ringlead_tests::{
    BlobServer, Config, Family, Lab, Mode, Node, Protocol, Ringlead, SERVERS, Service, needs_ringlead,
    ringlead_binary, wait_until,
};
use serde_json::Value;

use crate::bench::{TRIES, starved};

const MEMBERS: u8 = 10;
/// The one that leaves.
const LEAVER: u8 = 4;
/// Clients speak to as many ports, so that it shows whether a hash counts them.
const PORTS: [u16; 3] = [80, 81, 82];

/// How a pool chooses.
#[derive(Clone, Copy)]
struct Choice {
    name: &'static str,
    pool_lines: &'static str,
    service_lines: &'static str,
}

const CHOICES: [Choice; 7] = [
    of_pool("maglev, 5-tuple", "algorithm = \"maglev\"\n"),
    of_pool("maglev, src", "algorithm = \"maglev\"\nhash = \"src\"\n"),
    of_pool("maglev, src+dport", "algorithm = \"maglev\"\nhash = \"src+dport\"\n"),
    of_pool("round-robin", "algorithm = \"round-robin\"\n"),
    of_pool("least-flows", "algorithm = \"least-flows\"\n"),
    of_pool("random-2", "algorithm = \"random-2\"\n"),
    Choice {
        name: "round-robin, persistence",
        pool_lines: "algorithm = \"round-robin\"\n",
        service_lines: "persistence = \"src\"\n",
    },
];

impl Choice {
    /// Whether clients come back to where they were, for as long as ringlead runs.
    fn remembers(self) -> bool {
        !self.service_lines.is_empty()
    }
}

const fn of_pool(name: &'static str, pool_lines: &'static str) -> Choice {
    Choice { name, pool_lines, service_lines: "" }
}

/// How much traffic.
#[derive(Clone, Copy)]
struct Load {
    flows: &'static str,
    rate: &'static str,
}

const SHORT: Load = Load { flows: "1800", rate: "2kpps" };
/// 1022 clients with 12 flows each.
const LONG: Load = Load { flows: "12264", rate: "8kpps" };

/// How a server is taken out.
#[derive(Clone, Copy, PartialEq)]
enum Out {
    No,
    Drained,
    Removed,
}

/// The servers live three or four to a namespace.
fn node(number: u8) -> Node {
    Node::Server((number - 1) % SERVERS + 1)
}

fn address(number: u8) -> SocketAddr {
    (Ipv4Addr::new(10, 2, 0, 100 + number), Service::NAT_SERVER_PORT).into()
}

fn services(choice: Choice, out: Out) -> Vec<Service> {
    let one = |port: &u16| {
        let name = format!("ten-{port}");
        let mut service = Service::on(&name, Mode::Nat, Protocol::Udp, Family::V4, *port, 0);
        let stays = |n: &u8| out != Out::Removed || *n != LEAVER;
        service.servers = (1..=MEMBERS).filter(stays).map(|n| (format!("s{n}"), address(n))).collect();
        service.lines = choice.service_lines.to_owned();
        service.pool_lines = choice.pool_lines.to_owned();
        if out == Out::Drained {
            service.server_keys = vec![(LEAVER, "state = \"drain\"".to_owned())];
        }
        service
    };
    PORTS.iter().map(one).collect()
}

/// A lab with ten servers, whose kernels answer health checks.
struct Ten {
    lab: Lab,
    choice: Choice,
    _servers: Vec<BlobServer>,
}

impl Ten {
    fn new(choice: Choice) -> Self {
        let lab = Lab::new("ten");
        let mut servers = Vec::new();
        for number in 1..=SERVERS {
            let mine: Vec<u8> = (1..=MEMBERS).filter(|n| node(*n) == Node::Server(number)).collect();
            for member in &mine {
                let address = format!("{}/24", address(*member).ip());
                lab.must_run(Node::Server(number), "ip", &["address", "add", &address, "dev", "e0"]);
            }
            let mine: Vec<SocketAddr> = mine.into_iter().map(address).collect();
            servers.push(BlobServer::start(&lab, Node::Server(number), 'x', &mine));
        }
        Self { lab, choice, _servers: servers }
    }

    fn config(&self, out: Out) -> String {
        let table = "[persistence.src]\ntype = \"source\"\ntimeout = \"10m\"\n";
        let services = services(self.choice, out).into_iter().fold(Config::empty(&self.lab), Config::service);
        services.render() + if self.choice.remembers() { table } else { "" }
    }

    fn start(&self, out: Out) -> Ringlead {
        let ringlead = Ringlead::start(&self.lab, &self.config(out));
        self.await_up(&ringlead, if out == Out::No { MEMBERS } else { MEMBERS - 1 });
        ringlead
    }

    fn await_up(&self, ringlead: &Ringlead, count: u8) {
        wait_until(Duration::from_secs(10), "the servers to be up", || {
            let status = ringlead.status();
            let services = status["services"].as_array().expect("services");
            services.iter().all(|service| service["servers_eligible"] == count)
        });
    }

    fn file(&self, name: &str) -> PathBuf {
        self.lab.files().join(name)
    }

    /// Runs `ringlead bench COMMAND` between clients and the ten servers.
    fn bench(&self, command: &str, load: Load, more: &[String]) -> Ran {
        let prefix = self.lab.prefix();
        let server = |n| format!("{}@{prefix}-{}/e0", address(n), node(n));
        let servers: Vec<String> = (1..=MEMBERS).map(server).collect();
        let listen = Lab::service(Family::V4, Mode::Nat);
        let services = PORTS.map(|port| format!("{listen}:{port}"));
        let output = Command::new(ringlead_binary().expect("a ringlead binary"))
            .args(["bench", command, "--json", "-", "--proto", "udp", "--from", "198.18.0.0/22"])
            .args(["--out", &format!("{prefix}-c/c0"), "--server", &servers.join(",")])
            .args(["--to", &services.join(","), "--flows", load.flows, "--rate", load.rate])
            .args(["--control", &self.file("control.sock").display().to_string(), "--lag-max", "30s"])
            .args(more)
            .stdin(Stdio::null())
            .output()
            .expect("run ringlead bench");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}\n{said}"));
        Ran { code: output.status.code(), report, said }
    }

    /// A clean run, its assignments kept under a name and compared with those under another.
    fn verify(&self, ringlead: &Ringlead, load: Load, keep: &str, before: Option<&str>) -> Value {
        let path = |name: &str| self.file(name).display().to_string();
        let mut more = vec!["--duration".to_owned(), "2s".to_owned(), "--assignments".to_owned(), path(keep)];
        more.extend(before.iter().flat_map(|name| ["--before".to_owned(), path(name)]));
        for last in (1..=TRIES).map(|n| n == TRIES) {
            let ran = self.bench("verify", load, &more);
            if ran.code == Some(0) {
                return ran.report["assignments"].clone();
            }
            let counts = &ran.report["outcome"]["findings"]["counts"];
            let loss = &ran.report["outcome"]["loss"];
            assert!(!last && starved(ringlead), "{}: {}\n{counts} {loss}", self.choice.name, ran.said);
        }
        unreachable!("the last try returns or panics")
    }
}

struct Ran {
    code: Option<i32>,
    report: Value,
    said: String,
}

/// Moves of live flows: of the other servers', and of the leaver's, by what was done.
#[derive(Debug)]
struct Live {
    others: u64,
    drained: u64,
    removed: u64,
    down: u64,
}

/// Live flows while the server is drained, removed from the file and found down, and each time comes back.
fn live(ten: &Ten) -> Live {
    let _ringlead = ten.start(Out::No);
    let name = |what: &str| ten.file(what).display().to_string();
    for (file, out) in [("all", Out::No), ("drained", Out::Drained), ("removed", Out::Removed)] {
        fs::write(ten.file(file), ten.config(out)).expect("write a configuration");
    }
    let copy = |at: &str, file: &str| format!("{at} exec cp {} {}", name(file), name("ringlead.toml"));
    let inside = format!("nsenter --net=/run/netns/{}-{}", ten.lab.prefix(), node(LEAVER));
    let table = format!(
        "table inet cut {{ chain in {{ type filter hook input priority 0; ip daddr {} tcp dport {} reject with tcp reset; }}; }}",
        address(LEAVER).ip(),
        Service::NAT_SERVER_PORT
    );
    let events = [
        copy("500ms", "drained"),
        "600ms reload".to_owned(),
        copy("1200ms", "all"),
        "1300ms reload".to_owned(),
        copy("1900ms", "removed"),
        "2s reload".to_owned(),
        copy("2600ms", "all"),
        "2700ms reload".to_owned(),
        format!("3500ms exec {inside} nft '{table}'"),
        format!("5500ms exec {inside} nft delete table inet cut"),
    ];
    let mut more: Vec<String> =
        events.iter().flat_map(|event| ["--event".to_owned(), event.clone()]).collect();
    more.extend(["--duration", "7s", "--may-leave"].map(str::to_owned));
    more.push(address(LEAVER).to_string());
    let ran = ten.bench("soak", SHORT, &more);
    let soak = &ran.report["soak"];
    assert_eq!(ran.code, Some(0), "{}: {}\n{soak:#}", ten.choice.name, ran.said);
    let count = |event: usize, name: &str| soak["events"][event][name].as_u64().expect("a count");
    let moved = |events: std::ops::RangeInclusive<usize>| events.map(|n| count(n, "moved_with_leave")).sum();
    Live {
        others: soak["total"]["moved"].as_u64().expect("a count"),
        drained: moved(1..=4),
        removed: moved(5..=8),
        down: moved(9..=10),
    }
}

/// New flows of the same clients and ports, once the server has left, and once it is back.
fn anew(ten: &Ten, load: Load) -> [Value; 2] {
    if ten.choice.remembers() { anew_by_name(ten, load) } else { anew_by_restart(ten, load) }
}

/// A restart forgets all flows.
fn anew_by_restart(ten: &Ten, load: Load) -> [Value; 2] {
    let run = |out, keep: &str, before: Option<&str>| {
        let ringlead = ten.start(out);
        let found = ten.verify(&ringlead, load, keep, before);
        assert!(ringlead.stop().success());
        found
    };
    run(Out::No, "first", None);
    [run(Out::Drained, "left", Some("first")), run(Out::No, "back", Some("first"))]
}

/// Services of other names with the same pools: their predecessors' flows end, and clients are still known. Those of a drained
/// server would come back to it, so it is removed.
fn anew_by_name(ten: &Ten, load: Load) -> [Value; 2] {
    let mut ringlead = ten.start(Out::No);
    ten.verify(&ringlead, load, "first", None);
    let mut run = |out, keep: &str| {
        let service = format!("[service.{keep}-");
        ringlead.reload(&ten.config(out).replace("[service.ten-", &service));
        ten.await_up(&ringlead, if out == Out::No { MEMBERS } else { MEMBERS - 1 });
        wait_until(Duration::from_secs(10), "the flows to end", || ringlead.status()["flows"]["ipv4"] == 0);
        ten.verify(&ringlead, load, keep, Some("first"))
    };
    [run(Out::Removed, "left"), run(Out::No, "back")]
}

fn percent(found: &Value, part: &str, of: &str) -> f64 {
    found[part].as_f64().expect("a count") * 100.0 / found[of].as_f64().expect("a count")
}

/// In any case live flows of the others stay; UDP flows of a server that is down choose again. By least-flows, where a flow that
/// was lost would go elsewhere; the table has all of them.
#[test]
fn no_live_flow_of_another_server_moves() {
    needs_ringlead!();
    let choice = CHOICES[4];
    let ten = Ten::new(choice);
    let Live { others, drained, removed, down } = live(&ten);
    assert_eq!((others, drained, removed), (0, 0, 0), "{}", choice.name);
    // A tenth of 1800 flows; the control that moves are seen at all.
    assert!((100..=300).contains(&down), "{}: {down}", choice.name);
}

/// By Maglev new flows go where they went, also after a restart, but a tenth whose server left and a few besides.
#[test]
fn maglev_restores_the_assignment() {
    needs_ringlead!();
    let ten = Ten::new(CHOICES[0]);
    let [left, back] = anew(&ten, SHORT);
    assert_eq!((&left["flows"], &left["only_before"]), (&1800.into(), &0.into()), "{left}");
    let share = |part: &str| percent(&left, part, "flows");
    assert!((7.0..13.0).contains(&share("moved_as_server_left")), "{left}");
    assert!(share("moved_besides") < 6.0 && left["moved_to_new_server"] == 0, "{left}");
    let gone = format!("{}@{}-{}/e0", address(LEAVER), ten.lab.prefix(), node(LEAVER));
    assert!(
        left["servers"][&gone]["before"].as_u64() > Some(100) && left["servers"][&gone]["now"] == 0,
        "{left}"
    );
    assert_eq!((&back["kept"], &back["clients_that_notice"]), (&back["flows"], &0.into()), "{back}");
}

/// Clients that are remembered come back but for the leaver's, who have a new server then and stay there.
#[test]
fn persistence_moves_the_leavers_clients_only() {
    needs_ringlead!();
    let ten = Ten::new(CHOICES[6]);
    for found in anew(&ten, SHORT) {
        let share = |part: &str| percent(&found, part, "flows");
        assert_eq!(found["flows"], 1800, "{found}");
        assert!((80.0..99.0).contains(&share("kept")), "{found}");
        let gone = format!("{}@{}-{}/e0", address(LEAVER), ten.lab.prefix(), node(LEAVER));
        let of_leaver = found["servers"][&gone]["before"].as_u64().expect("a count");
        assert_eq!(found["kept"].as_u64().map(|kept| kept + of_leaver), Some(1800), "{found}");
    }
}

/// The README's table.
#[test]
#[ignore = "takes minutes"]
fn the_table_of_disruption() {
    needs_ringlead!();
    println!(
        "| | live: others | drained | removed | down | new: as left | besides | clients | back: moved |"
    );
    for choice in CHOICES {
        let ten = Ten::new(choice);
        let Live { others, drained, removed, down } = live(&ten);
        let [left, back] = anew(&ten, LONG);
        let share = |part: &str| percent(&left, part, "flows");
        println!(
            "| {} | {others} | {drained} | {removed} | {down} | {:.1} % | {:.1} % | {:.0} % | {:.1} % |",
            choice.name,
            share("moved_as_server_left"),
            share("moved_besides"),
            percent(&left, "clients_that_notice", "clients"),
            100.0 - percent(&back, "kept", "flows"),
        );
    }
}
