//! One attempt of any kind, and what its outcome says about the server. A file a kind.

mod agent;
pub(super) mod complaint;
mod dns;
mod http;
mod icmp;
pub(super) mod path;
mod tcp;
mod tls;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;

use super::trust::Trust;
use super::{AgentReply, Probe, in_words};
pub(super) use tcp::close;

/// What one attempt showed.
pub(super) enum Outcome {
    /// It answered as wanted.
    Passed(Passed),
    /// It did not, for this reason.
    Failed(String),
    /// This node could not even try: says nothing about the server.
    Inconclusive(String),
    /// An agent's line, or why there is none: no result of a check.
    Told(Result<AgentReply, String>),
}

/// A good answer.
pub(super) struct Passed {
    /// What it was, in words.
    pub(super) words: String,
    /// A connection that waits to be closed.
    pub(super) stream: Option<TcpStream>,
    /// When the server's certificate ends, if it showed one.
    pub(super) certificate_ends: Option<SystemTime>,
}

impl Passed {
    fn new(words: impl Into<String>) -> Self {
        Self { words: words.into(), stream: None, certificate_ends: None }
    }
}

/// What an attempt gives: the outcome that ends it early is its error.
type Attempt = Result<Passed, Outcome>;

/// Asks once, for `timeout` at most.
pub(super) async fn attempt(probe: &Probe, target: SocketAddr, timeout: Duration, trust: &Trust) -> Outcome {
    // A datagram that needs no reply passes when nothing was heard for so long.
    if let Probe::Udp(udp) = probe {
        return settled(udp::attempt(udp, target, timeout).await);
    }
    if let Probe::Path(path) = probe {
        return settled(path::attempt(path, target.ip(), timeout, trust).await);
    }
    if let Probe::Agent(agent) = probe {
        let line = tokio::time::timeout(timeout, agent::attempt(agent, target)).await;
        return told(line.unwrap_or_else(|_| Err(failed(no_answer(timeout)))));
    }
    let attempt = async {
        match probe {
            Probe::Tcp => tcp::attempt(target).await,
            Probe::Icmp => icmp::attempt(target.ip()).await,
            Probe::Tls(tls) => tls::attempt(tls, target, trust).await,
            Probe::Http(http) => http::attempt(http, target, trust).await,
            Probe::Dns(dns) => dns::attempt(dns, target).await,
            Probe::Udp(_) | Probe::Path(_) | Probe::Agent(_) => {
                Err(Outcome::Inconclusive("asked twice".to_owned()))
            }
        }
    };
    match tokio::time::timeout(timeout, attempt).await {
        Ok(result) => settled(result),
        Err(_) if *probe == Probe::Tcp => Outcome::Failed(format!("timed out after {}", in_words(timeout))),
        Err(_) => Outcome::Failed(no_answer(timeout)),
    }
}

fn settled(result: Attempt) -> Outcome {
    match result {
        Ok(passed) => Outcome::Passed(passed),
        Err(outcome) => outcome,
    }
}

/// Whatever keeps an agent from answering says nothing about its server.
fn told(line: Result<AgentReply, Outcome>) -> Outcome {
    match line {
        Ok(reply) => Outcome::Told(Ok(reply)),
        Err(Outcome::Failed(why) | Outcome::Inconclusive(why)) => Outcome::Told(Err(why)),
        Err(other) => other,
    }
}

fn no_answer(timeout: Duration) -> String {
    format!("no answer within {}", in_words(timeout))
}

fn failed(reason: impl Into<String>) -> Outcome {
    Outcome::Failed(reason.into())
}

/// Whether an error is this node's or the server's.
fn judge(error: &io::Error) -> Outcome {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => inconclusive("too many open files on this node"),
        Some(libc::ENOBUFS | libc::ENOMEM) => inconclusive("out of memory on this node"),
        Some(libc::EMSGSIZE) => inconclusive("the request is longer than a check can carry"),
        Some(libc::EADDRNOTAVAIL) => inconclusive("no free local port or address on this node"),
        _ => Outcome::Failed(reason(error)),
    }
}

fn inconclusive(reason: &str) -> Outcome {
    Outcome::Inconclusive(reason.to_owned())
}

fn reason(error: &io::Error) -> String {
    let known = match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "connection refused",
        Some(libc::ECONNRESET) => "connection reset",
        Some(libc::EHOSTUNREACH) => "host unreachable",
        Some(libc::ENETUNREACH) => "network unreachable",
        Some(libc::ETIMEDOUT) => "timed out in the kernel",
        Some(libc::EACCES | libc::EPERM) => "forbidden by a rule of this node",
        _ => return error.to_string(),
    };
    known.to_owned()
}

/// What a server wrote, for a person: control characters made visible, cut after 60 characters.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let cut: String = text.trim_end().chars().take(60).flat_map(char::escape_debug).collect();
    format!("\"{cut}\"")
}

/// Whether one text is in another.
fn contains(text: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || text.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_node_lacks_is_not_the_servers_fault() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL] {
            let outcome = judge(&io::Error::from_raw_os_error(errno));
            assert!(matches!(outcome, Outcome::Inconclusive(_)), "errno {errno}");
        }
        for errno in [libc::ECONNREFUSED, libc::EHOSTUNREACH, libc::ENETUNREACH, libc::ECONNRESET] {
            let outcome = judge(&io::Error::from_raw_os_error(errno));
            assert!(matches!(outcome, Outcome::Failed(_)), "errno {errno}");
        }
    }

    #[test]
    fn what_servers_write_is_shown_without_harm() {
        assert_eq!(shown(b"\x1b[31mred\r\n"), "\"\\u{1b}[31mred\"");
        assert_eq!(shown(&[b'x'; 1000]).len(), 62);
        assert!(contains(b"all ok", b"ok") && contains(b"", b"") && !contains(b"o", b"ok"));
    }
}
