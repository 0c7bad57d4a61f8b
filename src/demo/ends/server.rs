//! A server: says back what it is told, with its number. It listens for every service of the demo.
//!
//! TCP: its number, then all that it gets, and when the client has finished, the SHA-256 of all that it got.
//! UDP: its number and the request, in one datagram.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use socket2::{Domain, Socket, Type};

use super::super::service::{Family, Mode, NAT_SERVER_PORT, SERVICE_PORT, server_address, service_address};
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
    for socket in udp_sockets(number)? {
        thread::spawn(move || answer_requests(number, &socket));
    }
    // Last, because health checks knock here, for UDP services too: who answers them has everything open.
    for listener in tcp_listeners()? {
        thread::spawn(move || accept(number, &listener));
    }
    say(&Said::Ready);
    while !told.to_end() {
        thread::sleep(LOOK);
    }
    Ok(())
}

/// UDP replies must come from the address that was asked, so each is bound to one: the server's own for nat, the
/// service's, which every server holds on lo, for dsr.
fn udp_sockets(number: u8) -> io::Result<Vec<UdpSocket>> {
    let mut sockets = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        for at in [
            SocketAddr::new(server_address(family, number), NAT_SERVER_PORT),
            SocketAddr::new(service_address(family, Mode::Dsr), SERVICE_PORT),
        ] {
            sockets.push(UdpSocket::bind(at).map_err(|e| at_address(at, &e))?);
        }
    }
    Ok(sockets)
}

fn tcp_listeners() -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for ip in [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
        for port in [NAT_SERVER_PORT, SERVICE_PORT] {
            let at = SocketAddr::new(ip, port);
            listeners.push(listen(at).map_err(|e| at_address(at, &e))?);
        }
    }
    Ok(listeners)
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

fn answer_requests(number: u8, socket: &UdpSocket) {
    let mut bytes = [0; 1500];
    bytes[0] = number;
    loop {
        // An error here is what an earlier client's port said; the next request is none of its business.
        if let Ok((length, from)) = socket.recv_from(&mut bytes[1..]) {
            let _ = socket.send_to(&bytes[..=length], from);
        }
    }
}

fn accept(number: u8, listener: &TcpListener) {
    loop {
        match listener.accept() {
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

fn echo(number: u8, mut stream: TcpStream) -> io::Result<()> {
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
