//! What this machine says of a file: the check tells it without touching anything, and a start in the same words.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;

use ringlead_tests::{
    Config, Family, Lab, Mode, Node, Protocol, Ringlead, Service, needs_ringlead, ringlead_binary,
};

use crate::carries;

/// What `config check --here` says: its exit status, the codes, and the words.
struct Checked {
    status: Option<i32>,
    codes: BTreeSet<String>,
    said: String,
}

/// Checks a file of the name that the daemon will get, in the balancer's namespace.
fn check(lab: &Lab, text: &str) -> Checked {
    let file = lab.files().join("ringlead.toml");
    fs::write(&file, text).unwrap();
    let (file, binary) = (file.display().to_string(), ringlead_binary().unwrap());
    let run = |more: &[&str]| {
        lab.run(Node::Balancer, &binary, &[&["config", "check", "--here", "-c", &file], more].concat())
    };
    let json: serde_json::Value = serde_json::from_slice(&run(&["--json"]).stdout).unwrap();
    let entries = json["entries"].as_array().unwrap();
    let codes = entries.iter().map(|entry| entry["code"].as_str().unwrap().to_owned());
    let codes = codes.filter(|code| of_the_machine(code)).collect();
    let plain = run(&[]);
    let said = String::from_utf8_lossy(&[plain.stderr, plain.stdout].concat()).into_owned();
    Checked { status: plain.status.code(), codes, said }
}

/// The codes that a log tells, and that each is told in the words of the check, of which the log indents further lines.
fn told(log: &str, checked: &Checked) -> BTreeSet<String> {
    let log = log.replace("\n    ", "\n");
    for block in checked.said.split("\n\n").filter(|block| block.contains("--> ")) {
        let told = log.contains(block.trim_end());
        assert!(told, "these words are not in the log:\n{block}\n--- the log:\n{log}");
    }
    let after = log.split("code=\"").skip(1).filter_map(|rest| rest.split('"').next());
    after.filter(|code| of_the_machine(code)).map(str::to_owned).collect()
}

/// Two cores are few: the lab's worker shares one with control, which is told too.
fn of_the_machine(code: &str) -> bool {
    code.starts_with("C2")
}

fn codes(codes: &[&str]) -> BTreeSet<String> {
    codes.iter().map(|code| (*code).to_owned()).collect()
}

/// The daemon starts with this file, and says what the check says.
fn starts(lab: &Lab, text: &str, expected: &[&str]) -> Ringlead {
    let checked = check(lab, text);
    assert_eq!((checked.status, &checked.codes), (Some(0), &codes(expected)), "{}", checked.said);
    let ringlead = Ringlead::start(lab, text);
    assert_eq!(told(&ringlead.log(), &checked), codes(expected), "{}", ringlead.log());
    ringlead
}

/// The daemon refuses this file, and says what the check says.
fn refuses(lab: &Lab, text: &str, expected: &[&str]) {
    let checked = check(lab, text);
    assert_eq!((checked.status, &checked.codes), (Some(2), &codes(expected)), "{}", checked.said);
    let refusal = Ringlead::refused(lab, text);
    assert_eq!(refusal.status.code(), Some(1), "{}", refusal.said);
    assert!(told(&refusal.said, &checked).is_superset(&codes(expected)), "{}", refusal.said);
}

/// Programs, addresses and routes of the balancer.
fn state(lab: &Lab) -> [String; 2] {
    [["-details", "address", "show"], ["route", "show", "table"]].map(|what| {
        let more: &[&str] = if what[0] == "route" { &["all"] } else { &[] };
        lab.must_run(Node::Balancer, "ip", &[&what, more].concat())
    })
}

