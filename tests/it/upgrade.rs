//! One daemon takes over from another while clients go on: every flow keeps its server, its source port and its connection.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer, Tunnels, needs_ringlead,
    tcp_transfers, wait_until,
};
use serde_json::Value;

use crate::carries;

/// Algorithms that do not find a flow's server again, and persistence: ports 82 and up.
const CHOICES: [(&str, &str, &str); 3] = [
    ("turns", "algorithm = \"round-robin\"\n", ""),
    ("fewest", "algorithm = \"least-flows\"\n", ""),
    ("sticky", "algorithm = \"round-robin\"\n", "persistence = \"src\"\n"),
];
const PERSISTENCE: &str = "[persistence.src]\ntype = \"source\"\nmask6 = 128\ntimeout = \"10m\"\n";
/// TCP connections and UDP conversations of each service.
const EACH: usize = 3;
/// An answer that does not come in this time is lost, and asked for again.
const LOST: Duration = Duration::from_millis(400);

/// Every mode, NAT64 and NAT46, and choices that cannot be computed again: TCP and UDP, both families.
fn services() -> Vec<Service> {
    let mut all: Vec<Service> = Mode::ALL.into_iter().flat_map(carries::services).collect();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for (family, other) in [(Family::V4, Family::V6), (Family::V6, Family::V4)] {
            let name = |what: &str| format!("{what}-{protocol:?}-{family:?}").to_lowercase();
            let translated = Service::on(&name("translated"), Mode::Snat, protocol, family, 81, 8080);
            all.push(translated.reached_by(other));
            for ((what, pool_lines, lines), port) in CHOICES.into_iter().zip(82..) {
                let mut service = Service::on(&name(what), Mode::Nat, protocol, family, port, 8080);
                (service.pool_lines, service.lines) = (pool_lines.to_owned(), lines.to_owned());
                all.push(service);
            }
        }
    }
    all
}

fn file(lab: &Lab, services: &[Service]) -> String {
    let mut config = Config::empty(lab);
    config.services.extend_from_slice(services);
    config.render() + PERSISTENCE
}

/// What a UDP conversation saw.
#[derive(Debug, Default)]
struct Talk {
    answered: u64,
    /// The servers that answered, as they changed.
    servers: Vec<char>,
    /// Whether the last question was answered.
    goes_on: bool,
}

/// Asks again and again from one socket until told to end, and then until one more answer comes.
fn talk(to: SocketAddr, from: IpAddr, end: &AtomicBool) -> Talk {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(LOST)).unwrap();
    let mut talk = Talk::default();
    let (mut buffer, mut tries_after_end) = ([0; 64], 0);
    for question in 0_u64.. {
        let ended = end.load(Ordering::Relaxed);
        // An error about an earlier question shows here.
        let _ = socket.send(&question.to_be_bytes());
        let mut goes_on = false;
        while let Ok(9) = socket.recv(&mut buffer) {
            if buffer[1..9] == question.to_be_bytes() {
                goes_on = true;
                break;
            }
        }
        if goes_on {
            talk.answered += 1;
            let server = char::from(buffer[0]);
            if talk.servers.last() != Some(&server) {
                talk.servers.push(server);
            }
        }
        talk.goes_on = goes_on;
        tries_after_end += u32::from(ended);
        if ended && (goes_on || tries_after_end == 10) {
            break;
        }
        thread::sleep(Duration::from_millis(30));
    }
    talk
}

/// Who is connected to the servers by the addresses of the source pool.
fn sources(lab: &Lab) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for n in [1, 2, 3] {
        let asked = ["-H", "-t", "-n", "state", "established", "( sport = :8080 )"];
        let text = lab.must_run(Node::Server(n), "ss", &asked);
        let peers = text.lines().filter_map(|line| line.split_whitespace().nth(3));
        let ours = |peer: &&str| peer.contains("10.2.0.20") || peer.contains("fd02::c8");
        all.extend(peers.filter(ours).map(|peer| format!("{n} {peer}")));
    }
    all
}

fn took_over(status: &Value) -> (u64, f64) {
    let took = &status["take_over"];
    assert_eq!(took["left_out"], serde_json::json!({}), "flows did not come over: {took}");
    (took["flows"].as_u64().unwrap(), took["gap_ms"].as_f64().unwrap())
}

