//! Opening sockets towards the service.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use crate::meter::Meter;
use crate::{Close, ErrorClass, Settings};

/// Opens sockets of one thread, the source addresses in turn.
pub(crate) struct Dialer {
    target: SocketAddr,
    sources: Vec<IpAddr>,
    turn: Cell<usize>,
    serial: Cell<u32>,
    close: Close,
}

impl Dialer {
    /// Threads begin with another source each.
    pub(crate) fn new(settings: &Settings, thread: u16) -> Self {
        let Settings { target, bind, close, .. } = settings;
        let (turn, serial) = (Cell::new(thread.into()), Cell::new(u32::from(thread) << 24));
        Self { target: *target, sources: bind.clone(), turn, serial, close: *close }
    }

    /// A number for a connection: no other of the last 16 million of this thread has it.
    pub(crate) fn serial(&self) -> u32 {
        let serial = self.serial.get();
        self.serial.set(serial & 0xff00_0000 | serial.wrapping_add(1) & 0x00ff_ffff);
        serial
    }

    /// Connects by TCP, without Nagle's delay. The time it took is counted.
    pub(crate) async fn tcp(&self, meter: &Meter) -> Result<TcpStream, ErrorClass> {
        let begin = Instant::now();
        let connected = async {
            let socket = if self.target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            if let Some(source) = self.source() {
                // The port is chosen when the whole connection is known: it may be one that is in use towards
                // somewhere else, or from another of our addresses.
                setsockopt(&socket, IpBindAddressNoPort, &true)?;
                socket.bind(SocketAddr::new(source, 0))?;
            }
            if self.close == Close::Reset {
                socket.set_zero_linger()?;
            }
            let stream = socket.connect(self.target).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream = connected.await.map_err(|error: io::Error| of_connecting(&error))?;
        meter.connected(begin.elapsed());
        Ok(stream)
    }

    /// Opens a UDP socket that speaks with the service only.
    pub(crate) async fn udp(&self, meter: &Meter) -> Result<UdpSocket, ErrorClass> {
        let opened = async {
            let any: IpAddr = if self.target.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let socket = UdpSocket::bind(SocketAddr::new(self.source().unwrap_or(any), 0)).await?;
            socket.connect(self.target).await?;
            Ok(socket)
        };
        let socket = opened.await.map_err(|error: io::Error| of_connecting(&error))?;
        meter.opened();
        Ok(socket)
    }

    fn source(&self) -> Option<IpAddr> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        self.sources.get(turn.checked_rem(self.sources.len())?).copied()
    }
}

/// A reset in answer to the first packet is a refusal.
fn of_connecting(error: &io::Error) -> ErrorClass {
    let class = ErrorClass::of(error);
    if class == ErrorClass::Reset { ErrorClass::ConnectRefused } else { class }
}
