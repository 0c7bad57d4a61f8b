//! What will be the balancer's own proxy workers: listeners of the services of layer l7, each flow at the one that its hash
//! names.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use ringlead_io::listen::{Listeners, listener_of};
use ringlead_pick::FrontHash;

use super::super::service::Service;
use super::server::echo;
use super::{Said, Told, say};

/// How often to look whether to end.
const LOOK: Duration = Duration::from_millis(20);

/// TCP's number (IANA).
const TCP: u8 = 6;

/// One of the listeners of an address.
struct Listener {
    socket: TcpListener,
    /// Counted from 0.
    number: u8,
    /// How many there are.
    count: u8,
    hash: FrontHash,
}

/// Serves until told to end.
///
/// # Errors
/// When an address cannot be listened at.
pub(super) fn serve(count: u8, key: [u8; 16], told: &Told) -> io::Result<()> {
    for service in Service::l7() {
        let (_, sockets) =
            Listeners::open(service.listen(), usize::from(count), key).map_err(io::Error::other)?;
        for (number, socket) in (0..count).zip(sockets) {
            let listener = Listener { socket, number, count, hash: FrontHash::new(key) };
            thread::spawn(move || listener.accept());
        }
    }
    say(&Said::Ready);
    while !told.to_end() {
        thread::sleep(LOOK);
    }
    Ok(())
}

impl Listener {
    fn accept(&self) {
        loop {
            match self.socket.accept() {
                // Closed: the client tells a flow that came to another listener than its own as broken.
                Ok((stream, from)) if !self.is_for(&stream, from) => drop(stream),
                Ok((stream, _)) => {
                    let number = self.number + 1;
                    // A client that leaves early is its own business.
                    thread::spawn(move || drop(echo(number, stream)));
                }
                Err(_) => thread::sleep(LOOK), // out of descriptors, perhaps: do not spin
            }
        }
    }

    /// Whether the flow's hash names this listener.
    fn is_for(&self, stream: &TcpStream, from: SocketAddr) -> bool {
        stream.local_addr().is_ok_and(|to| {
            let hash = self.hash.flow(from.ip().into(), to.ip().into(), from.port(), to.port(), TCP);
            listener_of(hash, usize::from(self.count)) == usize::from(self.number)
        })
    }
}
