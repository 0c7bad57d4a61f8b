//! The daemon is killed and started again while clients go on: their flows survive, for nobody resets them.

use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer, Tunnels, config,
    needs_ringlead, tcp_transfers,
};

use crate::carries;

/// The modes whose flows are computed again from their packets.
const STATELESS: [Mode; 3] = [Mode::Nat, Mode::Dsr, Mode::Tunnel];

#[test]
fn flows_survive_a_kill_and_a_restart() {
    needs_ringlead!();
    let lab = Lab::new("takeover");
    let _farm = Farm::start(&lab);
    let _tunnels = Tunnels::start(&lab);
    let text = config(&lab);
    let ringlead = Ringlead::start(&lab, &text);
    for service in STATELESS.map(carries::services).concat() {
        lab.await_servers(&service, "123");
    }
    let again = thread::scope(|scope| {
        let mut clients = Vec::new();
        for mode in STATELESS {
            for family in Family::ALL {
                let lab = &lab;
                clients.push(scope.spawn(move || {
                    let to = Service::standard(mode, Protocol::Tcp, family).listen;
                    let each = Transfer::new(to)
                        .bytes(1_000_003, 1_000_003)
                        .lasting(Duration::from_secs(5))
                        .timeout(Duration::from_secs(20));
                    let made = lab.within(Node::Client, || tcp_transfers(each, 6, &Lab::clients(family)));
                    for one in made {
                        one.unwrap_or_else(|e| panic!("{to}: {e}"));
                    }
                }));
            }
        }
        thread::sleep(Duration::from_millis(1500));
        ringlead.kill();
        thread::sleep(Duration::from_millis(1000)); // clients retransmit into the void
        let again = Ringlead::start(&lab, &text);
        clients.into_iter().for_each(|client| client.join().unwrap());
        again
    });
    for mode in Mode::ALL {
        carries::all_services(&lab, mode);
    }
    drop(again);
}

/// While the daemon is dead, its steering program stays and drops what is ours: were it gone, the kernel, which has the
/// service's address, would reset clients.
#[test]
fn a_dead_daemon_resets_nobody() {
    needs_ringlead!();
    let lab = Lab::new("dead");
    let _farm = Farm::start(&lab);
    let ringlead = Ringlead::start(&lab, &config(&lab));
    let service = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4);
    lab.await_servers(&service, "123");
    ringlead.kill();
    let asked = Transfer::new(service.listen).timeout(Duration::from_secs(2));
    let error = lab.within(Node::Client, || asked.make()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "a dead daemon's client is not left waiting: {error}");
}

/// Which source port a flow had dies with the daemon, translated flows' too. Its packets are nobody's then: neither the new daemon nor the kernel,
/// which has the address, answers for a connection that is no more. New connections work at once.
#[test]
fn flows_of_snat_end_in_silence_and_new_ones_work_at_once() {
    needs_ringlead!();
    let lab = Lab::new("takeover-snat");
    let _farm = Farm::start(&lab);
    let mut file = Config::standard(&lab);
    let mut plain = Vec::new();
    for (family, other) in [(Family::V4, Family::V6), (Family::V6, Family::V4)] {
        let name = format!("translated-{family:?}").to_lowercase();
        let translated = Service::on(&name, Mode::Snat, Protocol::Tcp, family, 81, 8080).reached_by(other);
        plain.extend([Service::standard(Mode::Snat, Protocol::Tcp, family), translated.clone()]);
        file = file.service(translated);
    }
    let text = file.render();
    let ringlead = Ringlead::start(&lab, &text);
    for service in &plain {
        lab.await_servers(service, "123");
    }
    thread::scope(|scope| {
        let mut clients = Vec::new();
        for service in &plain {
            let (lab, to) = (&lab, service.listen);
            clients.push(scope.spawn(move || {
                let each = Transfer::new(to)
                    .bytes(1_000_003, 1_000_003)
                    .lasting(Duration::from_secs(6))
                    .timeout(Duration::from_secs(6));
                lab.within(Node::Client, || tcp_transfers(each, 6, &Lab::clients(carries::family(service))))
            }));
        }
        thread::sleep(Duration::from_millis(1500));
        ringlead.kill();
        thread::sleep(Duration::from_millis(500));
        let _again = Ringlead::start(&lab, &text);
        carries::all_services(&lab, Mode::Snat);
        plain.iter().for_each(|service| lab.await_servers(service, "123"));
        for made in clients.into_iter().flat_map(|client| client.join().unwrap()) {
            let error = made.expect_err("its source port was not known any more");
            let silent = matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock);
            assert!(silent, "a client was told something: {error}");
        }
    });
}
