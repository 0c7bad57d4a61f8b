//! Listing flows and ending them: filtered here, a page at a time, off the control thread.
//!
//! A walk reads the table as any look-up does, so it costs the workers nothing but its share of the memory's bandwidth.

use super::filter::{FlowFilter, Matcher};
use super::json;
use crate::config::PortConfig;
use crate::engine::{Engine, now_tick};
use crate::plan::Plan;
use ringlead_flow::{Flow, Link, Tick};
use ringlead_l4::Shared;
use ringlead_l4::adopt::way_of;
use ringlead_l4::tables::{ServiceId, Tables};
use ringlead_wire::Ip;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;

/// The most flows of one page.
pub const ROWS_MAX: usize = 1_000;
/// The most entries of the table that are looked at for one page: about a millisecond's work.
pub const ENTRIES_MAX: usize = 32_768;

/// The command `flows`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowsRequest {
    /// Which flows.
    pub filter: FlowFilter,
    /// Where to go on: 0, or what the page before said.
    pub cursor: usize,
    /// Only count them.
    pub count: bool,
}

/// Its answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct FlowsAnswer {
    /// Version of this format.
    pub format: u32,
    /// The flows of this page; none when they are only counted.
    pub rows: Vec<FlowRow>,
    /// How many flows of this page match.
    pub matched: usize,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<usize>,
}

/// One flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowRow {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The client's address and port.
    pub client: String,
    /// Where it connected to.
    pub listen: String,
    /// The service; `None`: it was removed, and the flow ends soon.
    pub service: Option<String>,
    /// `nat`, `snat`, `dsr` or `tunnel`: how its packets travel.
    pub mode: String,
    /// `POOL/SERVER`; `None`: nobody knows any more.
    pub server: Option<String>,
    /// The server's address and port.
    pub server_address: Option<String>,
    /// The address and port of ours that the server sees, with snat.
    pub source: Option<String>,
    /// `opening`, `established`, `half-closed`, `closed`, `reset` or `datagram`.
    pub state: String,
    /// Seconds since its last packet, to the quarter.
    pub idle_s: f64,
    /// Seconds until it ends unless a packet comes.
    pub expires_s: f64,
    /// The port that the client's packets come in by; `None` while unknown.
    pub port: Option<String>,
}

/// The command `flow-kill`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KillRequest {
    /// Which flows.
    pub filter: FlowFilter,
    /// That a filter which leaves nobody out is meant.
    pub all: bool,
    /// Where to go on: 0, or what the page before said.
    pub cursor: usize,
}

/// Its answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct KillAnswer {
    /// Version of this format.
    pub format: u32,
    /// Flows ended.
    pub ended: usize,
    /// How many of them are of services whose server is computed from the packet (maglev): the next packet of an open
    /// connection makes the flow again.
    pub computed: usize,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<usize>,
}

impl Engine {
    /// What a walk needs.
    pub(in crate::engine) fn walk(&self) -> FlowWalk {
        let ports = self.node.ports.iter().map(|port| port.config.clone()).collect();
        FlowWalk { plan: Arc::clone(&self.plan), shared: self.node.shared.clone(), ports }
    }
}

/// What a walk through the flows needs. It is made off the control thread.
pub(in crate::engine) struct FlowWalk {
    pub(super) plan: Arc<Plan>,
    pub(super) shared: Shared,
    pub(super) ports: Vec<PortConfig>,
}

impl FlowWalk {
    /// Does the command `flows`.
    pub(in crate::engine) fn list(&self, request: &FlowsRequest) -> Result<Value, String> {
        let (matcher, now, tables) =
            (Matcher::new(&request.filter, &self.plan)?, now_tick(), self.shared.tables.load());
        let (mut rows, mut matched) = (Vec::new(), 0);
        let rows_max = if request.count { usize::MAX } else { ROWS_MAX };
        let next = self.page(&matcher, now, request.cursor, rows_max, |flow| {
            matched += 1;
            if !request.count {
                rows.push(self.row(&tables, flow, now));
            }
        });
        json(&FlowsAnswer { format: 1, rows, matched, next })
    }

