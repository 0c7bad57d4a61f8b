//! How many connections one peer has: who has as many as it may is turned away, so that it keeps nobody else out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Connections of one peer at once: a quarter of all. More are closed without an answer.
pub(crate) const PEER_MAX: usize = 4;

type Counts = BTreeMap<IpAddr, usize>;

/// Connections by where they come from; no more entries than there are connections.
#[derive(Debug, Default)]
pub(super) struct Peers(Arc<Mutex<Counts>>);

/// One of a peer's connections, until dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    counts: Arc<Mutex<Counts>>,
    peer: IpAddr,
}

impl Peers {
    /// One more of an address's; `None`: it has as many as it may.
    pub(super) fn admit(&self, from: IpAddr) -> Option<Admitted> {
        let peer = peer(from);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer).or_default();
        if *count >= PEER_MAX {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Admitted { counts: Arc::clone(&self.0), peer })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

/// An IPv4 address, or a /64: one host has all of its addresses (RFC 4291 section 2.5.4, RFC 8981).
fn peer(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_so_many_connections_and_no_more_whatever_its_address_looks_like() {
        let hosts = [["10.0.0.1", "::ffff:10.0.0.1"], ["2001:db8::1", "2001:db8::2:0:0:1"]];
        let peers = Peers::default();
        let mut admitted = Vec::new();
        for addresses in hosts.map(|host| host.map(|address| address.parse().unwrap())) {
            admitted.extend(addresses.iter().cycle().take(PEER_MAX).map(|ip| peers.admit(*ip).unwrap()));
            assert!(addresses.iter().all(|ip| peers.admit(*ip).is_none()));
        }
        assert!(peers.admit("2001:db8:0:1::1".parse().unwrap()).is_some(), "another network");
        drop(admitted.remove(0));
        assert!(peers.admit("10.0.0.1".parse().unwrap()).is_some());
        drop(admitted);
        assert!(peers.0.lock().unwrap().is_empty(), "nothing is remembered of who has left");
    }
}
