//! Requests by UDP: one under way at a time, each answered with the same bytes.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::Outcome;
use super::pattern::Pattern;

/// Payload of the longest request, bytes: a frame of almost 1500 in IPv6.
const REQUEST_MAX: u64 = 1400;
/// Payload of the shortest request, bytes.
const REQUEST_MIN: u64 = 16;

/// A socket that asks.
#[derive(Debug)]
pub(super) struct Asker {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Asker {
    /// A socket with this source, connected to `to`, so that it hears of ICMP errors.
    ///
    /// # Errors
    /// What binding and connecting say.
    pub(super) fn new(to: SocketAddr, from: (IpAddr, u16), timeout: Duration) -> io::Result<Self> {
        let socket = UdpSocket::bind(from)?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(timeout))?;
        Ok(Self { socket, to })
    }

    /// Sends one request and waits for its answer. The number makes it unlike any other.
    pub(super) fn ask(&self, number: u64) -> Outcome {
        // A step that has no factor in common with the range visits every length.
        let length = REQUEST_MIN + number.wrapping_mul(541) % (REQUEST_MAX - REQUEST_MIN + 1);
        let mut request = vec![0; usize::try_from(length).unwrap_or_default()];
        Pattern::new(number).fill(&mut request);
        let mut answer = [0; 1500];
        let got = self.socket.send(&request).and_then(|_| self.socket.recv(&mut answer));
        match got {
            Err(error) => Outcome::Lost(format!("request to {}: {error}", self.to)),
            Ok(got) if got > 0 && answer[1..got] == *request => {
                Outcome::Answered { server: answer[0], bytes: 2 * length }
            }
            Ok(got) => Outcome::Broken(format!("{}: an answer of {got} bytes is not what was sent", self.to)),
        }
    }
}
