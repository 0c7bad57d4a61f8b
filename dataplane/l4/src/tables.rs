//! The snapshot: everything that workers read and only control changes, swapped whole.

use crate::neighbours::NeighbourId;
use ahash::AHashMap;
use ringlead_flow::snat::SnatPool;
use ringlead_flow::{Flow, Profile, ServerId};
use ringlead_pick::{FrontHash, HashBy, LeastFlows, Loads, Maglev, RandomTwo, RoundRobin, Sticky};
use ringlead_wire::{Endpoint, Ip, Protocol};
use std::sync::Arc;

pub use crate::tunnel::{Prefix, Tunnel};

/// The most services a snapshot holds.
pub const SERVICES_MAX: usize = 16_384;
/// The most servers a snapshot holds, ghosts included.
pub const SERVERS_MAX: usize = 131_072;

/// How a service's packets reach its servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Destination rewritten to the server's; replies come back through us.
    Nat,
    /// Only the Ethernet address changes; the server answers the client directly.
    Dsr,
    /// The packet travels inside another one to the server, which answers the client directly.
    Tunnel,
    /// Both ends rewritten: the server sees an address and port of ours, so that replies come back whatever its routes say.
    Snat,
}

impl Mode {
    /// As the configuration and status write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Dsr => "dsr",
            Self::Tunnel => "tunnel",
            Self::Snat => "snat",
        }
    }
}

/// A mode with what it needs.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// [`Mode::Nat`].
    Nat,
    /// [`Mode::Dsr`].
    Dsr,
    /// [`Mode::Tunnel`].
    Tunnel(Tunnel),
    /// [`Mode::Snat`], with the source ports to choose from.
    Snat(Arc<SnatPool>),
}

impl Delivery {
    /// Its mode.
    #[inline]
    #[must_use]
    pub const fn mode(&self) -> Mode {
        match self {
            Self::Nat => Mode::Nat,
            Self::Dsr => Mode::Dsr,
            Self::Tunnel(_) => Mode::Tunnel,
            Self::Snat(_) => Mode::Snat,
        }
    }

    /// Whether replies come back through us.
    #[inline]
    #[must_use]
    pub const fn is_two_sided(&self) -> bool {
        matches!(self, Self::Nat | Self::Snat(_))
    }
}

/// The declared answer when no server can take a new flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnNoServer {
    /// Silence.
    Drop,
    /// A TCP reset.
    Reset,
    /// ICMP: host unreachable (RFC 792 3/1, RFC 4443 1/3).
    Unreachable,
}

/// A service in a snapshot: a slot that is reused and a generation that is not, so a flow of a removed service never
/// belongs to the one that took its slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ServiceId {
    /// Index into [`Tables::services`], below [`SERVICES_MAX`].
    pub slot: u16,
    /// Counts the slot's tenants.
    pub generation: u16,
}

/// Bits of a service's slot in a word.
const SLOT: u32 = 0x3fff;
const _: () =
    assert!(SERVICES_MAX == SLOT as usize + 1, "two bits between slot and generation are the way's");

impl ServiceId {
    /// In one word, as flow entries keep it: `{generation 16, way 2, slot 14}`, highest bits first, the way 0.
    #[inline]
    #[must_use]
    pub const fn to_u32(self) -> u32 {
        (self.generation as u32) << 16 | self.slot as u32 & SLOT
    }

    /// From the word that [`to_u32`](Self::to_u32) made, whatever way it has been given.
    #[inline]
    #[must_use]
    pub const fn from_u32(word: u32) -> Self {
        Self { slot: (word & SLOT) as u16, generation: (word >> 16) as u16 }
    }
}

/// What `rewrite` has to do to a flow's packets. The flow itself says it, in its service's word: known flows then need no
/// look at their service, and keep their way when the service's mode changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Way {
    /// What the flow's two ends say: nat with a server's end, dsr without.
    Plain = 0,
    /// Both ends, as the flow's say.
    Snat = 1 << 14,
    /// Into a tunnel.
    Tunnel = 2 << 14,
    /// Both ends, which are of the other family.
    Translate = 3 << 14,
}

const SNAT: u32 = Way::Snat as u32;
const TUNNEL: u32 = Way::Tunnel as u32;
const TRANSLATE: u32 = Way::Translate as u32;

impl Way {
    /// Where the two bits are in a service's word.
    pub(crate) const SHIFT: u32 = 14;
    const MASK: u32 = 0b11 << Self::SHIFT;

    /// A service's word with the way of its mode. `crosses`: the flow's server is of the other family than its client.
    #[inline]
    pub(crate) const fn mark(id: ServiceId, delivery: &Delivery, crosses: bool) -> u32 {
        let way = match delivery {
            Delivery::Nat | Delivery::Dsr => Self::Plain,
            Delivery::Tunnel(_) => Self::Tunnel,
            Delivery::Snat(_) if crosses => Self::Translate,
            Delivery::Snat(_) => Self::Snat,
        };
        id.to_u32() | way as u32
    }

    /// 0 where a flow's way is [`Plain`](Self::Plain).
    #[inline]
    pub(crate) const fn detour(word: u32) -> u32 {
        word & Self::MASK
    }

    /// Of a flow.
    #[inline]
    pub(crate) const fn of(word: u32) -> Self {
        match word & Self::MASK {
            SNAT => Self::Snat,
            TUNNEL => Self::Tunnel,
            TRANSLATE => Self::Translate,
            _ => Self::Plain,
        }
    }

    /// Whether the flow holds a source port.
    const fn holds_port(self) -> bool {
        self as u32 & SNAT != 0
    }
}

