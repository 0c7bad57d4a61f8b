//! Servers of blocking threads: nothing of the load's own runtime is in them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// A server that runs as long as the test program.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
}

impl Server {
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Where nobody listens.
pub(crate) fn nobody() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    Server { address, accepted: Arc::default(), requests: Arc::default() }
}

/// Gives every connection to `serve` in a thread of its own, with a counter that is for its use.
pub(crate) fn tcp(serve: impl Fn(TcpStream, &AtomicU64) + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (accepted, requests) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let server = Server { address, accepted: Arc::clone(&accepted), requests: Arc::clone(&requests) };
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            accepted.fetch_add(1, Ordering::SeqCst);
            stream.set_nodelay(true).unwrap();
            let (serve, requests) = (Arc::clone(&serve), Arc::clone(&requests));
            thread::spawn(move || serve(stream, &requests));
        }
    });
    server
}

/// Sends back what comes.
pub(crate) fn echo() -> Server {
    tcp(|mut stream, _| {
        let mut buffer = [0; 16_384];
        while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..bytes]).is_err() {
                return;
            }
        }
    })
}

/// A request as far as these servers look at it.
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: Vec<String>,
    pub(crate) body: Vec<u8>,
}

/// Answers the n-th request (from 1) with the bytes that `answer` gives, and closes when there are none or the request
/// or the answer says `connection: close`.
pub(crate) fn http(answer: impl Fn(u64, &Request) -> Vec<u8> + Send + Sync + 'static) -> Server {
    tcp(move |mut stream, requests| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(request) = read_request(&mut reader) {
            let number = requests.fetch_add(1, Ordering::SeqCst) + 1;
            let bytes = answer(number, &request);
            let says_close = String::from_utf8_lossy(&bytes).to_lowercase().contains("connection: close");
            if stream.write_all(&bytes).is_err() || bytes.is_empty() || says_close {
                return;
            }
            if request.headers.iter().any(|header| header.eq_ignore_ascii_case("connection: close")) {
                return;
            }
        }
    })
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let length =
        lines.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let line = lines.remove(0);
    Some(Request { line, headers: lines, body })
}

/// An answer of this status line and body.
pub(crate) fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Gives `serve` every datagram, its number from 1, and the socket with the sender's address to answer by.
pub(crate) fn udp(mut serve: impl FnMut(u64, &[u8], &dyn Fn(&[u8])) + Send + 'static) -> Server {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let requests = Arc::<AtomicU64>::default();
    let server = Server { address, accepted: Arc::default(), requests: Arc::clone(&requests) };
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
            let number = requests.fetch_add(1, Ordering::SeqCst) + 1;
            serve(number, &buffer[..bytes], &|answer| {
                socket.send_to(answer, from).unwrap();
            });
        }
    });
    server
}
