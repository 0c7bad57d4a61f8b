//! The configuration after every check: what it says, and nothing that could be wrong.
//!
//! Indices (`pool`, `health`) are in range, names are unique within their list, defaults are filled in.

mod health;
mod node;
mod observe;
mod persistence;
mod pool;
mod port;
mod service;
mod source;

pub use health::{CheckConfig, PassiveConfig, Via};
pub use node::{CONTROL_DEFAULT, DataplaneConfig, Idle, NodeConfig};
pub use observe::{FlowLogConfig, LogConfig, LogFormat, LogLevel, LogTarget, ObserveConfig, ReportsConfig};
pub use persistence::PersistenceConfig;
pub use pool::{Algorithm, OnServerDown, OperatorState, PanicConfig, PanicThen, PoolConfig, ServerConfig};
pub use port::{Attach, Faces, PortConfig, Queues, RxChecksum, ZeroCopy};
pub use service::{Addresses, LocalService, Mode, OnNoServer, Profile, ServiceConfig};
pub use source::{SnatConfig, SourcePrefix, TunnelConfig};

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
    /// `[observe]`.
    pub observe: ObserveConfig,
}
