//! HTTP/1.1 requests: at a rate or in loops, on kept connections or one each.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};

use crate::crew::run as run_crew;
use crate::outcome::{Outcome, Sample};
use crate::{LoadError, Settings};

mod client;

use client::HttpClient;

/// Requests, all alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Where to and how fast.
    pub settings: Settings,
    /// The method, such as `GET`.
    pub method: String,
    /// The path and query, such as `/a?b=c`.
    pub path: String,
    /// The `Host` header.
    pub host: String,
    /// More headers: name and value. `Host`, `Connection`, `Content-Length` and `Transfer-Encoding` are not for here.
    pub headers: Vec<(String, String)>,
    /// Bytes of the request's body, up to 64 MiB; 0: none.
    pub body_bytes: usize,
    /// The status that a right answer has.
    pub status: u16,
    /// How many bytes a right answer's body has. None: any number.
    pub answer_bytes: Option<u64>,
    /// The SHA-256 of a right answer's body. None: any.
    pub answer_sha256: Option<[u8; 32]>,
    /// Requests on a connection before the client closes it; 1: a connection a request. None: as long as the server
    /// keeps it.
    pub requests_per_connection: Option<u64>,
}

/// The longest request body.
const BODY_MAX: usize = 64 << 20;

impl Spec {
    /// `GET path` of `host`, expecting 200, connections kept.
    #[must_use]
    pub fn get(settings: Settings, host: &str, path: &str) -> Self {
        Self {
            settings,
            method: "GET".to_owned(),
            path: path.to_owned(),
            host: host.to_owned(),
            headers: Vec::new(),
            body_bytes: 0,
            status: 200,
            answer_bytes: None,
            answer_sha256: None,
            requests_per_connection: None,
        }
    }
}

/// Runs the load and returns what it found.
///
/// # Errors
/// When the run cannot take place: a spec without sense, no such namespace or source address.
pub fn run(spec: &Spec) -> Result<Outcome, LoadError> {
    run_seen(spec, &mut |_| ())
}

/// The same, with every second shown to `seen` as it ends.
///
/// # Errors
/// As [`run`].
pub fn run_seen(spec: &Spec, seen: &mut dyn FnMut(&Sample)) -> Result<Outcome, LoadError> {
    let order = Order::of(spec).map_err(LoadError::Spec)?;
    run_crew("http", &spec.settings, |kit| HttpClient::new(kit, order.clone()), seen)
}

/// A spec that was understood.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) method: Method,
    pub(crate) path: hyper::Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: hyper::body::Bytes,
    pub(crate) status: StatusCode,
    pub(crate) answer_bytes: Option<u64>,
    pub(crate) answer_sha256: Option<[u8; 32]>,
    pub(crate) requests_per_connection: u64,
}

impl Order {
    fn of(spec: &Spec) -> Result<Self, String> {
        let method = Method::from_bytes(spec.method.as_bytes())
            .map_err(|_| format!("{} is no method", spec.method))?;
        if method == Method::CONNECT {
            return Err("CONNECT opens a tunnel and is not measured here".to_owned());
        }
        let path = Some(&spec.path).filter(|path| path.starts_with('/'));
        let path =
            path.and_then(|path| path.parse().ok()).ok_or_else(|| format!("{} is no path", spec.path))?;
        if spec.body_bytes > BODY_MAX {
            return Err(format!("a body of {} bytes: at most {BODY_MAX}", spec.body_bytes));
        }
        if spec.requests_per_connection == Some(0) {
            return Err("no requests a connection".to_owned());
        }
        Ok(Self {
            headers: headers(spec)?,
            method,
            path,
            body: body(spec.body_bytes),
            status: StatusCode::from_u16(spec.status).map_err(|_| format!("{} is no status", spec.status))?,
            answer_bytes: spec.answer_bytes,
            answer_sha256: spec.answer_sha256,
            requests_per_connection: spec.requests_per_connection.unwrap_or(u64::MAX),
        })
    }
}

fn headers(spec: &Spec) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let host = HeaderValue::from_str(&spec.host).map_err(|_| format!("{} is no host", spec.host))?;
    headers.insert(hyper::header::HOST, host);
    headers.insert(hyper::header::USER_AGENT, HeaderValue::from_static("ringlead-bench"));
    for (name, value) in &spec.headers {
        let wrong = || format!("{name}: {value} is no header");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        if ["host", "connection", "content-length", "transfer-encoding"].contains(&name.as_str()) {
            return Err(format!("the header {name} follows from the other options"));
        }
        headers.append(name, HeaderValue::from_str(value).map_err(|_| wrong())?);
    }
    Ok(headers)
}

fn body(bytes: usize) -> hyper::body::Bytes {
    let mut body = Vec::with_capacity(bytes);
    while body.len() < bytes {
        body.extend_from_slice(crate::pattern::from(body.len() as u64, (bytes - body.len()) as u64));
    }
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pace;

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        let settings = Settings::new("127.0.0.1:80".parse().unwrap(), Pace::Closed { concurrency: 1 });
        let good = Spec::get(settings, "example.net", "/");
        assert!(Order::of(&good).is_ok());
        let refused = |change: fn(&mut Spec), word: &str| {
            let mut bad = good.clone();
            change(&mut bad);
            let why = Order::of(&bad).err().unwrap();
            assert!(why.contains(word), "{why}");
        };
        refused(|s| s.method = "G T".into(), "G T is no method");
        refused(|s| s.method = "CONNECT".into(), "tunnel");
        refused(|s| s.path = "x".into(), "x is no path");
        refused(|s| s.path = "/a b".into(), "/a b is no path");
        refused(|s| s.host = "a\nb".into(), "no host");
        refused(|s| s.headers = vec![("a b".into(), "c".into())], "a b: c is no header");
        refused(|s| s.headers = vec![("Host".into(), "c".into())], "host follows from");
        refused(|s| s.body_bytes = BODY_MAX + 1, "at most");
        refused(|s| s.status = 99, "99 is no status");
        refused(|s| s.requests_per_connection = Some(0), "no requests");
    }

    #[test]
    fn a_body_has_its_length() {
        for bytes in [0, 1, 70_000, 200_000] {
            assert_eq!(body(bytes).len(), bytes);
        }
    }
}
