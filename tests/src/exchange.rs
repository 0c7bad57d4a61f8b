//! The UDP client: many sockets, each with one request on its way.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};

use crate::Pattern;

/// A number of conversations to hold with [`EchoServer`](crate::EchoServer)s.
#[derive(Debug, Clone)]
pub struct Exchange {
    to: SocketAddr,
    sources: Vec<IpAddr>,
    sockets: usize,
    requests: u64,
    size: usize,
    timeout: Duration,
}

/// What came of an exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests sent.
    pub sent: u64,
    /// Requests answered, byte by byte.
    pub answered: u64,
    /// Answers that were not to the request on its way: changed, late or double.
    pub wrong: u64,
    /// Answers by each server's name.
    pub per_server: BTreeMap<char, u64>,
    /// Conversations in which more than one server answered.
    pub moved: usize,
}

impl Stats {
    /// Whether every request got its one answer, and each conversation one server.
    #[must_use]
    pub fn perfect(&self) -> bool {
        self.sent > 0 && self.answered == self.sent && self.wrong == 0 && self.moved == 0
    }
}

impl Exchange {
    /// 64 conversations of ten requests of 64 bytes with `to`, 3 s for each answer.
    #[must_use]
    pub fn new(to: SocketAddr) -> Self {
        Self { to, sources: Vec::new(), sockets: 64, requests: 10, size: 64, timeout: Duration::from_secs(3) }
    }

    /// From these source addresses in turn.
    #[must_use]
    pub fn from(mut self, sources: &[IpAddr]) -> Self {
        self.sources = sources.to_vec();
        self
    }

    /// So many conversations, so many requests in each.
    #[must_use]
    pub fn times(mut self, sockets: usize, requests: u64) -> Self {
        (self.sockets, self.requests) = (sockets, requests);
        self
    }

    /// Requests of so many bytes.
    #[must_use]
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes;
        self
    }

    /// A request without an answer for this time is lost.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }

    /// Holds the conversations, in the namespace of the calling thread.
    ///
    /// # Panics
    /// When a socket cannot be made.
    #[must_use]
    pub fn hold(&self) -> Stats {
        let mut talks: Vec<Talk> = (0..self.sockets).map(|number| Talk::new(self, number)).collect();
        let mut stats = Stats::default();
        for talk in &mut talks {
            talk.ask(self, &mut stats);
        }
        while talks.iter().any(Talk::is_waiting) {
            for ready in wait_for_answers(&talks) {
                talks[ready].listen(self, &mut stats);
            }
            let now = Instant::now();
            for talk in talks.iter_mut().filter(|talk| talk.deadline.is_some_and(|end| end <= now)) {
                talk.ask(self, &mut stats);
            }
        }
        stats.moved = talks.iter().filter(|talk| talk.moved).count();
        stats
    }
}

/// Holds 64 conversations of ten requests each with `to`, in the namespace of the calling thread.
#[must_use]
pub fn udp_exchange(to: SocketAddr) -> Stats {
    Exchange::new(to).hold()
}

/// One socket and its request on its way.
struct Talk {
    socket: UdpSocket,
    request: Vec<u8>,
    asked: u64,
    seed: u64,
    deadline: Option<Instant>,
    server: Option<char>,
    moved: bool,
}

impl Talk {
    fn new(exchange: &Exchange, number: usize) -> Self {
        let any: IpAddr =
            if exchange.to.is_ipv4() { [0; 4].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
        let source = exchange.sources.get(number % exchange.sources.len().max(1)).copied().unwrap_or(any);
        let socket = UdpSocket::bind((source, 0)).unwrap_or_else(|e| panic!("a socket on {source}: {e}"));
        socket.connect(exchange.to).unwrap_or_else(|e| panic!("a socket to {}: {e}", exchange.to));
        socket.set_nonblocking(true).expect("set a socket non-blocking");
        let seed = u64::try_from(number).expect("a small number") << 32;
        let request = vec![0; exchange.size];
        Self { socket, request, asked: 0, seed, deadline: None, server: None, moved: false }
    }

    fn is_waiting(&self) -> bool {
        self.deadline.is_some()
    }

    /// Sends the next request, or ends the conversation after the last.
    fn ask(&mut self, exchange: &Exchange, stats: &mut Stats) {
        if self.asked == exchange.requests {
            self.deadline = None;
            return;
        }
        self.asked += 1;
        Pattern::new(self.seed + self.asked).fill(0, &mut self.request);
        // An ICMP error about the request before is reported by this send, which then sends nothing: try once more.
        if self.socket.send(&self.request).is_err() {
            let _ = self.socket.send(&self.request);
        }
        stats.sent += 1;
        self.deadline = Some(Instant::now() + exchange.timeout);
    }

    fn listen(&mut self, exchange: &Exchange, stats: &mut Stats) {
        let mut buffer = vec![0; exchange.size + 2];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let (name, echo) = buffer[..length].split_at(1.min(length));
            if !self.is_waiting() || echo != self.request {
                stats.wrong += 1;
                continue;
            }
            let server = char::from(name[0]);
            self.moved |= self.server.is_some_and(|before| before != server);
            self.server = Some(server);
            stats.answered += 1;
            *stats.per_server.entry(server).or_default() += 1;
            self.ask(exchange, stats);
        }
    }
}

/// The numbers of the conversations that have something to read, after at most 10 ms.
fn wait_for_answers(talks: &[Talk]) -> Vec<usize> {
    let mut waiting: Vec<PollFd> =
        talks.iter().map(|talk| PollFd::new(talk.socket.as_fd(), PollFlags::POLLIN)).collect();
    let _ = poll(&mut waiting, 10_u16);
    waiting.iter().enumerate().filter(|(_, fd)| fd.any().unwrap_or(false)).map(|(number, _)| number).collect()
}
