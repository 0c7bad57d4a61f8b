//! The end: SIGTERM leaves the node as it was, and `cleanup` does so for a daemon that could not.

use ringlead_tests::{
    Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, config, needs_ringlead, ringlead_binary,
};

#[test]
fn a_stop_leaves_the_node_as_it_was() {
    needs_ringlead!();
    let lab = Lab::new("stop");
    let before = node(&lab);
    let _farm = Farm::start(&lab);
    let ringlead = Ringlead::start(&lab, &config(&lab));
    lab.await_servers(&Service::standard(Mode::Nat, Protocol::Tcp, Family::V4), "123");
    assert_ne!(node(&lab), before, "a running ringlead leaves a trace in what is compared here");
    let status = ringlead.stop();
    assert!(status.success(), "{status}");
    assert_eq!(node(&lab), before);
}

#[test]
fn cleanup_removes_what_a_killed_daemon_left() {
    needs_ringlead!();
    let lab = Lab::new("cleanup");
    let before = node(&lab);
    let ringlead = Ringlead::start(&lab, &config(&lab));
    let file = ringlead.file().display().to_string();
    ringlead.kill();
    assert_ne!(node(&lab), before, "a killed daemon leaves its program and addresses");
    lab.must_run(Node::Balancer, ringlead_binary().unwrap(), &["cleanup", "-c", &file]);
    assert_eq!(node(&lab), before);
}

/// Addresses, programs and pins of the balancer's node.
fn node(lab: &Lab) -> String {
    let mut text = String::new();
    for port in ["l0", "l1"] {
        text += &lab.must_run(Node::Balancer, "ip", &["-brief", "address", "show", port]);
        let link = lab.must_run(Node::Balancer, "ip", &["link", "show", port]);
        text += if link.contains("xdp") { "program\n" } else { "no program\n" };
    }
    let pins = std::fs::read_dir(lab.bpf_dir()).map(|folder| folder.count()).unwrap_or_default();
    format!("{text}{pins} pins\n")
}
