//! Connections whose server is a script: well-behaved, or anything at all.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use ringlead_wire::build::Packet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::ear::Waiting;
use super::segment::{ACK, FIN, RST, SYN, TCP};
use super::source::reserve;
use super::stream::{Ends, Stream};

/// Of the server's SYN.
const FIRST: u32 = 0xffff_fff0;
const PATIENCE: Duration = Duration::from_secs(20);

/// What becomes of a packet of the server's.
#[derive(Debug, Clone)]
enum Fate {
    Arrives,
    Lost,
    Twice,
    /// Comes after the next one.
    Late,
    /// A byte of the TCP header or the data is another one, and the checksum right.
    Changed(usize, u8),
    /// As sent, with the checksum left as it was.
    Broken(usize, u8),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Arrives),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Late),
        // Numbers, lengths, flags and window: the first bytes of a segment.
        6 => (4..24_usize, any::<u8>()).prop_map(|(at, bits)| Fate::Changed(at, bits)),
        1 => (0..64_usize, 1..=255_u8).prop_map(|(at, bits)| Fate::Broken(at, bits)),
    ]
}

/// What the connection has sent, and the way back to it.
#[derive(Clone)]
struct Wire {
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    waiting: Arc<Waiting>,
    service: SocketAddr,
    source: SocketAddr,
}

/// Of a packet without IP options.
struct Seen {
    sequence: u32,
    after: u32,
    flags: u8,
    data: usize,
}

fn seen(packet: &[u8]) -> Seen {
    let tcp = if packet[0] >> 4 == 4 { 20 } else { 40 };
    let header = usize::from(packet[tcp + 12] >> 4) * 4;
    let (data, flags) = (packet.len() - tcp - header, packet[tcp + 13]);
    let sequence = u32::from_be_bytes(packet[tcp + 4..tcp + 8].try_into().unwrap());
    let marks = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
    let after = sequence.wrapping_add(u32::try_from(data).unwrap()).wrapping_add(marks);
    Seen { sequence, after, flags, data }
}

impl Wire {
    fn flags(&self) -> Vec<u8> {
        self.sent.lock().unwrap().iter().map(|packet| seen(packet).flags).collect()
    }

    fn packet(&self, flags: u8, sequence: u32, acknowledged: u32) -> Packet {
        Packet::tcp(self.service, self.source).flags(flags).seq(sequence).ack(acknowledged)
    }

    /// A server's answers to one packet: it greets, answers whatever is asked, and closes when its client does.
    fn answers(&self, packet: &[u8]) -> Vec<Vec<u8>> {
        let Seen { after, flags, data, .. } = seen(packet);
        let next = FIRST.wrapping_add(1);
        match flags & (SYN | FIN | RST) {
            SYN => vec![self.packet(SYN | ACK, FIRST, after).ip()],
            FIN => vec![self.packet(FIN | ACK, next.wrapping_add(400), after).ip()],
            0 if data > 0 => {
                let piece =
                    |at: u32| self.packet(ACK, next.wrapping_add(at), after).payload([b'a'; 200]).ip();
                vec![piece(0), piece(200)]
            }
            _ => Vec::new(),
        }
    }

