//! Source addresses for snat on this node: how full they are, and when one runs out.

use super::Engine;
use super::report::Reporter;
use super::status::{SnatPortsStatus, SnatStatus};
use crate::config::SnatConfig;
use crate::plan::Plan;
use ringlead_flow::snat::PortUsage;
use ringlead_l4::drops::{Drop, Reason};
use ringlead_wire::Ip;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often running out is told at most.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What was last said about running out of source ports.
#[derive(Debug, Default)]
pub(super) struct Exhaustion {
    refused: u64,
    told: Option<Instant>,
}

impl Engine {
    /// Says when flows are refused for want of a source port, and which pools are how full.
    pub(super) fn watch_sources(&mut self) {
        let reason = Drop::from(Reason::SnatExhausted);
        let refused = self.node.shared.counters.iter().map(|c| c.dropped(reason)).sum();
        let quiet = self.sources.told.is_some_and(|told| told.elapsed() < TELL_EVERY);
        if refused == self.sources.refused || quiet {
            return;
        }
        let packets = refused - self.sources.refused;
        self.sources = Exhaustion { refused, told: Some(Instant::now()) };
        let plan = Arc::clone(&self.plan);
        // Counting looks at every port, so it is done off this thread.
        tokio::task::spawn_blocking(move || tell_exhaustion(&plan, packets));
    }
}

impl Reporter {
    pub(super) fn snat_status(&self) -> Vec<SnatStatus> {
        self.plan.snat_usage().map(|(config, usage)| status(config, usage.tcp, usage.udp)).collect()
    }
}

/// Says which pool is used up, or that it was a worker's share of one.
fn tell_exhaustion(plan: &Plan, packets: u64) {
    for (config, usage) in plan.snat_usage() {
        let (tcp, udp) = (usage.tcp, usage.udp);
        let full = |of: &PortUsage| of.used + of.quarantined >= of.total - of.total / 64;
        if full(&tcp) || full(&udp) {
            tracing::error!(
                event = "snat",
                pool = config.name,
                packets,
                tcp = format!("{} used, {} in quarantine of {}", tcp.used, tcp.quarantined, tcp.total),
                udp = format!("{} used, {} in quarantine of {}", udp.used, udp.quarantined, udp.total),
                "out of source ports: add addresses or widen the range"
            );
            return;
        }
    }
    tracing::error!(event = "snat", packets, "a worker's share of the source ports was used up");
}

fn status(config: &SnatConfig, tcp: PortUsage, udp: PortUsage) -> SnatStatus {
    let ports =
        |of: PortUsage| SnatPortsStatus { total: of.total, used: of.used, quarantined: of.quarantined };
    SnatStatus {
        name: config.name.clone(),
        addresses: config.addresses.iter().map(Ip::to_string).collect(),
        ports: format!("{}-{}", config.ports.start(), config.ports.end()),
        tcp: ports(tcp),
        udp: ports(udp),
    }
}
