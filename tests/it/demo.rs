//! `ringlead demo`: shows what it promises, and leaves nothing behind, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringlead_tests::{needs_ringlead, ringlead_binary, wait_until};
use serde_json::Value;

/// The demo's own promise.
const DEMO_MAX: Duration = Duration::from_secs(60);

/// How long it may take to clean up when stopped.
const STOP_MAX: Duration = Duration::from_secs(20);

/// Inherited by every process of the demo, so that whatever is left is found.
const MARK: &str = "RINGLEAD_DEMO_TEST";

/// Ways to a server: how names of cases begin, and the mode. Translation between the families is named by both.
const WAYS: [(&str, &str); 5] =
    [("nat", "nat"), ("dsr", "dsr"), ("snat", "snat"), ("tunnel-ipip", "tunnel"), ("tunnel-gue", "tunnel")];
const TRANSLATED: [(&str, &str); 2] = [("nat64", "ipv6"), ("nat46", "ipv4")];

/// What every case tells.
const FIELDS: [&str; 10] =
    ["name", "mode", "family", "protocol", "sent", "answered", "bytes", "servers", "lost", "broken"];

#[test]
fn the_demo_shows_every_mode_family_and_protocol() {
    needs_ringlead!();
    let begin = Instant::now();
    let report = std::env::temp_dir().join(format!("ringlead-demo-{}.json", std::process::id()));
    let demo = Demo::start(&["--json", &report.display().to_string()]);
    let (mark, prefix) = (demo.mark.clone(), demo.prefix());
    let output = demo.output();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(begin.elapsed() < DEMO_MAX, "it took {:?}", begin.elapsed());
    assert_nothing_left(&mark, &prefix);
    let written = fs::read(&report).unwrap_or_else(|e| panic!("no report: {e}\n{said}"));
    fs::remove_file(&report).unwrap();
    let object: Value = serde_json::from_slice(&written).unwrap_or_else(|e| panic!("no JSON: {e}\n{said}"));
    assert!(output.status.success(), "{}: {}", output.status, object["problems"]);
    assert_eq!(object["ok"], true, "{}", object["problems"]);

    let (cases, controls) = (list(&object, "cases"), list(&object, "controls"));
    assert_each_combination(controls, "without-ringlead", &WAYS);
    assert_translated(controls, "without-ringlead");
    assert_l7(controls, "without-ringlead");
    for control in controls {
        assert!(number(control, "sent") > 0 && number(control, "answered") == 0, "{control}");
    }
    assert_each_combination(cases, "", &WAYS);
    assert_translated(cases, "");
    assert_l7(cases, "");
    for happened in ["reload-adds-server", "server-dies"] {
        let one_of_each_mode: Vec<_> = WAYS.into_iter().filter(|(way, _)| *way != "tunnel-ipip").collect();
        assert_each_combination(cases, happened, &one_of_each_mode);
    }
    assert_upgrade(cases, controls);
    cases.iter().for_each(assert_case);
    assert_environment(&object["environment"]);
    assert_told(&String::from_utf8_lossy(&output.stdout));
}

/// What the report for people has.
fn assert_told(text: &str) {
    for piece in [
        "nat-ipv4-tcp",
        "snat-ipv6-udp-server-dies",
        "snat-ipv6-tcp-upgrade",
        "flows came over and nobody forwarded for",
        "nat64-tcp",
        "tunnel-ipip-ipv4-udp",
        "listener 4",
        "native",
        "out of GUE",
        "All as it should be",
    ] {
        assert!(text.contains(piece), "{piece} is not in\n{text}");
    }
}

/// At the moments when there is most to forget: half a lab, a balancer that starts, traffic that runs.
#[test]
fn a_stopped_demo_leaves_nothing() {
    needs_ringlead!();
    type Moment = fn(&str) -> bool;
    let moments: [(&str, Signal, Moment); 4] = [
        ("half a lab", Signal::SIGINT, |prefix| namespace(prefix, "lb").exists()),
        ("a folder", Signal::SIGHUP, |prefix| folder(prefix).join("state").exists()),
        ("pinned programs", Signal::SIGTERM, |prefix| has_files(&pins(prefix))),
        ("a second server's outage", Signal::SIGINT, |prefix| log(prefix).contains("reload")),
    ];
    for (what, signal, moment) in moments {
        let mut demo = Demo::start(&["--json"]);
        let (mark, prefix) = (demo.mark.clone(), demo.prefix());
        wait_until(DEMO_MAX, what, || moment(&prefix));
        demo.signal(signal);
        let status = demo.wait(STOP_MAX).unwrap_or_else(|| panic!("{signal} at {what}: it does not end"));
        assert_eq!(status.code(), Some(130), "{signal} at {what}");
        assert_nothing_left(&mark, &prefix);
    }
}

