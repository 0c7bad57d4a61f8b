//! Connections on which one end has nothing to say: it is reset when the other end speaks.

use super::{LIMIT, service};
use ringlead_tests::{Family, Lab, Mode, Node, Protocol, Service, wait_until};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

/// By nat, and by snat between the families; each with the one server that is about to go down.
pub(super) fn services() -> [Service; 2] {
    let reset = "on-server-down = \"reset\"";
    let nat = Service { servers: at(Family::V4, 7101), ..service("silent", Mode::Nat, 85, 0, reset) };
    let translated = Service::on("silent-64", Mode::Snat, Protocol::Tcp, Family::V6, 86, 7102);
    let translated =
        Service { servers: at(Family::V4, 7102), pool_lines: nat.pool_lines.clone(), ..translated };
    [nat, translated.unchecked()]
}

fn at(family: Family, port: u16) -> Vec<(String, std::net::SocketAddr)> {
    vec![("s1".to_owned(), (Lab::server(family, 1), port).into())]
}

/// Both ends of one connection.
pub(super) struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Connection {
    /// Two of each service: on one of them the client will speak, on the other the server.
    pub(super) fn all(lab: &Lab, services: &[Service; 2]) -> Vec<[Self; 2]> {
        let of = |service: &Service| {
            let listen = || TcpListener::bind(service.servers[0].1).unwrap();
            let listener = lab.within(Node::Server(1), listen);
            [0, 1].map(|_| Self::through(lab, service, &listener))
        };
        services.iter().map(of).collect()
    }

    fn through(lab: &Lab, service: &Service, listener: &TcpListener) -> Self {
        let connect = || TcpStream::connect_timeout(&service.listen, LIMIT);
        let mut client = None;
        wait_until(LIMIT, &format!("a connection to {}", service.name), || {
            client = lab.within(Node::Client, connect).ok();
            client.is_some()
        });
        let (client, server) = (client.unwrap(), listener.accept().unwrap().0);
        for end in [&client, &server] {
            end.set_read_timeout(Some(LIMIT)).unwrap();
        }
        Self { client, server }
    }

    /// One end speaks. The other one, which never does, is reset as well.
    pub(super) fn await_reset_once_one_speaks(mut self, the_server: bool) {
        let Self { client, server } = &mut self;
        let (speaker, silent) = if the_server { (server, client) } else { (client, server) };
        speaker.write_all(b"x").unwrap();
        for (end, who) in [(silent, "who is silent"), (speaker, "who spoke")] {
            let read = end.read(&mut [0; 8]);
            let error = read.as_ref().map_err(std::io::Error::kind);
            assert_eq!(error, Err(ErrorKind::ConnectionReset), "{who}; the server spoke: {the_server}");
        }
    }
}
