//! A server: says back what it is told, with its number. It listens for every service of the demo.
//!
//! TCP: its number, then all that it gets, and when the client has finished, the SHA-256 of all that it got.
//! UDP: its number and the request, in one datagram.
//!
//! Where servers see addresses of the balancer (snat) it serves nobody else, and what comes in a tunnel it takes out of it
//! as ringlead-decap does. So a balancer that did neither would be noticed.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use ringlead_decap::{Decap, GUE_PORT};
use sha2::{Digest, Sha256};
use socket2::{Domain, Socket, Type};

use super::super::lab::SERVER_DEVICE;
use super::super::service::{Family, Mode, Protocol, Service, server_address, sources};
use super::job::Unwrapped;
use super::tcp::CHUNK;
use super::{Said, Told, say};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 512;

/// A connection without a byte for so long is given up.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// How often to look whether to end.
const LOOK: Duration = Duration::from_millis(20);

/// Serves until told to end.
///
/// # Errors
/// When an address cannot be listened at.
pub(super) fn serve(number: u8, told: &Told) -> io::Result<()> {
    let tunnels = [Family::Ipv4, Family::Ipv6].map(|family| server_address(family, number));
    let decap = Decap::attach(SERVER_DEVICE, &tunnels, GUE_PORT).map_err(io::Error::other)?;
    for (at, served) in places(number, Protocol::Udp) {
        let socket = UdpSocket::bind(at).map_err(|e| at_address(at, &e))?;
        thread::spawn(move || answer_requests(number, &socket, served));
    }
    // Last, because health checks knock here, for UDP services too: who answers them has everything open.
    for (at, served) in places(number, Protocol::Tcp) {
        let listener = listen(at).map_err(|e| at_address(at, &e))?;
        thread::spawn(move || accept(number, &listener, served));
    }
    say(&Said::Ready);
    while !told.to_end() {
        thread::sleep(LOOK);
    }
    say(&Said::Unwrapped(Unwrapped::from(decap.counters())));
    Ok(())
}

/// Whom a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Served {
    /// Every client.
    Everybody,
    /// The balancer's own source addresses.
    Sources,
}

impl Served {
    fn has(self, client: SocketAddr) -> bool {
        self == Self::Everybody || sources(Family::of(client)).any(|ip| ip == client.ip())
    }
}

/// Where to listen for all services. UDP replies must come from the address that was asked, so each socket is bound to
/// one: the server's own where the balancer translates, else the service's, which every server holds on lo. TCP needs no
/// such care, and health checks ask every port at the server's own address.
fn places(number: u8, protocol: Protocol) -> BTreeSet<(SocketAddr, Served)> {
    let place = |service: Service| {
        let mut at = service.arrival(number);
        if protocol == Protocol::Tcp {
            at.set_ip(anywhere(Family::of(at)));
        }
        (at, if service.way.mode() == Mode::Snat { Served::Sources } else { Served::Everybody })
    };
    Service::all().filter(|service| service.protocol == protocol).map(place).collect()
}

fn anywhere(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?; // or the connections of its former life keep a server from coming back
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn at_address(at: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("listen at {at}: {error}"))
}

fn answer_requests(number: u8, socket: &UdpSocket, served: Served) {
    let mut bytes = [0; 1500];
    bytes[0] = number;
    loop {
        // An error here is what an earlier client's port said; the next request is none of its business.
        if let Ok((length, from)) = socket.recv_from(&mut bytes[1..])
            && served.has(from)
        {
            let _ = socket.send_to(&bytes[..=length], from);
        }
    }
}

fn accept(number: u8, listener: &TcpListener, served: Served) {
    loop {
        match listener.accept() {
            Ok((_, from)) if !served.has(from) => {} // closes it; a health check asks no more
            Ok((stream, _)) => {
                thread::spawn(move || {
                    // A client that leaves early, as every health check does, is its own business.
                    let _ = echo(number, stream);
                });
            }
            Err(_) => thread::sleep(LOOK), // out of descriptors, perhaps: do not spin
        }
    }
}

pub(super) fn echo(number: u8, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE_MAX))?;
    stream.set_write_timeout(Some(IDLE_MAX))?;
    stream.write_all(&[number])?;
    let mut digest = Sha256::new();
    let mut bytes = vec![0; CHUNK];
    loop {
        let length = stream.read(&mut bytes)?;
        if length == 0 {
            return stream.write_all(&digest.finalize());
        }
        digest.update(&bytes[..length]);
        stream.write_all(&bytes[..length])?;
    }
}
