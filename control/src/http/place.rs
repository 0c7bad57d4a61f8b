//! Opening an address, also one that overlaps with where we listen already.
//!
//! The kernel lets `10.0.0.1:9100` be listened to beside `0.0.0.0:9100` only where both sockets say `SO_REUSEPORT` while it is bound, and
//! then only to the same user. Ours say it for that moment alone, so whoever wants the port at another time is refused, and so are we where
//! somebody has it. What stays of it: the kernel remembers that the address was shared, and lets a process of the *same* user in that
//! asks for it by `SO_REUSEPORT`, too.

use super::server::Server;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Connections that the kernel keeps for us.
const BACKLOG: i32 = 128;

/// An address that is listened to. Connections wait; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(super) at: SocketAddr,
    pub(super) listener: TcpListener,
}

/// Listens at an address; must be called on a runtime. `beside`: servers of ours that may be in its way, as they are about to be closed.
///
/// # Errors
/// What the system said; then nothing has changed.
pub(crate) fn open(at: SocketAddr, beside: &[&Server]) -> io::Result<Opened> {
    let in_the_way: Vec<_> = beside.iter().filter(|server| server.at().port() == at.port()).collect();
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of a former listener that are on their way out are in nobody's way.
    socket.set_reuse_address(true)?;
    {
        let ours = in_the_way.iter().map(|server| server.socket()).chain([SockRef::from(&socket)]);
        let _shared = (!in_the_way.is_empty()).then(|| Shared::begin(ours.collect())).transpose()?;
        socket.bind(&at.into())?;
        socket.listen(BACKLOG)?;
    }
    let listener = TcpListener::from_std(socket.into())?;
    Ok(Opened { at: listener.local_addr()?, listener })
}

/// While it lives, these sockets may share a port.
struct Shared<'s>(Vec<SockRef<'s>>);

impl<'s> Shared<'s> {
    fn begin(sockets: Vec<SockRef<'s>>) -> io::Result<Self> {
        let shared = Self(sockets);
        shared.0.iter().try_for_each(|socket| socket.set_reuse_port(true))?;
        Ok(shared)
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        for socket in &self.0 {
            // What could be set can be taken back.
            let _ = socket.set_reuse_port(false);
        }
    }
}