#[test]
fn the_check_here_and_the_start_tell_the_same_by_code() {
    needs_ringlead!();
    let lab = Lab::new("misfits");
    let before = state(&lab);
    let mut config = Config::empty(&lab);
    config.services = [carries::services(Mode::Nat), carries::services(Mode::Tunnel)].concat();
    let fits = check(
        &lab,
        &Config::empty(&lab).service(Service::standard(Mode::Nat, Protocol::Tcp, Family::V4)).render(),
    );
    assert_eq!((fits.status, fits.codes.len()), (Some(0), 0), "{}", fits.said);
    assert!(fits.said.contains("ok here"), "{}", fits.said);
    let tunnels = check(&lab, &config.render());
    assert_eq!(tunnels.codes, codes(&["C204"]));
    assert_eq!(tunnels.said.matches("[C204]").count(), 4, "one for each tunnel service:\n{}", tunnels.said);
    assert!(tunnels.said.contains("an MTU of 1528") && tunnels.said.contains("advmss"), "{}", tunnels.said);
    assert_eq!(state(&lab), before, "a check changed something");
    let ringlead = starts(&lab, &config.render(), &["C204"]);
    let events =
        ringlead.ask(&["events", "-c", &ringlead.file().display().to_string(), "--kind", "config"]).1;
    assert_eq!(events.matches("[C204]").count(), 4, "{events}");
    assert!(ringlead.stop().success());

    config.ports = vec![("net", "l1", "both")];
    drop(starts(&lab, &config.render(), &["C203", "C204"]));

    let mut direct = Config::empty(&lab);
    direct.services = vec![Service::standard(Mode::Dsr, Protocol::Tcp, Family::V4)];
    let expected = direct.render().replacen("pool = ", "addresses = \"expect\"\npool = ", 1);
    lab.must_run(Node::Balancer, "ip", &["route", "add", "10.2.0.11/32", "via", "10.2.0.12"]);
    lab.must_run(Node::Balancer, "ip", &["route", "add", "unreachable", "10.2.0.13/32"]);
    let mut ringlead = starts(&lab, &expected, &["C202", "C209", "C213"]);
    // A reload tells what it finds, too.
    let log = ringlead.reload(&direct.render().replace("10.2.0.12:", "10.1.0.2:"));
    assert!(log.contains("[C202]") || ringlead.log().contains("[C202]"), "{log}");
}

/// Whatever a start refuses for this machine's sake, the check refuses.
#[test]
fn what_a_start_refuses_here_the_check_refuses_by_the_same_code() {
    needs_ringlead!();
    let lab = Lab::new("misfits-refused");
    let base = Config::empty(&lab).service(Service::standard(Mode::Nat, Protocol::Tcp, Family::V4));
    let mut unowned = base.clone();
    (unowned.cores, unowned.port_lines) = (vec![1], "queues = [0]\n".to_owned());
    refuses(&lab, &unowned.render(), &["C201"]);
    refuses(&lab, &base.render().replace("device = \"l1\"", "device = \"l7\""), &["C206"]);
    let mut sources = Config::empty(&lab).service(Service::standard(Mode::Snat, Protocol::Tcp, Family::V4));
    sources.snat.0 = vec!["10.2.0.1".to_owned()];
    refuses(&lab, &sources.render(), &["C210"]);
    let https = base.render().replace("type = \"tcp\"", "type = \"https\"\nca = \"/nonexistent/ca.pem\"");
    refuses(&lab, &https, &["C211"]);
    let taken = lab.within(Node::Balancer, || TcpListener::bind("10.1.0.1:9090").unwrap());
    let metrics = format!("{}\n[observe]\nmetrics = \"10.1.0.1:9090\"\n", base.render());
    let checked = check(&lab, &metrics);
    assert_eq!((checked.status, &checked.codes), (Some(2), &codes(&["C212"])), "{}", checked.said);
    let refusal = Ringlead::refused(&lab, &metrics);
    assert!(
        refusal.said.contains("error[C212]: [observe] metrics: cannot listen at 10.1.0.1:9090"),
        "{}",
        refusal.said
    );
    // The daemon's own place is nobody else's.
    drop(taken);
    let _ringlead = Ringlead::start(&lab, &metrics);
    let checked = check(&lab, &metrics);
    assert_eq!((checked.status, checked.codes.len()), (Some(0), 0), "{}", checked.said);
}

/// On a machine whose kernel says that it has 64 MiB the check here and the start refuse; elsewhere the file is right.
#[test]
fn flow_tables_larger_than_the_machines_memory_are_refused_here() {
    needs_ringlead!();
    let lab = Lab::new("memory");
    let file = |name: &str, text: &str| {
        let path = lab.files().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let meminfo = file("meminfo", "MemTotal:          65536 kB\n");
    let large = Config::standard(&lab).render().replace("max-flows = 65536", "max-flows = 1000000");
    let large = file("large.toml", &large);
    let binary = ringlead_binary().unwrap().display().to_string();
    let small_machine = |args: &str| {
        let script = format!("mount --bind {meminfo} /proc/meminfo && exec {binary} {args}");
        let output = lab.run(Node::Balancer, "unshare", &["--mount", "sh", "-c", &script]);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let (code, said) = small_machine(&format!("config check -c {large}"));
    assert!(code == Some(0) && !said.contains("C205"), "{said}");
    for (command, status) in [("config check --here", 2), ("run", 1)] {
        let (code, said) = small_machine(&format!("{command} -c {large}"));
        assert_eq!(code, Some(status), "{said}");
        let words = "error[C205]: max-flows = 1000000: the flow tables take 242 MiB, this machine has 64 MiB";
        assert!(said.contains(words), "{said}");
    }
    let usual = file("usual.toml", &Config::standard(&lab).render());
    let (code, said) = small_machine(&format!("config check --here -c {usual}"));
    assert!(code == Some(0) && !said.contains("C205"), "{said}");
}
