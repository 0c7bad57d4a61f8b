//! Which server a new flow gets: algorithms, hash inputs, persistence, limits, backups, and what is said when there is none.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use ringlead_tests::{
    Config, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Transfer, needs_ringlead, wait_until,
};
use socket2::{Domain, Socket, Type};

/// The standard TCP service of a family, with these lines for its pool.
fn service(family: Family, pool_lines: &str) -> Service {
    let mut service = Service::standard(Mode::Nat, Protocol::Tcp, family);
    service.pool_lines = pool_lines.to_owned();
    service
}

/// A service for each family, and the daemon once it knows `up` servers of each to be up: nobody asked through it before.
fn start(lab: &Lab, services: &[Service], tables: &str, up: u64) -> Ringlead {
    let mut config = Config::empty(lab);
    config.services.extend_from_slice(services);
    let ringlead = Ringlead::start(lab, &(config.render() + tables));
    wait_until(Duration::from_secs(10), "the servers to be up", || {
        let status = ringlead.status();
        status["services"].as_array().unwrap().iter().all(|service| service["servers_eligible"] == up)
    });
    ringlead
}

/// Connections made one after another, from these sources in turn, and held open.
fn connect(lab: &Lab, to: SocketAddr, count: usize, sources: &[IpAddr]) -> Vec<Result<TcpStream, ErrorKind>> {
    let connect = |source: IpAddr| {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect_timeout(&to.into(), Duration::from_secs(3))?;
        Ok::<_, std::io::Error>(TcpStream::from(socket))
    };
    lab.within(Node::Client, || {
        let each = sources.iter().cycle().take(count);
        each.map(|source| connect(*source).map_err(|e| e.kind())).collect()
    })
}

/// How many connections of clients each server has.
fn held(lab: &Lab, family: Family) -> [usize; 3] {
    let (flag, clients) = if family == Family::V4 { ("-4", "10.1.0.") } else { ("-6", "[fd01::") };
    let asked = ["-H", "-t", "-n", flag, "state", "established", "( sport = :8080 )"];
    [1, 2, 3].map(|n| {
        let text = lab.must_run(Node::Server(n), "ss", &asked);
        text.lines()
            .filter(|line| line.split_whitespace().nth(3).is_some_and(|peer| peer.starts_with(clients)))
            .count()
    })
}

/// Servers that one client got in so many connections, one after another.
fn servers_of(lab: &Lab, to: SocketAddr, client: IpAddr, count: usize) -> BTreeMap<char, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..count {
        let asked = Transfer::new(to).from(client).bytes(100, 100);
        *seen.entry(lab.within(Node::Client, || asked.make()).unwrap().server).or_default() += 1;
    }
    seen
}

#[test]
fn least_flows_levels_and_random_two_nearly_so() {
    needs_ringlead!();
    for (algorithm, apart) in [("least-flows", 0), ("random-2", 8)] {
        let lab = Lab::new("least");
        let _farm = Farm::start(&lab);
        let lines = format!("algorithm = \"{algorithm}\"\n");
        let services = Family::ALL.map(|family| service(family, &lines));
        let _ringlead = start(&lab, &services, "", 3);
        for (family, service) in Family::ALL.into_iter().zip(&services) {
            let open = connect(&lab, service.listen, 60, &Lab::clients(family));
            assert!(open.iter().all(Result::is_ok), "{open:?}");
            wait_until(Duration::from_secs(3), "60 connections", || {
                held(&lab, family).iter().sum::<usize>() == 60
            });
            let held = held(&lab, family);
            let differ = held.iter().max().unwrap() - held.iter().min().unwrap();
            assert!(differ <= apart, "{algorithm}: {held:?}");
        }
    }
}

