//! HTTP/1.1 for scrapers and probes: few connections, short ones, and never the control loop's time.

use super::{Figures, Format, Pulse, render, unready};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// The longest life of a connection, whatever it does.
const CONNECTION_MAX: Duration = Duration::from_secs(60);
/// The longest wait for a request, also for the next one.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(20);
/// The longest wait for the control loop and for the answers before this one.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const REQUEST_MAX: usize = 16 << 10;
/// Lines of an answer that says what is wrong.
const LINES_MAX: usize = 50;
/// Pause after a failed accept (no file descriptor left), so that it is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";

/// Makes the figures; takes time with the configuration's size.
pub type Make = Box<dyn FnOnce() -> Figures + Send>;
/// A question to the control loop.
pub type Ask = oneshot::Sender<Make>;

/// A place where metrics are served. Dropping it closes it with its connections.
#[derive(Debug)]
pub struct Server {
    at: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens; must be called on a runtime. Scrapes go to `asks`, and whether the daemon lives is read off `pulse`.
    ///
    /// # Errors
    /// What the system said.
    pub fn listen(at: SocketAddr, asks: mpsc::Sender<Ask>, pulse: Arc<Pulse>) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind(at)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let door = Arc::new(Door { asks, pulse, turn: Arc::new(Semaphore::new(1)) });
        Ok(Self { at, task: tokio::spawn(accept(listener, door)) })
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

struct Door {
    asks: mpsc::Sender<Ask>,
    pulse: Arc<Pulse>,
    /// Figures are made for one at a time.
    turn: Arc<Semaphore>,
}

/// The connections live in this task's set, so that they end with it.
async fn accept(listener: TcpListener, door: Arc<Door>) {
    let mut connections = JoinSet::new();
    loop {
        // Those that are full of idle scrapers end by themselves.
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(timeout(CONNECTION_MAX, converse(stream, Arc::clone(&door))));
            }
            Err(error) => {
                tracing::warn!(event = "metrics", %error, "accepting a connection failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(stream: TcpStream, door: Arc<Door>) {
    let service = service_fn(move |request| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(answer(&request, &door).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WAIT_MAX)
        .max_buf_size(REQUEST_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(event = "metrics", %error, "a connection ended badly");
    }
}

async fn answer(request: &Request<Incoming>, door: &Door) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/metrics" => metrics(door, wanted(request.headers())).await,
        "/healthz" => verdict("alive", &door.pulse.failures()),
        "/readyz" => ready(door).await,
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n".to_owned()),
    }
}

async fn metrics(door: &Door, format: Format) -> Response<Full<Bytes>> {
    match made(door, move |figures| render(figures, format)).await {
        Ok(Ok(page)) => response(StatusCode::OK, format.media_type(), page),
        Ok(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn ready(door: &Door) -> Response<Full<Bytes>> {
    if !door.pulse.is_ready() {
        return verdict("ready", &["still starting".to_owned()]);
    }
    match made(door, |figures| unready(&figures.status)).await {
        Ok(lacks) => verdict("ready", &lacks),
        Err(why) => verdict("ready", &[why.to_owned()]),
    }
}

/// Asks the control loop for figures and does something with them on a blocking thread, after those who asked before.
async fn made<T: Send + 'static>(
    door: &Door,
    work: impl FnOnce(Figures) -> T + Send + 'static,
) -> Result<T, &'static str> {
    let asked = async {
        // The semaphore is never closed; without a permit figures are made rather than not.
        let turn = Arc::clone(&door.turn).acquire_owned().await;
        let (ask, answer) = oneshot::channel();
        door.asks.send(ask).await.map_err(|_| "the daemon is ending")?;
        let make = answer.await.map_err(|_| "the daemon is ending")?;
        // Who asked may leave meanwhile; the next one's turn comes when this work is over all the same.
        let job = move || {
            let done = work(make());
            drop(turn);
            done
        };
        spawn_blocking(job).await.map_err(|_| "the figures could not be made")
    };
    timeout(ANSWER_MAX, asked).await.unwrap_or(Err("the control loop has not answered in time"))
}

/// OpenMetrics where it is preferred to plain text (RFC 9110 section 12.5.1); plain text for who does not say.
fn wanted(headers: &HeaderMap) -> Format {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut weights = [0.0_f32; 2];
    for range in accepted.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let place = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "application/openmetrics-text" => 0,
            "text/plain" | "text/*" | "*/*" => 1,
            _ => continue,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
        if let Some(best) = weights.get_mut(place) {
            *best = best.max(weight);
        }
    }
    let [open, plain] = weights;
    if open > 0.0 && open >= plain { Format::OpenMetrics } else { Format::Plain }
}

/// 200 and a word, or 503 and what is wrong, a line each.
fn verdict(word: &str, failures: &[String]) -> Response<Full<Bytes>> {
    if failures.is_empty() {
        return text(StatusCode::OK, format!("{word}\n"));
    }
    let mut lines: Vec<String> = failures.iter().take(LINES_MAX).map(|line| format!("{line}\n")).collect();
    if failures.len() > LINES_MAX {
        lines.push(format!("and {} more\n", failures.len() - LINES_MAX));
    }
    text(StatusCode::SERVICE_UNAVAILABLE, format!("not {word}\n{}", lines.concat()))
}

fn text(status: StatusCode, words: String) -> Response<Full<Bytes>> {
    response(status, TEXT, words)
}

fn response(status: StatusCode, media_type: &'static str, body: String) -> Response<Full<Bytes>> {
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

    fn format_for(accept: &[&'static str]) -> Format {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        wanted(&headers)
    }

    #[test]
    fn openmetrics_for_who_prefers_it_rfc9110_12_5_1() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.75,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(format_for(&[prometheus]), Format::OpenMetrics);
        assert_eq!(
            format_for(&["text/plain;q=0.2", "application/openmetrics-text; q=0.3"]),
            Format::OpenMetrics
        );
        assert_eq!(format_for(&["application/openmetrics-text"]), Format::OpenMetrics);
        for plain in
            ["*/*", "text/plain", "text/html", "", "application/openmetrics-text;q=0.1,text/plain;q=0.2"]
        {
            assert_eq!(format_for(&[plain]), Format::Plain, "{plain}");
        }
        assert_eq!(format_for(&["application/openmetrics-text;q=0"]), Format::Plain);
        assert_eq!(format_for(&[]), Format::Plain);
    }

    #[tokio::test]
    async fn more_connections_than_places_wait_their_turn() {
        let (asks, _) = mpsc::channel(1);
        let pulse = Arc::new(Pulse::new(Arc::from([]), Vec::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let server =
            tokio::spawn(accept(listener, Arc::new(Door { asks, pulse, turn: Arc::new(Semaphore::new(1)) })));
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            idle.push(TcpStream::connect(at).await.unwrap());
        }
        let mut one_more = TcpStream::connect(at).await.unwrap();
        one_more.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut said = String::new();
        let early = timeout(Duration::from_millis(300), one_more.read_to_string(&mut said)).await;
        assert!(early.is_err() && said.is_empty(), "{said}");
        drop(idle);
        one_more.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200 OK") && said.ends_with("alive\n"), "{said}");
        server.abort();
    }

    #[test]
    fn a_verdict_of_many_lines_is_cut() {
        let failures: Vec<String> = (0..60).map(|n| format!("service s{n} lacks")).collect();
        assert_eq!(verdict("ready", &failures).status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(verdict("alive", &[]).status(), StatusCode::OK);
    }
}
