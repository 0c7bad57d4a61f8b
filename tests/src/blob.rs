//! The TCP server: takes bytes and answers with its name, the digest of what it got, and bytes of its own.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};

use crate::{Digest, Lab, Node, Pattern};

/// Bytes read or written at once.
pub(crate) const CHUNK: usize = 16 * 1024;

/// What the client says first: four words of eight bytes, little end first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    /// Bytes that the client will send.
    pub(crate) upload: u64,
    /// Bytes that it wants.
    pub(crate) download: u64,
    /// The [`Pattern`] of both.
    pub(crate) seed: u64,
    /// Rest after each chunk, so that a transfer takes a known time.
    pub(crate) pause_us: u64,
}

impl Request {
    pub(crate) const LEN: usize = 32;

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let words = [self.upload, self.download, self.seed, self.pause_us];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let mut words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        let mut next = || words.next().unwrap_or_default();
        Self { upload: next(), download: next(), seed: next(), pause_us: next() }
    }
}

/// The answer before the server's bytes: its name, then the digest.
pub(crate) const ANSWER_LEN: usize = 9;

/// A server that answers transfers (see [`Transfer`](crate::Transfer)) inside a namespace. Dropping it closes its
/// sockets and breaks its connections, as the death of a server process does.
#[derive(Debug)]
pub struct BlobServer {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    accepted: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
}

impl BlobServer {
    /// Listens on `addresses` inside a namespace; `name` is what it calls itself.
    ///
    /// # Panics
    /// When an address cannot be listened on.
    #[must_use = "dropping the server ends it"]
    pub fn start(lab: &Lab, node: Node, name: char, addresses: &[SocketAddr]) -> Self {
        let bind = |address: &SocketAddr| {
            (name, TcpListener::bind(address).unwrap_or_else(|e| panic!("{node} {address}: {e}")))
        };
        Self::on(lab.within(node, || addresses.iter().map(bind).collect()))
    }

    /// Answers on these listeners; what each accepts answers by the name beside it.
    ///
    /// # Panics
    /// When a name is longer than a byte.
    #[must_use = "dropping the server ends it"]
    pub fn on(listeners: Vec<(char, TcpListener)>) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            connections: Mutex::new(Vec::new()),
        });
        let serve = |(name, listener): (char, TcpListener)| {
            listener.set_nonblocking(true).expect("set a socket non-blocking");
            let name = u8::try_from(name).expect("a name of one byte");
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(name, &listener, &shared))
        };
        let threads = listeners.into_iter().map(serve).collect();
        Self { shared, threads }
    }

    /// Connections accepted so far that sent a request: the bare connections of health checks do not count.
    #[must_use]
    pub fn served(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for BlobServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        for connection in self.shared.connections.lock().expect("connections").drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn accept(name: u8, listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let _ = poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], 20_u16);
        while let Ok((stream, _)) = listener.accept() {
            let Ok(known) = stream.try_clone() else { continue };
            shared.connections.lock().expect("connections").push(known);
            let shared = Arc::clone(shared);
            thread::spawn(move || {
                let _ = serve(name, &stream, &shared); // a client that leaves is no fault of the server's
                let _ = stream.shutdown(Shutdown::Both);
                let mut connections = shared.connections.lock().expect("connections");
                connections.retain(|known| known.peer_addr().is_ok());
            });
        }
    }
}

fn serve(name: u8, mut stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    let mut first = [0; Request::LEN];
    stream.read_exact(&mut first)?;
    let request = Request::from_bytes(&first);
    shared.accepted.fetch_add(1, Ordering::Relaxed);

    let mut digest = Digest::default();
    let mut buffer = vec![0; CHUNK];
    let mut left = request.upload;
    while left > 0 {
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let got = stream.read(&mut buffer[..want])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        digest.update(&buffer[..got]);
        left -= u64::try_from(got).expect("a chunk's length");
    }

    let mut answer = [name; ANSWER_LEN];
    answer[1..].copy_from_slice(&digest.value().to_le_bytes());
    stream.write_all(&answer)?;
    send_pattern(stream, Pattern::new(!request.seed), request.download, request.pause_us)
}

/// Sends the first `length` bytes of a pattern, resting after each chunk.
fn send_pattern(mut stream: &TcpStream, pattern: Pattern, length: u64, pause_us: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut sent = 0;
    while sent < length {
        let size = buffer.len().min(usize::try_from(length - sent).unwrap_or(usize::MAX));
        pattern.fill(sent, &mut buffer[..size]);
        stream.write_all(&buffer[..size])?;
        sent += u64::try_from(size).expect("a chunk's length");
        if pause_us > 0 {
            thread::sleep(Duration::from_micros(pause_us));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_wire() {
        let request = Request { upload: 1, download: u64::MAX, seed: 0x0123_4567_89ab_cdef, pause_us: 4 };
        assert_eq!(Request::from_bytes(&request.to_bytes()), request);
    }
}