/// Even a demo that is killed outright takes its servers and clients along, and the next one removes the rest.
#[test]
fn a_killed_demo_is_cleaned_up_by_the_next() {
    needs_ringlead!();
    let mut killed = Demo::start(&["--json"]);
    let (mark, prefix) = (killed.mark.clone(), killed.prefix());
    wait_until(DEMO_MAX, "pinned programs", || has_files(&pins(&prefix)));
    killed.signal(Signal::SIGKILL);
    assert!(killed.wait(STOP_MAX).is_some());
    drop(killed);
    assert!(namespace(&prefix, "lb").exists(), "nothing to clean up: this shows nothing");
    let mut next = Demo::start(&["--json"]);
    let (next_mark, next_prefix) = (next.mark.clone(), next.prefix());
    wait_until(STOP_MAX, "the next demo's lab", || namespace(&next_prefix, "lb").exists());
    next.signal(Signal::SIGINT);
    assert!(next.wait(STOP_MAX).is_some());
    assert_nothing_left(&next_mark, &next_prefix);
    assert_nothing_left(&mark, &prefix);
}

#[test]
fn without_root_the_demo_says_so() {
    needs_ringlead!();
    let folder = tempfile::Builder::new().prefix("ringlead-nobody").tempdir().unwrap();
    let program = folder.path().join("ringlead"); // where nobody may run it
    fs::copy(ringlead_binary().unwrap(), &program).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), open).unwrap();
    let output = Command::new(program).arg("demo").current_dir("/").uid(65_534).gid(65_534).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("root is needed"), "{}: {said}", output.status);
}

fn assert_case(case: &Value) {
    let dies = case["name"].as_str().unwrap().contains("server-dies");
    let [sent, answered] = ["sent", "answered"].map(|field| number(case, field));
    let [lost, broken] = ["lost", "broken"].map(|field| number(case, field));
    assert!(sent > 0 && answered + lost + broken == sent, "{case}");
    assert!(dies || (lost, broken) == (0, 0), "{case}");
    let servers: BTreeSet<&str> =
        case["servers"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    assert!(servers.len() >= 2, "{case}");
    if case["name"].as_str().unwrap().contains("reload") {
        assert!(servers.contains("s3"), "{case}");
    }
    let bytes_min = if case["protocol"] == "tcp" && !dies { 2 << 20 } else { 32 * answered };
    assert!(number(case, "bytes") >= bytes_min, "{case}");
}

/// Exactly one case of each mode, family and protocol whose name ends so.
fn assert_each_combination(cases: &[Value], happened: &str, ways: &[(&str, &str)]) {
    for (way, mode) in ways {
        for family in ["ipv4", "ipv6"] {
            for protocol in ["tcp", "udp"] {
                assert_one(cases, &format!("{way}-{family}-{protocol}"), happened, [mode, family, protocol]);
            }
        }
    }
}

fn assert_translated(cases: &[Value], happened: &str) {
    for (way, family) in TRANSLATED {
        for protocol in ["tcp", "udp"] {
            assert_one(cases, &format!("{way}-{protocol}"), happened, ["snat", family, protocol]);
        }
    }
}

/// Connections by each mode through a take-over; and those of snat that a crash breaks instead, every one.
fn assert_upgrade(cases: &[Value], controls: &[Value]) {
    for family in ["ipv4", "ipv6"] {
        for (way, mode) in WAYS.into_iter().filter(|(way, _)| *way != "tunnel-ipip") {
            assert_one(cases, &format!("{way}-{family}-tcp"), "upgrade", [mode, family, "tcp"]);
        }
        let service = format!("snat-{family}-tcp");
        assert_one(controls, &service, "crash-instead-of-upgrade", ["snat", family, "tcp"]);
    }
    let crashed = |control: &&Value| control["name"].as_str().unwrap().contains("crash");
    let crashed: Vec<_> = controls.iter().filter(crashed).collect();
    assert!(
        crashed.iter().all(|control| number(control, "broken") == number(control, "sent")),
        "{crashed:?}"
    );
}

/// Layer l7: TCP alone, left to listeners on the balancer.
fn assert_l7(cases: &[Value], happened: &str) {
    for family in ["ipv4", "ipv6"] {
        assert_one(cases, &format!("l7-{family}-tcp"), happened, ["l7", family, "tcp"]);
    }
}

/// Exactly one case of this name, and it tells this mode, family and protocol.
fn assert_one(cases: &[Value], service: &str, happened: &str, told: [&str; 3]) {
    let name = if happened.is_empty() { service.to_owned() } else { format!("{service}-{happened}") };
    let names: Vec<&str> = cases.iter().map(|case| case["name"].as_str().unwrap()).collect();
    let found: Vec<&Value> = cases.iter().filter(|case| case["name"] == name.as_str()).collect();
    assert_eq!(found.len(), 1, "{name} among {names:?}");
    let case = found[0];
    assert!(FIELDS.iter().all(|field| !case[*field].is_null()), "{case}");
    assert_eq!([&case["mode"], &case["family"], &case["protocol"]], told, "{case}");
}

fn assert_environment(environment: &Value) {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(environment["kernel"], kernel.trim());
    assert!(environment["version"].as_str().unwrap().starts_with(|c: char| c.is_ascii_digit()));
    let ports = list(environment, "ports");
    assert_eq!(ports.len(), 2);
    assert!(ports.iter().all(|port| port["mode"].as_str().unwrap().contains("native")), "{ports:?}");
    let sockets = &environment["xdp_sockets"];
    assert_eq!((number(sockets, "before"), number(sockets, "after")), (0, 0));
    assert!(number(sockets, "running") > 0);
    assert_eq!(environment["ip_forward"], serde_json::json!([0, 0]));
    assert_eq!(list(environment, "services").len(), 4 * (WAYS.len() + 1));
    for service in list(environment, "services") {
        assert!(number(service, "packets_in") > 0, "{service}");
        let name = service["name"].as_str().unwrap();
        let direct = name.starts_with("dsr") || name.starts_with("tunnel");
        assert_eq!(number(service, "packets_out") == 0, direct, "{service}");
    }
    let unwrapped = &environment["unwrapped"];
    for (tunnel, families) in [("ipip", ["v4_in_v4", "v6_in_v6"]), ("gue", ["v4_in_v6", "v6_in_v4"])] {
        families.iter().for_each(|family| assert!(number(&unwrapped[tunnel], family) > 0, "{unwrapped}"));
    }
}

/// No process, namespace, pin, folder or mount of the demo.
fn assert_nothing_left(mark: &str, prefix: &str) {
    let marked = processes_with(mark);
    assert!(marked.is_empty(), "processes are left: {marked:?}");
    let named = |folder: &str, begin: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(begin)).collect::<Vec<_>>()
    };
    assert_eq!(named("/run/netns", &format!("{prefix}-")), [""; 0]);
    assert!(!pins(prefix).exists(), "{} is left", pins(prefix).display());
    assert!(!folder(prefix).exists(), "{} is left", folder(prefix).display());
}

