//! Running `ringlead bench` in a lab: its ports are the client's and the servers', and it plays both ends.

use ringlead_tests::{Family, Lab, Mode, Node, Ringlead, SERVERS, ringlead_binary};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit status.
    pub(crate) code: Option<i32>,
    /// Its record.
    pub(crate) report: Value,
    /// What it said besides.
    pub(crate) said: String,
}

impl Ran {
    /// The trial's outcome.
    pub(crate) fn outcome(&self) -> &Value {
        &self.report["outcome"]
    }

    /// A count of the outcome.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.outcome()[name].as_u64().unwrap_or_else(|| panic!("no {name} in {}", self.outcome()))
    }

    /// Frames that arrived at each of the generator's servers, or what was found: for messages.
    pub(crate) fn summary(&self) -> String {
        let outcome = self.outcome();
        let parts = ["planned", "sent", "received", "lost", "replies", "invalid", "loss", "lag", "odd"];
        let parts: Vec<String> = parts.iter().map(|part| format!("{part} {}", outcome[part])).collect();
        let findings = &outcome["findings"];
        format!(
            "{:?} {}\n{}\n{}\n{}",
            self.code,
            self.said,
            parts.join("\n"),
            findings["counts"],
            findings["examples"]
        )
    }
}

/// Runs `bench COMMAND` between the lab's client and servers with the mode's services of these families.
pub(crate) fn bench(lab: &Lab, command: &str, mode: Mode, families: &[Family], more: &[&str]) -> Ran {
    bench_across(lab, command, mode, (families, families), more)
}

/// The same with services of some families and servers of perhaps others.
pub(crate) fn bench_across(
    lab: &Lab,
    command: &str,
    mode: Mode,
    (services, servers): (&[Family], &[Family]),
    more: &[&str],
) -> Ran {
    let port = |node: Node, device: &str| format!("{}-{node}/{device}", lab.prefix());
    let (word, server_port) = (mode.word(), mode.server_port());
    let server = |family, number| {
        let address = std::net::SocketAddr::new(Lab::server(family, number), server_port);
        format!("{address}@{}", port(Node::Server(number), "e0"))
    };
    let servers: Vec<String> =
        servers.iter().flat_map(|family| (1..=SERVERS).map(move |number| server(*family, number))).collect();
    let service = |family: &Family| std::net::SocketAddr::new(Lab::service(*family, mode), 80).to_string();
    let services: Vec<String> = services.iter().map(service).collect();
    let control = lab.files().join("control.sock");
    let binary = ringlead_binary().expect("a ringlead binary");
    let output = Command::new(binary)
        .args(["bench", command, "--mode", word, "--json", "-"])
        .args([
            "--out",
            &port(Node::Client, "c0"),
            "--back",
            &port(Node::Client, if matches!(mode, Mode::Dsr | Mode::Tunnel) { "c1" } else { "c0" }),
        ])
        .args(["--server", &servers.join(","), "--to", &services.join(",")])
        .args(["--control", &control.display().to_string()])
        .args(more)
        .output()
        .expect("run ringlead bench");
    let out = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_str(&out).unwrap_or_else(|e| panic!("no record ({e}):\n{out}\n{said}"));
    Ran { code: output.status.code(), report, said }
}

/// How often a run on a machine that has no core to spare is made again.
pub(crate) const TRIES: usize = 3;

/// Whether the machine gave a worker no core for a whole second: then rings overflow, and what is lost is nobody's fault.
/// A worker that was silent though it did not wait for a core stood still by itself, and that is a fault.
pub(crate) fn starved(ringlead: &Ringlead) -> bool {
    ringlead.log().contains("has been silent") && waited(ringlead.id()) >= Duration::from_millis(500)
}

/// The longest that a thread of this process has waited for a core so far, in all: the second number of schedstat.
fn waited(id: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).expect("list the daemon's threads");
    let of = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().nth(1)?.parse().ok()
    };
    let longest = tasks.filter_map(Result::ok).filter_map(of).max();
    Duration::from_nanos(longest.expect("threads tell how long they waited"))
}
