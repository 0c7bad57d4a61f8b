//! An echo request by hand, so that no ping program is needed.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// Sends one echo request (RFC 792, RFC 4443 §4.1) to `to`, in the namespace of the calling thread, and waits for its
/// reply. Gives the time it took; None when none came within `timeout`.
///
/// # Errors
/// When a raw socket cannot be made (root is needed), or there is no route.
pub fn ping(to: IpAddr, timeout: Duration) -> io::Result<Option<Duration>> {
    static NUMBER: AtomicU16 = AtomicU16::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let (domain, protocol, request, reply) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, ECHO_REQUEST_V4, ECHO_REPLY_V4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, ECHO_REQUEST_V6, ECHO_REPLY_V6),
    };
    let mut socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.connect(&SocketAddr::new(to, 0).into())?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;

    let message = echo(request, number);
    let begin = Instant::now();
    socket.send(&message)?;
    let mut buffer = [0; 256];
    while begin.elapsed() < timeout {
        let Ok(length) = socket.read(&mut buffer) else { continue };
        // A raw IPv4 socket shows the IP header too.
        let skip = if to.is_ipv4() { usize::from(buffer[0] & 15) * 4 } else { 0 };
        let answer = buffer.get(skip..length).unwrap_or_default();
        if answer.first() == Some(&reply) && answer.get(4..) == message.get(4..) {
            return Ok(Some(begin.elapsed()));
        }
    }
    Ok(None)
}

/// An echo request with its checksum; for IPv6 the kernel puts its own.
fn echo(kind: u8, number: u16) -> [u8; 64] {
    let mut message = [0x5a; 64];
    message[..4].copy_from_slice(&[kind, 0, 0, 0]);
    message[4..6].copy_from_slice(&[0x52, 0x4c]);
    message[6..8].copy_from_slice(&number.to_be_bytes());
    let mut sum: u32 = message.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let check = !u16::try_from(sum).unwrap_or_default();
    message[2..4].copy_from_slice(&check.to_be_bytes());
    message
}