/// Command lines of processes that have the mark in their environment.
fn processes_with(mark: &str) -> Vec<String> {
    let wanted = format!("{MARK}={mark}");
    let has = |file: &Path| {
        fs::read(file).is_ok_and(|text| text.split(|b| *b == 0).any(|v| v == wanted.as_bytes()))
    };
    let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let marked = all.filter(|process| has(&process.join("environ")));
    marked
        .map(|process| fs::read_to_string(process.join("cmdline")).unwrap_or_default().replace('\0', " "))
        .collect()
}

fn namespace(prefix: &str, node: &str) -> PathBuf {
    PathBuf::from(format!("/run/netns/{prefix}-{node}"))
}

fn pins(prefix: &str) -> PathBuf {
    PathBuf::from(format!("/sys/fs/bpf/ringlead-{prefix}"))
}

fn folder(prefix: &str) -> PathBuf {
    std::env::temp_dir().join(format!("ringlead-{prefix}"))
}

/// What the demo's balancer logged so far.
fn log(prefix: &str) -> String {
    fs::read_to_string(folder(prefix).join("ringlead.log")).unwrap_or_default()
}

fn has_files(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object[field].as_array().unwrap_or_else(|| panic!("no list '{field}' in {object}"))
}

fn number(object: &Value, field: &str) -> u64 {
    object[field].as_u64().unwrap_or_else(|| panic!("no number '{field}' in {object}"))
}

/// A running demo. Dropping it asks it to stop and waits, so that a test that fails leaves nothing either.
struct Demo {
    child: Option<Child>,
    id: u32,
    mark: String,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let mark = format!("{}-{:?}", std::process::id(), Instant::now());
        let mut command = Command::new(ringlead_binary().unwrap());
        command.arg("demo").args(arguments).env(MARK, &mark);
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { id: child.id(), child: Some(child), mark }
    }

    fn prefix(&self) -> String {
        format!("demo{}", self.id)
    }

    fn output(mut self) -> Output {
        self.child.take().unwrap().wait_with_output().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.id).unwrap()), signal).unwrap();
    }

    fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let begin = Instant::now();
        loop {
            let status = self.child.as_mut().unwrap().try_wait().unwrap();
            if status.is_some() || begin.elapsed() >= limit {
                if status.is_some() {
                    self.child = None;
                }
                return status;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.signal(Signal::SIGTERM);
            if self.wait(STOP_MAX).is_none() {
                self.signal(Signal::SIGKILL);
                let _ = self.child.take().map(|mut child| child.wait());
            }
        }
    }
}