    /// Does the command `flow-kill`.
    pub(in crate::engine) fn kill(&self, request: &KillRequest) -> Result<Value, String> {
        if request.filter.is_empty() && !request.all {
            return Err("an empty filter means every flow: say which, or `--all`".to_owned());
        }
        let (matcher, now, tables) =
            (Matcher::new(&request.filter, &self.plan)?, now_tick(), self.shared.tables.load());
        let (mut ended, mut computed) = (0, 0);
        let next = self.page(&matcher, now, request.cursor, ROWS_MAX, |flow| {
            if self.shared.end(flow) {
                ended += 1;
                let service = tables.service(ServiceId::from_u32(flow.service));
                computed += usize::from(service.is_some_and(|service| service.recomputes()));
            }
        });
        if ended > 0 {
            tracing::info!(event = "flows", ended, filter = %request.filter, "ended by an operator");
        }
        json(&KillAnswer { format: 1, ended, computed, next })
    }

    /// Shows the matching flows of one page; where the next one begins.
    fn page(
        &self,
        matcher: &Matcher,
        now: Tick,
        cursor: usize,
        rows_max: usize,
        mut see: impl FnMut(&Flow),
    ) -> Option<usize> {
        let (mut at, mut looked, mut matched) = (Some(cursor), 0, 0);
        while let Some(from) = at {
            // As many entries as may all match.
            let budget = (ENTRIES_MAX - looked).min(rows_max - matched);
            if budget == 0 {
                break;
            }
            at = self.shared.flows.visit(from, budget, now, &mut |flow| {
                if matcher.matches(flow, now) {
                    matched += 1;
                    see(flow);
                }
            });
            looked += budget;
        }
        at
    }

    fn row(&self, tables: &Tables, flow: &Flow, now: Tick) -> FlowRow {
        row(&self.plan, tables, &self.ports, flow, now)
    }
}

/// A flow in words.
pub(super) fn row(plan: &Plan, tables: &Tables, ports: &[PortConfig], flow: &Flow, now: Tick) -> FlowRow {
    let (client, state) = (&flow.client, flow.state);
    let record = plan.server(flow.server_id);
    let idle = now.since(state.last_seen());
    let translates = matches!(way_of(flow.service), 1 | 3);
    let port = Some(flow.link).filter(|link| *link != Link::NONE);
    FlowRow {
        protocol: protocol(client.proto),
        client: at(client.src, client.sport),
        listen: at(client.dst, client.dport),
        service: tables.service(ServiceId::from_u32(flow.service)).map(|service| service.name.to_string()),
        mode: mode(flow).to_owned(),
        server: record.map(|record| format!("{}/{}", record.key.pool, record.key.name)),
        server_address: record.map(|record| {
            let address = record.key.address;
            let port = if address.port() == 0 { client.dport } else { address.port() };
            SocketAddr::new(address.ip(), port).to_string()
        }),
        source: flow.server.filter(|_| translates).map(|answers| at(answers.dst, answers.dport)),
        state: super::filter::phase_name(state.phase()).to_owned(),
        idle_s: seconds(idle),
        expires_s: seconds(state.timer().saturating_sub(idle)),
        port: port.and_then(|link| ports.get(usize::from(link.port))).map(|port| port.name.clone()),
    }
}

/// How the flow itself says that its packets travel; it keeps its way when the service's mode changes.
pub(super) fn mode(flow: &Flow) -> &'static str {
    match way_of(flow.service) {
        0 if flow.server.is_some() => "nat",
        0 => "dsr",
        2 => "tunnel",
        _ => "snat",
    }
}

fn protocol(number: u8) -> String {
    match number {
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn at(ip: Ip, port: u16) -> String {
    SocketAddr::new(ip.into(), port).to_string()
}

/// Ticks as seconds.
pub(super) fn seconds(ticks: u32) -> f64 {
    f64::from(ticks) / f64::from(Tick::PER_SECOND)
}