/// What clients connect to.
#[derive(Debug)]
pub struct Service {
    /// Its identity.
    pub id: ServiceId,
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// How its packets are sent on.
    pub delivery: Delivery,
    /// Who serves it.
    pub pool: Arc<Pool>,
    /// The answer when nobody can.
    pub on_no_server: OnNoServer,
    /// Who serves when nobody of `pool` can, before that answer.
    pub sorry: Option<Arc<Pool>>,
    /// Where clients that come back are known; their key's salt is the pool's.
    pub sticky: Option<Arc<Sticky>>,
    /// Its flows' timers.
    pub profile: Profile,
    /// The most that a SYN of either end may offer as its maximum segment size, in bytes.
    pub mss: Option<u16>,
}

impl Service {
    /// Whether a flow's server and all else about it can be computed again from its packets alone.
    #[inline]
    #[must_use]
    pub fn recomputes(&self) -> bool {
        !matches!(self.delivery, Delivery::Snat(_)) && self.sticky.is_none() && self.pool.chooser.recomputes()
    }
}

/// The choice among a pool's eligible servers.
#[derive(Debug)]
pub enum Chooser {
    /// Consistent hashing: the same answer on every node and after every restart.
    Maglev {
        /// From a hash to a member.
        table: Maglev,
        /// What is hashed.
        by: HashBy,
    },
    /// Weighted turns; each worker has its own cursor.
    RoundRobin(RoundRobin),
    /// The fewest flows for its weight.
    LeastFlows(LeastFlows),
    /// The one of two random members that has fewer flows for its weight.
    RandomTwo(RandomTwo),
}

impl Chooser {
    /// Whether a flow's server can be computed again from its addresses alone.
    #[inline]
    #[must_use]
    pub const fn recomputes(&self) -> bool {
        matches!(self, Self::Maglev { .. })
    }

    /// Whether each choice depends on the flows that there are.
    #[inline]
    #[must_use]
    pub const fn counts_flows(&self) -> bool {
        matches!(self, Self::LeastFlows(_) | Self::RandomTwo(_))
    }
}

/// A pool as the packet path sees it: only servers that may get new flows.
#[derive(Debug)]
pub struct Pool {
    /// Its place in the configuration, below [`SERVICES_MAX`]; workers keep their cursors by it.
    pub index: u16,
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The algorithm over `members`.
    pub chooser: Chooser,
    /// The eligible servers, in the chooser's order.
    pub members: Box<[ServerId]>,
    /// The most flows that a server may have, where some may not have any number. Never with maglev, whose choice is the same
    /// on every node.
    pub limits: AHashMap<ServerId, u32>,
    /// Tells its clients from other pools' where they are remembered; the same across snapshots.
    pub salt: u32,
}

impl Pool {
    /// The most flows that a server may have.
    #[inline]
    #[must_use]
    pub fn limit(&self, id: ServerId) -> Option<u32> {
        if self.limits.is_empty() { None } else { self.limits.get(&id).copied() }
    }

    /// Whether a server may have one more flow.
    #[inline]
    #[must_use]
    pub fn has_room(&self, loads: &Loads, id: ServerId) -> bool {
        self.limit(id).is_none_or(|limit| loads.get(id.0) < limit)
    }
}

/// One address that serves.
#[derive(Clone, Debug)]
pub struct Server {
    /// `POOL/NAME`.
    pub name: Arc<str>,
    /// Its address; port 0 keeps the client's.
    pub ip: Ip,
    /// Its port, host order.
    pub port: u16,
    /// Its next hop.
    pub neighbour: NeighbourId,
    /// Whether its health is down: a UDP packet or a SYN of an existing flow then chooses again.
    pub down: bool,
    /// Whether it takes new flows: a SYN that reuses the ports of a flow that has ended then chooses again.
    pub accepts: bool,
    /// Whether it takes new flows of clients that come back to it; those that drain do.
    pub admits: bool,
}

/// The services of a snapshot by slot, with holes where one was removed.
#[derive(Debug, Default)]
pub struct Services {
    all: Box<[Option<Arc<Service>>]>,
    /// The id in each slot, or [`NO_SERVICE`]: known flows need no more, and thousands of services fit into the caches.
    ids: Box<[u32]>,
    /// Whether any of them has a say in the segment sizes of its connections.
    clamps: bool,
    /// Whether any of them packs its packets.
    packs: bool,
}

/// No id: no slot has that number.
const NO_SERVICE: u32 = u32::MAX;

impl Services {
    /// The service in a slot.
    #[inline]
    #[must_use]
    pub fn get(&self, slot: u16) -> Option<&Arc<Service>> {
        self.all.get(usize::from(slot))?.as_ref()
    }

    /// Whether SYNs have to be looked at for their maximum segment size.
    #[inline]
    pub(crate) const fn clamps(&self) -> bool {
        self.clamps
    }

    /// Whether outer headers may have to go in front of packets.
    #[inline]
    pub(crate) const fn packs(&self) -> bool {
        self.packs
    }

    /// All slots in order.
    #[must_use]
    pub fn slots(&self) -> &[Option<Arc<Service>>] {
        &self.all
    }
}

impl From<Vec<Option<Arc<Service>>>> for Services {
    fn from(all: Vec<Option<Arc<Service>>>) -> Self {
        let ids = all.iter().map(|service| service.as_ref().map_or(NO_SERVICE, |s| s.id.to_u32())).collect();
        let clamps = all.iter().flatten().any(|service| service.mss.is_some());
        let packs = all.iter().flatten().any(|service| service.delivery.mode() == Mode::Tunnel);
        Self { all: all.into(), ids, clamps, packs }
    }
}

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
        self.services.ids.get((word & SLOT) as usize) == Some(&(word & !Way::MASK))
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
    pub(crate) fn give_port_back(&self, flow: &Flow) {
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
