//! What cannot work is refused at the start, with the reason and the fix, and leaves the node as it was.

use std::fs;

use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Network, Node, Protocol, Ringlead, Service, config, needs_ringlead,
};

#[test]
fn a_foreign_program_is_respected() {
    needs_ringlead!();
    let lab = Lab::new("foreign");
    let source = lab.files().join("pass.c");
    let object = lab.files().join("pass.o");
    fs::write(&source, "__attribute__((section(\"xdp\"), used)) int pass(void *c) { return 2; }\n").unwrap();
    let (from, to) = (source.display().to_string(), object.display().to_string());
    lab.must_run(Node::Balancer, "clang", &["-O2", "-target", "bpf", "-c", &from, "-o", &to]);
    lab.must_run(Node::Balancer, "ip", &["link", "set", "dev", "l0", "xdp", "obj", &to, "sec", "xdp"]);
    let attached = || lab.must_run(Node::Balancer, "ip", &["-json", "-details", "link", "show", "l0"]);
    let before = program_id(&attached());
    assert!(before.is_some(), "the foreign program is not attached");

    let refusal = Ringlead::refused(&lab, &config(&lab));
    assert!(!refusal.status.success());
    assert!(refusal.said.contains("l0"), "the port is not named:\n{}", refusal.said);
    assert_eq!(program_id(&attached()), before, "the foreign program was replaced");
    assert_untouched(&lab, "l1");

    lab.must_run(Node::Balancer, "ip", &["link", "set", "dev", "l0", "xdp", "off"]);
    let _farm = Farm::start(&lab);
    let _ringlead = Ringlead::start(&lab, &config(&lab));
    lab.await_servers(&Service::standard(Mode::Nat, Protocol::Tcp, Family::V4), "123");
}

#[test]
fn a_queue_without_owner_is_refused_with_the_fix() {
    needs_ringlead!();
    let lab = Lab::new("unowned");
    let mut half = Config::standard(&lab);
    half.cores = vec![1];
    half.port_lines = "queues = [0]\n".to_owned();
    let refusal = Ringlead::refused(&lab, &half.render());
    assert!(!refusal.status.success());
    assert!(refusal.said.contains("ethtool -L l0"), "the fix is not printed:\n{}", refusal.said);
    assert_untouched(&lab, "l0");
    assert_untouched(&lab, "l1");
}

/// A worker sends by its own queues only: without one on every port, what it receives could not go on.
#[test]
fn a_port_with_fewer_queues_than_workers_is_refused_with_the_fix() {
    needs_ringlead!();
    let lab = Lab::with("few-queues", Network { queues: 1, far_queues: 1, ..Network::default() });
    let mut many = Config::standard(&lab);
    many.cores = vec![0, 1];
    let refusal = Ringlead::refused(&lab, &many.render());
    assert!(!refusal.status.success());
    assert!(refusal.said.contains("ethtool -L l0"), "the fix is not printed:\n{}", refusal.said);
    assert_untouched(&lab, "l0");
}

#[test]
fn a_second_instance_is_refused_and_the_first_goes_on() {
    needs_ringlead!();
    let lab = Lab::new("second");
    let _farm = Farm::start(&lab);
    let mut first = Ringlead::start(&lab, &config(&lab));
    let service = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4);
    lab.await_servers(&service, "123");
    // Its log may be the running daemon's: whoever started it is told all the same.
    let log = format!("[observe]\nlog = {{ to = \"{}\" }}\n", lab.files().join("rl.log").display());
    let refusal = Ringlead::refused(&lab, &format!("{}{log}", config(&lab)));
    assert_eq!(refusal.status.code(), Some(1));
    let id = first.id().to_string();
    assert!(
        refusal.said.contains(&id),
        "process {id}, which holds the node, is not named:\n{}",
        refusal.said
    );
    assert!(first.runs());
    lab.await_servers(&service, "123");
}

#[test]
fn a_bad_file_is_refused_before_anything_is_touched() {
    needs_ringlead!();
    let lab = Lab::new("bad-file");
    let refusal = Ringlead::refused(&lab, &config(&lab).replace("device = \"l1\"", "devise = \"l1\""));
    assert!(!refusal.status.success());
    assert!(refusal.said.contains("devise") && refusal.said.contains("`device`"), "{}", refusal.said);
    assert_untouched(&lab, "l0");
}

#[test]
fn a_device_that_is_not_there_is_named() {
    needs_ringlead!();
    let lab = Lab::new("no-device");
    let refusal = Ringlead::refused(&lab, &config(&lab).replace("device = \"l1\"", "device = \"l7\""));
    assert!(!refusal.status.success());
    assert!(refusal.said.contains("l7"), "{}", refusal.said);
    assert_untouched(&lab, "l0");
}

/// No program and no service address on a port of the balancer.
fn assert_untouched(lab: &Lab, port: &str) {
    let link = lab.must_run(Node::Balancer, "ip", &["-json", "-details", "link", "show", port]);
    assert_eq!(program_id(&link), None, "a program stays on {port}");
    let addresses = lab.must_run(Node::Balancer, "ip", &["-brief", "address", "show", port]);
    let left = addresses.contains("10.9.0.") || addresses.contains("fd09::");
    assert!(!left, "a service's address stays on {port}: {addresses}");
}

/// The id of the XDP program in the answer of `ip -json -details link show`.
/// The id of the program on one of the balancer's ports.
pub(crate) fn program_of(lab: &Lab, port: &str) -> Option<u64> {
    program_id(&lab.must_run(Node::Balancer, "ip", &["-json", "-details", "link", "show", port]))
}

fn program_id(link: &str) -> Option<u64> {
    let links: serde_json::Value = serde_json::from_str(link).unwrap();
    links[0]["xdp"]["prog"]["id"].as_u64()
}
