//! One check's first result.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringlead_control::health::{CheckSpec, CheckStatus, Checker, FlapRule, Probe};
use tokio::sync::mpsc;

/// Long enough for a busy machine to answer.
pub(crate) const PATIENT: Duration = Duration::from_secs(5);
/// How long a test waits for an answer that never comes.
pub(crate) const SHORT: Duration = Duration::from_millis(200);

/// The first result of a check: up or not, and why.
pub(crate) async fn asked(probe: Probe, target: SocketAddr, timeout: Duration) -> (bool, String) {
    let (up, reason, _) = asked_fully(probe, target, timeout).await;
    (up, reason)
}

pub(crate) async fn asked_fully(
    probe: Probe,
    target: SocketAddr,
    timeout: Duration,
) -> (bool, String, CheckStatus) {
    let (sender, mut events) = mpsc::channel(16);
    let mut checker = Checker::new(sender);
    let interval = Duration::from_secs(10);
    checker.reconcile(vec![CheckSpec {
        pool: "p".into(),
        id: 1,
        target,
        probe: Arc::new(probe),
        interval,
        interval_changing: None,
        timeout,
        rise: 1,
        fall: 1,
        flaps: FlapRule::NEVER,
    }]);
    let event = tokio::time::timeout(2 * PATIENT, events.recv()).await.expect("a result").unwrap();
    let status = checker.snapshot().remove(0);
    (event.up, event.reason, status)
}

/// What fails, fails for this reason.
pub(crate) async fn fails(probe: Probe, target: SocketAddr, timeout: Duration, why: &str) {
    assert_eq!(asked(probe, target, timeout).await, (false, why.to_owned()));
}

/// What passes, says this.
pub(crate) async fn passes(probe: Probe, target: SocketAddr, words: &str) {
    assert_eq!(asked(probe, target, PATIENT).await, (true, words.to_owned()));
}
