//! `ringlead bench soak`: reloads under judged traffic lose nothing and move nobody, and what does harm is told.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::bench::{TRIES, starved};
use ringlead_tests::{
    Config, Family, Lab, Mode, Protocol, Ringlead, SERVERS, Service, needs_ringlead, ringlead_binary,
};
use serde_json::Value;

/// Modest: the machine may be busy, and a lost frame is a fault here.
const LOAD: &str = "--rate 2kpps --flows 300 --size 128";

struct Soak {
    status: i32,
    report: Value,
    said: String,
}

impl Soak {
    /// Plays client and servers of the standard nat services, IPv4 by TCP and IPv6 by UDP.
    fn run(lab: &Lab, seconds: u32, events: &[&str], more: &str) -> Self {
        let node = |name: &str| format!("{}-{name}", lab.prefix());
        let mut servers = Vec::new();
        for number in 1..=SERVERS {
            let port = format!("{}/e0", node(&format!("s{number}")));
            servers.extend(Family::ALL.map(|family| format!("{}@{port}", server(family, number))));
        }
        let services = [(Family::V4, "tcp"), (Family::V6, "udp")]
            .map(|(family, protocol)| format!("{}/{protocol}", service(family, Protocol::Tcp).listen));
        let sources = Family::ALL.map(|family| match family {
            Family::V4 => "198.18.0.0/16",
            Family::V6 => "2001:2:0:1::/64",
        });
        let mut command = Command::new(ringlead_binary().expect("a ringlead binary"));
        command
            .args(["bench", "soak", "--json", "--out", &format!("{}/c0", node("c"))])
            .args(["--server", &servers.join(","), "--to", &services.join(","), "--from", &sources.join(",")])
            .args(["--control", &lab.files().join("control.sock").display().to_string()])
            .args(["--duration", &format!("{seconds}s")])
            .args(LOAD.split(' '))
            .args(more.split_whitespace());
        for event in events {
            command.args(["--event", event]);
        }
        let output = command.stdin(Stdio::null()).output().expect("run ringlead bench soak");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}\n{said}"));
        Self { status: output.status.code().expect("an exit status"), report, said }
    }

    fn soak(&self) -> &Value {
        &self.report["soak"]
    }

    /// A count of an event, the one before any being number 0.
    fn count(&self, event: usize, name: &str) -> u64 {
        self.soak()["events"][event][name].as_u64().unwrap_or_else(|| panic!("no {name} in {}", self.soak()))
    }

    fn total(&self, name: &str) -> u64 {
        self.soak()["total"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {}", self.soak()))
    }

    #[track_caller]
    fn is_good(&self) {
        let outcome = &self.report["outcome"];
        let found = [&outcome["findings"]["counts"], &outcome["loss"], &outcome["latency"], &outcome["lag"]];
        assert_eq!(self.status, 0, "{}\n{found:#?}\n{:#}", self.said, self.soak());
    }
}

fn server(family: Family, number: u8) -> String {
    std::net::SocketAddr::new(Lab::server(family, number), Service::NAT_SERVER_PORT).to_string()
}

fn service(family: Family, protocol: Protocol) -> Service {
    // The generator plays the servers and opens no port: a check would find them closed.
    Service::standard(Mode::Nat, protocol, family).unchecked()
}

fn config(lab: &Lab, servers: &[u8]) -> String {
    of(lab, servers).render()
}

fn of(lab: &Lab, servers: &[u8]) -> Config {
    let services = [service(Family::V4, Protocol::Tcp), service(Family::V6, Protocol::Udp)];
    let config = Config::empty(lab);
    services.into_iter().fold(config, |config, service| config.service(service.with_servers(servers)))
}

#[test]
fn reloads_every_100_ms_lose_nothing_and_move_nobody() {
    needs_ringlead!();
    let lab = Lab::new("soak");
    let mut runs = (0..TRIES).map(|_| {
        let ringlead = Ringlead::start(&lab, &config(&lab, &[1, 2, 3]));
        let soak = Soak::run(&lab, 4, &["every 100ms reload"], "--reply");
        (starved(&ringlead), soak)
    });
    let soak = run_of(&mut runs);
    soak.is_good();
    assert_eq!((soak.total("lost"), soak.total("moved"), soak.total("broken")), (0, 0, 0));
    assert!(soak.count(1, "times") >= 10, "{:#}", soak.soak());
    assert_eq!(soak.count(1, "failed"), 0);
    let judged = soak.report["outcome"]["findings"]["forward"]["received"].as_u64();
    assert!(judged.is_some_and(|judged| judged >= 7000), "{judged:?} frames were judged");
}

/// Good files and bad ones by turns, for some seconds.
fn a_storm_of_reloads(seconds: u32) {
    let lab = Lab::new("soak-storm");
    let good = config(&lab, &[1, 2, 3]);
    let another = Service::on("another", Mode::Nat, Protocol::Tcp, Family::V4, 99, 99).unchecked();
    let other = of(&lab, &[1, 2, 3]).service(another).render();
    let bad = good.replacen("version = 1", "version = 1\nnonsense = 2", 1);
    let mut runs = (0..TRIES).map(|_| {
        let ringlead = Ringlead::start(&lab, &good);
        let hang_up = format!("every 100ms signal HUP {}", ringlead.id());
        let over = AtomicBool::new(false);
        let soak = thread::scope(|scope| {
            scope.spawn(|| {
                for text in [&good, &bad, &other].into_iter().cycle() {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    replace(ringlead.file(), text);
                    thread::sleep(Duration::from_millis(170));
                }
            });
            let soak = Soak::run(&lab, seconds, &[&hang_up], "--reply --new-flows 100/s");
            over.store(true, Ordering::Relaxed);
            soak
        });
        assert!(soak.count(1, "times") >= u64::from(seconds) * 3, "{:#}", soak.soak());
        for (outcome, least) in
            [("the new configuration is in force", seconds), ("unknown key `nonsense`", seconds)]
        {
            let seen = ringlead.log().matches(outcome).count();
            assert!(seen >= usize::try_from(least).unwrap(), "{outcome}: {seen} times");
        }
        (starved(&ringlead), soak)
    });
    let soak = run_of(&mut runs);
    soak.is_good();
    assert_eq!((soak.total("lost"), soak.total("moved"), soak.total("broken")), (0, 0, 0));
}

