//! How a connection ends: by a close that the server may answer, and by a reset at the latest, whatever becomes of the check.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::script::{ANSWERED, PATIENCE, SERVICES, Seen, Wire, ask, ends, seen};
use super::segment::{ACK, FIN, RST, SYN};
use super::stream::CLOSE_MAX;

/// How far a server goes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Server {
    Silent,
    Accepts,
    Answers,
    Closes,
}

impl Server {
    fn answers(self, wire: &Wire, packet: &[u8]) -> Vec<Vec<u8>> {
        let Seen { after, flags, .. } = seen(packet);
        let goes_along = match flags & (SYN | FIN) {
            SYN => self >= Self::Accepts,
            FIN if self == Self::Answers => return vec![wire.packet(ACK, ANSWERED, after).ip()],
            FIN => self == Self::Closes,
            _ => self >= Self::Answers,
        };
        if goes_along { wire.answers(packet) } else { Vec::new() }
    }

    /// Until the connection has ended.
    async fn serve(self, wire: Wire) {
        let mut done = 0;
        while !wire.waiting.is_idle() {
            let sent = wire.sent.lock().unwrap()[done..].to_vec();
            done += sent.len();
            let answers = sent.iter().flat_map(|packet| self.answers(&wire, packet));
            answers.for_each(|packet| wire.waiting.hear(&packet));
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// As far as the check gets by it, its close among it.
    fn is_reached(self, sent: &[Seen]) -> bool {
        match self {
            Self::Silent => !sent.is_empty(),
            Self::Accepts => sent.iter().any(|seen| seen.data > 0),
            Self::Answers | Self::Closes => sent.iter().any(|seen| seen.flags & FIN != 0),
        }
    }
}

/// One check: its connection ends with it.
fn check(runtime: &Runtime, server: Server, service: &str, closes: usize) -> (Wire, JoinHandle<()>) {
    let (ends, wire) = runtime.block_on(async { ends(service.parse().unwrap(), closes) });
    runtime.spawn(server.serve(wire.clone()));
    let check = runtime.spawn(async { _ = ask(ends, Instant::now() + PATIENCE).await });
    (wire, check)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn wait(runtime: &Runtime, until: impl Fn() -> bool) {
    let looks = async {
        while !until() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    runtime.block_on(async { timeout(PATIENCE, looks).await.expect("an end") });
}

/// The last packet is a reset, and the only one, with the number that the server takes it by (RFC 5961 section 3.2).
fn assert_reset(wire: &Wire) {
    let sent = wire.seen();
    let (last, own) = sent.split_last().unwrap();
    assert_eq!(last.flags, RST, "{sent:?}");
    assert!(own.iter().all(|seen| seen.flags & RST == 0), "{sent:?}");
    let first = own[0].sequence;
    let after = own.iter().map(|seen| seen.after.wrapping_sub(first)).max();
    assert_eq!(Some(last.sequence.wrapping_sub(first)), after, "{sent:?}");
}

#[test]
fn who_closes_is_acknowledged_before_the_reset() {
    let is_acknowledged = |service| {
        let runtime = runtime();
        let (wire, _) = check(&runtime, Server::Closes, service, 1);
        wait(&runtime, || wire.waiting.is_idle());
        assert_reset(&wire);
        let sent = wire.seen();
        assert!(sent.iter().any(|seen| seen.flags & FIN != 0), "{sent:?}");
        sent[sent.len() - 2].acknowledged == ANSWERED.wrapping_add(1)
    };
    for service in SERVICES {
        // The server's time may be over before this machine lets it answer.
        assert!((0..5).any(|_| is_acknowledged(service)), "its close is waited for");
    }
}

#[test]
fn where_too_many_close_it_is_reset_at_once() {
    for service in SERVICES {
        let runtime = runtime();
        let (wire, _) = check(&runtime, Server::Closes, service, 0);
        wait(&runtime, || wire.waiting.is_idle());
        assert_reset(&wire);
        assert!(wire.seen().iter().all(|seen| seen.flags & FIN == 0), "{:?}", wire.seen());
    }
}

#[test]
fn who_does_not_close_has_its_time_and_is_reset() {
    for service in SERVICES {
        let runtime = runtime();
        let begin = Instant::now();
        let (wire, _) = check(&runtime, Server::Answers, service, 1);
        wait(&runtime, || wire.waiting.is_idle());
        assert!(begin.elapsed() >= CLOSE_MAX, "its time is {CLOSE_MAX:?}, after the answer");
        assert_reset(&wire);
        assert!(wire.seen().iter().any(|seen| seen.flags & FIN != 0), "{:?}", wire.seen());
    }
}

/// As by a reload that removes the check.
#[test]
fn a_check_that_is_broken_off_closes_and_resets() {
    for server in [Server::Silent, Server::Accepts, Server::Answers] {
        let runtime = runtime();
        let (wire, check) = check(&runtime, server, SERVICES[0], 1);
        wait(&runtime, || server.is_reached(&wire.seen()));
        check.abort();
        wait(&runtime, || wire.waiting.is_idle());
        assert_reset(&wire);
        let is_closed = wire.seen().iter().any(|seen| seen.flags & FIN != 0);
        assert_eq!(is_closed, server >= Server::Accepts, "{server:?}: {:?}", wire.seen());
    }
}

/// The daemon's last act before it tells its successor, or ends.
#[test]
fn the_end_of_the_runtime_resets_what_is_under_way() {
    for (server, service) in [Server::Silent, Server::Accepts, Server::Answers]
        .into_iter()
        .flat_map(|server| SERVICES.map(|service| (server, service)))
    {
        let runtime = runtime();
        let (wire, _) = check(&runtime, server, service, 1);
        wait(&runtime, || server.is_reached(&wire.seen()));
        // A close has little time, and may be over.
        assert!(!wire.waiting.is_idle() || server == Server::Answers, "{server:?}: it is under way");
        runtime.shutdown_background();
        assert!(wire.waiting.is_idle(), "{server:?}");
        assert_reset(&wire);
    }
}