    /// Answers until nobody waits for that any more.
    async fn serve(&self, mut fates: impl Iterator<Item = Fate>) {
        let (mut done, mut late) = (0, Vec::new());
        while !self.waiting.is_idle() {
            let sent = self.sent.lock().unwrap().get(done..).unwrap_or_default().to_vec();
            done += sent.len();
            for packet in sent.iter().flat_map(|packet| self.answers(packet)) {
                let now = std::mem::take(&mut late);
                match fates.next().unwrap_or(Fate::Arrives) {
                    Fate::Arrives => self.waiting.hear(&packet),
                    Fate::Lost => {}
                    Fate::Twice => (0..2).for_each(|_| self.waiting.hear(&packet)),
                    Fate::Late => late.push(packet),
                    Fate::Changed(at, bits) => self.waiting.hear(&whole(changed(packet, at, bits))),
                    Fate::Broken(at, bits) => self.waiting.hear(&changed(packet, at, bits)),
                }
                now.iter().for_each(|packet| self.waiting.hear(packet));
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// `at` bytes into the TCP header.
fn changed(mut packet: Vec<u8>, at: usize, bits: u8) -> Vec<u8> {
    let tcp = if packet[0] >> 4 == 4 { 20 } else { 40 };
    if let Some(byte) = packet.get_mut(tcp + at) {
        *byte ^= bits;
    }
    packet
}

/// With a checksum that is left to be completed, which counts as right.
fn whole(mut packet: Vec<u8>) -> Vec<u8> {
    let (addresses, tcp) = if packet[0] >> 4 == 4 { (12..20, 20) } else { (8..40, 40) };
    let length = u16::try_from(packet.len() - tcp).unwrap().to_be_bytes();
    let pseudo = [&packet[addresses], &[0, TCP], &length].concat();
    let sum = !super::super::icmp::checksum(&pseudo);
    packet[tcp + 16..tcp + 18].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// A connection that may wait for `closes` others to close, and where its packets go.
fn ends(service: SocketAddr, closes: usize) -> (Ends, Wire) {
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

const SERVICES: [&str; 2] = ["10.9.0.2:80", "[fd09::2]:80"];

/// Asks and reads what is answered, until the deadline.
async fn ask(ends: Ends, deadline: Instant) -> io::Result<Vec<u8>> {
    let Some(mut stream) = Stream::connect(ends, deadline).await? else { return Ok(Vec::new()) };
    let asked = async {
        stream.write_all(b"question").await?;
        let mut answer = vec![0; 400];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    timeout_at(deadline, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn on_runtime<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("an end") })
}

#[test]
fn a_good_server_is_read_and_left_with_one_reset() {
    for (service, closes) in SERVICES.into_iter().flat_map(|service| [(service, 1), (service, 0)]) {
        on_runtime(async {
            let (ends, wire) = ends(service.parse().unwrap(), closes);
            let asked = ask(ends, Instant::now() + PATIENCE);
            let (answer, ()) = tokio::join!(asked, wire.serve(std::iter::empty()));
            assert_eq!(answer.unwrap(), [b'a'; 400]);
            let flags = wire.flags();
            let resets = flags.iter().filter(|flags| **flags & RST != 0).count();
            assert_eq!((resets, flags.last()), (1, Some(&RST)), "{flags:?}");
            let ended = flags.iter().any(|flags| flags & FIN != 0);
            assert_eq!(ended, closes > 0, "where too many close it is reset at once: {flags:?}");
        });
    }
}

/// As a server does that has forgotten the connection (RFC 9293 section 3.10.7.1).
#[test]
fn a_reset_without_acknowledgement_ends_the_connection() {
    for service in SERVICES {
        on_runtime(async {
            let (ends, wire) = ends(service.parse().unwrap(), 1);
            let forgets = async {
                let is_asked = || wire.sent.lock().unwrap().iter().any(|packet| seen(packet).data > 0);
                let syn = loop {
                    let first = wire.sent.lock().unwrap().first().cloned();
                    match first {
                        Some(syn) => break syn,
                        None => tokio::task::yield_now().await,
                    }
                };
                wire.waiting.hear(&wire.answers(&syn)[0]);
                while !is_asked() {
                    sleep(Duration::from_millis(1)).await;
                }
                wire.waiting.hear(&wire.packet(RST, FIRST.wrapping_add(0x0fff_0000), 0).ip());
                wire.waiting.hear(&wire.packet(RST, FIRST.wrapping_add(1), 0).ip());
            };
            let (answer, ()) = tokio::join!(ask(ends, Instant::now() + PATIENCE), forgets);
            assert_eq!(answer.unwrap_err().raw_os_error(), Some(libc::ECONNRESET));
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// No packet of a server ends the process or keeps a check beyond its time, and the server keeps nothing.
    #[test]
    fn nothing_that_a_server_sends_does_harm(fates in prop::collection::vec(fate(), 0..24), v6 in any::<bool>()) {
        on_runtime(async {
            let (ends, wire) = ends(SERVICES[usize::from(v6)].parse().unwrap(), 1);
            let asked = ask(ends, Instant::now() + Duration::from_millis(40));
            let (answer, ()) = tokio::join!(asked, wire.serve(fates.iter().cloned()));
            if let Ok(answer) = answer {
                assert!(answer.is_empty() || answer.len() == 400);
            }
            let sent = wire.sent.lock().unwrap();
            let (first, last) = (seen(&sent[0]).sequence, seen(sent.last().unwrap()));
            assert_eq!(last.flags, RST);
            // The stack resets what fits nothing with the numbers of that.
            let own = sent.iter().map(|packet| seen(packet)).filter(|seen| seen.flags & RST == 0);
            let used = own.map(|seen| seen.after.wrapping_sub(first)).max();
            assert!(used.is_some_and(|used| used <= 0xff00), "it stays within its numbers");
        });
    }
}
