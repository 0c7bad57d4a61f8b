//! `[observe]`: what is told of what happens, and where.

use std::net::SocketAddr;

/// `[observe]`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObserveConfig {
    /// `metrics`: where `/metrics`, `/healthz` and `/readyz` are served over HTTP, to whoever may connect; `None`: nowhere.
    /// A TCP port that no service has, on an address of this node or on all of them.
    pub metrics: Option<SocketAddr>,
}
