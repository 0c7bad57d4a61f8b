//! The listener: who may report, what a call may be, and which status it is answered with.

use super::body::{Place, Unread};
use super::counts::ReportCounts;
use super::tokens::{TokenLine, Tokens};
use crate::engine::requests::reported::{RefusedFor, ReportAnswer, ReportRefused, ReportRequest};
use crate::http::{Answer, Handler, REQUEST_WAIT_MAX, Server, response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, AUTHORIZATION, CONNECTION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Bytes of a body: the most reports with long names and reasons.
const BODY_MAX: usize = 256 << 10;
/// The longest wait for the control loop.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Between two lines of the log about calls without a valid token.
const TELL_EVERY: Duration = Duration::from_secs(10);

const JSON: &str = "application/json";

/// Who called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reporter {
    /// From where; behind a proxy it is the proxy's address.
    pub peer: SocketAddr,
    /// By which of the tokens.
    pub token: TokenLine,
}

/// What one call reports, all or nothing, and who waits for what came of it.
#[derive(Debug)]
pub struct ReportCall {
    /// Who reports.
    pub by: Reporter,
    /// 1 to [`REPORTS_MAX`](super::REPORTS_MAX).
    pub reports: Vec<ReportRequest>,
    /// Whoever waits.
    pub answer: oneshot::Sender<Result<Vec<ReportAnswer>, ReportRefused>>,
}

/// What listeners share: a reload's new one is the old one's sibling.
#[derive(Debug)]
pub struct Door {
    calls: mpsc::Sender<ReportCall>,
    tokens: RwLock<Arc<Tokens>>,
    counts: ReportCounts,
    strangers: Mutex<Seldom>,
    crowds: Mutex<Seldom>,
}

/// What anybody can do as often as they like, and the log tells seldom.
#[derive(Debug, Default)]
struct Seldom {
    told: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// One more; `Some` with how many there are to tell of, when a line is due.
    fn note(&mut self, now: Instant) -> Option<u64> {
        self.untold = self.untold.saturating_add(1);
        if self.told.is_some_and(|at| now.duration_since(at) < TELL_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// Why a call changed nothing.
struct Refusal {
    status: StatusCode,
    why: String,
    /// Which of a list.
    at: Option<usize>,
    header: Option<(HeaderName, &'static str)>,
}

impl Door {
    /// Calls go to `calls`; nobody has a valid token yet.
    #[must_use]
    pub fn new(calls: mpsc::Sender<ReportCall>) -> Self {
        Self {
            calls,
            tokens: RwLock::default(),
            counts: ReportCounts::default(),
            strangers: Mutex::default(),
            crowds: Mutex::default(),
        }
    }

    /// Listens; must be called on a runtime.
    ///
    /// # Errors
    /// What the system said.
    pub fn listen(self: &Arc<Self>, at: SocketAddr) -> std::io::Result<Server> {
        Server::listen(at, Arc::clone(self))
    }

    /// From now on these are valid and no others.
    pub fn set_tokens(&self, tokens: Tokens) {
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
    }

    /// How calls ended.
    #[must_use]
    pub fn counts(&self) -> &ReportCounts {
        &self.counts
    }

    async fn take(&self, request: Request<Incoming>, peer: SocketAddr) -> Result<Value, Refusal> {
        // Before anything else: a stranger learns nothing, and nothing is read of what it sends.
        let by = Reporter { peer, token: self.authenticate(request.headers(), peer)? };
        let (head, body) = request.into_parts();
        let place = Place::of(head.uri.path()).ok_or_else(|| {
            Refusal::new(StatusCode::NOT_FOUND, "there are /v1/servers/POOL/SERVER/health and /v1/report")
        })?;
        let (method, allowed) = match place {
            Place::Server { .. } => (Method::PUT, "PUT"),
            Place::Many => (Method::POST, "POST"),
        };
        if head.method != method {
            return Err(
                Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("only {allowed}")).with(ALLOW, allowed)
            );
        }
        let reports = place.read(&whole(body).await?)?;
        let answers = self.call(by, reports).await?;
        Ok(match place {
            Place::Server { .. } => json!(answers.first()),
            Place::Many => json!(answers),
        })
    }

    fn authenticate(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<TokenLine, Refusal> {
        let token = bearer(headers);
        let tokens = Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner));
        if let Some(line) = token.and_then(|token| tokens.accept(token)) {
            return Ok(line);
        }
        self.tell_stranger(peer);
        let refusal = Refusal::new(
            StatusCode::UNAUTHORIZED,
            "a report needs a valid token: Authorization: Bearer TOKEN",
        );
        // RFC 6750 section 3.1: who sent no token gets no error code.
        Err(refusal.with(
            WWW_AUTHENTICATE,
            match token {
                Some(_) => "Bearer realm=\"ringlead\", error=\"invalid_token\"",
                None => "Bearer realm=\"ringlead\"",
            },
        ))
    }

    fn tell_stranger(&self, peer: SocketAddr) {
        let due = self.strangers.lock().unwrap_or_else(PoisonError::into_inner).note(Instant::now());
        if let Some(calls) = due {
            tracing::warn!(event = "report", %peer, calls, "refused: no valid token");
        }
    }

    fn tell_crowd(&self, peer: SocketAddr) {
        let due = self.crowds.lock().unwrap_or_else(PoisonError::into_inner).note(Instant::now());
        if let Some(calls) = due {
            tracing::warn!(event = "report", %peer, calls, "refused: too many connections from one address at a time");
        }
    }

    /// Asks the control loop, which is not made to wait: whoever comes when enough are waiting comes again.
    async fn call(&self, by: Reporter, reports: Vec<ReportRequest>) -> Result<Vec<ReportAnswer>, Refusal> {
        let (answer, told) = oneshot::channel();
        self.calls.try_send(ReportCall { by, reports, answer }).map_err(|refused| match refused {
            TrySendError::Full(_) => Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many reports at a time: report many servers in one call",
            )
            .with(RETRY_AFTER, "1"),
            TrySendError::Closed(_) => Refusal::ending(),
        })?;
        match timeout(ANSWER_MAX, told).await {
            Ok(Ok(answers)) => answers.map_err(Refusal::from),
            Ok(Err(_)) => Err(Refusal::ending()),
            Err(_) => {
                let why = "the control loop has not answered in time; the report may count later";
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why).with(RETRY_AFTER, "1"))
            }
        }
    }
}

