//! What a call says: its path and its JSON.

use crate::engine::requests::reported::{ReportRequest, ReportedHealth};
use serde::Deserialize;
use serde_json::error::Category;

/// Servers in one call.
pub const REPORTS_MAX: usize = 256;

/// Why a body says nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is no JSON.
    Malformed(String),
    /// It is JSON that means nothing here; of a list: which of it, from 0.
    Unfit(Option<usize>, String),
}

/// Where a call goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// `/v1/servers/POOL/SERVER/health`.
    Server {
        /// The pool's name.
        pool: &'a str,
        /// The server's name.
        server: &'a str,
    },
    /// `/v1/report`.
    Many,
}

impl<'a> Place<'a> {
    /// Names have no character that a path would need to escape.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        if path == "/v1/report" {
            return Some(Self::Many);
        }
        let (pool, server) = path.strip_prefix("/v1/servers/")?.strip_suffix("/health")?.split_once('/')?;
        (!pool.is_empty() && !server.is_empty() && !server.contains('/'))
            .then_some(Self::Server { pool, server })
    }

    /// Reads the reports of a body.
    pub(super) fn read(&self, body: &[u8]) -> Result<Vec<ReportRequest>, Unread> {
        match self {
            Self::Server { pool, server } => {
                let said: One = read(body)?;
                let (pool, server) = ((*pool).to_owned(), (*server).to_owned());
                let report = request(pool, server, said.health, said.lasting.as_deref(), said.reason);
                Ok(vec![report.map_err(|why| Unread::Unfit(None, why))?])
            }
            Self::Many => {
                let said: Vec<OneOfMany> = read(body)?;
                if said.is_empty() || said.len() > REPORTS_MAX {
                    let why = format!("{} servers, a call has 1 to {REPORTS_MAX}", said.len());
                    return Err(Unread::Unfit(None, why));
                }
                let reports = said.into_iter().enumerate().map(|(at, one)| {
                    let report =
                        request(one.pool, one.server, one.health, one.lasting.as_deref(), one.reason);
                    report.map_err(|why| Unread::Unfit(Some(at), why))
                });
                reports.collect()
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    health: ReportedHealth,
    #[serde(rename = "for")]
    lasting: Option<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneOfMany {
    pool: String,
    server: String,
    health: ReportedHealth,
    #[serde(rename = "for")]
    lasting: Option<String>,
    reason: Option<String>,
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Unread> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => Unread::Unfit(None, error.to_string()),
        Category::Syntax | Category::Eof | Category::Io => Unread::Malformed(error.to_string()),
    })
}

/// What the time may be is the engine's to say, as for the control socket.
fn request(
    pool: String,
    server: String,
    health: ReportedHealth,
    lasting: Option<&str>,
    reason: Option<String>,
) -> Result<ReportRequest, String> {
    let for_s = lasting.map(whole_seconds).transpose()?;
    Ok(ReportRequest { pool, server, health, for_s, reason })
}

fn whole_seconds(text: &str) -> Result<u64, String> {
    let time = humantime::parse_duration(text).ok().filter(|time| time.subsec_nanos() == 0);
    time.map(|time| time.as_secs())
        .ok_or_else(|| "`for` is a time in whole seconds: \"30s\", \"5m\", \"1h\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_server_or_there_are_many() {
        assert_eq!(
            Place::of("/v1/servers/web/a.1/health"),
            Some(Place::Server { pool: "web", server: "a.1" })
        );
        assert_eq!(Place::of("/v1/report"), Some(Place::Many));
        for wrong in [
            "/",
            "/v1/report/",
            "/v1/servers/web/health",
            "/v1/servers/web//health",
            "/v1/servers//a/health",
            "/v1/servers/web/a/b/health",
            "/v1/servers/web/a",
            "/v2/servers/web/a/health",
        ] {
            assert_eq!(Place::of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_body_says_what_is_reported() {
        let place = Place::Server { pool: "web", server: "a" };
        let body = br#"{"health": "down", "for": "5m", "reason": "disk full"}"#;
        let [report] = <[_; 1]>::try_from(place.read(body).unwrap()).unwrap();
        assert_eq!((report.pool.as_str(), report.server.as_str()), ("web", "a"));
        assert_eq!((report.health, report.for_s), (ReportedHealth::Down, Some(300)));
        assert_eq!(report.reason.as_deref(), Some("disk full"));
        let many = br#"[{"pool": "web", "server": "a", "health": "up"}, {"pool": "p", "server": "b", "health": "clear"}]"#;
        let reports = Place::Many.read(many).unwrap();
        assert_eq!((reports.len(), reports[1].health, reports[0].for_s), (2, ReportedHealth::Clear, None));
    }

    #[test]
    fn what_is_no_report_is_told_apart_from_what_is_no_json() {
        let place = Place::Server { pool: "web", server: "a" };
        for malformed in ["", "{", "{\"health\": up}", "{\"health\": \"up\"} {}"] {
            assert!(matches!(place.read(malformed.as_bytes()), Err(Unread::Malformed(_))), "{malformed}");
        }
        for unfit in [
            "{}",
            "[]",
            "{\"health\": \"sick\"}",
            "{\"health\": \"up\", \"pool\": \"web\"}",
            "{\"health\": \"up\", \"for\": 30}",
            "{\"health\": \"up\", \"for\": \"soon\"}",
            "{\"health\": \"up\", \"for\": \"1500ms\"}",
        ] {
            assert!(matches!(place.read(unfit.as_bytes()), Err(Unread::Unfit(None, _))), "{unfit}");
        }
        let one = r#"{"pool": "web", "server": "a", "health": "up"}"#;
        let second = format!(r#"[{one}, {{"pool": "web", "server": "b", "health": "up", "for": "soon"}}]"#);
        assert!(matches!(Place::Many.read(second.as_bytes()), Err(Unread::Unfit(Some(1), _))));
        let list = |count: usize| format!("[{}]", vec![one; count].join(","));
        assert_eq!(Place::Many.read(list(REPORTS_MAX).as_bytes()).unwrap().len(), REPORTS_MAX);
        for count in [0, REPORTS_MAX + 1] {
            assert!(
                matches!(Place::Many.read(list(count).as_bytes()), Err(Unread::Unfit(None, _))),
                "{count}"
            );
        }
    }
}
