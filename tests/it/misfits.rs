//! What cannot be right for all clients is told at the start: packets that do not fit, clients beside servers, too little memory.

use std::fs;

use ringlead_tests::{Config, Lab, Mode, Node, Ringlead, needs_ringlead, ringlead_binary};

use crate::carries;

/// The events of a kind in a log, as lines.
fn told(log: &str, event: &str) -> Vec<String> {
    let wanted = format!("event=\"{event}\"");
    log.lines().filter(|line| line.contains("WARN") && line.contains(&wanted)).map(str::to_owned).collect()
}

/// Outer headers on ports of one MTU; nat by two ports, then by one.
#[test]
fn packets_that_do_not_fit_and_clients_beside_servers_are_told() {
    needs_ringlead!();
    let lab = Lab::new("misfits");
    let mut config = Config::empty(&lab);
    config.services = [carries::services(Mode::Nat), carries::services(Mode::Tunnel)].concat();
    let ringlead = Ringlead::start(&lab, &config.render());
    let log = ringlead.log();
    let mtu = told(&log, "mtu");
    assert_eq!(mtu.len(), 4, "one for each tunnel service:\n{log}");
    for word in ["tunnel-tcp4", "clients=1500", "servers=1500", "fits=1472", "1528", "advmss"] {
        assert!(mtu[0].contains(word), "{word} is not in {}", mtu[0]);
    }
    assert_eq!(told(&log, "nat"), Vec::<String>::new(), "servers are on a port without clients");
    assert!(ringlead.stop().success());

    config.ports = vec![("net", "l1", "both")];
    let ringlead = Ringlead::start(&lab, &config.render());
    let nat = told(&ringlead.log(), "nat");
    assert_eq!(nat.len(), 4, "one for each nat service:\n{}", ringlead.log());
    assert!(nat[0].contains("nat-tcp4") && nat[0].contains("snat"), "{}", nat[0]);
}

/// On a machine whose kernel says that it has 64 MiB: the check warns, the start is refused.
#[test]
fn flow_tables_larger_than_the_machines_memory_are_refused_and_the_check_warns() {
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
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warning: max-flows = 1000000") && said.contains("has 64 MiB"), "{said}");
    let (code, said) = small_machine(&format!("run -c {large}"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("max-flows = 1000000") && said.contains("has 64 MiB"), "{said}");
    let usual = file("usual.toml", &Config::standard(&lab).render());
    let (code, said) = small_machine(&format!("config check -c {usual}"));
    assert!(code == Some(0) && !said.contains("64 MiB"), "{said}");
}
