//! Accepting connections, few at a time, and letting each end well.

use super::answer::Answer;
use super::peers::{Admission, Admitted, Peers};
use super::place::{Opened, open};
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// The longest wait for a connection's next request, and for a request's body.
pub(crate) const REQUEST_WAIT_MAX: Duration = Duration::from_secs(20);
/// Bytes of a request's head.
const REQUEST_MAX: usize = 16 << 10;
/// Pause after a failed accept (no file descriptor left), so that it is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// For so long connections that have begun before a server closes may end their handshake.
const LAST_HANDSHAKES: Duration = Duration::from_millis(100);
/// The index of no interface: the largest.
const NOWHERE: NonZeroU32 = NonZeroU32::new(i32::MAX.unsigned_abs()).unwrap();
/// For so long the connections of a server that closes may still ask: who has just connected is about to.
pub(super) const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// Who answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// What log lines call its listener.
    const NAME: &'static str;

    /// Answers a request that came from `peer`.
    fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> impl Future<Output = Answer> + Send;

    /// Answers a request of a peer that has more connections than it may.
    fn too_many(&self, peer: SocketAddr) -> Answer;

    /// Notes that a connection was closed without an answer: its peer has many more than it may.
    fn turned_away(&self, peer: SocketAddr);
}

/// How many connections there are, and for how long one lives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once; more wait to be accepted.
    pub(super) connections: usize,
    /// Those of one peer that are served or wait for it. With the refused a quarter of all: only four peers keep others out.
    pub(super) kept: usize,
    /// The same for a peer on this node: a proxy has those of all whom it serves.
    pub(super) kept_local: usize,
    /// How many of these are served at once.
    pub(super) served: usize,
    /// The same for a peer on this node. Fewer than are kept: idle ones are closed for those that wait.
    pub(super) served_local: usize,
    /// How many of a peer's beyond those are told so at once; more are closed.
    pub(super) refused: usize,
    /// For so long one waits to be served, until it is told that they are too many.
    pub(super) turn: Duration,
    /// How long that may take.
    pub(super) refusal: Duration,
    /// For so long who has connected may take to ask, until the connection is cut.
    pub(super) first_head: Duration,
    /// For so long it may take to ask again.
    pub(super) next_head: Duration,
    /// After this time no further request is taken; one that is being answered, is.
    pub(super) requests: Duration,
    /// How long an answer may take from then on, until the connection is cut.
    pub(super) last_answer: Duration,
}

impl Default for Limits {
    /// 64, of a peer 12 (on this node 32) and 4, 4 (24) of them served, within 10 s; 5 s, 20 s; 60 s in all, and 30 s more.
    fn default() -> Self {
        let (first_head, next_head) = (Duration::from_secs(5), REQUEST_WAIT_MAX);
        Self {
            connections: 64,
            kept: 12,
            kept_local: 32,
            served: 4,
            served_local: 24,
            refused: 4,
            turn: Duration::from_secs(10),
            refusal: Duration::from_secs(2),
            first_head,
            next_head,
            requests: Duration::from_secs(60),
            last_answer: Duration::from_secs(30),
        }
    }
}

/// An address that is served. Dropping it cuts it off with its connections; [`close`](Self::close) ends it well.
#[derive(Debug)]
pub struct Server {
    at: SocketAddr,
    listener: Arc<TcpListener>,
    /// Asks to close; answered when nothing is accepted any more.
    close: Option<oneshot::Sender<oneshot::Sender<()>>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens, and begins to serve at once; must be called on a runtime.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn listen(at: SocketAddr, handler: Arc<impl Handler>) -> io::Result<Self> {
        open(at, &[]).map(|opened| Self::begin(opened, handler))
    }

    /// Begins to serve; must be called on a runtime.
    #[must_use]
    pub(crate) fn begin(opened: Opened, handler: Arc<impl Handler>) -> Self {
        Self::within(opened, handler, Limits::default())
    }

    pub(super) fn within(opened: Opened, handler: Arc<impl Handler>, limits: Limits) -> Self {
        let (at, listener) = (opened.at, Arc::new(opened.listener));
        let (close, told) = oneshot::channel();
        let task = tokio::spawn(serve(Arc::clone(&listener), handler, limits, told));
        Self { at, listener, close: Some(close), task }
    }

    /// Where it listens.
    #[must_use]
    pub fn at(&self) -> SocketAddr {
        self.at
    }

    pub(super) fn socket(&self) -> SockRef<'_> {
        SockRef::from(&*self.listener)
    }

    /// Stops listening. Who has connected by then is answered; that goes on after this has returned.
    pub(crate) async fn close(mut self) {
        let (done, closed) = oneshot::channel();
        if self.close.take().is_some_and(|close| close.send(done).is_ok()) {
            // An error: the task has ended.
            let _ = closed.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.close.is_some() {
            self.task.abort();
        }
    }
}

type Asked = Result<oneshot::Sender<()>, oneshot::error::RecvError>;

