//! Connections: open, exchange bytes or stream them, close.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::crew::{Kit, run as run_crew};
use crate::desk::Client;
use crate::dial::Dialer;
use crate::meter::Meter;
use crate::outcome::{Outcome, Sample};
use crate::{ErrorClass, LoadError, Pace, Settings, pattern};

/// What to do with each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Where to and how fast. A request is a connection, so `connections_max` must be None.
    pub settings: Settings,
    /// What is exchanged.
    pub exchange: Exchange,
}

/// What is exchanged on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// So many bytes each way, at the same time; then it is closed. 0 and 0: opened and closed.
    Bytes {
        /// Bytes to be sent.
        send: u64,
        /// Bytes that must come back at least.
        receive: u64,
    },
    /// So many bytes, which must all come back, the same.
    Echo {
        /// Bytes to be sent.
        bytes: u64,
    },
    /// Bytes as fast as they go until the run is over. In a closed loop only.
    Stream {
        /// Send.
        send: bool,
        /// Receive.
        receive: bool,
    },
}

/// Bytes read at once.
const READ: usize = 60 * 1024;

/// How far apart connections begin in the pattern: one that gets another's bytes sees wrong ones.
const OFFSET_STEP: u64 = 7919;

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
    let refuse = |what: &str| Err(LoadError::Spec(what.to_owned()));
    if spec.settings.connections_max.is_some() {
        return refuse("a request is a connection: no other limit of connections than that of requests");
    }
    match spec.exchange {
        Exchange::Stream { .. } if matches!(spec.settings.pace, Pace::Open { .. }) => {
            return refuse("streams last as long as the run: no rate, but so many at a time");
        }
        Exchange::Stream { send: false, receive: false } => {
            return refuse("a stream that neither sends nor receives");
        }
        Exchange::Stream { .. } | Exchange::Bytes { .. } | Exchange::Echo { .. } => {}
    }
    run_crew("tcp", &spec.settings, |kit| Connections::new(kit, spec.exchange), seen)
}

thread_local! {
    /// What is read is looked at and forgotten: one buffer a thread.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

struct Connections {
    dialer: Rc<Dialer>,
    meter: Rc<Meter>,
    exchange: Exchange,
    end: Instant,
    connected: bool,
    offset: u64,
}

impl Connections {
    fn new(kit: &Kit, exchange: Exchange) -> Self {
        let (dialer, meter) = (Rc::clone(&kit.dialer), Rc::clone(&kit.meter));
        Self { dialer, meter, exchange, end: kit.end, connected: false, offset: 0 }
    }

    async fn talk(&self, stream: &TcpStream) -> Result<(), ErrorClass> {
        let mut talk = match self.exchange {
            Exchange::Bytes { send, receive } => {
                Talk { to_send: send, to_receive: receive, ..Talk::default() }
            }
            Exchange::Echo { bytes } => {
                Talk { to_send: bytes, to_receive: bytes, echo: true, ..Talk::default() }
            }
            Exchange::Stream { send, receive } => {
                let all = |wanted: bool| if wanted { u64::MAX } else { 0 };
                let mut talk = Talk { to_send: all(send), to_receive: all(receive), ..Talk::default() };
                return match tokio::time::timeout_at(self.end.into(), self.exchange(stream, &mut talk)).await
                {
                    Ok(ended) => ended,
                    Err(_) => Ok(()),
                };
            }
        };
        self.exchange(stream, &mut talk).await
    }

    async fn exchange(&self, stream: &TcpStream, talk: &mut Talk) -> Result<(), ErrorClass> {
        while talk.sent < talk.to_send || talk.received < talk.to_receive {
            let interest = match (talk.sent < talk.to_send, talk.received < talk.to_receive) {
                (true, true) => Interest::READABLE | Interest::WRITABLE,
                (true, false) => Interest::WRITABLE,
                _ => Interest::READABLE,
            };
            let ready = stream.ready(interest).await.map_err(|error| ErrorClass::of(&error))?;
            if ready.is_writable() && talk.sent < talk.to_send {
                let bytes = pattern::from(self.offset + talk.sent, talk.to_send - talk.sent);
                if let Some(sent) = now_or_later(stream.try_write(bytes))? {
                    self.meter.sent(sent);
                    talk.sent += sent as u64;
                }
            }
            if (ready.is_readable() || ready.is_read_closed()) && talk.received < talk.to_receive {
                self.read(stream, talk)?;
            }
        }
        Ok(())
    }

    fn read(&self, stream: &TcpStream, talk: &mut Talk) -> Result<(), ErrorClass> {
        BUFFER.with_borrow_mut(|buffer| {
            let Some(received) = now_or_later(stream.try_read(buffer))? else { return Ok(()) };
            if received == 0 {
                return Err(if talk.received == 0 { ErrorClass::Closed } else { ErrorClass::ShortBody });
            }
            self.meter.received(received);
            // More than was sent cannot be an echo.
            let echoed = talk.received + received as u64 <= talk.sent
                && pattern::is(&buffer[..received], self.offset + talk.received);
            talk.received += received as u64;
            if talk.echo && !echoed { Err(ErrorClass::WrongBody) } else { Ok(()) }
        })
    }
}

#[derive(Default)]
struct Talk {
    to_send: u64,
    to_receive: u64,
    echo: bool,
    sent: u64,
    received: u64,
}

/// What was read or written, None when the socket was not ready after all.
fn now_or_later(result: io::Result<usize>) -> Result<Option<usize>, ErrorClass> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(ErrorClass::of(&error)),
    }
}

impl Client for Connections {
    async fn request(&mut self) -> Result<(), ErrorClass> {
        self.connected = false;
        self.offset = u64::from(self.dialer.serial()) * OFFSET_STEP;
        let stream = self.dialer.tcp(&self.meter).await?;
        self.connected = true;
        self.talk(&stream).await
    }

    fn timed_out(&mut self) -> ErrorClass {
        if self.connected { ErrorClass::Timeout } else { ErrorClass::ConnectTimeout }
    }

    fn deadline(&self, start: Instant, patience: Duration) -> Instant {
        match self.exchange {
            Exchange::Stream { .. } => self.end.max(start) + patience,
            Exchange::Bytes { .. } | Exchange::Echo { .. } => start + patience,
        }
    }
}
