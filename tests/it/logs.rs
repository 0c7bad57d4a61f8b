//! What the daemon says of itself: its log.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringlead_tests::{Config, Lab, Ringlead, needs_ringlead, wait_until};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn signal(ringlead: &Ringlead, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(ringlead.id()).unwrap()), signal).unwrap();
}

/// A log of JSON lines.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

fn says(path: &Path, event: &str, message: &str) -> bool {
    let fits = |line: &Value| line["event"] == event && line["message"].as_str().unwrap().contains(message);
    lines(path).iter().any(fits)
}

#[test]
fn a_log_moves_to_a_file_by_reload_and_is_opened_anew() {
    needs_ringlead!();
    let lab = Lab::new("logs");
    let config = Config::standard(&lab).render();
    let ringlead = Ringlead::start(&lab, &config);
    let (path, old) = (lab.files().join("observed.log"), lab.files().join("observed.log.1"));
    let with_log = |to: &Path| {
        format!("{config}\n[observe]\nlog = {{ to = \"{}\", format = \"json\" }}\n", to.display())
    };
    // What cannot be opened changes nothing.
    ringlead.hang_up(&with_log(&lab.files().join("missing/observed.log")));
    let refused = || ringlead.log().contains("its directory must be there");
    wait_until(LIMIT, "the refusal in the log", refused);
    ringlead.hang_up(&with_log(&path));
    wait_until(LIMIT, "the reload in the file", || says(&path, "reload", "is in force"));
    let before = ringlead.log();
    fs::rename(&path, &old).unwrap();
    signal(&ringlead, Signal::SIGUSR1);
    wait_until(LIMIT, "the file opened anew", || says(&path, "log", "opened anew"));
    assert!(ringlead.stop().success());
    assert!(says(&path, "stop", "stopped") && !says(&old, "stop", "stopped"));
    assert!(!before.contains("opened anew"), "standard error is done with: {before}");
}
