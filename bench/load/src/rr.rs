//! Request and response, one in flight a connection: how long a round takes, and that each answer is its request's.

use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::ReadHalf;
use tokio::net::{TcpStream, UdpSocket};

use crate::crew::{Kit, run as run_crew};
use crate::desk::Client;
use crate::dial::Dialer;
use crate::meter::Meter;
use crate::outcome::{Outcome, Sample};
use crate::{ErrorClass, LoadError, Settings};

mod message;

use message::{Answer, Message};

/// A ping-pong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Where to and how fast. In a closed loop `concurrency` is the number of connections.
    pub settings: Settings,
    /// By which protocol.
    pub protocol: Protocol,
    /// Bytes of a request: 16 to 65 507 by UDP, to 1 MiB by TCP.
    pub size: usize,
    /// What the service answers.
    pub answer: Reply,
    /// Requests before a connection is replaced by a new one. None: never.
    pub requests_per_connection: Option<u64>,
}

/// What carries a ping-pong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP without Nagle's delay.
    Tcp,
    /// UDP. A request that is not answered in time is lost, and counted.
    Udp,
}

/// What the service answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The request's bytes, after `skip` bytes of its own. Every byte is compared.
    Echo {
        /// Bytes before the echo, up to 64 KiB.
        skip: usize,
    },
    /// So many bytes of its own, 1 to 1 MiB, which are only counted: whether answers are in order cannot be told.
    Bytes {
        /// How many.
        bytes: usize,
    },
}

const TCP_MAX: usize = 1 << 20;
/// An IPv4 packet of 65 535 bytes less its headers.
const UDP_MAX: usize = 65_507;
const SKIP_MAX: usize = 65_536;

/// Runs the load and returns what it found.
///
/// # Errors
/// When the run cannot take place: a spec without sense, no such namespace or source address.
pub fn run(spec: &Spec) -> Result<Outcome, LoadError> {
    run_seen(spec, &mut |_| ())
}

/// The same, with every second shown to `seen` as it ends.
///
/// # Errors
/// As [`run`].
pub fn run_seen(spec: &Spec, seen: &mut dyn FnMut(&Sample)) -> Result<Outcome, LoadError> {
    check(spec)?;
    match spec.protocol {
        Protocol::Tcp => run_crew("rr", &spec.settings, |kit| TcpRounds(Rounds::new(kit, spec)), seen),
        Protocol::Udp => run_crew("rr", &spec.settings, |kit| UdpRounds(Rounds::new(kit, spec)), seen),
    }
}

fn check(spec: &Spec) -> Result<(), LoadError> {
    let size_max = if spec.protocol == Protocol::Udp { UDP_MAX } else { TCP_MAX };
    let sizes = Message::SIZE_MIN..=size_max;
    let wrong = if !sizes.contains(&spec.size) {
        format!("requests of {} bytes: {} to {size_max}", spec.size, Message::SIZE_MIN)
    } else if spec.requests_per_connection == Some(0) {
        "no requests a connection".to_owned()
    } else {
        match spec.answer {
            Reply::Echo { skip } if skip > SKIP_MAX => {
                format!("{skip} bytes before an echo: at most {SKIP_MAX}")
            }
            Reply::Bytes { bytes } if bytes == 0 || bytes > size_max => {
                format!("answers of {bytes} bytes: 1 to {size_max}")
            }
            Reply::Echo { .. } | Reply::Bytes { .. } => return Ok(()),
        }
    };
    Err(LoadError::Spec(wrong))
}

/// What both protocols have: the connection, its messages and the buffer for answers.
struct Rounds<S> {
    dialer: Rc<Dialer>,
    meter: Rc<Meter>,
    connection: Option<S>,
    left: u64,
    message: Message,
    requests_per_connection: u64,
    buffer: Vec<u8>,
}

impl<S> Rounds<S> {
    fn new(kit: &Kit, spec: &Spec) -> Self {
        let message = Message::new(spec.size, spec.answer);
        // A byte more than an answer has, so that a longer datagram is not cut to the right length.
        let buffer = vec![0; message.answer_len() + 1];
        Self {
            dialer: Rc::clone(&kit.dialer),
            meter: Rc::clone(&kit.meter),
            connection: None,
            left: 0,
            message,
            requests_per_connection: spec.requests_per_connection.unwrap_or(u64::MAX),
            buffer,
        }
    }

