//! Where a check asks from: an address of this node, and ports that the kernel gives nobody else and does not answer at.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use socket2::{Domain, SockFilter, Socket, Type};

use super::super::{Outcome, inconclusive, judge};
use super::PathProbe;

/// The address to ask from.
pub(super) fn address(probe: &PathProbe, server: IpAddr) -> Result<IpAddr, Outcome> {
    let source = match probe.source {
        Some(source) => source,
        None => towards(server).map_err(|error| judge(&error))?,
    };
    if probe.roads.iter().any(|road| road.service.ip() == source) {
        let why = format!("{source} is the service's own address: set `probe-source`");
        return Err(Outcome::Inconclusive(why));
    }
    if probe.roads.iter().any(|road| road.service.is_ipv4() != source.is_ipv4()) {
        return Err(inconclusive("`probe-source` is not of the service's IP family"));
    }
    Ok(source)
}

/// A port that is ours until this is dropped.
///
/// The kernel hears the server's answers as well, and would reset what it does not know (RFC 9293 section 3.10.7.1), at the server
/// where the service's address is another node's. So a listener takes them whose filter lets nothing in: they end there.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) address: SocketAddr,
    _listener: Socket,
}

/// A free port at an address of this node.
pub(super) fn reserve(source: IpAddr) -> Result<Port, Outcome> {
    let socket = Socket::new(Domain::for_address((source, 0).into()), Type::STREAM, None);
    let socket = socket.map_err(|error| judge(&error))?;
    let bound = socket.bind(&SocketAddr::new(source, 0).into());
    bound.map_err(|error| {
        Outcome::Inconclusive(format!("this node cannot ask from {source} (`probe-source`): {error}"))
    })?;
    deaf(&socket).map_err(|error| judge(&error))?;
    let address = socket.local_addr().map_err(|error| judge(&error))?.as_socket();
    let address = address.ok_or_else(|| inconclusive("no free local port on this node"))?;
    Ok(Port { address: SocketAddr::new(source, address.port()), _listener: socket })
}

/// Listens with a filter that returns 0 for every packet: none is let in, and none is answered.
fn deaf(socket: &Socket) -> io::Result<()> {
    const RETURN: u16 = 0x06;
    socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])?;
    socket.listen(1)
}

/// The address that the kernel takes towards a server. Sends nothing.
fn towards(server: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if server.is_ipv4() { [0_u8; 4].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    // The port means nothing: this is the discard service's (RFC 863).
    socket.connect((server, 9))?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_kernel_answers_nobody_at_a_reserved_port() {
        let port = reserve(Ipv4Addr::LOCALHOST.into()).unwrap_or_else(|_| panic!("no port"));
        let address = port.address;
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100));
        assert_eq!(connect().unwrap_err().kind(), io::ErrorKind::TimedOut, "neither accepted nor reset");
        drop(port);
        assert_eq!(connect().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
