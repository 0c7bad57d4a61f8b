//! snat without a source port left: the declared answer, a count, a line in the log; flows that are go on, and ports come back.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use ringlead_tests::{
    Config, Exchange, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer, needs_ringlead,
    wait_until,
};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// One address of a family with the fewest ports that two workers can share.
const PORTS: usize = 128;

fn tiny(lab: &Lab, family: Family) -> Config {
    let mut config = Config::empty(lab);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        config = config.service(Service::standard(Mode::Snat, protocol, family));
    }
    let address = if family == Family::V4 { "10.2.0.200" } else { Lab::SNAT_V6 };
    config.snat = (vec![address.to_owned()], "1024-1151".to_owned());
    config
}

/// As many connections at once as asked for, held open: those that were made, and why others were not.
fn connect(lab: &Lab, to: SocketAddr, family: Family, count: usize) -> (Vec<TcpStream>, Vec<ErrorKind>) {
    let sources = Lab::clients(family);
    let connect = |source: IpAddr| {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect_timeout(&to.into(), Duration::from_secs(5))?;
        Ok::<_, std::io::Error>(TcpStream::from(socket))
    };
    let made = lab.within(Node::Client, || {
        thread::scope(|scope| {
            let all: Vec<_> = (0..count)
                .map(|n| sources[n % sources.len()])
                .map(|s| scope.spawn(move || connect(s)))
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        })
    });
    let mut failed = Vec::new();
    let open = made.into_iter().filter_map(|one| one.map_err(|e| failed.push(e.kind())).ok()).collect();
    (open, failed)
}

/// A count of the pool's ports of a transport.
fn ports(ringlead: &Ringlead, transport: &str, count: &str) -> u64 {
    let status: Value = ringlead.status();
    let pool = &status["snat"][0];
    pool[transport][count].as_u64().unwrap_or_else(|| panic!("no {transport} {count} in {pool}"))
}

fn refused(ringlead: &Ringlead) -> u64 {
    ringlead.status()["drops"]["snat-exhausted"].as_u64().unwrap_or(0)
}

#[test]
fn tcp_clients_too_many_are_reset_and_the_others_go_on() {
    needs_ringlead!();
    let lab = Lab::new("snat-full");
    let _farm = Farm::start(&lab);
    for family in Family::ALL {
        let ringlead = Ringlead::start(&lab, &tiny(&lab, family).render());
        let to = Service::standard(Mode::Snat, Protocol::Tcp, family).listen;
        wait_for_servers(&ringlead);
        assert_eq!((ports(&ringlead, "tcp", "total"), ports(&ringlead, "tcp", "used")), (128, 0));
        let long = Transfer::new(to).bytes(1_000_003, 1_000_003).lasting(Duration::from_secs(6));
        let held = thread::scope(|scope| {
            let going_on = scope.spawn(|| lab.within(Node::Client, || long.make()));
            wait_until(Duration::from_secs(3), "the first flow", || ports(&ringlead, "tcp", "used") == 1);
            let (held, failed) = connect(&lab, to, family, 2 * PORTS);
            assert_eq!(held.len() + 1, PORTS, "every port is used, by one flow: {failed:?}");
            assert_eq!(
                failed,
                vec![ErrorKind::ConnectionRefused; PORTS + 1],
                "the answer for TCP is a reset"
            );
            assert_eq!(ports(&ringlead, "tcp", "used"), 128);
            going_on.join().unwrap().unwrap_or_else(|e| panic!("a flow from before: {e}"));
            held
        });
        assert!(refused(&ringlead) > PORTS as u64, "{}", ringlead.status()["drops"]);
        assert_eq!(ports(&ringlead, "udp", "used"), 0, "the transports have ports of their own");
        wait_until(Duration::from_secs(5), "a line in the log", || {
            ringlead.log().contains("out of source ports")
        });
        drop(held);
        assert!(ringlead.stop().success());
    }
}

#[test]
fn udp_clients_too_many_hear_nothing() {
    needs_ringlead!();
    let lab = Lab::new("snat-full-udp");
    let _farm = Farm::start(&lab);
    let ringlead = Ringlead::start(&lab, &tiny(&lab, Family::V4).render());
    let to = Service::standard(Mode::Snat, Protocol::Udp, Family::V4).listen;
    wait_for_servers(&ringlead);
    let many = Exchange::new(to).from(&Lab::clients(Family::V4)).times(2 * PORTS, 1);
    let stats = lab.within(Node::Client, || many.hold());
    assert_eq!((stats.answered, stats.wrong, stats.moved), (PORTS as u64, 0, 0), "{stats:?}");
    assert_eq!(ports(&ringlead, "udp", "used"), 128);
    assert_eq!(refused(&ringlead), PORTS as u64);
}

/// Ports come back when their flows have ended and the quarantine is over, which takes minutes.
#[test]
#[ignore = "takes up to four minutes"]
fn ports_come_back() {
    needs_ringlead!();
    let lab = Lab::new("snat-back");
    let _farm = Farm::start(&lab);
    let ringlead = Ringlead::start(&lab, &tiny(&lab, Family::V4).render());
    let to = Service::standard(Mode::Snat, Protocol::Tcp, Family::V4).listen;
    wait_for_servers(&ringlead);
    let (held, _) = connect(&lab, to, Family::V4, 2 * PORTS);
    assert_eq!(held.len(), PORTS);
    drop(held);
    wait_until(Duration::from_secs(60), "the flows to end", || ports(&ringlead, "tcp", "used") == 0);
    assert_eq!(ports(&ringlead, "tcp", "quarantined"), 128);
    let (at_once, _) = connect(&lab, to, Family::V4, 4);
    assert!(at_once.is_empty(), "a port was taken out of its quarantine");
    wait_until(Duration::from_secs(180), "the quarantine to end", || {
        ports(&ringlead, "tcp", "quarantined") == 0
    });
    let (held, _) = connect(&lab, to, Family::V4, 2 * PORTS);
    assert_eq!(held.len(), PORTS);
}

/// Without asking through the services, which would use ports up.
fn wait_for_servers(ringlead: &Ringlead) {
    wait_until(Duration::from_secs(10), "all servers to be up", || {
        let status = ringlead.status();
        let services = status["services"].as_array().unwrap();
        services.iter().all(|service| service["servers_eligible"] == 3)
    });
}
