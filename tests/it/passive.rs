//! Health that no check finds: clients' connections that fail, reports from elsewhere, and pools that panic.

use crate::carries;
use crate::explained::Questions;
use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer, needs_ringlead,
    ringlead_binary, tcp_transfers, wait_until,
};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
/// The configuration's check with more successes to come up: long enough to be seen down.
const CHECK: [&str; 2] = ["rise = 1\n", "rise = 8\npassive = { errors = 5, window = \"4s\" }\n"];

fn pool(ringlead: &Ringlead, name: &str) -> Value {
    let status = ringlead.status();
    status["pools"].as_array().unwrap().iter().find(|pool| pool["name"] == name).unwrap().clone()
}

fn server(ringlead: &Ringlead, service: &Service, number: u8) -> Value {
    let pool = pool(ringlead, &service.name);
    let name = format!("s{number}");
    pool["servers"].as_array().unwrap().iter().find(|server| server["name"] == *name).unwrap().clone()
}

/// Lets a server's firewall do something with packets from these addresses.
fn firewall(lab: &Lab, number: u8, from: &str, verdict: &str) {
    let rule = format!(
        "table inet cut {{ chain in {{ type filter hook input priority 0; ip saddr {from} tcp dport {{ 80, 8080 }} {verdict}; }}; }}"
    );
    lab.must_run(Node::Server(number), "nft", &[&rule]);
}

fn open(lab: &Lab, number: u8) {
    lab.must_run(Node::Server(number), "nft", &["delete", "table", "inet", "cut"]);
}

/// Clients connect until `done`; each waits long enough to repeat its SYN.
fn while_clients_connect(lab: &Lab, services: &[&Service], what: &str, done: impl Fn() -> bool) {
    let over = AtomicBool::new(false);
    let clients = Lab::clients(Family::V4);
    thread::scope(|scope| {
        for service in services {
            let (over, clients) = (&over, &clients[..20]);
            let each = Transfer::new(service.listen).bytes(100, 100).timeout(Duration::from_millis(1_500));
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    lab.within(Node::Client, || tcp_transfers(each, 20, clients));
                }
            });
        }
        let begin = Instant::now();
        let mut is_done = done();
        while !is_done && begin.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(50));
            is_done = done();
        }
        over.store(true, Ordering::Relaxed);
        assert!(is_done, "not within {PATIENCE:?}: {what}");
    });
}

/// SYNs from addresses that nobody has, each of them twice.
fn flood(lab: &Lab, to: SocketAddr, count: u16) {
    lab.within(Node::Client, || {
        let socket = socket2::Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::RAW,
            Some(socket2::Protocol::from(255)), // IPPROTO_RAW: the packets bring their own headers
        )
        .unwrap();
        for n in 0..count {
            let [high, low] = n.to_be_bytes();
            let from = SocketAddr::from((Ipv4Addr::new(198, 18, high, low), 1_024 + n));
            let syn = Packet::tcp(from, to).flags(TcpFlags::SYN).ip();
            for _ in 0..2 {
                socket.send_to(&syn, &SocketAddr::new(to.ip(), 0).into()).unwrap();
                thread::sleep(Duration::from_micros(300));
            }
        }
    });
}

