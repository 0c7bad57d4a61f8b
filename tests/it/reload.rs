//! SIGHUP: new servers come in, nothing that runs is touched, and a bad file changes nothing.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer, Tunnels, config,
    needs_ringlead, tcp_transfers, wait_until,
};

use crate::{carries, refusals};

#[test]
fn a_server_added_during_transfers_breaks_none() {
    needs_ringlead!();
    let lab = Lab::new("reload");
    let _farm = Farm::start(&lab);
    let _tunnels = Tunnels::start(&lab);
    let two = Config::standard(&lab).with_servers(&[1, 2]).render();
    let mut ringlead = Ringlead::start(&lab, &two);
    let services = Mode::ALL.map(carries::services).concat();
    for service in &services {
        lab.await_servers(service, "12");
    }
    let (workers, sockets) = (workers(&ringlead), lasting_sockets(&ringlead));
    assert_eq!(workers.len(), 2, "threads named as workers: {:?}", ringlead.threads());
    thread::scope(|scope| {
        let transfers = long_transfers(scope, &lab, Duration::from_secs(6));
        thread::sleep(Duration::from_millis(1500));
        ringlead.reload(&config(&lab));
        for service in &services {
            lab.await_servers(service, "123");
        }
        for transfer in transfers {
            transfer.join().unwrap();
        }
    });
    assert_eq!(self::workers(&ringlead), workers, "the workers are the same threads");
    let after: BTreeSet<String> = ringlead.sockets().into_iter().collect();
    let gone: Vec<&String> = sockets.iter().filter(|socket| !after.contains(*socket)).collect();
    assert!(gone.is_empty(), "sockets that the reload closed: {gone:?}");
}

/// Sockets that stay: those of a check are gone soon.
fn lasting_sockets(ringlead: &Ringlead) -> BTreeSet<String> {
    let mut lasting: BTreeSet<String> = ringlead.sockets().into_iter().collect();
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(100));
        let now: BTreeSet<String> = ringlead.sockets().into_iter().collect();
        lasting.retain(|socket| now.contains(socket));
    }
    assert!(lasting.len() >= 4, "a worker has two at least: {lasting:?}");
    lasting
}

#[test]
fn a_server_removed_during_transfers_finishes_them() {
    needs_ringlead!();
    let lab = Lab::new("reload-less");
    let _farm = Farm::start(&lab);
    let _tunnels = Tunnels::start(&lab);
    let mut ringlead = Ringlead::start(&lab, &config(&lab));
    let services = Mode::ALL.map(carries::services).concat();
    for service in &services {
        lab.await_servers(service, "123");
    }
    thread::scope(|scope| {
        let transfers = long_transfers(scope, &lab, Duration::from_secs(6));
        thread::sleep(Duration::from_millis(1500));
        ringlead.reload(&Config::standard(&lab).with_servers(&[1, 3]).render());
        for service in &services {
            lab.await_servers(service, "13");
        }
        for transfer in transfers {
            transfer.join().unwrap();
        }
    });
}

#[test]
fn a_bad_file_changes_nothing_and_is_explained() {
    needs_ringlead!();
    let lab = Lab::new("reload-bad");
    let _farm = Farm::start(&lab);
    let mut ringlead = Ringlead::start(&lab, &config(&lab));
    let service = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4);
    lab.await_servers(&service, "123");
    // All of its servers but one are gone too, so that half of it taken over would be seen.
    let bad = Config::standard(&lab).with_servers(&[1]).render().replace("algorithm =", "algoritm =");
    let said = ringlead.reload(&bad);
    assert!(said.contains("algoritm"), "the log does not say what is wrong:\n{said}");
    lab.await_servers(&service, "123");
    carries::tcp(&lab, &service);
    ringlead.reload(&Config::standard(&lab).with_servers(&[2]).render());
    lab.await_servers(&service, "2");
}

/// The maps follow the services; the program stays where it is.
#[test]
fn services_come_and_go_and_the_program_stays() {
    needs_ringlead!();
    let lab = Lab::new("reload-services");
    let _farm = Farm::start(&lab);
    let _tunnels = Tunnels::start(&lab);
    let mut few = Config::standard(&lab);
    few.services.retain(|service| service.mode == Mode::Nat);
    let mut ringlead = Ringlead::start(&lab, &few.render());
    let others = [Mode::Snat, Mode::Dsr, Mode::Tunnel];
    lab.await_servers(&Service::standard(Mode::Nat, Protocol::Tcp, Family::V4), "123");
    lab.nobody_answers(&others.map(carries::services).concat());
    let programs = || ["l0", "l1"].map(|port| refusals::program_of(&lab, port));
    let before = programs();
    assert!(before.iter().all(Option::is_some), "{before:?}");
    ringlead.reload(&config(&lab));
    for service in &others.map(carries::services).concat() {
        lab.await_servers(service, "123");
    }
    assert_eq!(programs(), before);
    ringlead.reload(&few.render());
    lab.nobody_answers(&others.map(carries::services).concat());
    lab.await_servers(&Service::standard(Mode::Nat, Protocol::Tcp, Family::V4), "123");
    assert_eq!(programs(), before);
}

