//! What scrapers and probes get over HTTP: never for the control loop's time.

use super::{Figures, Format, Pulse, render, unready};
use crate::http::{Answer, Handler, response, text};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// The longest wait for the control loop and for the answers before this one.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Lines of an answer that says what is wrong.
const LINES_MAX: usize = 50;

/// Makes the figures; takes time with the configuration's size.
pub type Make = Box<dyn FnOnce() -> Figures + Send>;
/// A question to the control loop.
pub type Ask = oneshot::Sender<Make>;

/// Whoever answers: scrapes go to the control loop, and whether the daemon lives is read off the pulse.
#[derive(Debug)]
pub struct Door {
    asks: mpsc::Sender<Ask>,
    pulse: Arc<Pulse>,
    /// Figures are made for one at a time.
    turn: Arc<Semaphore>,
}

impl Door {
    /// Scrapes go to `asks`.
    #[must_use]
    pub fn new(asks: mpsc::Sender<Ask>, pulse: Arc<Pulse>) -> Self {
        Self { asks, pulse, turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Handler for Door {
    const NAME: &'static str = "metrics";

    async fn answer(&self, request: Request<Incoming>, _peer: SocketAddr) -> Answer {
        answer(&request, self).await
    }

    fn too_many(&self, _peer: SocketAddr) -> Answer {
        let why = "too many connections from one address at a time\n";
        text(StatusCode::TOO_MANY_REQUESTS, why.to_owned())
    }

    fn turned_away(&self, peer: SocketAddr) {
        tracing::debug!(event = "http", listener = Self::NAME, %peer, "it has as many connections as it may");
    }
}

async fn answer(request: &Request<Incoming>, door: &Door) -> Answer {
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

async fn metrics(door: &Door, format: Format) -> Answer {
    match made(door, move |figures| render(figures, format)).await {
        Ok(Ok(page)) => response(StatusCode::OK, format.media_type(), page),
        Ok(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn ready(door: &Door) -> Answer {
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
fn verdict(word: &str, failures: &[String]) -> Answer {
    if failures.is_empty() {
        return text(StatusCode::OK, format!("{word}\n"));
    }
    let mut lines: Vec<String> = failures.iter().take(LINES_MAX).map(|line| format!("{line}\n")).collect();
    if failures.len() > LINES_MAX {
        lines.push(format!("and {} more\n", failures.len() - LINES_MAX));
    }
    text(StatusCode::SERVICE_UNAVAILABLE, format!("not {word}\n{}", lines.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_verdict_of_many_lines_is_cut() {
        let failures: Vec<String> = (0..60).map(|n| format!("service s{n} lacks")).collect();
        assert_eq!(verdict("ready", &failures).status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(verdict("alive", &[]).status(), StatusCode::OK);
    }
}
