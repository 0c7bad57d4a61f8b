//! One HTTP/1.1 request (RFC 9112), and whether the answer is the wanted one.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Attempt, Outcome, Passed, contains, failed, inconclusive, judge, shown, tcp, tls};
use crate::health::HttpProbe;
use crate::health::trust::Trust;

/// Bytes that a status line and its fields may have.
const HEAD_MAX: usize = 16 * 1024;
/// Bytes of a body that are looked at.
const BODY_MAX: usize = 64 * 1024;

pub(super) async fn attempt(probe: &HttpProbe, target: SocketAddr, trust: &Trust) -> Attempt {
    over(probe, target, tcp::connect(target).await?, trust).await
}

/// The same over a connection that is there.
pub(super) async fn over(
    probe: &HttpProbe,
    target: SocketAddr,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    trust: &Trust,
) -> Attempt {
    let Some(tls) = &probe.tls else { return ask(probe, target, stream).await };
    let (stream, seen) = tls::handshake(tls, target, stream, trust).await?;
    let passed = ask(probe, target, stream).await?;
    let words = match seen.ends_in_words() {
        Some(ends) => format!("{}, {ends}", passed.words),
        None => passed.words,
    };
    Ok(Passed { words, certificate_ends: seen.ends, ..passed })
}

async fn ask(
    probe: &HttpProbe,
    target: SocketAddr,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Attempt {
    let request = request(probe, target).ok_or_else(|| inconclusive("the request cannot be written"))?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        judged(probe, response).await
    };
    // The connection is driven here and ends with the attempt: nothing is left behind when its time is over.
    let (mut answer, connection) = (std::pin::pin!(answer), std::pin::pin!(connection));
    tokio::select! {
        biased;
        result = &mut answer => result,
        _ = connection => answer.await,
    }
}

fn request(probe: &HttpProbe, target: SocketAddr) -> Option<Request<Empty<Bytes>>> {
    let host = probe.host.clone().unwrap_or_else(|| target.to_string());
    let mut request = Request::builder()
        .method(probe.method.as_str())
        .uri(probe.path.as_str())
        .header("host", host)
        .header("user-agent", "ringlead-health")
        .header("connection", "close");
    for (name, value) in &probe.headers {
        request = request.header(name, value);
    }
    request.body(Empty::new()).ok()
}

async fn judged(probe: &HttpProbe, response: Response<Incoming>) -> Attempt {
    let status = response.status().as_u16();
    if !probe.statuses.iter().any(|(first, last)| (*first..=*last).contains(&status)) {
        return Err(failed(format!("HTTP {status}, expected {}", ranges(&probe.statuses))));
    }
    let Some(wanted) = &probe.body_contains else { return Ok(Passed::new(format!("HTTP {status}"))) };
    let (body, is_whole) = beginning(response.into_body(), wanted.as_bytes()).await?;
    if contains(&body, wanted.as_bytes()) {
        return Ok(Passed::new(format!("HTTP {status} with {}", shown(wanted.as_bytes()))));
    }
    let part = if is_whole { "the body does not contain" } else { "the first 64 KiB do not contain" };
    Err(failed(format!("HTTP {status}, but {part} {}", shown(wanted.as_bytes()))))
}

/// A body up to what is looked for, its end, or [`BODY_MAX`]; whether it is whole.
async fn beginning(mut body: Incoming, wanted: &[u8]) -> Result<(Vec<u8>, bool), Outcome> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        let data = frame.data_ref().map(|data| data.as_ref()).unwrap_or_default();
        // What is looked for may begin in what was there before.
        let looked_at = read.len().saturating_sub(wanted.len());
        read.extend_from_slice(data.get(..data.len().min(BODY_MAX - read.len())).unwrap_or_default());
        if read.get(looked_at..).is_some_and(|new| contains(new, wanted)) {
            return Ok((read, true));
        }
        if read.len() >= BODY_MAX {
            return Ok((read, false));
        }
    }
    Ok((read, true))
}

/// 200-299, 301.
fn ranges(statuses: &[(u16, u16)]) -> String {
    let range = |&(first, last): &(u16, u16)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    statuses.iter().map(range).collect::<Vec<_>>().join(", ")
}

fn broken(error: &hyper::Error) -> Outcome {
    // hyper tells clients this in words only.
    if error.is_parse() && error.to_string().contains("too large") {
        return failed("the answer's header is longer than 16 KiB");
    }
    if error.is_parse() {
        return failed("the answer is no HTTP/1");
    }
    let source = std::error::Error::source(error);
    if let Some(io) = source.and_then(|source| source.downcast_ref::<std::io::Error>()) {
        return match tls::reason(io) {
            Some(reason) => failed(reason),
            None => judge(io),
        };
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return failed("the connection was closed before the answer's end");
    }
    failed(format!("no HTTP answer: {error}"))
}
