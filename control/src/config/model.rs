//! The configuration after every check: what it says, and nothing that could be wrong.
//!
//! Indices (`pool`, `health`) are in range, names are unique within their list, defaults are filled in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ringlead_pick::HashBy;
use ringlead_wire::tunnel::Encapsulation;
use ringlead_wire::{Endpoint, Ip, Protocol};

/// One checked configuration file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `[node]`.
    pub node: NodeConfig,
    /// `[dataplane]`.
    pub dataplane: DataplaneConfig,
    /// `[port.NAME]`: 1 to 16, in the file's order.
    pub ports: Vec<PortConfig>,
    /// `[service.NAME]` that workers forward, in the file's order: those of layer l4, and those of layer l7 with several nodes.
    /// At most 10 000 with `local`.
    pub services: Vec<ServiceConfig>,
    /// `[service.NAME]` of layer l7 without other nodes, in the file's order.
    pub local: Vec<LocalService>,
    /// `[pool.NAME]`, in the file's order; at most 65 535 servers in all.
    pub pools: Vec<PoolConfig>,
    /// The tunnels that are built in, then `[tunnel.NAME]` in the file's order.
    pub tunnels: Vec<TunnelConfig>,
    /// `[persistence.NAME]`: at most 64, in the file's order.
    pub persistence: Vec<PersistenceConfig>,
    /// `[snat.NAME]`, in the file's order.
    pub snats: Vec<SnatConfig>,
    /// `[health.NAME]`, in the file's order.
    pub checks: Vec<CheckConfig>,
}

/// `[node]`: this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// `name`; `None`: the host's own name.
    pub name: Option<String>,
    /// `state-dir`: holds the lock that keeps a second instance out. Absolute.
    pub state_dir: PathBuf,
    /// `control`: the unix socket of the command line. Absolute, at most 107 bytes (`sun_path`).
    pub control: PathBuf,
    /// `bpf-dir`: where links and maps are pinned, in a bpffs. Absolute.
    pub bpf_dir: PathBuf,
}

/// `[dataplane]`: the workers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataplaneConfig {
    /// `cores`: one worker each; 1 to 64, all different.
    pub cores: Vec<usize>,
    /// `control-core`: where everything else runs; `None`: wherever the kernel likes.
    pub control_core: Option<usize>,
    /// `idle`.
    pub idle: Idle,
    /// `max-flows`: tracked flows of each IP family, 1024 to 100 million.
    pub flows_max: usize,
    /// `hash-key`: key of the front's hash, which must be the same on every node.
    pub hash_key: [u8; 16],
    /// `frames`: frames of each worker, 2048 to 1 048 576.
    pub frames: u32,
}

/// What a worker does when no frame comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Idle {
    /// Polls without pause.
    Busy,
    /// Polls, then pauses, then sleeps in the kernel for up to milliseconds.
    #[default]
    Adaptive,
    /// Sleeps in the kernel whenever there is nothing to do.
    Sleep,
}

/// `[port.NAME]`: a network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortConfig {
    /// NAME.
    pub name: String,
    /// `device`: the interface's name, 1 to 15 bytes.
    pub device: String,
    /// `queues`.
    pub queues: Queues,
    /// `zero-copy`.
    pub zero_copy: ZeroCopy,
    /// `attach`.
    pub attach: Attach,
    /// `rx-checksum`.
    pub rx_checksum: RxChecksum,
    /// `faces`.
    pub faces: Faces,
}

/// Which receive queues of a port the workers own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Queues {
    /// All that the device has.
    #[default]
    Auto,
    /// These: not empty, ascending, all different.
    List(Vec<u32>),
}

/// Whether the driver hands its own buffers over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ZeroCopy {
    /// If it can; else copies.
    #[default]
    Prefer,
    /// Refuse to start without.
    Require,
    /// Copies always.
    Off,
}

/// How the steering program is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Attach {
    /// In the driver, or generically where the driver cannot.
    #[default]
    Auto,
    /// In the driver, or refuse to start.
    Native,
    /// Behind the driver, on socket buffers.
    Generic,
}

/// What to think of a received transport checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RxChecksum {
    /// [`FixPartial`](Self::FixPartial) on veth, tap and virtio, [`Trust`](Self::Trust) on others.
    #[default]
    Auto,
    /// It is whole.
    Trust,
    /// It may be the pseudo-header's sum alone, which local senders leave to the hardware: complete it.
    FixPartial,
}

/// Who is behind a port. Service addresses are put on ports that face clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Faces {
    /// Clients, or routers towards them.
    Clients,
    /// Servers.
    Servers,
    /// Both.
    #[default]
    Both,
}

impl Faces {
    /// Whether clients' packets arrive there.
    #[must_use]
    pub const fn clients(self) -> bool {
        matches!(self, Self::Clients | Self::Both)
    }