/// A client that goes on from the same port, as resolvers and phones do, is served as if it were new.
#[test]
fn a_service_that_comes_back_serves_the_clients_it_had() {
    needs_ringlead!();
    let lab = Lab::new("reload-back");
    let _farm = Farm::start(&lab);
    let service = Service::standard(Mode::Nat, Protocol::Udp, Family::V4);
    let all = config(&lab);
    let mut others = Config::standard(&lab);
    others.services.retain(|other| other.name != service.name);
    let client = lab.within(Node::Client, || client_of(&service));
    assert!(!is_answered(&client), "a service is answered without a balancer");

    let mut ringlead = Ringlead::start(&lab, &all);
    lab.await_servers(&service, "123");
    assert!(is_answered(&client));
    let flows = |ringlead: &Ringlead| ringlead.status()["flows"]["ipv4"].as_u64().expect("a count");
    assert!(flows(&ringlead) > 0);
    ringlead.reload(&others.render());
    let gone = || !is_answered(&client) && flows(&ringlead) == 0;
    wait_until(Duration::from_secs(10), "the flows of the removed service to end", gone);
    ringlead.reload(&all);
    lab.await_servers(&service, "123");
    assert!(is_answered(&client), "drops: {}", ringlead.status()["drops"]);
}

fn client_of(service: &Service) -> UdpSocket {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.connect(service.listen).expect("a socket to the service");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("set a time to wait");
    socket
}

/// Whether one of a few requests is answered. That nothing listens is told by an ICMP error, now or with the next call.
fn is_answered(client: &UdpSocket) -> bool {
    (0..6).any(|_| {
        let _ = client.send(&[0; 64]);
        client.recv(&mut [0; 2048]).is_ok()
    })
}

/// Blue and green: the old pool stays in the file, unused, and its connections still come back through the balancer.
#[test]
fn a_service_that_moves_to_another_pool_finishes_its_transfers() {
    needs_ringlead!();
    let lab = Lab::new("reload-pool");
    let _farm = Farm::start(&lab);
    let mut two = Config::standard(&lab);
    let mut blue = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4).with_servers(&[1]);
    blue.name = "blue".to_owned();
    let mut green = Service::standard(Mode::Nat, Protocol::Tcp, Family::V4).with_servers(&[2]);
    green.name = "green".to_owned();
    green.listen.set_port(81);
    let clients = blue.clone();
    two.services = vec![blue, green];
    let before = two.render();
    let after = before.replacen("pool = \"blue\"", "pool = \"green\"", 1);
    assert_ne!(before, after);
    let mut ringlead = Ringlead::start(&lab, &before);
    lab.await_servers(&clients, "1");
    thread::scope(|scope| {
        let transfer = scope.spawn(|| {
            let long =
                Transfer::new(clients.listen).bytes(1_000_003, 1_000_003).lasting(Duration::from_secs(5));
            lab.within(Node::Client, || long.make())
        });
        thread::sleep(Duration::from_millis(1500));
        ringlead.reload(&after);
        lab.await_servers(&clients, "2");
        assert!(!transfer.is_finished(), "it was to last across the reload");
        assert_eq!(transfer.join().unwrap().unwrap().server, '1');
    });
}

/// A few slow transfers through each TCP service; joining one that failed panics.
fn long_transfers<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    lab: &'scope Lab,
    time: Duration,
) -> Vec<thread::ScopedJoinHandle<'scope, ()>> {
    let mut threads = Vec::new();
    for mode in Mode::ALL {
        for family in Family::ALL {
            threads.push(scope.spawn(move || {
                let service = Service::standard(mode, Protocol::Tcp, family);
                let each = Transfer::new(service.listen).bytes(1_000_003, 1_000_003).lasting(time);
                let made = lab.within(Node::Client, || tcp_transfers(each, 6, &Lab::clients(family)));
                for one in made {
                    one.unwrap_or_else(|e| panic!("{}: {e}", service.name));
                }
            }));
        }
    }
    threads
}

fn workers(ringlead: &Ringlead) -> Vec<(u32, String)> {
    ringlead.threads().into_iter().filter(|(_, name)| name.contains("worker")).collect()
}
