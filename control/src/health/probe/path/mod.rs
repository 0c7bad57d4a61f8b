//! A TCP check by the service's own path: a SYN to the service's address, sent to the server as a client's packet would be.
//!
//! A connection from this node to its own service address would stay inside it, and the server's answer comes from that
//! address, so the kernel can neither send nor hear it. The SYN leaves by a packet socket, plain or in the service's tunnel,
//! for the same next hop as workers use; the answer is heard by another one, beside the kernel. The handshake is not finished: a
//! reset ends it, and the server's program never sees it.

mod ear;
mod segment;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use ringlead_flow::ServerId;
use ringlead_l4::Shared;
use ringlead_l4::neighbours::{NeighbourId, NextHop};
use ringlead_l4::tables::Tunnel;
use socket2::{Domain, Socket, Type};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Attempt, Outcome, Passed, failed, in_words, inconclusive, judge};
use ear::{Answer, Sockets, Waiting};
use segment::{RST, SYN, Segment, frame};

/// How often a SYN is sent within the timeout: one lost frame is no verdict.
const TRIES: u32 = 3;
/// Between two looks for the server's Ethernet address.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a check by the service's own path asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathProbe {
    /// Whom.
    pub server: ServerId,
    /// Its next hop while no snapshot has it.
    pub first_hop: Option<NeighbourId>,
    /// What it must accept connections to, every one of them.
    pub roads: Vec<Road>,
    /// The address of this node to ask from; `None`: the one that the kernel takes towards the server.
    pub source: Option<IpAddr>,
    /// Who sends and hears.
    pub prober: Prober,
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
        Self(Arc::new(Inner { shared, ports, waiting: Arc::new(Waiting::new()), sockets: Mutex::default() }))
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

pub(super) async fn attempt(probe: &PathProbe, server: IpAddr, timeout: Duration) -> Attempt {
    let deadline = Instant::now() + timeout;
    let sockets = probe.prober.sockets().map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            inconclusive("this node may not open packet sockets (CAP_NET_RAW)")
        }
        _ => judge(&error),
    })?;
    let (source, _reserved) = reserve(probe, server)?;
    let hop = loop {
        match probe.prober.hop(probe) {
            Some(hop) => break hop,
            None if Instant::now() >= deadline => {
                return Err(failed("no Ethernet address: it answers neither ARP nor ND, or has no route"));
            }
            None => sleep(LOOK_AGAIN).await,
        }
    };
    let call = Call { probe, sockets: &sockets, hop, source, server, timeout };
    try_join_all(probe.roads.iter().map(|road| call.ask(road, deadline))).await?;
    match probe.roads.len() {
        0 => Err(inconclusive("no service sends anything to this server")),
        1 => Ok(Passed::new("accepted by the service's path")),
        n => Ok(Passed::new(format!("accepted by the service's path at all {n} addresses"))),
    }
}

/// An address and port of this node, which no connection of the kernel's gets while the socket lives.
fn reserve(probe: &PathProbe, server: IpAddr) -> Result<(SocketAddr, Socket), Outcome> {
    let source = match probe.source {
        Some(source) => source,
        None => towards(server).map_err(|error| judge(&error))?,
    };
    if probe.roads.iter().any(|road| road.service.ip() == source) {
        let why = format!("{source} is the service's own address: set `probe-source`");
        return Err(Outcome::Inconclusive(why));
    }
    let reserved = Socket::new(Domain::for_address((source, 0).into()), Type::STREAM, None);
    let reserved = reserved.map_err(|error| judge(&error))?;
    let bound = reserved.bind(&SocketAddr::new(source, 0).into()).and_then(|()| reserved.local_addr());
    match bound.map(|address| address.as_socket()) {
        Ok(Some(address)) => Ok((SocketAddr::new(source, address.port()), reserved)),
        Ok(None) => Err(inconclusive("no free local port on this node")),
        Err(error) => Err(Outcome::Inconclusive(format!(
            "this node cannot ask from {source} (`probe-source`): {error}"
        ))),
    }
}

/// The address that the kernel takes towards a server. Sends nothing.
fn towards(server: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if server.is_ipv4() { [0_u8; 4].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    // The port means nothing: this is the discard service's (RFC 863).
    socket.connect((server, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// One attempt.
struct Call<'a> {
    probe: &'a PathProbe,
    sockets: &'a Sockets,
    hop: NextHop,
    source: SocketAddr,
    server: IpAddr,
    timeout: Duration,
}

impl Call<'_> {
    async fn ask(&self, road: &Road, deadline: Instant) -> Result<(), Outcome> {
        let waiting = &self.probe.prober.0.waiting;
        let asked = waiting.ask(self.source, road.service);
        let (ticket, mut told) = asked.ok_or_else(|| inconclusive("too many checks are under way"))?;
        let segment =
            Segment { source: self.source, service: road.service, sequence: ticket.sequence, flags: SYN };
        for rest in (0..TRIES).rev() {
            self.send(road, &segment)?;
            // What is left, in equal parts.
            let left = deadline.saturating_duration_since(Instant::now());
            match timeout_at(Instant::now() + left / (rest + 1), &mut told).await {
                Ok(Ok(Answer::Accepted)) => {
                    let reset = Segment { sequence: ticket.sequence + 1, flags: RST, ..segment };
                    // It has answered, whatever becomes of this.
                    let _ = self.send(road, &reset);
                    return Ok(());
                }
                Ok(Ok(Answer::Refused)) => return Err(failed(format!("{} refused", road.service))),
                Ok(Err(_)) => return Err(inconclusive("nobody hears the answers")),
                Err(_) => {}
            }
        }
        let lacks = match road.tunnel {
            None => "has it",
            Some(_) => "does it take the tunnel's packets, and has it",
        };
        let (at, time) = (road.service, in_words(self.timeout));
        Err(failed(format!("no answer from {at} within {time}: {lacks} the address {}?", at.ip())))
    }

    fn send(&self, road: &Road, segment: &Segment) -> Result<(), Outcome> {
        let Call { probe, hop, server, .. } = self;
        let (ifindex, mac) = *probe
            .prober
            .0
            .ports
            .get(usize::from(hop.port))
            .ok_or_else(|| inconclusive("its way leaves by no port of this node"))?;
        let packet = segment.packet();
        let made = packet.and_then(|packet| frame(&packet, hop, mac, road.tunnel.as_ref(), *server));
        let made = made.ok_or_else(|| inconclusive("`probe-source` is not of the service's IP family"))?;
        self.sockets.sender.send(ifindex, &made).map_err(|error| judge(&error))
    }
}
