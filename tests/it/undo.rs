//! A reload on trial: it undoes itself unless it is confirmed in time, and `undo` returns at any time.

use std::fs;
use std::time::Duration;

use ringlead_tests::{Config, Farm, Lab, Mode, Protocol, Ringlead, config, needs_ringlead, wait_until};

use crate::carries;

#[test]
fn a_reload_stays_when_confirmed_and_returns_when_undone_or_forgotten() {
    needs_ringlead!();
    let lab = Lab::new("undo");
    let _farm = Farm::start(&lab);
    carries::nothing_answers(&lab, Mode::Nat);
    let ringlead = Ringlead::start(&lab, &Config::standard(&lab).with_servers(&[1, 2]).render());
    let file = ringlead.file().display().to_string();
    let services = carries::services(Mode::Nat);
    let [service, ..] = &services[..] else { panic!("no service") };
    lab.await_servers(service, "12");
    // UDP flows stay for a while.
    let datagrams = services.iter().find(|service| service.protocol == Protocol::Udp).unwrap();
    lab.await_servers(datagrams, "12");
    let there = ["--socket-of", &file];
    let ask = |command: &[&str]| ringlead.ask(&[command, &there].concat());
    let differs = || ask(&["config", "diff", "-c", &file]);
    assert_eq!(differs().0, 0, "the daemon has what the file says");

    fs::write(&file, config(&lab)).unwrap();
    let (status, said) = differs();
    assert!(status == 1 && said.contains("server s3 added"), "{said}");
    let (status, said) = ask(&["reload", "--confirm", "1h"]);
    assert!(status == 0 && said.contains("to `ringlead confirm`"), "{said}");
    lab.await_servers(service, "123");
    let (status, said) = ask(&["reload"]);
    assert!(status == 2 && said.contains("waits for confirm"), "{said}");
    let waits = || ringlead.ask(&["status", "-c", &file]).1.contains("is waiting for confirm");
    assert!(waits());
    assert_eq!(ask(&["confirm"]).0, 0);
    assert!(!waits());
    assert_eq!(ask(&["confirm"]).0, 2, "nothing waits any more");
    flows_of_a_removed_server_are_counted(&lab, &ringlead, &file);
    assert_eq!(ask(&["undo"]).0, 0);
    lab.await_servers(service, "12");

    // What changes nothing leaves the way back, also by SIGHUP; on trial it is nothing that could be undone.
    let [(first, changed), (second, nothing)] = [ask(&["reload"]), ask(&["reload"])];
    assert!(first == 0 && changed.contains("server s3 added"), "{changed}");
    assert!(second == 0 && nothing.ends_with("nothing changed\n"), "{nothing}");
    lab.await_servers(service, "123");
    assert_eq!(ask(&["undo"]).0, 0);
    lab.await_servers(service, "12");
    assert_eq!((ask(&["undo"]).0, ask(&["reload", "--confirm", "1h"]).0, ask(&["undo"]).0), (0, 0, 0));
    lab.await_servers(service, "123");
    assert_eq!(ask(&["undo"]).0, 0);
    lab.await_servers(service, "12");

    assert_eq!(ask(&["reload", "--confirm", "1s"]).0, 0);
    wait_until(Duration::from_secs(30), "the reload is undone", || !waits());
    lab.await_servers(service, "12");
    assert!(ringlead.log().contains("nobody has confirmed"), "{}", ringlead.log());
    assert_eq!(differs().0, 1, "the file is as it was");

    // A broken file still says where the daemon is, and that is when `undo` is wanted.
    let socket = socket_of(&file);
    fs::write(&file, format!("version = 1\nnonsense = 1\n[node]\ncontrol = \"unix:{socket}\"\n")).unwrap();
    let (status, said) = ringlead.ask(&["undo", "-c", &file]);
    assert!(status == 0 && said.contains("is in force again"), "{said}");
    let (status, said) = ringlead.ask(&["reload", "-s", &socket]);
    assert!(status == 2 && said.contains("error[C001]: unknown key `nonsense`"), "{said}");
}

