//! Answers to checks by the service's own path: heard beside the kernel, which drops IPv4 packets that come from one of its
//! own addresses (RFC 1812 section 5.3.7), and has no socket for the others.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringlead_io::packet::FrameSender;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::inbox::{Inbox, PACKET_MAX};
use super::segment::{ACK, Heard, RST, SYN, heard};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Packets that are read before others have their turn.
const BATCH: usize = 64;
/// After so many resets without a number of ours: nothing but a filter's two bits keeps strangers' out, so they may not keep the
/// control thread.
const RESETS_PAUSE: Duration = Duration::from_millis(10);

/// What a server said to a SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    Refused,
}

/// Who waits for which answer, by the sequence number of its SYN. All of them begin with 16 bits that nobody outside knows, and
/// the kernel passes on only what acknowledges such a one: no stream of other packets can drown the answers. A server that has
/// forgotten the connection acknowledges nothing (RFC 9293 section 3.10.7.1): such resets come by sockets of their own.
#[derive(Debug)]
pub(super) struct Waiting {
    secret: u16,
    asked: Mutex<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    last: u16,
    by_sequence: HashMap<u32, Asker>,
    connections: HashMap<Ends, Arc<Inbox>>,
}

/// A connection's service and this node's end.
type Ends = (SocketAddr, SocketAddr);

#[derive(Debug)]
struct Asker {
    service: SocketAddr,
    source: SocketAddr,
    tell: oneshot::Sender<Answer>,
}

impl Waiting {
    pub(super) fn new() -> Self {
        let [high, low, ..] = RandomState::new().hash_one(0_u8).to_be_bytes();
        Self { secret: u16::from_be_bytes([high, low]), asked: Mutex::default() }
    }

    /// A sequence number that nobody else has, and what is answered to it; `None` when all are taken.
    pub(super) fn ask(
        self: &Arc<Self>,
        source: SocketAddr,
        service: SocketAddr,
    ) -> Option<(Ticket, oneshot::Receiver<Answer>)> {
        let mut asked = self.lock();
        // One number of all is never used; a search among all that are taken would keep the control thread.
        if asked.by_sequence.len() >= usize::from(u16::MAX) {
            return None;
        }
        for _ in 0..u16::MAX {
            asked.last = asked.last.wrapping_add(1);
            let sequence = u32::from(self.secret) << 16 | u32::from(asked.last);
            // The answer's number is one more: it is to begin alike.
            if asked.last == u16::MAX || asked.by_sequence.contains_key(&sequence) {
                continue;
            }
            let (tell, told) = oneshot::channel();
            asked.by_sequence.insert(sequence, Asker { service, source, tell });
            return Some((Ticket { sequence, waiting: Arc::clone(self) }, told));
        }
        None
    }

    /// Gives what comes for a connection to it, by its ends. Its numbers begin with the one that comes with it, and it may send
    /// [`SENT_MAX`] bytes: beyond them the kernel would not know its answers. `None` when there is one already.
    pub(super) fn connection(self: &Arc<Self>, source: SocketAddr, service: SocketAddr) -> Option<Ear> {
        let ends = (service, source);
        let inbox = Arc::new(Inbox::default());
        match self.lock().connections.entry(ends) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(place) => place.insert(Arc::clone(&inbox)),
        };
        let [random, ..] = RandomState::new().hash_one(ends).to_be_bytes();
        let sequence = u32::from(self.secret) << 16 | u32::from(random);
        Some(Ear { sequence, inbox, ends, waiting: Arc::clone(self) })
    }

    /// Tells who waits for it.
    pub(super) fn hear(&self, packet: &[u8]) {
        let Some(heard) = heard(packet) else { return };
        let inbox = self.lock().connections.get(&(heard.from, heard.to)).map(Arc::clone);
        match inbox {
            Some(inbox) => inbox.push(packet),
            None => self.answer(&heard),
        }
    }

    fn answer(&self, heard: &Heard) {
        let answer = match heard.flags & (SYN | RST | ACK) {
            flags if flags & (RST | ACK) == RST | ACK => Answer::Refused,
            flags if flags == SYN | ACK => Answer::Accepted,
            _ => return,
        };
        let sequence = heard.acknowledged.wrapping_sub(1);
        let mut asked = self.lock();
        let is_asked = |asker: &Asker| (asker.service, asker.source) == (heard.from, heard.to);
        if asked.by_sequence.get(&sequence).is_some_and(is_asked)
            && let Some(asker) = asked.by_sequence.remove(&sequence)
        {
            // Who waits no longer has no use for it.
            let _ = asker.tell.send(answer);
        }
    }

    /// Whether no connection is left.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.lock().connections.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        // Each change is one insertion or one removal, so a poisoned lock holds whole values.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sequence number that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) sequence: u32,
    waiting: Arc<Waiting>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiting.lock().by_sequence.remove(&self.sequence);
    }
}

