//! What must come back: the services, their servers, and the headers that each packet was sent with.

use crate::net::Net;
use crate::parsed::Transport;
use crate::tunnel::Tunnel;
use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Most servers of an expectation.
pub const SERVERS_MAX: usize = 4096;
/// Most services of an expectation.
pub const SERVICES_MAX: usize = 4096;

/// How the load balancer forwards a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Mode {
    /// The destination becomes the server's address and port, as by a router: the TTL falls by one. Replies come back
    /// from the service's address and port, their TTL fallen by one too.
    Nat,
    /// Only the Ethernet addresses change: the destination MAC names the server. Replies do not pass the balancer.
    Dsr,
    /// As nat, and the source becomes an address and port of [`Expectation::snat`], the same for all of a flow's packets
    /// and no other live flow's. Where a server is of the other family the packet is translated (RFC 7915).
    Snat,
    /// The packet stays as it was inside an outer header ([`Expectation::tunnel`]) whose destination names the server.
    /// Replies do not pass the balancer.
    Tunnel,
}

impl Mode {
    /// By how much the TTL must fall on the way.
    #[inline]
    #[must_use]
    pub(crate) const fn hops(self) -> u8 {
        match self {
            Self::Nat | Self::Snat => 1,
            Self::Dsr | Self::Tunnel => 0,
        }
    }
}

/// A server that frames may arrive at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// As findings call it.
    pub name: String,
    /// Its address and port; in dsr mode only a label, and in tunnel mode only the address counts.
    pub address: SocketAddr,
    /// The destination MAC of its frames, where known. In dsr mode servers on one interface need it.
    pub mac: Option<[u8; 6]>,
    /// The interface its frames arrive at, where known: the caller's number, see [`Arrival`](crate::Arrival).
    pub interface: Option<u16>,
    /// The VLAN id of its frames; None: untagged.
    pub vlan: Option<u16>,
}

/// A service that clients send to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Its address and port.
    pub address: SocketAddr,
    /// Its protocol.
    pub transport: Transport,
    /// How it is forwarded.
    pub mode: Mode,
    /// Its servers: indices into [`Expectation::servers`].
    pub servers: Vec<u16>,
}

/// All that may come back. Checked by [`Witness::new`](crate::Witness::new).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expectation {
    /// The services; [`Sent::service`] is an index into them.
    pub services: Vec<Service>,
    /// The servers of all services.
    pub servers: Vec<Server>,
    /// Where snat services put clients.
    pub snat: Snat,
    /// How tunnel services wrap packets.
    pub tunnel: Tunnel,
}

/// The addresses and ports that snat services put in the place of clients'.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snat {
    /// The addresses.
    pub sources: Vec<Net>,
    /// The ports.
    pub ports: RangeInclusive<u16>,
}

impl Default for Snat {
    /// No address, every port but 0.
    fn default() -> Self {
        Self { sources: Vec::new(), ports: 1..=u16::MAX }
    }
}

impl Expectation {
    /// Refuses what no frame could be judged by.
    ///
    /// # Errors
    /// What is wrong, in a sentence.
    pub fn check(&self) -> Result<(), Impossible> {
        if self.services.len() > SERVICES_MAX || self.servers.len() > SERVERS_MAX {
            return Err(Impossible(format!("at most {SERVICES_MAX} services and {SERVERS_MAX} servers")));
        }
        self.services.iter().try_for_each(|service| self.check_service(service))
    }

