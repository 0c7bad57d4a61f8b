//! How full a pool is.

/// A pool's ports by transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// TCP ports.
    pub tcp: PortUsage,
    /// UDP ports.
    pub udp: PortUsage,
}

/// Ports of all a pool's addresses. What is neither used nor quarantined is free.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortUsage {
    /// How many there are.
    pub total: usize,
    /// Held by a flow.
    pub used: usize,
    /// Given back and not yet free again.
    pub quarantined: usize,
}
