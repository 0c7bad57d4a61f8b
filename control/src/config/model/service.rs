//! `[service.NAME]`: what clients connect to.

use ringlead_wire::{Endpoint, Protocol};

/// `[service.NAME]`: what clients connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceConfig {
    /// NAME.
    pub name: String,
    /// `listen` with `protocol`: 1 to 64, of the pool's family (but in a tunnel), shared with no other service. Port 0 = any.
    pub listen: Vec<Endpoint>,
    /// `protocol`.
    pub protocol: Protocol,
    /// `mode`.
    pub mode: Mode,
    /// `pool`, or `nodes` of layer l7: an index into [`Config::pools`].
    pub pool: usize,
    /// Of layer l7: which server of the pool is this node. Its connections are the kernel's, those of the others are handed to
    /// them in `mode` (dsr or tunnel). The pool is chosen from by maglev with 5-tuple, and no service of layer l4 has it.
    /// `None`: layer l4.
    pub own_node: Option<usize>,
    /// `on-no-server`; with a sorry pool the default, for when that cannot serve either.
    pub on_no_server: OnNoServer,
    /// `on-no-server = "sorry:POOL"`: an index into [`Config::pools`], another one than `pool`.
    pub sorry: Option<usize>,
    /// `persistence`: an index into [`Config::persistence`]; `None`: every flow is chosen for anew.
    pub persistence: Option<usize>,
    /// `addresses`.
    pub addresses: Addresses,
    /// `timeouts`.
    pub profile: Profile,
    /// `mss-clamp`: the most that a SYN of either end may offer as its maximum segment size, 536 to 65 495 (never with UDP).
    pub mss: Option<u16>,
}

impl ServiceConfig {
    /// The pools that it sends flows to, as indices into [`Config::pools`].
    pub fn pools(&self) -> impl Iterator<Item = usize> + use<> {
        [Some(self.pool), self.sorry].into_iter().flatten()
    }

    /// `layer`.
    #[must_use]
    pub const fn layer(&self) -> &'static str {
        if self.own_node.is_some() { "l7" } else { "l4" }
    }
}

/// `[service.NAME]` of layer l7 that only this node serves: connections are accepted by a socket, so its packets are the
/// kernel's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalService {
    /// NAME.
    pub name: String,
    /// `listen`: 1 to 64 TCP endpoints with a port, all different, no other service's.
    pub listen: Vec<Endpoint>,
    /// `addresses`.
    pub addresses: Addresses,
}

/// How packets reach a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Destination address and port are rewritten; replies come back through this node.
    Nat,
    /// Only the MAC address is rewritten; the server owns the service's address and answers the client itself.
    /// Every server has the service's port.
    Dsr,
    /// The packet travels untouched inside another one to the server's address, which may be of the other family; the
    /// server owns the service's address and answers the client itself. Every server has the service's port.
    Tunnel {
        /// `tunnel`: an index into [`Config::tunnels`].
        tunnel: usize,
    },
    /// Both ends are rewritten: servers see an address and port of ours, so replies come back whatever their routes say.
    Snat {
        /// `snat`: an index into [`Config::snats`].
        snat: usize,
    },
}

impl Mode {
    /// As the file and status write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Dsr => "dsr",
            Self::Tunnel { .. } => "tunnel",
            Self::Snat { .. } => "snat",
        }
    }

    /// Whether servers answer clients themselves, from the service's address.
    #[must_use]
    pub const fn answers_directly(self) -> bool {
        matches!(self, Self::Dsr | Self::Tunnel { .. })
    }
}

/// What a new client gets when no server is ready and up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnNoServer {
    /// Nothing.
    Drop,
    /// A TCP reset (never with UDP).
    Reset,
    /// ICMP: host unreachable (RFC 792 3/1), or address unreachable (RFC 4443 1/3).
    Unreachable,
}

impl OnNoServer {
    /// As the file and status write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Reset => "reset",
            Self::Unreachable => "icmp-unreachable",
        }
    }
}

/// Who puts the service's addresses on the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Addresses {
    /// ringlead adds and removes them.
    #[default]
    Manage,
    /// Somebody else does (keepalived); they are only expected to be there.
    Expect,
}

/// How long idle flows are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Profile {
    /// Short, as load balancers do: established 300 s, opening 5 s, closing 30 s, UDP 300 s.
    #[default]
    Lb,
    /// The least that RFC 5382 section 5 (TCP) and RFC 4787 section 4.3 (UDP) ask of a NAT.
    Rfc5382,
}