/// By the source alone, one client has one server whatever its port is; by all five fields it has several.
#[test]
fn the_hash_decides_what_stays_together() {
    needs_ringlead!();
    let lab = Lab::new("hash");
    let _farm = Farm::start(&lab);
    for (hash, together) in [("src", true), ("5-tuple", false)] {
        let services = Family::ALL.map(|family| service(family, &format!("hash = \"{hash}\"\n")));
        let ringlead = start(&lab, &services, "", 3);
        for (family, service) in Family::ALL.into_iter().zip(&services) {
            let clients = &Lab::clients(family)[..12];
            let each: Vec<_> = clients.iter().map(|ip| servers_of(&lab, service.listen, *ip, 8)).collect();
            let alone = each.iter().filter(|servers| servers.len() == 1).count();
            assert_eq!(alone == clients.len(), together, "{hash}: {each:?}");
            let all: BTreeMap<char, usize> = each.into_iter().flatten().collect();
            assert_eq!(all.len(), 3, "{hash}: all clients have {all:?}");
        }
        assert!(ringlead.stop().success());
    }
}

#[test]
fn a_sticky_client_comes_back_to_its_server() {
    needs_ringlead!();
    let lab = Lab::new("sticky");
    let _farm = Farm::start(&lab);
    for sticky in [true, false] {
        let mut services = Family::ALL.map(|family| service(family, "algorithm = \"round-robin\"\n"));
        if sticky {
            services.iter_mut().for_each(|service| service.lines = "persistence = \"src\"\n".to_owned());
        }
        let table = "[persistence.src]\ntype = \"source\"\nmask6 = 128\ntimeout = \"1m\"\n";
        let ringlead = start(&lab, &services, if sticky { table } else { "" }, 3);
        for (family, service) in Family::ALL.into_iter().zip(&services) {
            for client in &Lab::clients(family)[..6] {
                let servers = servers_of(&lab, service.listen, *client, 6);
                assert_eq!(servers.len() == 1, sticky, "{client}: {servers:?}");
            }
        }
        assert!(ringlead.stop().success());
    }
}

/// Backups serve when nobody else does, or when fewer are left than wanted, and not before or after.
#[test]
fn backups_stand_in() {
    needs_ringlead!();
    let lab = Lab::new("backup");
    let mut farm = Farm::start(&lab);
    let mut alone = service(Family::V4, "");
    let mut two = service(Family::V6, "min-servers = 2\n");
    for service in [&mut alone, &mut two] {
        service.server_keys = vec![(3, "backup = true".to_owned())];
    }
    let mut config = Config::empty(&lab);
    config.services = vec![alone.clone(), two.clone()];
    let _ringlead = Ringlead::start(&lab, &config.render());
    let expect = |of_alone: &str, of_two: &str| {
        lab.await_servers(&alone, of_alone);
        lab.await_servers(&two, of_two);
    };
    expect("12", "12");
    farm.kill(1);
    expect("2", "23");
    farm.kill(2);
    expect("3", "3");
    farm.bring_back(1);
    farm.bring_back(2);
    expect("12", "12");
}

#[test]
fn a_server_that_comes_back_starts_slowly() {
    needs_ringlead!();
    let lab = Lab::new("slow");
    let mut farm = Farm::start(&lab);
    let slowly = "algorithm = \"round-robin\"\nslow-start = \"15s\"\n";
    let services = Family::ALL.map(|family| service(family, slowly));
    let _ringlead = start(&lab, &services, "", 3);
    // Of 60 connections, those that the first server gets.
    let share = |service: &Service| {
        let family = if service.listen.is_ipv4() { Family::V4 } else { Family::V6 };
        let seen = servers_of(&lab, service.listen, Lab::clients(family)[0], 60);
        seen.get(&'1').copied().unwrap_or_default()
    };
    for service in &services {
        // Those that were up when ringlead came have their whole weight at once.
        let first = share(service);
        assert!((17..=23).contains(&first), "{service:?}: {first} of 60");
    }
    farm.kill(1);
    for service in &services {
        lab.await_servers(service, "23");
    }
    farm.bring_back(1);
    for service in &services {
        let mut first = 0;
        wait_until(Duration::from_secs(10), "the server to be up again", || {
            first = share(service);
            first > 0
        });
        assert!(first <= 12, "{service:?}: {first} of 60 at once");
    }
    for service in &services {
        wait_until(Duration::from_secs(40), "its whole share", || share(service) >= 19);
    }
}

