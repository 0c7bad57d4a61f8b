//! A TCP connection by the service's own path, as a stream of bytes. The kernel cannot have it: its other end is an address of
//! this node. So TCP is smoltcp's, in this process, and runs whenever the stream is read or written.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{self, RecvError, State};
use smoltcp::time::Instant as Moment;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::TRIES;
use super::device::{Line, Send};
use super::ear::{Ear, SENT_MAX};
use super::inbox::WINDOW;
use super::segment::{RST, Segment};
use super::source::Port;

/// Bytes that wait to be sent or acknowledged.
const SEND_BUFFER: usize = 4 * 1024;
/// Packets of one turn, before others have theirs.
const TURNS: usize = 64;
/// How long the server's side of the close is waited for.
pub(super) const CLOSE_MAX: Duration = Duration::from_millis(250);

/// What a connection is made of.
pub(super) struct Ends {
    pub(super) send: Send,
    pub(super) ear: Ear,
    pub(super) port: Port,
    pub(super) service: SocketAddr,
    /// Room for those that wait for the server's side of the close.
    pub(super) closes: Arc<Semaphore>,
}

/// Read and written by one task. When it is dropped the server's side of the close is waited for, unless too many others are, and
/// what is left of the connection reset: the server keeps nothing of it.
pub(super) struct Stream(Option<Connection>);

impl Stream {
    /// Connects until `deadline`, and is reset then; `None` when the server has not answered.
    ///
    /// # Errors
    /// ECONNREFUSED where the server refuses; what sending a frame gives.
    pub(super) async fn connect(ends: Ends, deadline: Instant) -> io::Result<Option<Self>> {
        let mut stream = Self(Some(Connection::new(ends, deadline)?));
        for rest in (0..TRIES).rev() {
            // What is left, in equal parts.
            let left = deadline.saturating_duration_since(Instant::now());
            let connected = poll_fn(|context| stream.get()?.poll_connected(context));
            if let Ok(result) = timeout_at(Instant::now() + left / (rest + 1), connected).await {
                return result.map(|()| Some(stream));
            }
            if rest > 0 {
                stream.get()?.line.repeat_first();
            }
        }
        Ok(None)
    }

    fn get(&mut self) -> io::Result<&mut Connection> {
        self.0.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Some(mut connection) = self.0.take() else { return };
        if let Ok(runtime) = Handle::try_current()
            && connection.is_open()
            && let Ok(place) = Arc::clone(&connection.closes).try_acquire_owned()
        {
            let until = connection.deadline.min(Instant::now() + CLOSE_MAX);
            runtime.spawn(async move {
                connection.socket().close();
                let closed = poll_fn(|context| connection.poll_closed(context));
                // Whatever the server does, the connection ends here.
                let _ = timeout_at(until, closed).await;
                // Its socket goes before the next one's place is free.
                drop(connection);
                drop(place);
            });
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let connection = self.get()?;
        connection.turn(context)?;
        let socket = connection.socket();
        if !socket.can_recv() && socket.may_recv() {
            return Poll::Pending;
        }
        match socket.recv_slice(buffer.initialize_unfilled()) {
            Ok(len) => buffer.advance(len),
            Err(RecvError::Finished) => {}
            Err(RecvError::InvalidState) => return Poll::Ready(Err(reset())),
        }
        // The server learns that there is room again.
        connection.turn(context)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let connection = self.get()?;
        connection.turn(context)?;
        // Two of them are those of SYN and FIN.
        if connection.written + bytes.len() > SENT_MAX - 2 {
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::EMSGSIZE)));
        }
        let socket = connection.socket();
        if !socket.may_send() {
            return Poll::Ready(Err(reset()));
        }
        if !socket.can_send() {
            return Poll::Pending;
        }
        let len = socket.send_slice(bytes).map_err(|_| reset())?;
        connection.written += len;
        connection.turn(context)?;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get()?.turn(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = self.get()?;
        connection.socket().close();
        Poll::Ready(connection.turn(context))
    }
}

fn reset() -> io::Error {
    io::Error::from_raw_os_error(libc::ECONNRESET)
}

struct Connection {
    interface: Interface,
    sockets: SocketSet<'static>,
    tcp: SocketHandle,
    line: Line,
    service: SocketAddr,
    began: Instant,
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
    written: usize,
    port: Port,
    _ear: Ear,
    closes: Arc<Semaphore>,
}

impl Connection {
    fn new(ends: Ends, deadline: Instant) -> io::Result<Self> {
        let Ends { send, ear, port, service, closes } = ends;
        let mut line = Line::new(send, Arc::clone(&ear.inbox), ear.sequence);
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = u64::from(ear.sequence);
        let mut interface = Interface::new(config, &mut line, Moment::ZERO);
        let source = IpAddress::from(port.address.ip());
        let host = IpCidr::new(source, if port.address.is_ipv4() { 32 } else { 128 });
        interface.update_ip_addrs(|addresses| _ = addresses.push(host));
        let buffer = |len| tcp::SocketBuffer::new(vec![0; len]);
        let mut socket = tcp::Socket::new(buffer(WINDOW), buffer(SEND_BUFFER));
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let connect = socket.connect(interface.context(), service, port.address);
        connect.map_err(|_| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))?;
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let tcp = sockets.add(socket);
        let began = Instant::now();
        let timer = Box::pin(sleep_until(deadline));
        let connection = Self {
            interface,
            sockets,
            tcp,
            line,
            service,
            began,
            deadline,
            timer,
            written: 0,
            port,
            _ear: ear,
            closes,
        };
        Ok(connection)
    }

    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.tcp)
    }

    fn is_open(&mut self) -> bool {
        !matches!(self.socket().state(), State::SynSent | State::TimeWait | State::Closed)
    }

    /// Takes what has come and sends what is due; wakes the task when there is more.
    fn turn(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.line.inbox().wake(context.waker());
        for _ in 0..TURNS {
            let now = self.began.elapsed();
            let now = Moment::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
            let done = self.interface.poll(now, &mut self.line, &mut self.sockets);
            if let Some(error) = self.line.broken() {
                return Err(error);
            }
            if done != PollResult::None {
                continue;
            }
            let Some(delay) = self.interface.poll_delay(now, &self.sockets) else { return Ok(()) };
            self.timer.as_mut().reset(Instant::now() + Duration::from_micros(delay.total_micros()));
            if self.timer.as_mut().poll(context).is_pending() {
                return Ok(());
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    fn poll_connected(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.turn(context)?;
        let state = self.socket().state();
        if state == State::Closed {
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)));
        }
        if state == State::SynSent { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.turn(context)?;
        // What is not read any more may not keep the server from closing.
        let _ = self.socket().recv(|bytes| (bytes.len(), ()));
        if self.is_open() { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl Drop for Connection {
    /// Also where the server has closed: it waits for late packets (RFC 9293 section 3.6), of which there are none.
    fn drop(&mut self) {
        let Some(sequence) = self.line.next() else { return };
        let source = self.port.address;
        let reset = Segment { source, service: self.service, sequence, flags: RST };
        if let Some(packet) = reset.packet() {
            // There is nobody left to tell.
            self.line.send_once(&packet);
        }
    }
}
