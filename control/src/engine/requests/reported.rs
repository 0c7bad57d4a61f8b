//! Central reporting: a monitoring system says whether a server is up, for a time, and that counts before what is found here.

use super::super::Engine;
use super::super::operator::{REASON_MAX, parsed, unix_now};
use crate::plan::{Health, Reported, Source};
use crate::reports::{ReportCall, Reporter};
use ringlead_flow::ServerId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How long a report counts that does not say for how long.
pub const FOR_DEFAULT: Duration = Duration::from_secs(30);
/// The longest that one counts: who reports goes on reporting.
pub const FOR_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How often it is looked whether reports are over.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is reported of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportedHealth {
    /// It serves.
    Up,
    /// It does not.
    Down,
    /// Nothing any more: what is found here counts again.
    Clear,
}

/// The command `report`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportRequest {
    /// The pool's name.
    pub pool: String,
    /// The server's name.
    pub server: String,
    /// What of it.
    pub health: ReportedHealth,
    /// For how many seconds it counts, 1 to [`FOR_MAX`]; [`FOR_DEFAULT`] where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u64>,
    /// Why, in the reporter's words: a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer to `report`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReportAnswer {
    /// `POOL/SERVER`.
    pub server: String,
    /// Its health before, as status writes it.
    pub old: String,
    /// Its health now.
    pub new: String,
    /// Who says so now: `report`, or whoever did before.
    pub source: String,
    /// For how many seconds; absent: it is no report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u64>,
    /// Until when, in UTC (RFC 3339); absent likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// Why a call changed nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct ReportRefused {
    /// Which of its reports was the first that is wrong, from 0.
    pub at: usize,
    /// How it is wrong.
    pub reason: RefusedFor,
    /// The same in words.
    pub why: String,
}

/// How a report is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedFor {
    /// There is no such pool or server.
    Nobody,
    /// What it says of it cannot be.
    Unfit,
}

/// When reports were last looked at.
#[derive(Debug, Default)]
pub(in crate::engine) struct ReportWatch {
    looked: Option<Instant>,
}

impl Engine {
    /// The command `report`.
    pub(in crate::engine) async fn report_health(
        &mut self,
        arguments: &Map<String, Value>,
    ) -> Result<ReportAnswer, String> {
        let request: ReportRequest = parsed(arguments)?;
        let answers = self.report_all(vec![request], None).await.map_err(|refused| refused.why)?;
        answers.into_iter().next().ok_or_else(|| "nothing was reported".to_owned())
    }

    /// A call over HTTP.
    pub(in crate::engine) async fn on_report(&mut self, call: ReportCall) {
        // Who called may have gone; the report counts all the same.
        let _ = call.answer.send(self.report_all(call.reports, Some(call.by)).await);
    }

    /// Takes reports over, all or none, and publishes what they change, once. `by`: who called over HTTP.
    async fn report_all(
        &mut self,
        requests: Vec<ReportRequest>,
        by: Option<Reporter>,
    ) -> Result<Vec<ReportAnswer>, ReportRefused> {
        let servers = self.reported_servers(&requests)?;
        let plan = Arc::make_mut(&mut self.plan);
        let (mut answers, mut changed) = (Vec::with_capacity(requests.len()), Vec::new());
        for (request, id) in requests.into_iter().zip(servers) {
            let old = plan.server(id).map_or(Health::Unknown, |record| record.health);
            let (server, time) = (format!("{}/{}", request.pool, request.server), lasting(&request));
            if plan.set_reported(id, reported(request, time)) {
                changed.push(id);
            }
            let now = plan.server(id).map(|record| (record.health, record.source));
            let (new, source) = now.unwrap_or((old, Source::Nobody));
            answers.push(ReportAnswer {
                server,
                old: old.name().to_owned(),
                new: new.name().to_owned(),
                source: source.name().to_owned(),
                for_s: time.map(|time| time.as_secs()),
                expires: time
                    .map(|time| humantime::format_rfc3339_seconds(SystemTime::now() + time).to_string()),
            });
        }
        for id in &changed {
            self.tell_report(*id, by);
        }
        if !changed.is_empty() {
            self.publish_and_steer().await;
        }
        Ok(answers)
    }

