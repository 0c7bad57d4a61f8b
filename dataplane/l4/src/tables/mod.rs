//! The snapshot: everything that workers read and only control changes, swapped whole.

use ahash::AHashMap;
use ringlead_flow::snat::SnatPool;
use ringlead_flow::{Flow, ServerId};
use ringlead_pick::FrontHash;
use ringlead_wire::{Endpoint, Ip, Protocol};
use std::sync::Arc;

mod pool;
mod service;
mod services;
mod way;

pub use crate::tunnel::{Prefix, Tunnel};
pub use pool::{Chooser, Ends, Pool, Server, Standing};
pub use service::{Delivery, Mode, OnNoServer, Service};
pub use services::Services;
pub use way::ServiceId;
pub(crate) use way::Way;

/// The most services a snapshot holds.
pub const SERVICES_MAX: usize = 16_384;
/// The most servers a snapshot holds, ghosts included.
pub const SERVERS_MAX: usize = 131_072;

/// One immutable snapshot.
#[derive(Debug)]
pub struct Tables {
    /// Rises with each snapshot; workers acknowledge it.
    pub epoch: u64,
    /// By slot; holes where a service was removed.
    pub services: Services,
    /// By server id; ghosts stay until no flow holds them.
    pub servers: Arc<[Option<Server>]>,
    /// Where clients connect to (port 0 = any port) → slot in `services`.
    pub listen: Arc<AHashMap<Endpoint, u16>>,
    /// Where nat servers answer from; port 0 = any.
    pub nat_servers: Arc<AHashMap<Endpoint, ()>>,
    /// The pools of source ports by address, those included that only past flows use.
    pub snat: Arc<AHashMap<Ip, Arc<SnatPool>>>,
    /// The same pools, each once.
    pub snat_pools: Arc<[Arc<SnatPool>]>,
    /// Whether any service has, or lately had, servers of the other family: an IPv4 packet without a flow may then be one
    /// of a flow that is kept among the IPv6 ones.
    pub mixed: bool,
    /// Whether any server ends the flows that it has, so that known flows have to be looked at for that.
    pub ends_flows: bool,
    /// The front's hash, the same on every node.
    pub hash: FrontHash,
}

impl Tables {
    /// A snapshot without services.
    #[must_use]
    pub fn empty(hash: FrontHash) -> Self {
        Self {
            epoch: 0,
            services: Services::default(),
            servers: Arc::from([]),
            listen: Arc::default(),
            nat_servers: Arc::default(),
            snat: Arc::default(),
            snat_pools: Arc::from([]),
            mixed: false,
            ends_flows: false,
            hash,
        }
    }

    /// The service that listens on an address and port, or on any port of the address.
    #[inline]
    #[must_use]
    pub fn listener(&self, at: Endpoint) -> Option<&Arc<Service>> {
        let slot = self.listen.get(&at).or_else(|| self.listen.get(&Endpoint { port: 0, ..at }))?;
        self.services.get(*slot)
    }

    /// The service with this id, unless it has been removed.
    #[inline]
    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<&Arc<Service>> {
        self.services.get(id.slot).filter(|s| s.id == id)
    }

    /// Whether the service whose id is in a flow's word is still there.
    #[inline]
    #[must_use]
    pub fn has_service(&self, word: u32) -> bool {
        self.services.has(word)
    }

    /// The server with this id, ghosts included.
    #[inline]
    #[must_use]
    pub fn server(&self, id: ServerId) -> Option<&Server> {
        self.servers.get(id.0 as usize)?.as_ref()
    }

    /// Whether a nat server answers from here.
    #[inline]
    #[must_use]
    pub fn is_nat_server(&self, at: Endpoint) -> bool {
        self.nat_servers.contains_key(&at)
    }

    /// Gives back the source port of a flow that has ended and is out of the table, if it had one.
    #[cold]
    pub fn give_port_back(&self, flow: &Flow) {
        let Some(answers) = flow.server.as_ref().filter(|_| Way::of(flow.service).holds_port()) else {
            return;
        };
        if let (Some(pool), Some(protocol)) = (self.snat.get(&answers.dst), protocol(answers.proto)) {
            pool.give_back(answers.dst, answers.dport, protocol);
        }
    }
}

/// The transport of this number, if services can use it.
#[inline]
pub(crate) const fn protocol(number: u8) -> Option<Protocol> {
    match number {
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        _ => None,
    }
}
