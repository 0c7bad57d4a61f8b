//! The UDP server: answers each datagram with its name and the datagram.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::{Lab, Node};

/// An echo server inside a namespace. It binds each address by itself: a dsr server on a wildcard socket would answer
/// from the wrong address. Dropping it ends it.
#[derive(Debug)]
pub struct EchoServer {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl EchoServer {
    /// Answers on `addresses` inside a namespace; `name` is what it calls itself.
    ///
    /// # Panics
    /// When an address cannot be bound.
    #[must_use = "dropping the server ends it"]
    pub fn start(lab: &Lab, node: Node, name: char, addresses: &[SocketAddr]) -> Self {
        let name = u8::try_from(name).expect("a name of one byte");
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let threads = lab.within(node, || {
            let bind = |address: &SocketAddr| {
                let socket = UdpSocket::bind(address).unwrap_or_else(|e| panic!("{node} {address}: {e}"));
                socket.set_read_timeout(Some(Duration::from_millis(20))).expect("set a time limit");
                let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
                thread::spawn(move || answer(&socket, name, &stop, &answered))
            };
            addresses.iter().map(bind).collect()
        });
        Self { stop, answered, threads }
    }

    /// Datagrams answered so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn answer(socket: &UdpSocket, name: u8, stop: &AtomicBool, answered: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    buffer[0] = name;
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, client)) = socket.recv_from(&mut buffer[1..]) else { continue };
        if socket.send_to(&buffer[..=length], client).is_ok() {
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}
