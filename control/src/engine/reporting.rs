//! Where reports of servers' health are taken over HTTP, and with which tokens.

use super::Engine;
use super::observe::Deaf;
use crate::config::{Config, ReportsConfig};
use crate::http::{self, Opened, Server};
use crate::reports::{Door, ReportCall, Tokens};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Calls that may wait for the control loop; each may end in a snapshot.
const CALLS_MAX: usize = 32;
/// Between attempts to listen where the predecessor did.
const LISTEN_EVERY: Duration = Duration::from_secs(1);

/// Whoever takes reports, and what comes of them.
#[derive(Debug)]
pub(super) struct Reporting {
    server: Option<Server>,
    door: Arc<Door>,
    calls: mpsc::Receiver<ReportCall>,
    /// When listening was last tried.
    tried: Option<Instant>,
}

/// What another configuration changes, and is not in force yet.
#[derive(Debug)]
pub(super) struct NextReporting {
    /// `Some(place)`: another place, at which it is listened while the old one still is; `None`: the same place.
    place: Option<Option<Opened>>,
    tokens: Tokens,
}

/// The tokens that a configuration names; none where it takes no reports.
///
/// # Errors
/// When they cannot be used.
pub(super) fn tokens(config: &Config) -> Result<Tokens, String> {
    let reports = config.observe.reports.as_ref();
    reports.map_or_else(|| Ok(Tokens::default()), |reports| Tokens::read(&reports.tokens))
}

impl Reporting {
    pub(super) fn new() -> Self {
        let (sender, calls) = mpsc::channel(CALLS_MAX);
        Self { server: None, door: Arc::new(Door::new(sender)), calls, tried: None }
    }

    /// The next call.
    pub(super) async fn called(&mut self) -> Option<ReportCall> {
        self.calls.recv().await
    }

    /// Takes no more calls: those that wait are answered at the runtime's next turn that the daemon ends, and so are new ones.
    pub(super) fn refuse(&mut self) {
        self.calls.close();
        // Whoever waits is told by the call's end.
        while self.calls.try_recv().is_ok() {}
    }

    /// How calls ended, for graphs.
    pub(super) fn door(&self) -> Arc<Door> {
        Arc::clone(&self.door)
    }

    /// Where they are taken now.
    pub(super) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// What another configuration changes; its tokens are read. Those `beside` it listen, too, until it is in force.
    ///
    /// # Errors
    /// When it cannot be listened there.
    pub(super) fn changed(
        &self,
        reports: Option<&ReportsConfig>,
        tokens: Tokens,
        beside: &[&Server],
    ) -> Result<NextReporting, Deaf> {
        let now = self.server.as_ref().map(Server::at);
        let wanted = reports.map(|reports| reports.at);
        let listen = |at| {
            let opened = http::open(at, beside);
            opened.map_err(|error| Deaf { key: "report", at, error: Arc::new(error) })
        };
        let place = if now == wanted { None } else { Some(wanted.map(listen).transpose()?) };
        Ok(NextReporting { place, tokens })
    }

    /// From now on these are valid and no others, wherever it is listened.
    pub(super) fn set_tokens(&self, tokens: Tokens) {
        self.door.set_tokens(tokens);
    }

    /// Puts the change in force: calls are taken at the new place. Returns the old one, to be closed.
    #[must_use]
    pub(super) fn adopt(&mut self, next: NextReporting) -> Option<Server> {
        self.set_tokens(next.tokens);
        let begun = next.place?.map(|opened| Server::begin(opened, Arc::clone(&self.door)));
        std::mem::replace(&mut self.server, begun)
    }
}

impl Engine {
    /// Begins to take reports where the configuration says.
    pub(super) fn take_reports(&mut self, tokens: Tokens) -> Result<(), String> {
        let next = self.reporting.changed(self.plan.config().observe.reports.as_ref(), tokens, &[]);
        let next = next.map_err(|deaf| deaf.told(self.plan.config(), &self.undo.origin()))?;
        // Nothing was served.
        drop(self.reporting.adopt(next));
        Ok(())
    }

    /// The same for a successor, which has its tokens, once a second until it works: its predecessor may still listen.
    pub(super) fn take_reports_again(&mut self) {
        let Some(reports) = &self.plan.config().observe.reports else { return };
        if self.reporting.server.is_some()
            || self.reporting.tried.is_some_and(|at| at.elapsed() < LISTEN_EVERY)
        {
            return;
        }
        let first = self.reporting.tried.replace(Instant::now()).is_none();
        match self.reporting.door.listen(reports.at) {
            Ok(server) => {
                self.reporting.server = Some(server);
                tracing::info!(event = "report", "reports are taken");
            }
            Err(error) if first => {
                let at = reports.at;
                tracing::warn!(event = "report", %at, %error, "cannot listen; tried again every second");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn who_waits_when_the_daemon_ends_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, "a-token-of-a-monitoring-system").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut reporting = Reporting::new();
        reporting.set_tokens(Tokens::read(&path).unwrap());
        let at = "127.0.0.1:0".parse().unwrap();
        reporting.server = Some(reporting.door.listen(at).unwrap());
        let at = reporting.server.as_ref().unwrap().at();
        let mut waiting = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(at).await.unwrap();
            let body = r#"{"health": "down"}"#;
            let request = format!(
                "PUT /v1/servers/web/a/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                 Authorization: Bearer a-token-of-a-monitoring-system\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            waiting.push(stream);
        }
        while reporting.calls.len() < waiting.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        reporting.refuse();
        for mut stream in waiting {
            let mut said = String::new();
            let read = stream.read_to_string(&mut said);
            tokio::time::timeout(Duration::from_secs(20), read).await.expect("an answer").unwrap();
            assert!(said.starts_with("HTTP/1.1 503") && said.contains("the daemon is ending"), "{said}");
        }
    }
}
