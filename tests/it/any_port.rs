//! Port 0: a service on every port of its address, beside services that have one of these ports for themselves.

use std::net::SocketAddr;

use ringlead_tests::{
    BlobServer, Config, EchoServer, Family, Farm, Lab, Mode, Node, Protocol, Ringlead, Service, Tunnels,
    needs_ringlead,
};

use crate::carries;

/// Where the servers listen, of what no service names.
const OTHERS: [u16; 2] = [81, 8080];

/// The modes that have it.
const MODES: [Mode; 3] = [Mode::Snat, Mode::Dsr, Mode::Tunnel];

#[test]
fn every_port_is_served_and_an_exact_one_wins() {
    needs_ringlead!();
    let lab = Lab::new("any-port");
    let _farm = Farm::start(&lab);
    let _more = more_servers(&lab);
    let _tunnels = Tunnels::start(&lab);
    let services: Vec<Service> = MODES.into_iter().flat_map(carries::services).collect();
    lab.nobody_answers(&services.iter().flat_map(every_port).collect::<Vec<_>>());
    let any = services.iter().map(any_port);
    let exact = services.iter().map(|service| service.clone().with_servers(&[3]));
    let mut config = Config::empty(&lab);
    config.services = any.chain(exact).collect();
    let mut ringlead = Ringlead::start(&lab, &config.render());
    for service in &services {
        lab.await_servers(service, "3");
        others(service).for_each(|asked| lab.await_servers(&asked, "12"));
    }
    config.services.truncate(services.len());
    ringlead.reload(&config.render());
    for asked in services.iter().flat_map(every_port) {
        lab.await_servers(&asked, "12");
    }
    config.services.retain(|service| service.protocol == Protocol::Tcp);
    ringlead.reload(&config.render());
    let others: Vec<Service> = services.iter().flat_map(others).collect();
    let (tcp, udp): (Vec<_>, Vec<_>) = others.into_iter().partition(|asked| asked.protocol == Protocol::Tcp);
    tcp.iter().for_each(|asked| lab.await_servers(asked, "12"));
    lab.nobody_answers(&udp);
}

/// Whole transfers to several ports of one service.
#[test]
fn every_port_carries_whole_transfers() {
    needs_ringlead!();
    let lab = Lab::new("any-whole");
    let _farm = Farm::start(&lab);
    let _more = more_servers(&lab);
    let services: Vec<Service> = carries::services(Mode::Snat);
    lab.nobody_answers(&services.iter().flat_map(every_port).collect::<Vec<_>>());
    let mut config = Config::empty(&lab);
    config.services = services.iter().map(any_port).collect();
    let _ringlead = Ringlead::start(&lab, &config.render());
    for asked in services.iter().flat_map(every_port) {
        lab.await_servers(&asked, "12");
        match asked.protocol {
            Protocol::Tcp => carries::tcp(&lab, &asked),
            Protocol::Udp => carries::udp(&lab, &asked),
        }
    }
}

/// The service on every port, by servers 1 and 2, on whichever port was asked.
fn any_port(service: &Service) -> Service {
    let mut any = service.clone().with_servers(&[1, 2]).unchecked();
    any.name = format!("any-{}", service.name);
    any.listen.set_port(0);
    any.servers.iter_mut().for_each(|(_, address)| address.set_port(0));
    any
}

/// Its own port, and those that no service names.
fn every_port(service: &Service) -> impl Iterator<Item = Service> {
    std::iter::once(service.clone()).chain(others(service))
}

fn others(service: &Service) -> impl Iterator<Item = Service> {
    OTHERS
        .map(|port| {
            let mut asked = service.clone();
            asked.listen.set_port(port);
            asked.name = format!("{} on port {port}", service.name);
            asked
        })
        .into_iter()
}

/// Servers beside those of the farm, for [`OTHERS`].
fn more_servers(lab: &Lab) -> Vec<(BlobServer, EchoServer)> {
    let addresses = |number| {
        let of_family = |family| {
            let service = [Mode::Dsr, Mode::Tunnel].map(|mode| Lab::service(family, mode));
            let on_service = service.into_iter().flat_map(|ip| OTHERS.map(|port| SocketAddr::new(ip, port)));
            on_service.chain([SocketAddr::new(Lab::server(family, number), OTHERS[0])])
        };
        Family::ALL.into_iter().flat_map(of_family).collect::<Vec<_>>()
    };
    let start = |number: u8| {
        let (node, name) = (Node::Server(number), char::from(b'0' + number));
        let addresses = addresses(number);
        (BlobServer::start(lab, node, name, &addresses), EchoServer::start(lab, node, name, &addresses))
    };
    (1..=3).map(start).collect()
}