    /// Whether servers' packets arrive there.
    #[must_use]
    pub const fn servers(self) -> bool {
        matches!(self, Self::Servers | Self::Both)
    }
}

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

/// `[tunnel.NAME]`: what stands in front of a packet on its way to a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TunnelConfig {
    /// NAME, unlike those of the tunnels that are built in.
    pub name: String,
    /// `type`, `variant` and `port`.
    pub encapsulation: Encapsulation,
    /// `source`: where outer IPv4 packets come from.
    pub source_v4: SourcePrefix,
    /// `source`: where outer IPv6 packets come from.
    pub source_v6: SourcePrefix,
}

/// `[snat.NAME]`: addresses and ports that servers see in place of clients'.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnatConfig {
    /// NAME.
    pub name: String,
    /// `addresses`: 1 to [`SnatPool::ADDRESSES_MAX`](ringlead_flow::snat::SnatPool::ADDRESSES_MAX), in no other pool; no
    /// service's and no server's.
    pub addresses: Vec<Ip>,
    /// `ports`: enough of them that each worker has a share.
    pub ports: std::ops::RangeInclusive<u16>,
}

/// The addresses that share the first `bits` bits of `ip`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourcePrefix {
    /// One of them.
    pub ip: Ip,
    /// At most the length of an address of its family.
    pub bits: u8,
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

/// `[pool.NAME]`: servers of one IP family that can stand in for each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolConfig {
    /// NAME.
    pub name: String,
    /// `algorithm` with its options.
    pub algorithm: Algorithm,
    /// `slow-start`, 1 s to 1 h, never with maglev: how long a server that becomes eligible takes to its full weight.
    pub slow_start: Option<Duration>,
    /// `min-servers`, 1 to the servers that are no backups: with fewer of those eligible the backups join. 1 by default.
    pub servers_min: usize,
    /// `health`: an index into [`Config::checks`]; `None`: never checked, always up.
    pub health: Option<usize>,
    /// `server`: 1 to 1000, names and addresses all different, at least one of them no backup.
    pub servers: Vec<ServerConfig>,
}

/// How a pool chooses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// By the flow's hash; every node chooses alike.
    Maglev {
        /// `table-size`, one of [`ringlead_pick::SIZES`]; `None`: [`ringlead_pick::default_size`].
        size: Option<u32>,
        /// `hash`: what of a flow decides.
        hash: HashBy,
    },
    /// In turn, by weight.
    RoundRobin,
    /// The fewest flows for its weight.
    LeastFlows,
    /// Of two at random, the one with fewer flows for its weight.
    RandomTwo,
}

impl Algorithm {
    /// As the file and status write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Maglev { .. } => "maglev",
            Self::RoundRobin => "round-robin",
            Self::LeastFlows => "least-flows",
            Self::RandomTwo => "random-2",
        }
    }
}

/// One `server` of a pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerConfig {
    /// `name`, unique in the pool.
    pub name: String,
    /// `address`; port 0 = the client's choice: only with dsr and tunnel services that listen on port 0, and of nodes.
    pub address: SocketAddr,
    /// `weight`, 1 to 256.
    pub weight: u16,
    /// `state`: where it starts when no operator said otherwise.
    pub state: OperatorState,
    /// `max-flows`, 1 to 100 million, never with maglev: at so many it gets no new one. `None`: any number.
    pub flows_max: Option<u32>,
    /// `backup`: gets flows only while fewer than [`servers_min`](PoolConfig::servers_min) others are eligible.
    pub backup: bool,
}

/// What an operator wants of a server; health is another matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OperatorState {
    /// Takes flows.
    #[default]
    Ready,
    /// Takes no new flows but those of sticky clients; established flows go on.
    Drain,
    /// Takes no new flow at all; established flows go on.
    Offline,
}

/// `[persistence.NAME]`: a table of clients and the servers that they were given, by source address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PersistenceConfig {
    /// NAME.
    pub name: String,
    /// `mask`: the bits of an IPv4 source that count, 1 to 32.
    pub mask_v4: u8,
    /// `mask6`: the bits of an IPv6 source that count, 1 to 128.
    pub mask_v6: u8,
    /// `timeout`, 1 s to 7 days: who has begun no flow for so long is forgotten.
    pub timeout: Duration,
    /// `size`: the most that are remembered at once, 8 to 16 777 216; 67 108 864 in all tables.
    pub entries: usize,
}

/// `[health.NAME]`: a TCP connect check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckConfig {
    /// NAME.
    pub name: String,
    /// `interval` from one check of a server to its next, 100 ms to 1 h.
    pub interval: Duration,
    /// `timeout` of one check, 10 ms to the interval.
    pub timeout: Duration,
    /// `rise`: good checks in a row that bring a server up, 1 to 100.
    pub rise: u32,
    /// `fall`: bad checks in a row that take it down, 1 to 100.
    pub fall: u32,
    /// `port` to check instead of the server's own; not 0.
    pub port: Option<u16>,
}