#[test]
fn servers_that_fail_clients_fall_though_their_checks_pass_and_a_flood_fells_nobody() {
    needs_ringlead!();
    let lab = Lab::new("passive");
    let _farm = Farm::start(&lab);
    let [nat, dsr] = [Mode::Nat, Mode::Dsr].map(|mode| Service::standard(mode, Protocol::Tcp, Family::V4));
    carries::nothing_answers(&lab, Mode::Nat);
    let config = Config::empty(&lab).service(nat.clone()).service(dsr.clone()).render();
    let ringlead = Ringlead::start(&lab, &config.replace(CHECK[0], CHECK[1]));
    lab.await_servers(&nat, "123");
    lab.await_servers(&dsr, "123");

    firewall(&lab, 1, "10.1.0.0/24", "drop");
    let fell = |service, number, how: &str| {
        let server = server(&ringlead, service, number);
        let reason = server["reason"].as_str().unwrap();
        server["health_source"] == "passive" && reason.starts_with("passive: ") && reason.contains(how)
    };
    for service in [&nat, &dsr] {
        let what = format!("{} falls\n{}", service.name, ringlead.log());
        while_clients_connect(&lab, &[service], &what, || fell(service, 1, "unanswered"));
    }
    open(&lab, 1);
    let is_back = |service| {
        let server = server(&ringlead, service, 1);
        server["health"] == "up" && server["health_source"] == "check"
    };
    wait_until(PATIENCE, "server 1 to be back by its check", || is_back(&nat) && is_back(&dsr));

    firewall(&lab, 2, "10.1.0.0/24", "reject with tcp reset");
    while_clients_connect(&lab, &[&nat], "server 2 falls", || fell(&nat, 2, "refused"));
    open(&lab, 2);
    lab.await_servers(&nat, "123");
    lab.await_servers(&dsr, "123");

    let falls = || ringlead.log().matches("passive: ").count();
    let before = falls();
    let unanswered = |service| {
        [1, 2, 3].map(|n| server(&ringlead, service, n)["connections"]["unanswered"].as_u64().unwrap())
    };
    let counts = [&nat, &dsr].map(unanswered);
    for service in [&nat, &dsr] {
        flood(&lab, service.listen, 600);
    }
    wait_until(PATIENCE, "the flood to be counted at every server", || {
        let now = [&nat, &dsr].map(unanswered);
        now.iter().flatten().zip(counts.iter().flatten()).all(|(now, then)| now - then >= 50)
    });
    // The window is looked at every tenth of it.
    let epoch = Instant::now();
    wait_until(PATIENCE, "two looks", || epoch.elapsed() > Duration::from_secs(1));
    assert_eq!(falls(), before, "{}", ringlead.log());
}

/// The same servers' other pool finds out for itself.
fn panics_too(ringlead: &Ringlead, service: &Service, how: Value) {
    wait_until(PATIENCE, "the other pool's panic", || pool(ringlead, &service.name)["panic"] == how);
}

/// Every server gets flows, but not every one is up, and each listing says so.
fn panic_is_a_reason_to_look(ringlead: &Ringlead, service: &Service) {
    let file = ringlead.file().to_str().unwrap();
    let listed = |of: &[&str]| ringlead.ask(&[of, &["-c", file]].concat());
    for of in ["services", "pools"] {
        let (code, said) = listed(&[of]);
        assert!(code == 1 && said.contains("2 of 3 (panic: all)"), "{of}: {code}: {said}");
    }
    for form in [&["servers", &service.name][..], &["servers", &service.name, "--csv"]] {
        let (code, said) = listed(form);
        let told = said.contains("gets flows all the same: its pool is in panic");
        assert!(code == 1 && told, "{form:?}: {code}: {said}");
    }
}

