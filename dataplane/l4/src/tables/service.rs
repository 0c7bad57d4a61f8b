//! A service: what clients connect to, and how its packets reach its servers.

use super::{Pool, ServiceId, Tunnel};
use ringlead_flow::snat::SnatPool;
use ringlead_flow::{Profile, ServerId};
use ringlead_pick::Sticky;
use std::sync::Arc;

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
    /// Where `pool` are the nodes that accept its connections: which of them is this one. Its flows never come to a worker but
    /// by a race; those of others are routed to them, so that nodes which disagree cannot pass a packet on for ever. Only in
    /// modes dsr and tunnel.
    pub own: Option<ServerId>,
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