#[test]
fn every_flow_goes_on_through_two_upgrades_in_a_row() {
    needs_ringlead!();
    let lab = Lab::new("upgrade");
    let _farm = Farm::start(&lab);
    let _tunnels = Tunnels::start(&lab);
    let services = services();
    lab.nobody_answers(&[Service::standard(Mode::Nat, Protocol::Tcp, Family::V4)]);
    let text = file(&lab, &services);
    let first = Ringlead::start(&lab, &text);
    for service in services.iter().filter(|service| !service.name.starts_with("sticky")) {
        lab.await_servers(service, "123");
    }
    let end = AtomicBool::new(false);
    let last = thread::scope(|scope| {
        let (mut transfers, mut talks) = (Vec::new(), Vec::new());
        for service in &services {
            let (lab, end, to) = (&lab, &end, service.listen);
            let clients = Lab::clients(carries::family(service));
            if service.protocol == Protocol::Tcp {
                let each = Transfer::new(to).bytes(700_003, 700_003).timeout(Duration::from_secs(20));
                let each = each.lasting(Duration::from_secs(14));
                let work = move || lab.within(Node::Client, || tcp_transfers(each, EACH, &clients));
                transfers.push((service, scope.spawn(work)));
            } else {
                for &from in clients.iter().take(EACH) {
                    let work = move || lab.within(Node::Client, || talk(to, from, end));
                    talks.push((service, scope.spawn(work)));
                }
            }
        }
        let snat = services.iter().filter(|s| s.mode == Mode::Snat && s.protocol == Protocol::Tcp).count();
        let mut before = BTreeSet::new();
        wait_until(Duration::from_secs(10), "the connections of snat services", || {
            before = sources(&lab);
            before.len() == snat * EACH
        });
        let least = u64::try_from(services.len() * EACH).unwrap();
        let second = next(&lab, &text, first, least);
        let third = next(&lab, &text, second, least);
        assert!(transfers.iter().all(|(_, work)| !work.is_finished()), "transfers ended before the upgrades");
        assert_eq!(sources(&lab), before, "source ports changed");
        end.store(true, Ordering::Relaxed);
        for (service, work) in transfers {
            for made in work.join().unwrap() {
                made.unwrap_or_else(|e| panic!("{} broke: {e}", service.name));
            }
        }
        for (service, work) in talks {
            let talk = work.join().unwrap();
            assert!(talk.goes_on && talk.answered > 5, "{}: {talk:?}", service.name);
            assert_eq!(talk.servers.len(), 1, "{} changed its server: {talk:?}", service.name);
        }
        third
    });
    for service in services.iter().filter(|service| !service.name.starts_with("sticky")) {
        lab.await_servers(service, "123");
    }
    assert!(last.stop().success());
}

/// The next daemon, once it has taken all over; the last one has ended well.
fn next(lab: &Lab, text: &str, last: Ringlead, least: u64) -> Ringlead {
    let next = Ringlead::take_over(lab, text)
        .unwrap_or_else(|refusal| panic!("did not take over: {}\n{}", refusal.status, refusal.said));
    assert!(last.ended().success());
    let status = next.status();
    let (flows, gap_ms) = took_over(&status);
    eprintln!("{flows} flows came over, nobody forwarded for {gap_ms} ms");
    assert!(flows >= least, "{flows} flows came over, at least {least} were there");
    let known = [&status["flows"]["ipv4"], &status["flows"]["ipv6"]].map(|n| n.as_u64().unwrap());
    assert!(known.iter().sum::<u64>() >= least, "{known:?}");
    next
}

