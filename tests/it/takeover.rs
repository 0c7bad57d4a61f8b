//! The daemon is killed and started again while clients go on: their flows survive, for nobody resets them.

use std::thread;
use std::time::Duration;

use ringlead_tests::{
    Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer, config, needs_ringlead,
    tcp_transfers,
};

use crate::carries;

#[test]
fn flows_survive_a_kill_and_a_restart() {
    needs_ringlead!();
    let lab = Lab::new("takeover");
    let _farm = Farm::start(&lab);
    let text = config(&lab);
    let ringlead = Ringlead::start(&lab, &text);
    for service in [Mode::Nat, Mode::Dsr].map(carries::services).concat() {
        lab.await_servers(&service, "123");
    }
    let again = thread::scope(|scope| {
        let mut clients = Vec::new();
        for mode in Mode::ALL {
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
    assert_eq!(
        error.kind(),
        std::io::ErrorKind::TimedOut,
        "a dead daemon's client is not left waiting: {error}"
    );
}