/// The connections live in this task's set, so that they end with it.
async fn serve<H: Handler>(
    listener: Arc<TcpListener>,
    handler: Arc<H>,
    limits: Limits,
    told: oneshot::Receiver<oneshot::Sender<()>>,
) {
    let (mut connections, peers) = (JoinSet::new(), Peers::new(limits));
    // Dropped: the server closes.
    let (open, closing) = watch::channel(());
    let converse = |(stream, peer): (TcpStream, SocketAddr)| {
        let (admitted, is_kept) = match peers.admit(peer.ip()) {
            Admission::Kept(admitted) => (admitted, true),
            Admission::Refused(admitted) => (admitted, false),
            Admission::Closed => {
                handler.turned_away(peer);
                return None;
            }
        };
        let guest = Guest { peer, admitted, handler: Arc::clone(&handler), limits };
        let closing = closing.clone();
        Some(async move {
            let turn = if is_kept { guest.admitted.turn(&limits).await } else { None };
            match turn {
                Some(_until_the_end) => guest.converse(stream, closing).await,
                None => guest.refuse(stream).await,
            }
        })
    };
    let last_handshakes = async {
        let asked = told.await;
        take_no_more(&listener);
        sleep(LAST_HANDSHAKES).await;
        asked
    };
    let asked = accept::<H, _>(&listener, limits, last_handshakes, &mut connections, converse).await;
    // The kernel has greeted those who still wait, too.
    for conversation in
        std::iter::from_fn(|| waiting(&listener)).take(limits.connections).filter_map(converse)
    {
        connections.spawn(conversation);
    }
    drop((listener, open));
    if let Ok(asked) = asked {
        // Who asked may have gone.
        let _ = asked.send(());
    }
    while connections.join_next().await.is_some() {}
}

/// Accepts until the end.
async fn accept<H: Handler, C: Future<Output = ()> + Send + 'static>(
    listener: &TcpListener,
    limits: Limits,
    end: impl Future<Output = Asked>,
    connections: &mut JoinSet<()>,
    converse: impl Fn((TcpStream, SocketAddr)) -> Option<C>,
) -> Asked {
    let mut end = pin!(end);
    loop {
        while connections.try_join_next().is_some() {}
        tokio::select! {
            asked = end.as_mut() => return asked,
            // Those that are full of idle clients end by themselves.
            Some(_) = connections.join_next(), if connections.len() >= limits.connections => {}
            accepted = listener.accept(), if connections.len() < limits.connections => match accepted {
                Ok(accepted) => {
                    // Who is turned away is closed.
                    if let Some(conversation) = converse(accepted) {
                        connections.spawn(conversation);
                    }
                }
                Err(error) => {
                    tracing::warn!(event = "http", listener = H::NAME, %error, "accepting a connection failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Packets of new connections find this listener no more, but another one of their address, if there is one; handshakes that have
/// begun end here. Closing at once would reset these.
fn take_no_more(listener: &TcpListener) {
    // Where the kernel refuses it, closing is as good as it is everywhere else.
    let _ = SockRef::from(listener).bind_device_by_index_v4(Some(NOWHERE));
}

/// The next connection that waits, if one does.
fn waiting(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    let (socket, peer) = SockRef::from(listener).accept().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((TcpStream::from_std(socket.into()).ok()?, peer.as_socket()?))
}

/// A connection that was accepted.
struct Guest<H> {
    peer: SocketAddr,
    admitted: Admitted,
    handler: Arc<H>,
    limits: Limits,
}

impl<H: Handler> Guest<H> {
    /// Answers its requests.
    async fn converse(&self, stream: TcpStream, mut closing: watch::Receiver<()>) {
        let asked = AtomicBool::new(false);
        let service = service_fn(|request| {
            asked.store(true, Ordering::Relaxed);
            async {
                let mut answer = self.handler.answer(request, self.peer).await;
                if self.admitted.others_wait() {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.next_head)
            .max_buf_size(REQUEST_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let silent = async {
            sleep(self.limits.first_head).await;
            if asked.load(Ordering::Relaxed) {
                pending().await
            }
        };
        let in_the_way = self.admitted.is_in_the_way(|| asked.load(Ordering::Relaxed));
        let last_request = async {
            let _ = timeout(self.limits.requests, closing.wait_for(|()| false)).await;
            if closing.has_changed().is_err() {
                sleep(LAST_REQUESTS).await;
            }
        };
        let ended = tokio::select! {
            // A request that came in time is taken, however late this is polled.
            biased;
            ended = connection.as_mut() => Some(ended),
            () = silent => return tracing::debug!(event = "http", listener = H::NAME, peer = %self.peer, "it asks nothing"),
            // One that is idle ends at once, one that is being answered with its answer.
            () = async { tokio::select! { () = in_the_way => {} () = last_request => {} } } => {
                connection.as_mut().graceful_shutdown();
                timeout(self.limits.last_answer, connection).await.ok()
            }
        };
        match ended {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::debug!(event = "http", listener = H::NAME, %error, "a connection ended badly")
            }
            None => tracing::debug!(
                event = "http",
                listener = H::NAME,
                "a connection was cut: its answer is not read"
            ),
        }
    }

    /// Tells it that it is one too many.
    async fn refuse(&self, stream: TcpStream) {
        let service = service_fn(|request: Request<Incoming>| async move {
            // What is closed unread is reset, and the answer with it. It says nothing, and nothing more is read than a head has.
            let _ = Limited::new(request.into_body(), REQUEST_MAX).collect().await;
            let mut answer = self.handler.too_many(self.peer);
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            Ok::<_, Infallible>(answer)
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.refusal)
            .max_buf_size(REQUEST_MAX)
            .serve_connection(TokioIo::new(stream), service);
        // Who asks late, or does not read, is cut.
        let _ = timeout(self.limits.refusal, connection).await;
    }
}