/// At once: a reload never reads half of one.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).expect("write a configuration");
    fs::rename(new, file).expect("put it in its place");
}

#[test]
fn good_and_bad_reloads_by_turns_lose_nothing() {
    needs_ringlead!();
    a_storm_of_reloads(4);
}

#[test]
#[ignore = "takes a minute"]
fn a_minute_of_good_and_bad_reloads_loses_nothing() {
    needs_ringlead!();
    a_storm_of_reloads(60);
}

/// Its flows alone may go elsewhere: nothing of the others moves, and nothing at all is lost.
#[test]
fn a_server_taken_out_moves_no_flow_but_its_own() {
    needs_ringlead!();
    let lab = Lab::new("soak-out");
    let less = lab.files().join("less.toml");
    fs::write(&less, config(&lab, &[1, 2])).expect("write the other configuration");
    let file = lab.files().join("ringlead.toml");
    let edit = format!("1500ms exec cp {} {}", less.display(), file.display());
    let third = Family::ALL.map(|family| server(family, 3)).join(",");
    let more = format!("--new-flows 100/s --may-leave {third}");
    let mut runs = (0..TRIES).map(|_| {
        let ringlead = Ringlead::start(&lab, &config(&lab, &[1, 2, 3]));
        assert_eq!(ringlead.file(), file, "the file that is edited");
        let soak = Soak::run(&lab, 4, &[&edit, "1600ms reload"], &more);
        taken_out(&ringlead);
        (starved(&ringlead), soak)
    });
    let soak = run_of(&mut runs);
    soak.is_good();
    assert_eq!((soak.count(1, "times"), soak.count(2, "times")), (1, 1));
    assert_eq!((soak.total("moved"), soak.total("lost")), (0, 0));
    let moves = soak.report["outcome"]["findings"]["moves"]["moves"].as_u64();
    assert_eq!(moves, Some(soak.total("moved_with_leave")), "every move is counted");
}

/// The first run in which no worker starved, or the last.
fn run_of(runs: &mut dyn Iterator<Item = (bool, Soak)>) -> Soak {
    let mut last = None;
    for (starved, soak) in runs {
        let usable = !starved || soak.status == 0;
        last = Some(soak);
        if usable {
            break;
        }
        eprintln!("a worker had no core for a second: once more");
    }
    last.expect("a run")
}

fn taken_out(ringlead: &Ringlead) {
    let status = ringlead.status();
    for pool in status["pools"].as_array().expect("pools") {
        assert_eq!(pool["servers"].as_array().map(Vec::len), Some(2), "the server was not taken out: {pool}");
    }
}

/// The control: what does harm is seen, and told to have come after the event that did it.
#[test]
fn a_balancer_that_is_killed_is_to_blame_and_the_reload_before_it_is_not() {
    needs_ringlead!();
    let lab = Lab::new("soak-kill");
    let ringlead = Ringlead::start(&lab, &config(&lab, &[1, 2, 3]));
    let kill = format!("2s signal KILL {}", ringlead.id());
    let soak = Soak::run(&lab, 4, &["500ms reload", &kill, "3500ms reload"], "");
    assert_eq!(soak.status, 1);
    let lost: Vec<u64> = (0..4).map(|event| soak.count(event, "lost")).collect();
    // What was on its way when it was killed had been sent before; on a busy machine that may be some milliseconds.
    assert!(lost[0] == 0 && lost[1] * 10 <= lost[2], "{:#}", soak.soak());
    // A second and a half, and half a second, at 2000 frames a second; a busy machine may be late.
    assert!(lost[2] >= 500 && lost[3] >= 1, "{:#}", soak.soak());
    assert_eq!(lost.iter().sum::<u64>(), soak.total("lost"));
    assert_eq!((soak.count(2, "failed"), soak.count(3, "failed")), (0, 1), "nobody is there to reload");
    for what in ["frames lost", "events failed"] {
        assert!(soak.said.contains(what), "{}", soak.said);
    }
    // As many may be lost, but a failed event is a failed event.
    assert!(!soak.said.contains("broken"), "{}", soak.said);
}

/// A configuration that is refused: the event failed, and nothing else happened.
#[test]
fn a_refused_reload_is_a_failed_event() {
    needs_ringlead!();
    let lab = Lab::new("soak-refused");
    let ringlead = Ringlead::start(&lab, &config(&lab, &[1, 2, 3]));
    fs::write(ringlead.file(), "version = 1\nnonsense = true\n").expect("spoil the configuration");
    let soak = Soak::run(&lab, 2, &["1s reload"], "");
    assert_eq!((soak.status, soak.count(1, "failed")), (1, 1));
    assert!(soak.said.contains("reload was refused"), "{}", soak.said);
    assert_eq!((soak.total("lost"), soak.total("moved"), soak.total("broken")), (0, 0, 0));
}
