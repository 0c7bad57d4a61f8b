//! Accepting connections, few at a time, and letting each end well.

use super::Opened;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// The longest wait for a request, also for the next one.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(20);
/// Bytes of a request's head.
const REQUEST_MAX: usize = 16 << 10;
/// Pause after a failed accept (no file descriptor left), so that it is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// For so long connections that have begun before a server closes may end their handshake.
const LAST_HANDSHAKES: Duration = Duration::from_millis(100);
/// The index of no interface: the largest.
const NOWHERE: NonZeroU32 = NonZeroU32::new(i32::MAX.unsigned_abs()).unwrap();
/// For so long the connections of a server that closes may still ask: who has just connected is about to.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// Who answers requests.
pub trait Answer: Send + Sync + 'static {
    /// Which kind of event its connections' failures are.
    const EVENT: &'static str;

    /// Answers one request.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// For how long a connection lives.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// After this time no further request is taken; one that is being answered, is.
    pub requests: Duration,
    /// How long an answer may take from then on, until the connection is cut.
    pub last_answer: Duration,
}

impl Default for Limits {
    /// 60 s, and 30 s more.
    fn default() -> Self {
        Self { requests: Duration::from_secs(60), last_answer: Duration::from_secs(30) }
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
    /// Begins to serve; must be called on a runtime.
    ///
    /// # Errors
    /// What the system said.
    pub fn begin(opened: Opened, answerer: Arc<impl Answer>, limits: Limits) -> std::io::Result<Self> {
        let listener = Arc::new(TcpListener::from_std(opened.listener)?);
        let (close, told) = oneshot::channel();
        let task = tokio::spawn(serve(Arc::clone(&listener), answerer, limits, told));
        Ok(Self { at: opened.at, listener, close: Some(close), task })
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
    pub async fn close(mut self) {
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
async fn serve<A: Answer>(
    listener: Arc<TcpListener>,
    answerer: Arc<A>,
    limits: Limits,
    told: oneshot::Receiver<oneshot::Sender<()>>,
) {
    let mut connections = JoinSet::new();
    // Dropped: the server closes.
    let (open, closing) = watch::channel(());
    let converse = |stream| converse(stream, Arc::clone(&answerer), limits, closing.clone());
    let last_handshakes = async {
        let asked = told.await;
        take_no_more(&listener);
        sleep(LAST_HANDSHAKES).await;
        asked
    };
    let asked = accept::<A, _>(&listener, last_handshakes, &mut connections, converse).await;
    // The kernel has greeted those who still wait, too.
    for stream in std::iter::from_fn(|| waiting(&listener)).take(CONNECTIONS_MAX) {
        connections.spawn(converse(stream));
    }
    drop((listener, open));
    if let Ok(asked) = asked {
        // Who asked may have gone.
        let _ = asked.send(());
    }
    while connections.join_next().await.is_some() {}
}

/// Accepts until the end.
async fn accept<A: Answer, C: Future<Output = ()> + Send + 'static>(
    listener: &TcpListener,
    end: impl Future<Output = Asked>,
    connections: &mut JoinSet<()>,
    converse: impl Fn(TcpStream) -> C,
) -> Asked {
    let mut end = pin!(end);
    loop {
        while connections.try_join_next().is_some() {}
        tokio::select! {
            asked = end.as_mut() => return asked,
            // Those that are full of idle clients end by themselves.
            Some(_) = connections.join_next(), if connections.len() >= CONNECTIONS_MAX => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => _ = connections.spawn(converse(stream)),
                Err(error) => {
                    tracing::warn!(event = A::EVENT, %error, "accepting a connection failed");
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
fn waiting(listener: &TcpListener) -> Option<TcpStream> {
    let (socket, _) = SockRef::from(listener).accept().ok()?;
    socket.set_nonblocking(true).ok()?;
    TcpStream::from_std(socket.into()).ok()
}

async fn converse<A: Answer>(
    stream: TcpStream,
    answerer: Arc<A>,
    limits: Limits,
    mut closing: watch::Receiver<()>,
) {
    let service = service_fn(move |request| {
        let answerer = Arc::clone(&answerer);
        async move { Ok::<_, Infallible>(answerer.answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WAIT_MAX)
        .max_buf_size(REQUEST_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let last_request = async {
        let _ = timeout(limits.requests, closing.wait_for(|()| false)).await;
        if closing.has_changed().is_err() {
            sleep(LAST_REQUESTS).await;
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = last_request => {
            connection.as_mut().graceful_shutdown();
            timeout(limits.last_answer, connection).await.ok()
        }
    };
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(event = A::EVENT, %error, "a connection ended badly"),
        None => tracing::debug!(event = A::EVENT, "a connection was cut: its answer is not read"),
    }
}
