//! How many connections one peer has: those beyond what it may have served wait their turn, and more are told that they are too many,
//! so that it keeps nobody else out.

use super::server::Limits;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What a peer has.
#[derive(Debug)]
struct Held {
    /// Connections that are served or wait for it.
    kept: usize,
    /// Those that are told that they are too many.
    refused: usize,
    /// How many may be served or wait for it.
    kept_max: usize,
    /// How many may be served at once.
    served_max: usize,
    /// One permit for each that may be served.
    places: Arc<Semaphore>,
    /// Told when one comes that has to wait.
    crowded: Arc<Notify>,
}

type ByPeer = BTreeMap<IpAddr, Held>;

/// Connections by where they come from; no more entries than there are connections.
#[derive(Debug)]
pub(super) struct Peers {
    by_peer: Arc<Mutex<ByPeer>>,
    limits: Limits,
}

/// What becomes of a connection.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is served when it is its turn.
    Kept(Admitted),
    /// It is told that it is one too many.
    Refused(Admitted),
    /// It is closed: too many are being told already.
    Closed,
}

/// One of a peer's connections, until dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    by_peer: Arc<Mutex<ByPeer>>,
    peer: IpAddr,
    places: Arc<Semaphore>,
    crowded: Arc<Notify>,
    is_kept: bool,
}

impl Peers {
    pub(super) fn new(limits: Limits) -> Self {
        Self { by_peer: Arc::default(), limits }
    }

    /// One more of an address's.
    pub(super) fn admit(&self, from: IpAddr) -> Admission {
        let (peer, limits) = (peer(from), &self.limits);
        let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let held = by_peer.entry(peer).or_insert_with(|| {
            // Whoever is behind a proxy on this node has its address.
            let (kept_max, served_max) = if peer.is_loopback() {
                (limits.kept_local, limits.served_local)
            } else {
                (limits.kept, limits.served)
            };
            let places = Arc::new(Semaphore::new(served_max));
            Held { kept: 0, refused: 0, kept_max, served_max, places, crowded: Arc::default() }
        });
        let is_kept = held.kept < held.kept_max;
        let count = if is_kept { &mut held.kept } else { &mut held.refused };
        if !is_kept && *count >= limits.refused {
            return Admission::Closed;
        }
        *count += 1;
        let (places, crowded) = (Arc::clone(&held.places), Arc::clone(&held.crowded));
        if held.others_wait() {
            crowded.notify_waiters();
        }
        drop(by_peer);
        let admitted = Admitted { by_peer: Arc::clone(&self.by_peer), peer, places, crowded, is_kept };
        if is_kept { Admission::Kept(admitted) } else { Admission::Refused(admitted) }
    }
}

impl Held {
    /// Whether there are more than are served at once.
    fn others_wait(&self) -> bool {
        self.kept > self.served_max
    }
}

impl Admitted {
    /// Waits until it may be served, in the order of arrival; `None`: that took too long.
    pub(super) async fn turn(&self, limits: &Limits) -> Option<OwnedSemaphorePermit> {
        timeout(limits.turn, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()
    }

    /// Whether others of the peer's wait for their turn.
    pub(super) fn others_wait(&self) -> bool {
        let by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        by_peer.get(&self.peer).is_some_and(Held::others_wait)
    }

    /// Waits until another of the peer's comes that has to wait, and this one has asked: what is kept for later is in that one's place.
    /// Who asks only afterwards learns it from [`others_wait`](Self::others_wait). Those told later stay, if one has left by then.
    pub(super) async fn is_in_the_way(&self, has_asked: impl Fn() -> bool) {
        loop {
            // Begun before the look, so that nobody who comes meanwhile is missed.
            let told = self.crowded.notified();
            if has_asked() && self.others_wait() {
                return;
            }
            told.await;
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = by_peer.get_mut(&self.peer) {
            *(if self.is_kept { &mut held.kept } else { &mut held.refused }) -= 1;
            if held.kept == 0 && held.refused == 0 {
                by_peer.remove(&self.peer);
            }
        }
    }
}

/// An IPv4 address, or a /64: one host has all of its addresses (RFC 4291 section 2.5.4, RFC 8981). The loopback address is none.
fn peer(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        as_it_is @ (IpAddr::V4(_) | IpAddr::V6(_)) => as_it_is,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn kept(peers: &Peers, from: IpAddr) -> Option<Admitted> {
        match peers.admit(from) {
            Admission::Kept(admitted) => Some(admitted),
            Admission::Refused(_) | Admission::Closed => None,
        }
    }

    #[test]
    fn a_peer_has_so_many_connections_and_no_more_whatever_its_address_looks_like() {
        let limits = Limits::default();
        let hosts = [
            (["10.0.0.1", "::ffff:10.0.0.1"], limits.kept),
            (["2001:db8::1", "2001:db8::2:0:0:1"], limits.kept),
            (["127.0.0.1", "::ffff:127.0.0.1"], limits.kept_local),
            (["::1", "::1"], limits.kept_local),
        ];
        let peers = Peers::new(limits);
        let mut admitted = Vec::new();
        for (addresses, kept_max) in hosts {
            let addresses = addresses.map(|address| address.parse().unwrap());
            admitted.extend(addresses.iter().cycle().take(kept_max).map(|ip| kept(&peers, *ip).unwrap()));
            let refused = addresses.iter().cycle().take(limits.refused).map(|ip| peers.admit(*ip));
            let refused: Vec<_> = refused.collect();
            assert!(refused.iter().all(|one| matches!(one, Admission::Refused(_))), "{refused:?}");
            assert!(addresses.iter().all(|ip| matches!(peers.admit(*ip), Admission::Closed)));
        }
        assert!(kept(&peers, "2001:db8:0:1::1".parse().unwrap()).is_some(), "another network");
        drop(admitted.remove(0));
        assert!(kept(&peers, "10.0.0.1".parse().unwrap()).is_some());
        drop(admitted);
        assert!(peers.by_peer.lock().unwrap().is_empty(), "nothing is remembered of who has left");
    }

    #[tokio::test]
    async fn those_beyond_what_is_served_wait_and_a_proxy_on_this_node_has_more() {
        let limits = Limits { turn: Duration::from_millis(20), ..Limits::default() };
        let peers = Peers::new(limits);
        let remote = ("10.0.0.1", limits.kept, limits.served);
        for (from, kept_max, served) in [remote, ("127.0.0.1", limits.kept_local, limits.served_local)] {
            let from = from.parse().unwrap();
            let admitted: Vec<_> = (0..kept_max).map(|_| kept(&peers, from).unwrap()).collect();
            let mut turns = Vec::new();
            for one in &admitted[..served] {
                turns.push(one.turn(&limits).await.expect("it is served"));
            }
            let one = admitted.get(served).expect("more are kept than served");
            assert!(one.others_wait() && one.turn(&limits).await.is_none(), "{from}");
            turns.pop();
            assert!(one.turn(&limits).await.is_some(), "{from}");
        }
    }
}