/// Bytes that a connection may send, SYN and FIN among them.
pub(super) const SENT_MAX: usize = 0xffff - 0xff;

/// What comes for one connection, until this is dropped.
#[derive(Debug)]
pub(super) struct Ear {
    /// Of its SYN.
    pub(super) sequence: u32,
    pub(super) inbox: Arc<Inbox>,
    ends: Ends,
    waiting: Arc<Waiting>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.waiting.lock().connections.remove(&self.ends);
    }
}

/// The sockets: one to send frames by, two a family to hear answers and resets.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) sender: FrameSender,
    ears: [JoinHandle<()>; 4],
}

impl Sockets {
    /// Opens them and begins to listen; on a runtime.
    pub(super) fn open(waiting: &Arc<Waiting>) -> io::Result<Self> {
        let sender = FrameSender::open()?;
        let ears = [
            (listener(ETHERTYPE_IPV4, &filter_v4(waiting.secret))?, Duration::ZERO),
            (listener(ETHERTYPE_IPV6, &filter_v6(waiting.secret))?, Duration::ZERO),
            (listener(ETHERTYPE_IPV4, &RESETS_V4)?, RESETS_PAUSE),
            (listener(ETHERTYPE_IPV6, &RESETS_V6)?, RESETS_PAUSE),
        ];
        let listen = |(ear, pause)| tokio::spawn(listen(ear, pause, Arc::clone(waiting)));
        Ok(Self { sender, ears: ears.map(listen) })
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.ears.iter().for_each(JoinHandle::abort);
    }
}

