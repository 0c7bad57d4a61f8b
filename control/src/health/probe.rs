//! One TCP connect, and what its outcome says about the server.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use super::in_words;

/// Bytes of a greeting that are read before the connection is closed anyway.
const GREETING_MAX: usize = 4096;

/// What one attempt showed.
pub(super) enum Outcome {
    /// It answered. The connection waits to be closed.
    Passed(TcpStream),
    /// It did not, for this reason.
    Failed(String),
    /// This node could not even try: says nothing about the server.
    Inconclusive(String),
}

/// Connect within `timeout`.
pub(super) async fn connect(target: SocketAddr, timeout: Duration) -> Outcome {
    match tokio::time::timeout(timeout, TcpStream::connect(target)).await {
        Err(_) => Outcome::Failed(format!("timed out after {}", in_words(timeout))),
        Ok(Ok(stream)) if is_own_echo(&stream) => Outcome::Failed("connected to itself".to_owned()),
        Ok(Ok(stream)) => Outcome::Passed(stream),
        Ok(Err(error)) => judge(&error),
    }
}

/// Close so that the server logs no reset: say that we are done, then wait until it is done too. A plain close with a
/// greeting unread would send RST.
pub(super) async fn close(mut stream: TcpStream, deadline: tokio::time::Instant) {
    let farewell = async {
        stream.shutdown().await?;
        let mut greeting = [0; GREETING_MAX];
        let mut read = 0;
        while read < GREETING_MAX {
            match stream.read(&mut greeting).await? {
                0 => break,
                n => read += n,
            }
        }
        io::Result::Ok(())
    };
    // Whatever the server does now, it has already passed.
    let _ = timeout_at(deadline, farewell).await;
}

/// TCP simultaneous open (RFC 9293 section 3.5): a connect to a local port in the ephemeral range can meet itself.
fn is_own_echo(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

fn judge(error: &io::Error) -> Outcome {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => inconclusive("too many open files on this node"),
        Some(libc::ENOBUFS | libc::ENOMEM) => inconclusive("out of memory on this node"),
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
}
