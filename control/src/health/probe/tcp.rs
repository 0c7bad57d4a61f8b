//! A TCP connection, and its clean end.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use super::{Attempt, Outcome, Passed, failed, judge};

/// Bytes of a greeting that are read before the connection is closed anyway.
const GREETING_MAX: usize = 4096;

pub(super) async fn attempt(target: SocketAddr) -> Attempt {
    let stream = connect(target).await?;
    Ok(Passed { stream: Some(stream), ..Passed::new("connected") })
}

/// A connection to somebody else.
pub(super) async fn connect(target: SocketAddr) -> Result<TcpStream, Outcome> {
    match TcpStream::connect(target).await {
        Ok(stream) if is_own_echo(&stream) => Err(failed("connected to itself")),
        Ok(stream) => Ok(stream),
        Err(error) => Err(judge(&error)),
    }
}

/// Close so that the server logs no reset: say that we are done, then wait until it is done too. A plain close with a
/// greeting unread would send RST.
pub(in super::super) async fn close(mut stream: TcpStream, deadline: tokio::time::Instant) {
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