    /// Whom the reports are about, each of them once.
    fn reported_servers(&self, requests: &[ReportRequest]) -> Result<Vec<ServerId>, ReportRefused> {
        let mut seen = BTreeSet::new();
        let pools = requests.iter().map(|request| request.pool.as_str()).collect();
        let servers = self.plan.servers_of(&pools);
        let found = requests.iter().enumerate().map(|(at, request)| {
            let refused = |reason, why| ReportRefused { at, reason, why };
            check(request).map_err(|why| refused(RefusedFor::Unfit, why))?;
            let found = servers.get(&request.pool, &request.server);
            let record = found.map_err(|why| refused(RefusedFor::Nobody, why.to_string()))?;
            if !seen.insert(record.id.0) {
                let why = format!("{}/{} is reported twice", request.pool, request.server);
                return Err(refused(RefusedFor::Unfit, why));
            }
            Ok(record.id)
        });
        found.collect()
    }

    /// Ends reports whose time is over: what is found here counts again.
    pub(in crate::engine) async fn end_reports(&mut self) {
        let now = Instant::now();
        if self.reports.looked.is_some_and(|at| now.duration_since(at) < LOOK_EVERY) {
            return;
        }
        self.reports.looked = Some(now);
        // Copied only where there is something to end.
        if !self.plan.servers().any(|s| s.reported.as_ref().is_some_and(|reported| reported.until <= now)) {
            return;
        }
        let (ended, changed) = Arc::make_mut(&mut self.plan).end_reports(now);
        for key in ended {
            let server = format!("{}/{}", key.pool, key.name);
            tracing::info!(event = "report", server, "the report is over: what is found here counts");
        }
        if changed {
            self.publish_and_steer().await;
        }
    }

    /// Who reported is told by address and by the token's line in its file, never by the token.
    fn tell_report(&self, id: ServerId, by: Option<Reporter>) {
        let Some(record) = self.plan.server(id) else { return };
        let server = format!("{}/{}", record.key.pool, record.key.name);
        let (up, reason, source) = (record.health.is_up(), record.reason.as_str(), record.source.name());
        let (peer, token_line) = (by.map(|by| by.peer.to_string()), by.map(|by| by.token.0));
        tracing::info!(event = "health", server, up, reason, source, peer, token_line);
    }
}

/// For how long a report counts; `None`: nothing is reported any more.
fn lasting(request: &ReportRequest) -> Option<Duration> {
    let time = request.for_s.map_or(FOR_DEFAULT, Duration::from_secs);
    (request.health != ReportedHealth::Clear).then_some(time)
}

fn reported(request: ReportRequest, time: Option<Duration>) -> Option<Reported> {
    Some(Reported {
        up: request.health == ReportedHealth::Up,
        reason: request.reason,
        since: unix_now(),
        until: Instant::now() + time?,
    })
}

fn check(request: &ReportRequest) -> Result<(), String> {
    if request.health == ReportedHealth::Clear && (request.reason.is_some() || request.for_s.is_some()) {
        return Err("`clear` takes neither a reason nor a time: what is found here counts again".to_owned());
    }
    if request.for_s.is_some_and(|seconds| !(1..=FOR_MAX.as_secs()).contains(&seconds)) {
        return Err(format!("the time must be 1 to {} seconds", FOR_MAX.as_secs()));
    }
    let unfit = |reason: &String| reason.len() > REASON_MAX || reason.chars().any(char::is_control);
    if request.reason.as_ref().is_some_and(unfit) {
        return Err(format!("a reason is one line of at most {REASON_MAX} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(health: ReportedHealth, for_s: Option<u64>, reason: Option<&str>) -> ReportRequest {
        let reason = reason.map(str::to_owned);
        ReportRequest { pool: "web".to_owned(), server: "a".to_owned(), health, for_s, reason }
    }

    #[test]
    fn a_report_has_bounds() {
        use ReportedHealth::{Clear, Down, Up};
        assert_eq!(check(&request(Up, None, None)), Ok(()));
        assert_eq!(check(&request(Down, Some(1), Some("disk full"))), Ok(()));
        assert_eq!(check(&request(Down, Some(86_400), None)), Ok(()));
        for wrong in [
            request(Up, Some(0), None),
            request(Up, Some(86_401), None),
            request(Down, None, Some("two\nlines")),
            request(Down, None, Some(&"x".repeat(REASON_MAX + 1))),
            request(Clear, Some(5), None),
            request(Clear, None, Some("why")),
        ] {
            assert!(check(&wrong).is_err(), "{wrong:?}");
        }
    }
}