/// `config diff` asks the running tables: as many flows of the server go on as a listing has of it, and none ends or moves.
fn flows_of_a_removed_server_are_counted(lab: &Lab, ringlead: &Ringlead, file: &str) {
    let pool = carries::services(Mode::Nat).into_iter().find(|s| s.protocol == Protocol::Udp).unwrap().name;
    let fewer = format!("{file}.fewer");
    fs::write(&fewer, Config::standard(lab).with_servers(&[1, 3]).render()).unwrap();
    let server = format!("{pool}/s2");
    let listed = || ringlead.ask(&["flows", "--count", "--server", &server, "-c", file]).1.trim().to_owned();
    // Flows end meanwhile: what is asked twice and stays the same counts.
    wait_until(Duration::from_secs(30), "the same flows are counted by both", || {
        let (before, (status, said), after) =
            (listed(), ringlead.ask(&["config", "diff", "-c", &fewer, "--socket-of", file]), listed());
        assert_eq!(status, 1, "{said}");
        assert!(said.contains(" end, 0 move, ") && said.contains(", 0 established flows move"), "{said}");
        let line = format!("flows: {after} of {server} go on until they end: ");
        before == after && before != "0" && said.contains(&line)
    });
    let (_, said) = ringlead.ask(&["config", "diff", "-c", &fewer, "--old", file]);
    assert!(said.contains("flows: without a daemon it is not known"), "{said}");
}

/// While a reload waits: SIGHUP, another reload and a successor are refused, each with the reason; after a kill the file counts,
/// which is said once.
#[test]
fn a_reload_that_waits_lets_nobody_else_in_and_a_restart_says_that_it_was_not_confirmed() {
    needs_ringlead!();
    let lab = Lab::new("undo-waits");
    let both = config(&lab);
    let ringlead = Ringlead::start(&lab, &Config::standard(&lab).with_servers(&[1, 2]).render());
    let file = ringlead.file().display().to_string();
    let servers = |ringlead: &Ringlead| {
        let services = ringlead.status()["services"].as_array().unwrap().clone();
        services.iter().filter_map(|service| service["servers"].as_u64()).max()
    };
    fs::write(&file, &both).unwrap();
    let (status, said) = ringlead.ask(&["reload", "--confirm", "1h", "--socket-of", &file]);
    assert!(status == 0, "{said}");
    let marker = lab.files().join("state/reload-on-trial");
    assert!(marker.exists());

    ringlead.hang_up(&Config::standard(&lab).with_servers(&[1]).render());
    wait_until(Duration::from_secs(30), "SIGHUP is refused", || {
        ringlead.log().contains("the last reload waits for confirm")
    });
    assert_eq!(servers(&ringlead), Some(3), "what is on trial stays");
    let refused = Ringlead::take_over_from(&lab, "successor.toml", &both).map(drop).unwrap_err();
    assert_eq!(refused.status.code(), Some(2), "{}", refused.said);
    assert!(refused.said.contains("waits for confirm"), "{}", refused.said);
    assert!(ringlead.ask(&["status", "-c", &file]).1.contains("is waiting for confirm"));

    ringlead.kill();
    let told = "ended while a reload waited for confirm";
    let ringlead = Ringlead::start(&lab, &both);
    assert!(ringlead.log().contains(told), "{}", ringlead.log());
    assert!(!marker.exists() && servers(&ringlead) == Some(3), "the file as it is");
    assert_eq!(ringlead.ask(&["confirm", "--socket-of", &file]).0, 2, "nothing waits");
    ringlead.kill();
    let ringlead = Ringlead::start(&lab, &both);
    assert!(!ringlead.log().contains(told), "said once:\n{}", ringlead.log());
    assert_eq!(ringlead.ask(&["reload", "--confirm", "1h", "--socket-of", &file]).0, 0);
    assert!(marker.exists());
    assert_eq!(ringlead.ask(&["confirm", "--socket-of", &file]).0, 0);
    assert!(!marker.exists(), "confirmed");
    assert_eq!(ringlead.ask(&["reload", "--confirm", "1h", "--socket-of", &file]).0, 0);
    assert_eq!(ringlead.ask(&["undo", "--socket-of", &file]).0, 0);
    assert!(!marker.exists(), "undone");
}

fn socket_of(file: &str) -> String {
    let table: toml::Table = toml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    table["node"]["control"].as_str().unwrap().trim_start_matches("unix:").to_owned()
}
