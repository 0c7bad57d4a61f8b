//! The TCP client: sends and takes bytes in bulk and checks every one.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::blob::{ANSWER_LEN, CHUNK, Request};
use crate::{Digest, Pattern};

/// A transfer to make with a [`BlobServer`](crate::BlobServer).
#[derive(Debug, Clone, Copy)]
pub struct Transfer {
    to: SocketAddr,
    from: Option<IpAddr>,
    upload: u64,
    download: u64,
    lasting: Duration,
    timeout: Duration,
}

/// A transfer made, every byte of it as sent.
#[derive(Debug, Clone, Copy)]
pub struct Transferred {
    /// The name of the server that answered.
    pub server: char,
    /// The client's end.
    pub client: SocketAddr,
    /// Bytes both ways.
    pub bytes: u64,
    /// From the first SYN to the last byte.
    pub elapsed: Duration,
}

impl Transfer {
    /// A transfer of 64 KiB each way to `to`, giving up after 3 s without progress.
    #[must_use]
    pub fn new(to: SocketAddr) -> Self {
        let (upload, download) = (64 << 10, 64 << 10);
        Self { to, from: None, upload, download, lasting: Duration::ZERO, timeout: Duration::from_secs(3) }
    }

    /// From this source address.
    #[must_use]
    pub fn from(mut self, source: IpAddr) -> Self {
        self.from = Some(source);
        self
    }

    /// These many bytes to the server, and from it.
    #[must_use]
    pub fn bytes(mut self, upload: u64, download: u64) -> Self {
        (self.upload, self.download) = (upload, download);
        self
    }

    /// Spread evenly over about this time.
    #[must_use]
    pub fn lasting(mut self, time: Duration) -> Self {
        self.lasting = time;
        self
    }

    /// Give up after this time without progress.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }

    /// Makes the transfer, in the namespace of the calling thread.
    ///
    /// # Errors
    /// What connecting, sending or receiving says; `InvalidData` when the bytes differ in either direction.
    pub fn make(&self) -> io::Result<Transferred> {
        self.hold()?.finish()
    }

    /// Begins the transfer, in the namespace of the calling thread: its server waits for the upload as long as the test likes,
    /// but a minute without a byte.
    ///
    /// # Errors
    /// What connecting or sending says.
    pub fn hold(&self) -> io::Result<Held> {
        static SEED: AtomicU64 = AtomicU64::new(1);
        let seed = SEED.fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now();
        let mut stream = self.connect()?;
        let client = stream.local_addr()?;
        let request =
            Request { upload: self.upload, download: self.download, seed, pause_us: self.pause_us() };
        stream.write_all(&request.to_bytes())?;
        Ok(Held { transfer: *self, stream, client, seed, sent: 0, begin })
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.to), Type::STREAM, None)?;
        if let Some(source) = self.from {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect_timeout(&self.to.into(), self.timeout)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(self.timeout.max(self.lasting / 4)))?;
        socket.set_write_timeout(Some(self.timeout))?;
        Ok(socket.into())
    }

    /// The rest after each chunk that spreads all chunks over the wanted time.
    fn pause_us(&self) -> u64 {
        let chunk = u64::try_from(CHUNK).unwrap_or(u64::MAX);
        let chunks = self.upload.div_ceil(chunk) + self.download.div_ceil(chunk);
        u64::try_from(self.lasting.as_micros()).unwrap_or(u64::MAX) / chunks.max(1)
    }
}

/// A transfer whose upload is under way.
#[derive(Debug)]
pub struct Held {
    transfer: Transfer,
    stream: TcpStream,
    client: SocketAddr,
    seed: u64,
    sent: u64,
    begin: Instant,
}

impl Held {
    /// Sends up to so many bytes more; nothing once all is sent.
    ///
    /// # Errors
    /// What sending says.
    pub fn send(&mut self, bytes: usize) -> io::Result<()> {
        let left = usize::try_from(self.transfer.upload - self.sent).unwrap_or(usize::MAX);
        let mut part = vec![0; bytes.min(left)];
        Pattern::new(self.seed).fill(self.sent, &mut part);
        self.stream.write_all(&part)?;
        self.sent += u64::try_from(part.len()).unwrap_or_default();
        Ok(())
    }

    /// Sends the rest, and takes all that the server sends.
    ///
    /// # Errors
    /// What sending or receiving says; `InvalidData` when the bytes differ in either direction.
    pub fn finish(mut self) -> io::Result<Transferred> {
        let pause = Duration::from_micros(self.transfer.pause_us());
        while self.sent < self.transfer.upload {
            self.send(CHUNK)?;
            std::thread::sleep(pause);
        }
        let mut answer = [0; ANSWER_LEN];
        self.stream.read_exact(&mut answer)?;
        let (name, digest) = answer.split_at(1);
        if digest != digest_of(Pattern::new(self.seed), self.transfer.upload).to_le_bytes() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the server got other bytes than were sent",
            ));
        }
        self.receive(Pattern::new(!self.seed))?;
        let bytes = self.transfer.upload + self.transfer.download;
        Ok(Transferred {
            server: char::from(name[0]),
            client: self.client,
            bytes,
            elapsed: self.begin.elapsed(),
        })
    }

    fn receive(&mut self, pattern: Pattern) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut received = 0;
        while received < self.transfer.download {
            let want =
                buffer.len().min(usize::try_from(self.transfer.download - received).unwrap_or(usize::MAX));
            let got = self.stream.read(&mut buffer[..want])?;
            if got == 0 {
                let text = format!("the server ended after {received} of {} bytes", self.transfer.download);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            if let Some(at) = pattern.first_difference(received, &buffer[..got]) {
                let text = format!("byte {at} from the server differs");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            received += u64::try_from(got).unwrap_or_default();
        }
        Ok(())
    }
}

/// Makes one transfer of 64 KiB each way, in the namespace of the calling thread.
///
/// # Errors
/// As [`Transfer::make`].
pub fn tcp_transfer(to: SocketAddr) -> io::Result<Transferred> {
    Transfer::new(to).make()
}

/// Makes `count` transfers at the same time, from these sources in turn, in the namespace of the calling thread.
///
/// # Panics
/// When there is no source.
#[must_use]
pub fn tcp_transfers(each: Transfer, count: usize, sources: &[IpAddr]) -> Vec<io::Result<Transferred>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| scope.spawn(move || each.from(sources[number % sources.len()]).make()))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a client thread")).collect()
    })
}

fn digest_of(pattern: Pattern, length: u64) -> u64 {
    let mut digest = Digest::default();
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < length {
        let size = buffer.len().min(usize::try_from(length - at).unwrap_or(usize::MAX));
        pattern.fill(at, &mut buffer[..size]);
        digest.update(&buffer[..size]);
        at += u64::try_from(size).unwrap_or(u64::MAX);
    }
    digest.value()
}
