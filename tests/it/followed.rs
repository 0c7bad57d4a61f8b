//! Who follows the daemon goes on over its successors: `events -f`, the service manager and its watchdog.

use crate::logs::Manager;
use nix::sys::signal::Signal;
use ringlead_tests::{Config, Lab, Node, Process, needs_ringlead, ringlead_binary, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// What `events -f --json` printed.
fn printed(events: &Process) -> Vec<Value> {
    let text = events.output();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n') && line.starts_with('{'));
    whole.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

fn await_printed(events: &Process, what: &str, fits: impl Fn(&Value) -> bool) {
    wait_until(LIMIT, what, || printed(events).iter().any(&fits));
}

/// Nothing is printed twice, numbers grow, and each other daemon is announced before its first event.
fn in_order(events: &Process, daemons: usize) {
    let all = printed(events);
    let mut seen = BTreeSet::new();
    let (mut last, mut others) = (0, 0);
    for line in &all {
        if line.get("restarted").is_some() {
            assert_eq!(line["unknown-after"].as_u64(), Some(last), "{line}");
            (last, others) = (0, others + 1);
            continue;
        }
        let number = line["seq"].as_u64().unwrap();
        assert!(number == last + 1, "{number} after {last}: {}", events.output());
        last = number;
        assert!(seen.insert((line["time"].to_string(), line.to_string())), "twice: {line}");
    }
    assert_eq!(others, daemons, "{}", events.output());
}

#[test]
fn events_the_manager_and_its_watchdog_follow_a_take_over_and_a_restart() {
    needs_ringlead!();
    let lab = Lab::new("followed");
    let (file, manager) = (lab.files().join("followed.toml"), lab.files().join("notify.sock"));
    fs::write(&file, Config::standard(&lab).render()).unwrap();
    let (path, binary) = (file.display().to_string(), ringlead_binary().unwrap().display().to_string());
    let heard = Manager::new(&manager);
    let socket = format!("NOTIFY_SOCKET={}", manager.display());
    let run = ["WATCHDOG_USEC=900000", &socket, &binary, "run", "-c", &path];
    let mut first = lab.spawn(Node::Balancer, "env", &run);
    heard.until("READY=1\nSTATUS=serving ");
    let events = lab.spawn(Node::Balancer, &binary, &["events", "-f", "--json", "-c", &path]);
    await_printed(&events, "the first one's start", |line| line["event"] == "start");

    // By hand, as an operator does: nothing of the manager is in its environment.
    let without = ["-u", "NOTIFY_SOCKET", "-u", "WATCHDOG_USEC", &binary, "run", "-c", &path, "--take-over"];
    let mut second = lab.spawn(Node::Balancer, "env", &without);
    let main = format!("MAINPID={}\n", second.id());
    // The main process says who is next; that one then speaks for itself.
    let handing = heard.until(&main);
    assert!(handing.contains("\nWATCHDOG=1\n"), "{handing}");
    // Until it serves it keeps no house, so these are the steps of the hand-over, however long each takes.
    let (steps, ready) = heard.alive_until("READY=1\n");
    assert!(steps >= 3, "{steps} signs of life before the successor is ready");
    assert!(ready.contains(&main), "{ready}");
    assert!(first.wait(LIMIT).is_some_and(|status| status.success()), "{}", first.output());
    for _ in 0..3 {
        assert_eq!(heard.until("WATCHDOG=1"), "WATCHDOG=1");
    }
    await_printed(&events, "the successor", |line| {
        line["event"] == "take-over" && line["message"] == "took over"
    });
    in_order(&events, 1);

    second.signal(Signal::SIGTERM);
    heard.until("STOPPING=1\n");
    assert!(second.wait(LIMIT).is_some_and(|status| status.success()), "{}", second.output());
    let third = lab.spawn(Node::Balancer, &binary, &["run", "-c", &path]);
    wait_until(LIMIT, "the third one's start", || {
        let all = printed(&events);
        let others = all.iter().enumerate().filter(|(_, line)| line.get("restarted").is_some());
        let begin = others.map(|(at, _)| at).nth(1);
        begin.is_some_and(|begin| all[begin..].iter().any(|line| line["event"] == "start"))
    });
    in_order(&events, 2);
    ends_badly_without_its_successor(&lab, third);
}

/// A successor that was let in and hears no more: nobody serves, and whoever supervises the daemon is told so.
fn ends_badly_without_its_successor(lab: &Lab, mut daemon: Process) {
    let control = lab.files().join("control.sock");
    let request = json!({
        "command": "hand-over", "state-dir": lab.files().join("state"), "control": control, "bpf-dir": lab.bpf_dir(),
        "ports": ["l0 (attach = auto)", "l1 (attach = auto)"],
    });
    let mut successor = UnixStream::connect(&control).unwrap();
    successor.shutdown(Shutdown::Read).unwrap();
    writeln!(successor, "{request}").unwrap();
    let ended = daemon.wait(LIMIT);
    assert_eq!(ended.and_then(|status| status.code()), Some(1), "{}", daemon.output());
    assert!(daemon.output().contains("the successor has gone; nobody serves"), "{}", daemon.output());
}
