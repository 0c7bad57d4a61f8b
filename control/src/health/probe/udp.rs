//! A datagram that is not refused, or gets the wanted reply.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

use super::{Attempt, Outcome, Passed, contains, failed, judge, no_answer, shown};
use crate::health::{UdpProbe, in_words};

/// No UDP datagram is longer.
const REPLY_MAX: usize = 65_536;

pub(super) async fn attempt(probe: &UdpProbe, target: SocketAddr, timeout: Duration) -> Attempt {
    let socket = connected(target).await.map_err(|error| judge(&error))?;
    socket.send(probe.send.as_bytes()).await.map_err(|error| refused(&error))?;
    let mut buffer = vec![0; REPLY_MAX];
    let Ok(heard) = tokio::time::timeout(timeout, socket.recv(&mut buffer)).await else {
        return match &probe.reply {
            None => Ok(Passed::new(format!("not refused within {}", in_words(timeout)))),
            Some(_) => Err(failed(no_answer(timeout))),
        };
    };
    let len = heard.map_err(|error| refused(&error))?;
    let reply = buffer.get(..len).unwrap_or_default();
    match &probe.reply {
        Some(wanted) if !contains(reply, wanted.as_bytes()) => {
            Err(failed(format!("the reply {} does not contain {}", shown(reply), shown(wanted.as_bytes()))))
        }
        _ => Ok(Passed::new(format!("replied with {len} bytes"))),
    }
}

/// A socket that hears this server only, and what ICMP says of it.
pub(super) async fn connected(target: SocketAddr) -> io::Result<UdpSocket> {
    let any = match target {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(target).await?;
    Ok(socket)
}

/// The kernel tells a port unreachable (RFC 1122 section 4.1.3.3) by the error that TCP has for a refused connection.
pub(super) fn refused(error: &io::Error) -> Outcome {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => failed("port unreachable"),
        _ => judge(error),
    }
}