    /// Whether the next request needs another connection.
    fn wants_new(&mut self) -> bool {
        let spent = self.connection.is_none() || self.left == 0;
        if spent {
            self.connection = None;
            self.left = self.requests_per_connection;
            self.message.begin(self.dialer.serial());
        }
        self.left -= 1;
        spent
    }
}

struct TcpRounds(Rounds<TcpStream>);

impl TcpRounds {
    async fn round(&mut self) -> Result<(), ErrorClass> {
        let rounds = &mut self.0;
        if rounds.wants_new() {
            rounds.connection = Some(rounds.dialer.tcp(&rounds.meter).await?);
        }
        let stream = rounds.connection.as_mut().ok_or(ErrorClass::Other)?;
        let (mut reader, mut writer) = stream.split();
        let length = rounds.message.answer_len();
        let request = rounds.message.next();
        // An echo may begin before the request has ended, and stop it when nobody reads.
        let write = async { writer.write_all(request).await.map_err(|error| ErrorClass::of(&error)) };
        tokio::try_join!(read(&mut reader, &mut rounds.buffer[..length], &rounds.meter), write)?;
        rounds.meter.sent(request.len());
        match rounds.message.judge(&rounds.buffer[..length]) {
            Answer::Right => Ok(()),
            Answer::Wrong => Err(ErrorClass::WrongBody),
            Answer::OtherConnection => {
                rounds.meter.stray(|strays| strays.misdelivered += 1);
                Err(ErrorClass::WrongSequence)
            }
            Answer::Late | Answer::Duplicate | Answer::Never => Err(ErrorClass::WrongSequence),
        }
    }
}

/// Fills the buffer.
async fn read(reader: &mut ReadHalf<'_>, buffer: &mut [u8], meter: &Meter) -> Result<(), ErrorClass> {
    let mut received = 0;
    while received < buffer.len() {
        match reader.read(&mut buffer[received..]).await {
            Ok(0) if received == 0 => return Err(ErrorClass::Closed),
            Ok(0) => return Err(ErrorClass::ShortBody),
            Ok(bytes) => {
                meter.received(bytes);
                received += bytes;
            }
            Err(error) => return Err(ErrorClass::of(&error)),
        }
    }
    Ok(())
}

impl Client for TcpRounds {
    async fn request(&mut self) -> Result<(), ErrorClass> {
        let done = self.round().await;
        if done.is_err() {
            self.0.connection = None; // what is still in it would answer the next request
        }
        done
    }

    fn timed_out(&mut self) -> ErrorClass {
        match self.0.connection.take() {
            Some(_) => ErrorClass::Timeout,
            None => ErrorClass::ConnectTimeout,
        }
    }
}

struct UdpRounds(Rounds<UdpSocket>);

impl Client for UdpRounds {
    async fn request(&mut self) -> Result<(), ErrorClass> {
        let rounds = &mut self.0;
        if rounds.wants_new() {
            rounds.connection = Some(rounds.dialer.udp(&rounds.meter).await?);
        }
        let socket = rounds.connection.as_ref().ok_or(ErrorClass::Other)?;
        let request = rounds.message.next();
        socket.send(request).await.map_err(|error| ErrorClass::of(&error))?;
        rounds.meter.sent(request.len());
        loop {
            let received = socket.recv(&mut rounds.buffer).await.map_err(|error| ErrorClass::of(&error))?;
            rounds.meter.received(received);
            match rounds.message.judge(&rounds.buffer[..received]) {
                Answer::Right => return Ok(()),
                Answer::Wrong => return Err(ErrorClass::WrongBody),
                Answer::Late => rounds.meter.stray(|strays| strays.late += 1),
                Answer::Duplicate => rounds.meter.stray(|strays| strays.duplicates += 1),
                Answer::OtherConnection | Answer::Never => {
                    rounds.meter.stray(|strays| strays.misdelivered += 1)
                }
            }
        }
    }

    /// The socket stays: the next request belongs to the same flow, and a late answer is told from its own.
    fn timed_out(&mut self) -> ErrorClass {
        self.0.message.give_up();
        ErrorClass::Lost
    }
}