    fn check_service(&self, service: &Service) -> Result<(), Impossible> {
        let name = service.address;
        if service.servers.is_empty() {
            return Err(Impossible(format!("{name} has no server")));
        }
        if service.mode == Mode::Snat && (self.snat.sources.is_empty() || self.snat.ports.is_empty()) {
            return Err(Impossible(format!(
                "{name} is an snat service, and there is no SNAT address or port"
            )));
        }
        let mut seen = HashSet::new();
        for &index in &service.servers {
            let Some(server) = self.servers.get(usize::from(index)) else {
                return Err(Impossible(format!("{name} has a server {index}, which does not exist")));
            };
            let identity = match service.mode {
                Mode::Nat | Mode::Snat => (Some(server.address), None, None),
                Mode::Dsr => (None, server.mac, server.interface),
                Mode::Tunnel => (Some(SocketAddr::new(server.address.ip(), 0)), None, None),
            };
            if identity == (None, None, None) {
                let why = "its MAC address or its interface must be known, or its frames cannot be told";
                return Err(Impossible(format!("{name}, server {}: {why}", server.name)));
            }
            if !seen.insert(identity) {
                let why = "has another server like it: their frames cannot be told apart";
                return Err(Impossible(format!("{name} {why} ({})", server.name)));
            }
            if service.mode == Mode::Nat && server.address.is_ipv4() != name.is_ipv4() {
                return Err(Impossible(format!("{name}, server {}: of another family", server.name)));
            }
            let of_family = |net: &Net| net.base.is_ipv4() == server.address.is_ipv4();
            if service.mode == Mode::Snat && !self.snat.sources.iter().any(of_family) {
                let why = "no SNAT address is of its family";
                return Err(Impossible(format!("{name}, server {}: {why}", server.name)));
            }
        }
        Ok(())
    }
}

/// Why an expectation was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Impossible(pub(crate) String);

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Impossible {}

/// What the transport checksum was sent as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum {
    /// Right: it must come back right.
    #[default]
    Right,
    /// UDP over IPv4 without one (RFC 768): it must come back 0.
    Absent,
    /// Wrong on purpose: it must come back wrong, or damage was hidden.
    Wrong,
}

/// How one packet was sent. Packets carry neither IPv4 options, IPv6 extension headers nor TCP options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Which of [`Expectation::services`] it was sent to.
    pub service: u16,
    /// From where.
    pub client: SocketAddr,
    /// The client's MAC address, where replies to it should be checked for it.
    pub mac: Option<[u8; 6]>,
    /// The VLAN it was sent in; replies come back in it. None: untagged.
    pub vlan: Option<u16>,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP and ECN: the whole TOS or traffic class byte.
    pub tos: u8,
    /// IPv4 identification, or IPv6 flow label (20 bits).
    pub label: u32,
    /// IPv4's "don't fragment"; false over IPv6.
    pub dont_fragment: bool,
    /// TCP flags (byte 13 of the header); 0 over UDP.
    pub flags: u8,
    /// TCP window; 0 over UDP.
    pub window: u16,
    /// The transport checksum.
    pub checksum: Checksum,
    /// TTL of the reply as the server sent it.
    pub reply_ttl: u8,
    /// TCP flags of the reply as the server sent it.
    pub reply_flags: u8,
}

impl Sent {
    /// A plain packet: TTL 64 both ways, DSCP 0, label 0, "don't fragment" over IPv4, TCP flags ACK both ways and the
    /// given window (0 for UDP, which then has no flags).
    #[must_use]
    pub const fn plain(service: u16, client: SocketAddr, window: u16) -> Self {
        let flags = if window == 0 { 0 } else { 0x10 };
        Self {
            service,
            client,
            mac: None,
            vlan: None,
            ttl: 64,
            tos: 0,
            label: 0,
            dont_fragment: client.is_ipv4(),
            flags,
            window,
            checksum: Checksum::Right,
            reply_ttl: 64,
            reply_flags: flags,
        }
    }
}

/// Knows how each packet was sent. Asked for every frame that is judged, so it computes rather than remembers.
pub trait Sender {
    /// How packet `seq` of `flow` was sent; None when there is no such flow.
    fn sent(&self, flow: u32, seq: u32) -> Option<Sent>;
}

impl<S: Sender + ?Sized> Sender for &S {
    #[inline]
    fn sent(&self, flow: u32, seq: u32) -> Option<Sent> {
        (**self).sent(flow, seq)
    }
}

impl<S: Sender + ?Sized> Sender for Arc<S> {
    #[inline]
    fn sent(&self, flow: u32, seq: u32) -> Option<Sent> {
        (**self).sent(flow, seq)
    }
}