/// Clients of a source table come back to their server after an upgrade.
#[test]
fn remembered_clients_come_over() {
    needs_ringlead!();
    let lab = Lab::new("upgrade-sticky");
    let _farm = Farm::start(&lab);
    let all = services();
    let sticky: Vec<Service> =
        all.into_iter().filter(|s| s.name.starts_with("sticky") && s.protocol == Protocol::Tcp).collect();
    let text = file(&lab, &sticky);
    let asked = |service: &Service| {
        assert!(service.name.starts_with("sticky"));
        let clients = Lab::clients(carries::family(service));
        let each = Transfer::new(service.listen).bytes(100, 100);
        let made = lab.within(Node::Client, || tcp_transfers(each, 30, &clients[..30]));
        made.into_iter().map(|made| made.map_or(Lab::NOBODY, |made| made.server)).collect::<String>()
    };
    lab.nobody_answers(&sticky);
    let first = Ringlead::start(&lab, &text);
    wait_until(Duration::from_secs(10), "the servers to be up", || {
        let status = first.status();
        status["services"].as_array().unwrap().iter().all(|service| service["servers_eligible"] == 3)
    });
    let before: Vec<String> = sticky.iter().map(asked).collect();
    assert!(before.iter().all(|servers| servers.chars().collect::<BTreeSet<_>>().len() == 3), "{before:?}");
    let second = next(&lab, &text, first, 0);
    assert_eq!(second.status()["take_over"]["clients"], 60);
    assert_eq!(sticky.iter().map(asked).collect::<Vec<_>>(), before);
}

/// What cannot work is refused before anything happens, and the daemon that runs goes on.
#[test]
fn a_refused_take_over_leaves_the_old_one_serving() {
    needs_ringlead!();
    let lab = Lab::new("upgrade-refused");
    let _farm = Farm::start(&lab);
    let service = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4);
    let good = file(&lab, std::slice::from_ref(&service));
    lab.nobody_answers(std::slice::from_ref(&service));
    let mut old = Ringlead::start(&lab, &good);
    lab.await_servers(&service, "123");
    let long = Transfer::new(service.listen).bytes(300_003, 300_003).lasting(Duration::from_secs(6));
    thread::scope(|scope| {
        let work =
            scope.spawn(|| lab.within(Node::Client, || tcp_transfers(long, 4, &Lab::clients(Family::V4))));
        for (wrong, words) in [
            (good.replace("version = 1", "version = 1\nnonsense = 2"), "nonsense"),
            (good.replace("device = \"l1\"", "device = \"l9\""), "l9"),
            (good.replace("bpf-dir = \"", "bpf-dir = \"/sys/fs/bpf/other"), "bpf-dir"),
            (good.replace("type = \"tcp\"", "type = \"https\"\nca = \"/nowhere/ca.pem\""), "/nowhere/ca.pem"),
            // Another way to be attached, which would leave the port without a program for a moment.
            (good.replace("device = \"l0\"", "device = \"l0\"\nattach = \"generic\""), "port on l0"),
        ] {
            let refusal = Ringlead::take_over(&lab, &wrong).expect_err("it should have been refused");
            assert_eq!(refusal.status.code(), Some(2), "{}", refusal.said);
            assert!(refusal.said.contains(words), "{}", refusal.said);
            assert!(old.runs());
        }
        for made in work.join().unwrap() {
            made.unwrap();
        }
    });
    lab.await_servers(&service, "123");
    assert!(old.stop().success());
}

