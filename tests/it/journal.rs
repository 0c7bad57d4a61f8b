//! The log in a real journal: journald, run by the test on a `/run` of its own.

use nix::sys::signal::Signal;
use ringlead_tests::{Config, Lab, Node, Process, needs_ringlead, ringlead_binary, skip_unless, wait_until};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const JOURNALD: &str = "/lib/systemd/systemd-journald";

/// In a mount namespace that ends with it, so that the machine's journal is not touched.
const START: &str = "mount -t tmpfs journal /run && mkdir -p /run/log /run/systemd/journal /run/systemd/journald.conf.d \
    && printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nAudit=no\\n' > /run/systemd/journald.conf.d/test.conf \
    && exec \"$0\"";

/// A journald, and who sees it.
struct Journal<'l> {
    lab: &'l Lab,
    process: Process,
}

impl<'l> Journal<'l> {
    fn start(lab: &'l Lab) -> Self {
        let arguments = ["--mount", "--propagation", "private", "sh", "-c", START, JOURNALD];
        let this = Self { lab, process: lab.spawn(Node::Balancer, "unshare", &arguments) };
        let socket = ["test", "-S", "/run/systemd/journal/socket"];
        wait_until(LIMIT, "journald", || this.run(&socket).status.success());
        this
    }

    fn run(&self, command: &[&str]) -> Output {
        self.lab.run(Node::Balancer, "nsenter", &[&[self.namespace().as_str()], command].concat())
    }

    /// A command where this journal is the machine's.
    fn spawn(&self, command: &[&str]) -> Process {
        self.lab.spawn(Node::Balancer, "nsenter", &[&[self.namespace().as_str()], command].concat())
    }

    fn namespace(&self) -> String {
        format!("--mount=/proc/{}/ns/mnt", self.process.id())
    }

    /// Entries with that field, as journalctl reads them.
    fn entries(&self, field: &str) -> Vec<Value> {
        let read = ["journalctl", "--merge", "--quiet", "-o", "json", "--all", field];
        let text = String::from_utf8(self.run(&read).stdout).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

#[test]
fn journald_has_every_field_of_an_entry_and_messages_with_lines() {
    needs_ringlead!();
    skip_unless!(Path::new(JOURNALD).exists(), "there is no {JOURNALD} (Debian package systemd)");
    let lab = Lab::new("journal");
    let journal = Journal::start(&lab);
    let text = format!("{}\n[observe]\nlog = {{ to = \"journal\" }}\n", Config::standard(&lab).render());
    let file = lab.files().join("journal.toml");
    fs::write(&file, &text).unwrap();
    let (path, binary) = (file.display().to_string(), ringlead_binary().unwrap().display().to_string());
    let mut daemon = journal.spawn(&[&binary, "run", "-c", &path]);
    let pid = daemon.id().to_string();
    wait_until(LIMIT, "the start in the journal", || {
        journal.entries("RINGLEAD_EVENT=start").iter().any(|entry| {
            entry["PRIORITY"] == "6"
                && entry["SYSLOG_IDENTIFIER"] == "ringlead"
                && entry["_PID"].as_str() == Some(&pid)
                && entry["MESSAGE"].as_str().is_some_and(|message| message.contains("ready"))
        })
    });
    fs::write(&file, "version = 1\nnonsense = 1\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    wait_until(LIMIT, "the refusal, with its lines", || {
        journal.entries("RINGLEAD_EVENT=reload").iter().any(|entry| {
            let message = entry["MESSAGE"].as_str().unwrap_or_default();
            entry["PRIORITY"] == "3" && message.contains("nonsense") && message.lines().count() > 3
        })
    });
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait(LIMIT).is_some_and(|status| status.success()), "{}", daemon.output());
    assert!(
        journal
            .entries("RINGLEAD_EVENT=stop")
            .iter()
            .any(|entry| { entry["MESSAGE"].as_str().is_some_and(|message| message.starts_with("stopped")) })
    );
}