/// Hears packets of one type that come in by any device, VLAN tags taken off, from their IP header on.
fn listener(ethertype: u16, filter: &[SockFilter]) -> io::Result<UdpSocket> {
    let protocol = Protocol::from(i32::from(ethertype.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(filter)?;
    // The runtime's type for datagrams: it receives and waits, and asks nothing that only UDP has.
    UdpSocket::from_std(socket.into())
}

/// `pause`: how long others have their turn after as many packets as are read at a time.
async fn listen(ear: UdpSocket, pause: Duration, waiting: Arc<Waiting>) {
    let mut packet = vec![0; PACKET_MAX];
    loop {
        if let Err(error) = ear.readable().await {
            tracing::error!(%error, "answers to checks by the service's path are not heard any more");
            return;
        }
        let is_full = (0..BATCH).all(|_| {
            // Nothing more, or an error: then there is nothing to read.
            let Ok(len) = ear.try_recv(&mut packet) else { return false };
            if let Some(packet) = packet.get(..len) {
                waiting.hear(packet);
            }
            true
        });
        if is_full && !pause.is_zero() {
            sleep(pause).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

// Classic BPF: the codes of <linux/bpf_common.h>, put together.
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const LOAD_HALF_BEHIND: u16 = 0x48;
const LOAD_BYTE_BEHIND: u16 = 0x50;
const KEEP_BITS: u16 = 0x54;
const IPV4_HEADER: u16 = 0xb1;
const IS: u16 = 0x15;
const HAS_BITS: u16 = 0x45;
const RETURN: u16 = 0x06;
const TCP: u32 = 6;
/// As much as can be received.
const WHOLE: u32 = u32::MAX;

/// First or only pieces of TCP segments whose acknowledgement begins with `secret`.
fn filter_v4(secret: u16) -> [SockFilter; 9] {
    [
        SockFilter::new(LOAD_BYTE, 0, 0, 9),
        SockFilter::new(IS, 0, 6, TCP),
        SockFilter::new(LOAD_HALF, 0, 0, 6),
        SockFilter::new(HAS_BITS, 4, 0, 0x1fff),
        SockFilter::new(IPV4_HEADER, 0, 0, 0),
        SockFilter::new(LOAD_HALF_BEHIND, 0, 0, 8),
        SockFilter::new(IS, 0, 1, u32::from(secret)),
        SockFilter::new(RETURN, 0, 0, WHOLE),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// The same without extension headers, which no answer has.
fn filter_v6(secret: u16) -> [SockFilter; 6] {
    [
        SockFilter::new(LOAD_BYTE, 0, 0, 6),
        SockFilter::new(IS, 0, 3, TCP),
        SockFilter::new(LOAD_HALF, 0, 0, 40 + 8),
        SockFilter::new(IS, 0, 1, u32::from(secret)),
        SockFilter::new(RETURN, 0, 0, WHOLE),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// First or only pieces of TCP segments with RST and without ACK: nothing is acknowledged, so whose they are only their ends tell.
const RESETS_V4: [SockFilter; 10] = [
    SockFilter::new(LOAD_BYTE, 0, 0, 9),
    SockFilter::new(IS, 0, 7, TCP),
    SockFilter::new(LOAD_HALF, 0, 0, 6),
    SockFilter::new(HAS_BITS, 5, 0, 0x1fff),
    SockFilter::new(IPV4_HEADER, 0, 0, 0),
    SockFilter::new(LOAD_BYTE_BEHIND, 0, 0, 13),
    SockFilter::new(KEEP_BITS, 0, 0, (RST | ACK) as u32),
    SockFilter::new(IS, 0, 1, RST as u32),
    SockFilter::new(RETURN, 0, 0, WHOLE),
    SockFilter::new(RETURN, 0, 0, 0),
];

/// The same without extension headers.
const RESETS_V6: [SockFilter; 7] = [
    SockFilter::new(LOAD_BYTE, 0, 0, 6),
    SockFilter::new(IS, 0, 4, TCP),
    SockFilter::new(LOAD_BYTE, 0, 0, 40 + 13),
    SockFilter::new(KEEP_BITS, 0, 0, (RST | ACK) as u32),
    SockFilter::new(IS, 0, 1, RST as u32),
    SockFilter::new(RETURN, 0, 0, WHOLE),
    SockFilter::new(RETURN, 0, 0, 0),
];

#[cfg(test)]
mod tests {
    use super::*;
    use ringlead_wire::build::Packet;
    use std::os::unix::net::UnixDatagram;

    /// Whether the kernel lets a packet through; its filters see a datagram as they see a packet from its IP header on.
    fn passes(filter: &[SockFilter], packet: &[u8]) -> bool {
        let (from, to) = UnixDatagram::pair().unwrap();
        let to = Socket::from(std::os::fd::OwnedFd::from(to));
        to.attach_filter(filter).unwrap();
        to.set_nonblocking(true).unwrap();
        // What is filtered out is refused here.
        let _ = from.send(packet);
        let mut buffer = [0; 256];
        let came = UnixDatagram::from(std::os::fd::OwnedFd::from(to)).recv(&mut buffer);
        came.is_ok_and(|len| len == packet.len())
    }

    #[test]
    fn answers_and_resets_pass_and_nothing_else_does() {
        let secret = 0xabcd;
        let answers: [&[SockFilter]; 2] = [&filter_v4(secret), &filter_v6(secret)];
        let resets: [&[SockFilter]; 2] = [&RESETS_V4, &RESETS_V6];
        let ends = [["10.9.0.2:80", "10.2.0.1:40000"], ["[fd09::2]:80", "[fd02::1]:40000"]];
        for (index, [from, to]) in ends.into_iter().enumerate() {
            let packet =
                |flags, acknowledged| Packet::tcp(from, to).flags(flags).ack(acknowledged).payload(*b"x");
            for (flags, acknowledged, expected) in [
                (ACK, 0xabcd_0001, (true, false)),
                (RST | ACK, 0xabcd_0001, (true, false)),
                (ACK, 0xabce_0001, (false, false)),
                (RST | ACK, 0xabce_0001, (false, false)),
                (RST, 0, (false, true)),
                (SYN, 0, (false, false)),
            ] {
                let bytes = packet(flags, acknowledged).ip();
                let heard = (passes(answers[index], &bytes), passes(resets[index], &bytes));
                assert_eq!(heard, expected, "{from}, flags {flags:#x}, {acknowledged:#x}");
            }
            let mut other = packet(RST, 0).ip();
            other[if index == 0 { 9 } else { 6 }] = 17;
            assert!(!passes(resets[index], &other), "no TCP");
            let mut piece = packet(RST, 0).ip();
            piece[7] = 1;
            assert_eq!(passes(resets[index], &piece), index == 1, "a later piece, of IPv4");
        }
    }

    fn ends() -> (SocketAddr, SocketAddr) {
        ("10.2.0.1:40000".parse().unwrap(), "10.9.0.2:80".parse().unwrap())
    }

    #[test]
    fn an_answer_goes_to_who_asked_and_to_nobody_else() {
        let waiting = Arc::new(Waiting::new());
        let (source, service) = ends();
        let (ticket, mut told) = waiting.ask(source, service).unwrap();
        let right = Heard { from: service, to: source, acknowledged: ticket.sequence + 1, flags: SYN | ACK };
        for wrong in [
            Heard { from: source, ..right },
            Heard { to: service, ..right },
            Heard { acknowledged: ticket.sequence, ..right },
            Heard { flags: ACK, ..right },
            Heard { flags: SYN, ..right },
            Heard { flags: RST, ..right },
        ] {
            waiting.answer(&wrong);
            assert!(told.try_recv().is_err(), "{wrong:?}");
        }
        waiting.answer(&right);
        assert_eq!(told.try_recv(), Ok(Answer::Accepted));
        let (ticket, mut told) = waiting.ask(source, service).unwrap();
        waiting.answer(&Heard { acknowledged: ticket.sequence + 1, flags: RST | ACK, ..right });
        assert_eq!(told.try_recv(), Ok(Answer::Refused));
    }

    #[test]
    fn what_comes_for_a_connection_is_its_own_until_it_ends() {
        let waiting = Arc::new(Waiting::new());
        let (source, service) = ends();
        let ear = waiting.connection(source, service).unwrap();
        assert!(waiting.connection(source, service).is_none(), "one has it");
        assert_eq!(
            ear.sequence.wrapping_add(u32::try_from(SENT_MAX).unwrap()) >> 16,
            u32::from(waiting.secret)
        );
        let packet = |from: SocketAddr, to: SocketAddr| Packet::tcp(from, to).flags(ACK).payload(*b"x").ip();
        waiting.hear(&packet(source, service));
        assert_eq!(ear.inbox.pop(), None, "another way round");
        let packet = packet(service, source);
        waiting.hear(&packet);
        assert_eq!(ear.inbox.pop(), Some(packet));
        drop(ear);
        assert!(waiting.connection(source, service).is_some());
        assert!(waiting.lock().connections.is_empty());
    }

    #[test]
    fn numbers_begin_with_the_secret_and_are_given_back() {
        let waiting = Arc::new(Waiting::new());
        let (source, service) = ends();
        let all: Vec<_> = std::iter::from_fn(|| waiting.ask(source, service)).collect();
        assert_eq!(all.len(), 65_535, "all but the one whose answer would begin otherwise");
        for (ticket, _) in &all {
            assert_eq!((ticket.sequence + 1) >> 16, u32::from(waiting.secret));
        }
        drop(all);
        assert!(waiting.lock().by_sequence.is_empty());
    }
}
