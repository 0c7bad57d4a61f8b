//! One TCP connection of a client: sends while it receives, and compares SHA-256 of both directions.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use socket2::{Domain, Socket, Type};

use super::pattern::Pattern;
use super::{Outcome, Told};

/// Bytes written or read at once.
pub(super) const CHUNK: usize = 16 * 1024;

/// Bytes of a SHA-256 digest.
const DIGEST_LEN: usize = 32;

/// A connection to make.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connection<'a> {
    /// Where to.
    pub(super) to: SocketAddr,
    /// The address to come from; with port 0 the kernel chooses one.
    pub(super) from: (IpAddr, u16),
    /// Bytes to send; none: until told to end.
    pub(super) amount: Option<u64>,
    /// Which bytes.
    pub(super) seed: u64,
    /// The longest wait for progress.
    pub(super) timeout: Duration,
    /// The rest after each chunk.
    pub(super) rest: Duration,
    /// Ends it in good order.
    pub(super) told: &'a Told,
}

impl Connection<'_> {
    /// Makes it and says what came of it. `begun` is called once the first byte of the server is there.
    pub(super) fn make(&self, begun: impl FnOnce()) -> Outcome {
        let stream = match self.connect() {
            Ok(stream) => stream,
            Err(error) => return Outcome::Lost(format!("connect to {}: {error}", self.to)),
        };
        match self.exchange(&stream, begun) {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Broken(format!("connection to {}: {error}", self.to)),
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.to), Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(self.from).into())?;
        socket.connect_timeout(&self.to.into(), self.timeout)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(self.timeout))?;
        socket.set_write_timeout(Some(self.timeout))?;
        Ok(socket.into())
    }

    fn exchange(&self, stream: &TcpStream, begun: impl FnOnce()) -> io::Result<Outcome> {
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let sent = self.send(stream);
                if sent.is_err() {
                    let _ = stream.shutdown(Shutdown::Both); // or the receiver waits for what never comes
                }
                sent
            });
            let received = receive(stream, begun);
            if received.is_err() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            let (sent, sent_digest) =
                sender.join().map_err(|_| io::Error::other("the sender panicked"))??;
            let received = received?;
            Ok(if received.got != sent_digest {
                Outcome::Broken(format!("the server at {} got other bytes than were sent", self.to))
            } else if (received.length, received.digest) != (sent, sent_digest) {
                Outcome::Broken(format!("the server at {} sent other bytes than it got", self.to))
            } else {
                Outcome::Answered { server: received.server, bytes: sent + received.length }
            })
        })
    }

    /// Sends all of it and finishes. Returns how much it was and its digest.
    fn send(&self, mut stream: &TcpStream) -> io::Result<(u64, [u8; DIGEST_LEN])> {
        let mut pattern = Pattern::new(self.seed);
        let mut digest = Sha256::new();
        let mut bytes = vec![0; CHUNK];
        let mut sent = 0;
        loop {
            let left = self.amount.map_or(u64::MAX, |amount| amount - sent);
            let length = CHUNK.min(usize::try_from(left).unwrap_or(CHUNK));
            if length == 0 || self.told.to_end() {
                break;
            }
            let chunk = &mut bytes[..length];
            pattern.fill(chunk);
            stream.write_all(chunk)?;
            digest.update(&*chunk);
            sent += u64::try_from(length).unwrap_or_default();
            self.told.rest(self.rest);
        }
        stream.shutdown(Shutdown::Write)?;
        Ok((sent, digest.finalize().into()))
    }
}

/// What a server sent.
struct Received {
    server: u8,
    length: u64,
    /// Of what it sent back.
    digest: [u8; DIGEST_LEN],
    /// What it says about what it got.
    got: [u8; DIGEST_LEN],
}

/// Receives to the end: a number, bytes, and a digest, which are the last 32 bytes and known as such only at the end.
fn receive(mut stream: &TcpStream, begun: impl FnOnce()) -> io::Result<Received> {
    let mut number = [0];
    stream.read_exact(&mut number)?;
    begun();
    let mut digest = Sha256::new();
    let mut bytes = vec![0; CHUNK + DIGEST_LEN];
    let (mut kept, mut length) = (0, 0);
    loop {
        let got = stream.read(&mut bytes[kept..])?;
        if got == 0 {
            break;
        }
        kept += got;
        let surely = kept.saturating_sub(DIGEST_LEN);
        digest.update(&bytes[..surely]);
        length += u64::try_from(surely).unwrap_or_default();
        bytes.copy_within(surely..kept, 0);
        kept -= surely;
    }
    let got = bytes[..kept].try_into().map_err(|_| {
        io::Error::new(io::ErrorKind::UnexpectedEof, format!("the server ended after {kept} bytes"))
    })?;
    Ok(Received { server: number[0], length, digest: digest.finalize().into(), got })
}
