//! One listening socket of a SO_REUSEPORT group.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{IpFreebind, Ipv6V6Only, ReuseAddr, ReusePort};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, listen, setsockopt,
    socket,
};

use super::error::ListenError;

/// Connections that may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Opens one. SO_REUSEPORT lets in only sockets of this user that have it too.
pub(super) fn open(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let no = |what| move |e: Errno| ListenError::socket(address, what, &e);
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)
        .map_err(no("make a socket"))?;
    set_options(&fd, address).map_err(no("set its options"))?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).map_err(no("bind it"))?;
    let backlog = Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN);
    listen(&fd, backlog).map_err(no("listen"))?;
    Ok(TcpListener::from(fd))
}

fn set_options(fd: &OwnedFd, address: SocketAddr) -> Result<(), Errno> {
    setsockopt(fd, ReusePort, &true)?;
    // Old connections in TIME-WAIT do not keep a restarted process out.
    setsockopt(fd, ReuseAddr, &true)?;
    // Listeners come before the address does, or its first clients are refused. Counts for IPv6 too.
    setsockopt(fd, IpFreebind, &true)?;
    if address.is_ipv6() {
        setsockopt(fd, Ipv6V6Only, &true)?;
    }
    Ok(())
}