/// One of them follows; another one follows that, or is refused by name, and none begins with an empty table.
#[test]
fn of_several_that_take_over_at_once_none_is_without_the_flows() {
    needs_ringlead!();
    let lab = Lab::new("upgrade-several");
    let _farm = Farm::start(&lab);
    let service = Service::standard(Mode::Snat, Protocol::Tcp, Family::V4);
    let text = file(&lab, std::slice::from_ref(&service));
    lab.nobody_answers(std::slice::from_ref(&service));
    let first = Ringlead::start(&lab, &text);
    lab.await_servers(&service, "123");
    let clients = Lab::clients(Family::V4);
    let each = Transfer::new(service.listen).bytes(50_003, 50_003);
    let held: Vec<_> = lab.within(Node::Client, || {
        clients.iter().take(12).map(|&from| each.from(from).hold().unwrap()).collect()
    });
    let made: Vec<_> = thread::scope(|scope| {
        let (lab, text) = (&lab, &text);
        let start =
            |n: u8| scope.spawn(move || Ringlead::take_over_from(lab, &format!("next{n}.toml"), text));
        [1, 2, 3].map(start).into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(first.ended().success());
    let mut running = Vec::new();
    for one in made {
        match one {
            Ok(one) => running.push(one),
            // It has followed, and was followed at once.
            Err(refusal) if refusal.status.success() => {}
            Err(refusal) => {
                assert_eq!(refusal.status.code(), Some(2), "{}", refusal.said);
                let known = ["another process is taking this one's place", "another ringlead runs here"];
                assert!(known.iter().any(|words| refusal.said.contains(words)), "{}", refusal.said);
            }
        }
    }
    wait_until(Duration::from_secs(20), "all but the last to end", || {
        running.retain_mut(Ringlead::runs);
        running.len() == 1
    });
    let (flows, _) = took_over(&running[0].status());
    assert!(flows >= 12, "{flows} flows came over");
    for one in held {
        one.finish().unwrap();
    }
}

/// Killed after it took over, a daemon is followed as any that died: what can be computed again goes on.
#[test]
fn a_kill_right_after_the_take_over_is_as_any_kill() {
    needs_ringlead!();
    let lab = Lab::new("upgrade-kill");
    let _farm = Farm::start(&lab);
    let service = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4);
    let text = file(&lab, std::slice::from_ref(&service));
    lab.nobody_answers(std::slice::from_ref(&service));
    let first = Ringlead::start(&lab, &text);
    lab.await_servers(&service, "123");
    let long = Transfer::new(service.listen).bytes(700_003, 700_003).timeout(Duration::from_secs(20));
    let long = long.lasting(Duration::from_secs(8));
    thread::scope(|scope| {
        let work =
            scope.spawn(|| lab.within(Node::Client, || tcp_transfers(long, 6, &Lab::clients(Family::V4))));
        wait_until(Duration::from_secs(5), "the transfers", || {
            first.status()["flows"]["ipv4"].as_u64().unwrap() >= 6
        });
        next(&lab, &text, first, 6).kill();
        // Nobody to take over from: a normal start, over what the dead one left.
        let again = Ringlead::take_over(&lab, &text).unwrap();
        assert!(again.status().get("take_over").is_none());
        for made in work.join().unwrap() {
            made.unwrap();
        }
        lab.await_servers(&service, "123");
    });
}

/// The answer with flows and lock lies in the socket of a successor that is killed: the old daemon does not believe to have been
/// followed, and whoever is started next finds the lock free.
#[test]
fn a_successor_that_dies_with_the_answer_in_its_socket_is_noticed() {
    needs_ringlead!();
    let lab = Lab::new("upgrade-gone");
    let _farm = Farm::start(&lab);
    let service = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4);
    let text = file(&lab, std::slice::from_ref(&service));
    lab.nobody_answers(std::slice::from_ref(&service));
    let ringlead = Ringlead::start(&lab, &text);
    lab.await_servers(&service, "123");
    let table: toml::Table = toml::from_str(&text).unwrap();
    let ports = table["port"].as_table().unwrap().values().map(|port| {
        let attach = port.get("attach").and_then(toml::Value::as_str).unwrap_or("auto");
        format!("{} (attach = {attach})", port["device"].as_str().unwrap())
    });
    let control = table["node"]["control"].as_str().unwrap().trim_start_matches("unix:");
    let request = serde_json::json!({
        "command": "hand-over",
        "state-dir": table["node"]["state-dir"].as_str().unwrap(),
        "control": control,
        "bpf-dir": table["node"]["bpf-dir"].as_str().unwrap(),
        "ports": ports.collect::<Vec<_>>(),
        "acknowledges": true,
    });
    let mut successor = UnixStream::connect(control).unwrap();
    writeln!(successor, "{request}").unwrap();
    let mut first = [0];
    successor.read_exact(&mut first).unwrap();
    drop(successor);
    wait_until(Duration::from_secs(30), "it is noticed", || {
        ringlead.log().contains("it ended before it took the flows and the lock")
    });
    assert!(!ringlead.log().contains("handed over"), "{}", ringlead.log());
    assert_eq!(ringlead.ended().code(), Some(1));
    let _next = Ringlead::start(&lab, &text);
    lab.await_servers(&service, "123");
}
