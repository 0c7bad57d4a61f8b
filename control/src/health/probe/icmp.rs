//! An echo request and its reply (RFC 792, RFC 4443 section 4).

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::UdpSocket;

use super::{Attempt, Passed, inconclusive, judge};

const REQUEST_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;
/// Type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;
/// Longer than any reply of ours with an IPv4 header before it.
const REPLY_MAX: usize = 128;

pub(super) async fn attempt(target: IpAddr) -> Attempt {
    let socket = connected(target).map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => inconclusive("this node may not open raw sockets (CAP_NET_RAW)"),
        _ => judge(&error),
    })?;
    let request = request(target);
    socket.send(&request).await.map_err(|error| judge(&error))?;
    let mut buffer = [0; REPLY_MAX];
    loop {
        let len = socket.recv(&mut buffer).await.map_err(|error| judge(&error))?;
        let Some(message) = buffer.get(..len).and_then(|packet| message(packet, target)) else { continue };
        match (target, message.first()) {
            (IpAddr::V4(_), Some(&REPLY_V4)) | (IpAddr::V6(_), Some(&REPLY_V6)) => {}
            _ => continue,
        }
        if message.get(4..) == request.get(4..) {
            return Ok(Passed::new("echo reply"));
        }
        // Else it is of another process's ping, or of our check before, whose time is over.
    }
}

/// A raw socket that hears this server only: of thousands of checks each is woken by its own replies.
fn connected(target: IpAddr) -> io::Result<UdpSocket> {
    let (domain, protocol) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::from(SocketAddr::new(target, 0)))?;
    // The runtime's type for datagrams: it sends, receives and waits, and asks nothing that only UDP has.
    UdpSocket::from_std(socket.into())
}

/// An echo request whose identifier, sequence number and 16 bytes of data nobody else has.
fn request(target: IpAddr) -> Vec<u8> {
    let kind = if target.is_ipv4() { REQUEST_V4 } else { REQUEST_V6 };
    let random = RandomState::new();
    let mut message = vec![kind, 0, 0, 0];
    for word in 0..3_u8 {
        message.extend(random.hash_one(word).to_be_bytes());
    }
    message.truncate(HEADER + 16);
    // The kernel makes the checksum of ICMPv6, which covers addresses (RFC 3542 section 3.1).
    if target.is_ipv4() {
        let sum = checksum(&message).to_be_bytes();
        message.splice(2..4, sum);
    }
    message
}

/// What follows the IP header, which raw IPv4 sockets show and IPv6 ones do not.
fn message(packet: &[u8], target: IpAddr) -> Option<&[u8]> {
    match target {
        IpAddr::V4(_) => packet.get(usize::from(packet.first()? & 0x0f) * 4..),
        IpAddr::V6(_) => Some(packet),
    }
}

/// RFC 1071.
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_checksum_that_sums_to_zero_rfc1071() {
        let message = request(IpAddr::from([192, 0, 2, 1]));
        assert_eq!((message.len(), message[0], checksum(&message)), (24, REQUEST_V4, 0));
        assert_ne!(message, request(IpAddr::from([192, 0, 2, 1])), "no two are alike");
        assert_eq!(checksum(&[0xff, 0xff, 0x01]), !0x0100);
    }
}
