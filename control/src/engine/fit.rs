//! What is told about a network in which some packets will not arrive.

use super::Engine;
use crate::config::Mode;

/// Services that are told of each.
const TOLD_MAX: usize = 16;

impl Engine {
    /// Tells of services whose packets may not fit, and of clients that a mode cannot serve. Once servers' routes are known.
    pub(super) fn warn_of_misfits(&self) {
        let mtus: Vec<u32> = self.node.ports.iter().map(|port| port.mtu).collect();
        for narrow in self.plan.too_narrow(&mtus).into_iter().take(TOLD_MAX) {
            let smaller = match narrow.service.mode {
                Mode::Nat | Mode::Snat { .. } => "mss-clamp for TCP",
                Mode::Dsr | Mode::Tunnel { .. } => "servers that offer smaller segments (advmss)",
            };
            let fix = format!("an MTU of {} towards the servers, or {smaller}", narrow.needed);
            tracing::warn!(
                event = "mtu",
                service = narrow.service.name,
                clients = narrow.clients_mtu,
                servers = narrow.servers_mtu,
                fits = narrow.fits,
                fix,
                "clients' full-sized packets do not fit on the way to its servers: they are told by ICMP"
            );
        }
        for (service, server) in self.plan.beside_clients().into_iter().take(TOLD_MAX) {
            tracing::warn!(
                event = "nat",
                service = service.name,
                server = %server,
                fix = "mode = \"snat\"",
                "clients in the servers' own network get no answers: those go past this node"
            );
        }
    }
}
