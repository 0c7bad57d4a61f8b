//! The other end of a connection under test: what it has sent is kept, and a server's answers are packets made by hand.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringlead_wire::build::Packet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::ear::Waiting;
use super::segment::{ACK, FIN, RST, SYN};
use super::source::reserve;
use super::stream::{Ends, Stream};

/// Of the server's SYN.
pub(super) const FIRST: u32 = 0xffff_fff0;
/// What follows the server's answer, of 400 bytes.
pub(super) const ANSWERED: u32 = FIRST.wrapping_add(401);
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const SERVICES: [&str; 2] = ["10.9.0.2:80", "[fd09::2]:80"];

/// What the connection has sent, and the way back to it.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) sent: Arc<Mutex<Vec<Vec<u8>>>>,
    pub(super) waiting: Arc<Waiting>,
    service: SocketAddr,
    source: SocketAddr,
}

/// Of a packet without IP options.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) sequence: u32,
    /// The number that follows it.
    pub(super) after: u32,
    pub(super) acknowledged: u32,
    pub(super) flags: u8,
    pub(super) data: usize,
}

pub(super) fn seen(packet: &[u8]) -> Seen {
    let tcp = if packet[0] >> 4 == 4 { 20 } else { 40 };
    let header = usize::from(packet[tcp + 12] >> 4) * 4;
    let (data, flags) = (packet.len() - tcp - header, packet[tcp + 13]);
    let number = |at| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
    let (sequence, acknowledged) = (number(tcp + 4), number(tcp + 8));
    let marks = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
    let after = sequence.wrapping_add(u32::try_from(data).unwrap()).wrapping_add(marks);
    Seen { sequence, after, acknowledged, flags, data }
}

impl Wire {
    /// All that was sent so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.sent.lock().unwrap().iter().map(|packet| seen(packet)).collect()
    }

    pub(super) fn packet(&self, flags: u8, sequence: u32, acknowledged: u32) -> Packet {
        Packet::tcp(self.service, self.source).flags(flags).seq(sequence).ack(acknowledged)
    }

    /// A server's answers to one packet: it greets, answers whatever is asked, and closes when its client does.
    pub(super) fn answers(&self, packet: &[u8]) -> Vec<Vec<u8>> {
        let Seen { after, flags, data, .. } = seen(packet);
        let next = FIRST.wrapping_add(1);
        match flags & (SYN | FIN | RST) {
            SYN => vec![self.packet(SYN | ACK, FIRST, after).ip()],
            FIN => vec![self.packet(FIN | ACK, ANSWERED, after).ip()],
            0 if data > 0 => {
                let piece =
                    |at: u32| self.packet(ACK, next.wrapping_add(at), after).payload([b'a'; 200]).ip();
                vec![piece(0), piece(200)]
            }
            _ => Vec::new(),
        }
    }
}

/// A connection that may wait for `closes` others to close, and where its packets go.
pub(super) fn ends(service: SocketAddr, closes: usize) -> (Ends, Wire) {
    let source = if service.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
    let port = reserve(source).unwrap_or_else(|_| panic!("no port"));
    let (waiting, sent) = (Arc::new(Waiting::new()), Arc::default());
    let wire = Wire { sent, waiting, service, source: port.address };
    let ear = wire.waiting.connection(port.address, service).unwrap();
    let sent = Arc::clone(&wire.sent);
    let send = Box::new(move |packet: &[u8]| -> io::Result<()> {
        sent.lock().unwrap().push(packet.to_vec());
        Ok(())
    });
    (Ends { send, ear, port, service, closes: Arc::new(Semaphore::new(closes)) }, wire)
}

/// Asks and reads what is answered, until the deadline.
pub(super) async fn ask(ends: Ends, deadline: Instant) -> io::Result<Vec<u8>> {
    let Some(mut stream) = Stream::connect(ends, deadline).await? else { return Ok(Vec::new()) };
    let asked = async {
        stream.write_all(b"question").await?;
        let mut answer = vec![0; 400];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    timeout_at(deadline, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

pub(super) fn on_runtime<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("an end") })
}
