//! Checks by the service's own path: packets to the service's address, sent to the server as a client's would be.
//!
//! A connection from this node to its own service address would stay inside it, and the server's answer comes from that
//! address, so the kernel can neither send nor hear it. Packets leave by a packet socket, plain or in the service's tunnel,
//! for the same next hop as workers use; answers are heard by another one, beside the kernel. Type tcp makes half a handshake;
//! the others have a whole connection, by a TCP of our own.

mod device;
mod ear;
#[cfg(test)]
mod ends;
mod half;
#[cfg(test)]
mod hostile;
mod inbox;
mod numbers;
#[cfg(test)]
mod script;
mod segment;
mod source;
mod stream;
mod way;
mod whole;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use ringlead_flow::ServerId;
use ringlead_l4::Shared;
use ringlead_l4::neighbours::{NeighbourId, NextHop};
use ringlead_l4::tables::Tunnel;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::{Attempt, Outcome, Passed, Probe, failed, in_words, inconclusive, judge};
use crate::health::trust::Trust;
use ear::{Sockets, Waiting};
use way::Way;

/// How often a SYN is sent within the timeout: one lost frame is no verdict.
const TRIES: u32 = 3;
/// Between two looks for the server's Ethernet address.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Services that one check asks at a time, each by a socket of its own.
const ROADS_AT_ONCE: usize = 16;
/// Connections that wait for the servers' side of the close, over all checks; those beyond are reset at once. Each has a
/// socket, and up to 28 KiB of buffers.
pub(in crate::health) const PATH_CLOSES_MAX: usize = 512;

/// What a check by the service's own path asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathProbe {
    /// What is asked at each service: [`Probe::Tcp`], [`Probe::Tls`] or [`Probe::Http`].
    pub asks: Arc<Probe>,
    /// Whom.
    pub server: ServerId,
    /// Its next hop while no snapshot has it.
    pub first_hop: Option<NeighbourId>,
    /// What it must answer at, every one of them.
    pub roads: Vec<Road>,
    /// The address of this node to ask from; `None`: the one that the kernel takes towards the server.
    pub source: Option<IpAddr>,
    /// Who sends and hears.
    pub prober: Prober,
}

impl PathProbe {
    /// Sockets that an attempt has at one time, at most.
    pub(in crate::health) fn sockets(&self) -> u32 {
        u32::try_from(self.roads.len().clamp(1, ROADS_AT_ONCE)).unwrap_or(u32::MAX)
    }
}

/// A service, and how its packets go to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Road {
    /// Where clients connect to.
    pub service: SocketAddr,
    /// The tunnel; `None`: dsr.
    pub tunnel: Option<Tunnel>,
}

/// Sends and hears for all checks. Opens its sockets with the first one, and is one with its copies.
#[derive(Clone)]
pub struct Prober(Arc<Inner>);

struct Inner {
    shared: Shared,
    /// Index and Ethernet address of each configured port.
    ports: Vec<(u32, [u8; 6])>,
    waiting: Arc<Waiting>,
    sockets: Mutex<Option<Arc<Sockets>>>,
    closes: Arc<Semaphore>,
}

impl std::fmt::Debug for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prober").field("ports", &self.0.ports).finish_non_exhaustive()
    }
}

impl PartialEq for Prober {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Prober {}

impl Prober {
    /// One that reaches servers as the workers do. `ports`: index and Ethernet address of each, in the configuration's order.
    #[must_use]
    pub fn new(shared: Shared, ports: Vec<(u32, [u8; 6])>) -> Self {
        Self(Arc::new(Inner {
            shared,
            ports,
            waiting: Arc::new(Waiting::new()),
            sockets: Mutex::default(),
            closes: Arc::new(Semaphore::new(PATH_CLOSES_MAX)),
        }))
    }

    fn sockets(&self) -> io::Result<Arc<Sockets>> {
        let mut open = self.0.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sockets) = &*open {
            return Ok(Arc::clone(sockets));
        }
        let sockets = Arc::new(Sockets::open(&self.0.waiting)?);
        *open = Some(Arc::clone(&sockets));
        Ok(sockets)
    }

    /// The next hop of the workers' own table, once it is known.
    fn hop(&self, probe: &PathProbe) -> Option<NextHop> {
        let tables = self.0.shared.tables.load();
        let place = tables.server(probe.server).map(|server| server.neighbour).or(probe.first_hop)?;
        self.0.shared.neighbours.get(place)
    }
}

pub(super) async fn attempt(probe: &PathProbe, server: IpAddr, timeout: Duration, trust: &Trust) -> Attempt {
    let deadline = Instant::now() + timeout;
    let sockets = probe.prober.sockets().map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            inconclusive("this node may not open packet sockets (CAP_NET_RAW)")
        }
        _ => judge(&error),
    })?;
    let source = source::address(probe, server)?;
    let hop = loop {
        match probe.prober.hop(probe) {
            Some(hop) => break hop,
            None if Instant::now() >= deadline => {
                return Err(failed("no Ethernet address: it answers neither ARP nor ND, or has no route"));
            }
            None => sleep(LOOK_AGAIN).await,
        }
    };
    let call = Call { probe, sockets, hop, source, server, timeout, deadline };
    let mut passed = Vec::new();
    for roads in probe.roads.chunks(ROADS_AT_ONCE) {
        passed.extend(try_join_all(roads.iter().map(|road| call.ask(road, trust))).await?);
    }
    all(&passed)
}

/// What all of them together say.
fn all(passed: &[Passed]) -> Attempt {
    let words: BTreeSet<&str> = passed.iter().map(|passed| passed.words.as_str()).collect();
    let words = words.into_iter().collect::<Vec<_>>().join("; ");
    let words = match passed.len() {
        0 => return Err(inconclusive("no service sends anything to this server")),
        1 => format!("by the service's path: {words}"),
        n => format!("by the service's path, at all {n} addresses: {words}"),
    };
    let certificate_ends = passed.iter().filter_map(|passed| passed.certificate_ends).min();
    Ok(Passed { certificate_ends, ..Passed::new(words) })
}

/// One attempt.
struct Call<'a> {
    probe: &'a PathProbe,
    sockets: Arc<Sockets>,
    hop: NextHop,
    source: IpAddr,
    server: IpAddr,
    timeout: Duration,
    deadline: Instant,
}

impl Call<'_> {
    async fn ask(&self, road: &Road, trust: &Trust) -> Attempt {
        if *self.probe.asks == Probe::Tcp {
            return half::ask(self, road).await;
        }
        whole::ask(self, road, trust).await
    }

    fn waiting(&self) -> &Arc<Waiting> {
        &self.probe.prober.0.waiting
    }

    fn way(&self, road: &Road) -> Result<Way, Outcome> {
        let port = self.probe.prober.0.ports.get(usize::from(self.hop.port)).copied();
        Ok(Way {
            sockets: Arc::clone(&self.sockets),
            port: port.ok_or_else(|| inconclusive("its way leaves by no port of this node"))?,
            hop: self.hop,
            tunnel: road.tunnel,
            server: self.server,
        })
    }

    /// Nothing came back.
    fn silence(&self, road: &Road) -> Outcome {
        let lacks = match road.tunnel {
            None => "has it",
            Some(_) => "does it take the tunnel's packets, and has it",
        };
        let (at, time) = (road.service, in_words(self.timeout));
        failed(format!("no answer from {at} within {time}: {lacks} the address {}?", at.ip()))
    }
}