#[test]
fn a_pool_that_looks_dead_answers_as_declared() {
    needs_ringlead!();
    let lab = Lab::new("panic");
    let _farm = Farm::start(&lab);
    carries::nothing_answers(&lab, Mode::Nat);
    let config = |then: &str| {
        let mut nat = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4);
        nat.pool_lines = format!("panic = {{ below = 60, then = \"{then}\" }}\n");
        nat.server_keys = vec![(3, "backup = true".to_owned())];
        let datagrams = Service {
            pool_lines: nat.pool_lines.clone(),
            server_keys: nat.server_keys.clone(),
            ..Service::standard(Mode::Nat, Protocol::Udp, Family::V4)
        };
        (Config::empty(&lab).service(nat.clone()).service(datagrams.clone()).render(), nat, datagrams)
    };
    let (file, nat, datagrams) = config("all");
    let mut ringlead = Ringlead::start(&lab, &file);
    lab.await_servers(&nat, "12");
    assert_eq!(pool(&ringlead, &nat.name)["panic"], Value::Null);
    // Its checks fail; clients would be served. One of two is 50 %.
    firewall(&lab, 1, "10.2.0.1", "drop");
    let panics = |ringlead: &Ringlead, how: Value| {
        wait_until(PATIENCE, "the panic", || pool(ringlead, &nat.name)["panic"] == how);
    };
    panics(&ringlead, "all".into());
    assert_eq!(server(&ringlead, &nat, 1)["health"], "down");
    lab.await_servers(&nat, "12");
    panics_too(&ringlead, &datagrams, "all".into());
    let mut questions = Questions::to(&lab);
    let explained = questions.come_true(&lab, &datagrams, 30_000..30_020);
    assert_eq!(explained, (BTreeSet::from(['1', '2']), 0), "a computed one, also if it looks dead");
    let (code, said) = ringlead.ask(&["status", "-c", ringlead.file().to_str().unwrap()]);
    assert!(code == 1 && said.contains(&format!("PANIC in pool {}", nat.name)), "{code}: {said}");
    let row = said.lines().find(|line| line.contains(&format!("{} (", nat.name)) && line.contains("panic"));
    assert!(row.is_some_and(|row| row.contains("(2 of 3 up, panic: all)")), "the backup is up: {said}");
    panic_is_a_reason_to_look(&ringlead, &nat);
    ringlead.reload(&config("none").0);
    panics(&ringlead, "none".into());
    lab.await_servers(&nat, &Lab::NOBODY.to_string());
    panics_too(&ringlead, &datagrams, "none".into());
    let told = questions.explain(SocketAddr::new(Lab::clients(Family::V4)[0], 30_100), &datagrams);
    assert_eq!(
        (&told["decided_by"], &told["servers"][1]["why"]),
        (&"nobody".into(), &"panic: no server of the pool gets flows".into()),
        "{told}"
    );
    ringlead.reload(&config("backup").0);
    panics(&ringlead, "backup".into());
    lab.await_servers(&nat, "3");
    panics_too(&ringlead, &datagrams, "backup".into());
    assert_eq!(questions.come_true(&lab, &datagrams, 30_200..30_205), (BTreeSet::from(['3']), 0));
    open(&lab, 1);
    panics(&ringlead, Value::Null);
    lab.await_servers(&nat, "12");
    let log = ringlead.log();
    assert!(log.contains("most servers look dead") && log.contains("the panic is over"), "{log}");
}

#[test]
fn what_is_reported_counts_until_it_is_over() {
    needs_ringlead!();
    let lab = Lab::new("report");
    let _farm = Farm::start(&lab);
    carries::nothing_answers(&lab, Mode::Nat);
    let nat = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4);
    let ringlead = Ringlead::start(&lab, &Config::empty(&lab).service(nat.clone()).render());
    lab.await_servers(&nat, "123");
    let report = |arguments: &[&str]| -> Output {
        let binary = ringlead_binary().expect("a ringlead binary");
        let mut asked = Command::new(binary);
        asked.args(["server", "report"]).args(arguments).arg("-c").arg(ringlead.file());
        asked.output().unwrap()
    };
    let told = |arguments: &[&str]| {
        let output = report(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let [first, second] = [1, 2].map(|n| format!("{}/s{n}", nat.name));
    let said = told(&[&first, "down", "--for", "60s", "--reason", "disk full"]);
    assert_eq!(said, format!("{first}: up -> down, reported for 60 s\n"));
    lab.await_servers(&nat, "23");
    let status = server(&ringlead, &nat, 1);
    assert_eq!(
        (&status["health_source"], &status["reason"]),
        (&"report".into(), &"reported: disk full".into()),
        "{status}"
    );
    told(&[&second, "down", "--for", "3s"]);
    lab.await_servers(&nat, "3");
    lab.await_servers(&nat, "23"); // it is over
    assert_eq!(told(&[&first, "clear"]), format!("{first}: down -> up\n"));
    lab.await_servers(&nat, "123");
    for (arguments, why) in [
        (&[first.as_str(), "sick"][..], "invalid value 'sick'"),
        (&[&first, "down", "--for", "48h"], "1 to 86400 seconds"),
        (&["nobody/s1", "down"], "there is no pool `nobody`"),
    ] {
        let output = report(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(why), "{arguments:?}: {said}");
    }
}
