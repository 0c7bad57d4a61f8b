//! Whether somebody listens where services of layer l7 expect it: nobody does, and the kernel resets every client.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The kernel's tables of TCP sockets. They begin with the listening ones, so no more than those is read.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];

/// TCP_LISTEN, as those tables write it.
const LISTEN: &str = "0A";

/// Where this node's sockets listen for TCP connections.
#[derive(Debug, Default)]
pub(super) struct Listening(BTreeSet<SocketAddr>);

impl Listening {
    /// Asks the kernel. A table that cannot be read (no IPv6) has no socket.
    pub(super) fn now() -> Self {
        let lines = TABLES
            .iter()
            .filter_map(|table| File::open(table).ok())
            .flat_map(|file| BufReader::new(file).lines().skip(1).map_while(Result::ok).map_while(listener));
        Self(lines.collect())
    }

    /// Whether a connection to this address finds a socket: one on the address itself, or on all. One on all IPv6 addresses
    /// counts for IPv4 too, as it does unless it was made otherwise.
    pub(super) fn has(&self, at: SocketAddr) -> bool {
        let any = |ip: IpAddr| self.0.contains(&SocketAddr::new(ip, at.port()));
        any(at.ip().to_canonical())
            || at.is_ipv4() && any(Ipv4Addr::UNSPECIFIED.into())
            || any(Ipv6Addr::UNSPECIFIED.into())
    }
}

/// The local address of a line whose socket listens; `None` at the first that does not.
fn listener(line: String) -> Option<SocketAddr> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    if state != LISTEN {
        return None;
    }
    let (ip, port) = local.split_once(':')?;
    Some(SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?))
}

/// Words of four bytes, each written as a number of this machine.
fn address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = text.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let mut octets = [0; 16];
            octets.as_chunks_mut::<4>().0.copy_from_slice(&words);
            Some(Ipv6Addr::from(octets).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_kernels_table_tells_who_listens() {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let all = TcpListener::bind("0.0.0.0:0").unwrap();
        let (one_at, all_at) = (one.local_addr().unwrap(), all.local_addr().unwrap());
        // A connection that is open comes behind the listening ones, and is none.
        let client = std::net::TcpStream::connect(one_at).unwrap();
        let seen = Listening::now();
        assert!(seen.has(one_at));
        assert!(seen.has(SocketAddr::new([192, 0, 2, 1].into(), all_at.port())));
        assert!(!seen.has(SocketAddr::new([127, 0, 0, 2].into(), one_at.port())));
        assert!(!seen.has(client.local_addr().unwrap()));
        drop((one, all));
        let gone = Listening::now();
        assert!(!gone.has(one_at) && !gone.has(all_at));
    }

    #[test]
    fn lines_of_both_families_are_read() {
        let line = |local: &str, state: &str| {
            format!("   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0")
        };
        // As little-endian machines write them; the address is symmetric, so that it is read everywhere.
        assert_eq!(listener(line("7F00007F:0050", LISTEN)), Some("127.0.0.127:80".parse().unwrap()));
        assert_eq!(
            listener(line("00000000000000000000000000000000:01BB", LISTEN)),
            Some("[::]:443".parse().unwrap())
        );
        assert_eq!(listener(line("7F00007F:0050", "01")), None);
        assert_eq!(listener(line("7F:0050", LISTEN)), None);
        assert_eq!(listener(String::new()), None);
    }
}