#[test]
fn the_sorry_pool_answers_when_the_pool_is_down() {
    needs_ringlead!();
    let lab = Lab::new("sorry");
    let mut farm = Farm::start(&lab);
    let mut main = service(Family::V4, "").with_servers(&[1, 2]);
    main.lines = "on-no-server = \"sorry:other\"\n".to_owned();
    let other = Service::on("other", Mode::Nat, Protocol::Tcp, Family::V4, 81, 80).with_servers(&[3]);
    let mut config = Config::empty(&lab);
    config.services = vec![main.clone(), other];
    let _ringlead = Ringlead::start(&lab, &config.render());
    lab.await_servers(&main, "12");
    farm.kill(1);
    farm.kill(2);
    lab.await_servers(&main, "3");
    farm.bring_back(2);
    lab.await_servers(&main, "2");
}

/// RFC 1812 §5.2.7.1, RFC 4443 §3.1: clients' sockets are told at once.
#[test]
fn icmp_unreachable_ends_the_wait() {
    needs_ringlead!();
    let lab = Lab::new("unreachable");
    let mut config = Config::empty(&lab);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for family in Family::ALL {
            let mut service = Service::standard(Mode::Nat, protocol, family);
            service.lines = "on-no-server = \"icmp-unreachable\"\n".to_owned();
            config = config.service(service);
        }
    }
    let services = config.services.clone();
    let _ringlead = Ringlead::start(&lab, &config.render()); // no farm: all servers are down
    for service in &services {
        wait_until(Duration::from_secs(5), &format!("{} is told", service.name), || {
            let told = lab.within(Node::Client, || told(service));
            matches!(told, Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable))
        });
    }
}

/// What a client's socket is told within a second.
fn told(service: &Service) -> Option<ErrorKind> {
    let timeout = Duration::from_secs(1);
    if service.protocol == Protocol::Tcp {
        return TcpStream::connect_timeout(&service.listen, timeout).err().map(|e| e.kind());
    }
    let any: IpAddr = if service.listen.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.connect(service.listen).unwrap();
    socket.set_read_timeout(Some(timeout)).unwrap();
    // An IPv4 socket is told of host errors, which may pass, only where it asks to be.
    if service.listen.is_ipv4() {
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Ipv4RecvErr, &true).unwrap();
    } else {
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Ipv6RecvErr, &true).unwrap();
    }
    socket.send(b"anybody?").unwrap();
    socket.recv(&mut [0; 16]).err().map(|e| e.kind())
}

#[test]
fn a_server_takes_no_more_flows_than_its_limit() {
    needs_ringlead!();
    let lab = Lab::new("limit");
    let _farm = Farm::start(&lab);
    let services = Family::ALL.map(|family| {
        let mut service = service(family, "algorithm = \"least-flows\"\n");
        service.server_keys =
            [(1, 4), (2, 6), (3, 2)].map(|(n, max)| (n, format!("max-flows = {max}"))).to_vec();
        service
    });
    let _ringlead = start(&lab, &services, "", 3);
    for (family, service) in Family::ALL.into_iter().zip(&services) {
        let open = connect(&lab, service.listen, 20, &Lab::clients(family));
        let refused = open.iter().filter(|one| matches!(one, Err(ErrorKind::ConnectionRefused))).count();
        assert_eq!((open.iter().flatten().count(), refused), (12, 8), "{open:?}");
        assert_eq!(held(&lab, family), [4, 6, 2]);
    }
}
