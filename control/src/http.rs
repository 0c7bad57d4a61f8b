//! HTTP/1.1 on a listener of this node's: few connections, short ones, and never the control loop's time. What is asked and
//! answered is a [`Handler`]'s.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// Connections at once; more wait to be accepted.
pub(crate) const CONNECTIONS_MAX: usize = 16;
/// The longest life of a connection, whatever it does.
const CONNECTION_MAX: Duration = Duration::from_secs(60);
/// The longest wait for a request, also for the next one.
pub(crate) const REQUEST_WAIT_MAX: Duration = Duration::from_secs(20);
/// Bytes of a request's head.
const REQUEST_MAX: usize = 16 << 10;
/// Pause after a failed accept (no file descriptor left), so that it is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Plain text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// A whole answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Who answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// What log lines call its listener.
    const NAME: &'static str;

    /// Answers a request that came from `peer`.
    fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> impl Future<Output = Answer> + Send;
}

/// A place where requests are answered. Dropping it closes it with its connections.
#[derive(Debug)]
pub struct Server {
    at: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens; must be called on a runtime.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn listen<H: Handler>(at: SocketAddr, handler: Arc<H>) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind(at)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { at: listener.local_addr()?, task: tokio::spawn(accept(listener, handler)) })
    }

    /// Where it listens.
    #[must_use]
    pub fn at(&self) -> SocketAddr {
        self.at
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The connections live in this task's set, so that they end with it.
async fn accept<H: Handler>(listener: TcpListener, handler: Arc<H>) {
    let mut connections = JoinSet::new();
    loop {
        // Those that are full of idle askers end by themselves.
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, peer)) => {
                connections.spawn(timeout(CONNECTION_MAX, converse(stream, peer, Arc::clone(&handler))));
            }
            Err(error) => {
                let listener = H::NAME;
                tracing::warn!(event = "http", listener, %error, "accepting a connection failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn converse<H: Handler>(stream: TcpStream, peer: SocketAddr, handler: Arc<H>) {
    let service = service_fn(move |request| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, Infallible>(handler.answer(request, peer).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WAIT_MAX)
        .max_buf_size(REQUEST_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        let listener = H::NAME;
        tracing::debug!(event = "http", listener, %error, "a connection ended badly");
    }
}

/// A line of plain text.
pub(crate) fn text(status: StatusCode, words: String) -> Answer {
    response(status, TEXT, words)
}

/// An answer that nobody may keep.
pub(crate) fn response(status: StatusCode, media_type: &'static str, body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Hello;

    impl Handler for Hello {
        const NAME: &'static str = "hello";

        async fn answer(&self, _: Request<Incoming>, _: SocketAddr) -> Answer {
            text(StatusCode::OK, "hello\n".to_owned())
        }
    }

    #[tokio::test]
    async fn more_connections_than_places_wait_their_turn() {
        let server = Server::listen("127.0.0.1:0".parse().unwrap(), Arc::new(Hello)).unwrap();
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            idle.push(TcpStream::connect(server.at()).await.unwrap());
        }
        let mut one_more = TcpStream::connect(server.at()).await.unwrap();
        one_more.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut said = String::new();
        let early = timeout(Duration::from_millis(300), one_more.read_to_string(&mut said)).await;
        assert!(early.is_err() && said.is_empty(), "{said}");
        drop(idle);
        one_more.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200 OK") && said.ends_with("hello\n"), "{said}");
    }
}