impl Handler for Door {
    const NAME: &'static str = "report";

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let answer = match self.take(request, peer).await {
            Ok(answers) => response(StatusCode::OK, JSON, format!("{answers}\n")),
            Err(refusal) => refusal.answer(),
        };
        self.counts.count(answer.status());
        answer
    }

    fn too_many(&self, peer: SocketAddr) -> Answer {
        self.tell_crowd(peer);
        let why = "too many connections from this address at a time: report many servers in one call";
        let answer = Refusal::new(StatusCode::TOO_MANY_REQUESTS, why).with(RETRY_AFTER, "1").answer();
        self.counts.count(answer.status());
        answer
    }

    fn turned_away(&self, peer: SocketAddr) {
        self.tell_crowd(peer);
        self.counts.count_unanswered();
    }
}

impl Refusal {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into(), at: None, header: None }
    }

    fn ending() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending").with(RETRY_AFTER, "1")
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    fn answer(self) -> Answer {
        let body = match self.at {
            Some(at) => json!({ "error": self.why, "at": at }),
            None => json!({ "error": self.why }),
        };
        let mut answer = response(self.status, JSON, format!("{body}\n"));
        if let Some((name, value)) = self.header {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        // A stranger's connection is for others (RFC 9112 section 9.6).
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Malformed(why) => Self::new(StatusCode::BAD_REQUEST, why),
            Unread::Unfit(at, why) => Self { at, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, why) },
        }
    }
}

impl From<ReportRefused> for Refusal {
    fn from(refused: ReportRefused) -> Self {
        let status = match refused.reason {
            RefusedFor::Nobody => StatusCode::NOT_FOUND,
            RefusedFor::Unfit => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self { at: Some(refused.at), ..Self::new(status, refused.why) }
    }
}

/// The token of the one header that has one (RFC 6750 section 2.1); the scheme's case says nothing (RFC 9110 section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

async fn whole(body: Incoming) -> Result<Bytes, Refusal> {
    match timeout(REQUEST_WAIT_MAX, Limited::new(body, BODY_MAX).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let why = format!("a body has at most {} KiB", BODY_MAX >> 10);
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why))
        }
        Ok(Err(error)) => Err(Refusal::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

#[cfg(test)]
#[path = "door_tests.rs"]
mod tests;
