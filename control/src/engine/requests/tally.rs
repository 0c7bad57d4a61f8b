//! Counting open flows by what a reload may change for them: service, place, server, mode. A page at a time, off the control thread.

use super::flows::{ENTRIES_MAX, FlowWalk, mode};
use super::json;
use crate::config::FlowGroup;
use crate::engine::now_tick;
use ringlead_flow::{Flow, Phase, ServerId};
use ringlead_l4::tables::ServiceId;
use ringlead_wire::Ip;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The most groups of one page.
pub const GROUPS_MAX: usize = 1_000;

/// The command `flow-tally`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TallyRequest {
    /// Where to go on: 0, or what the page before said.
    pub cursor: usize,
}

/// Its answer. A group may be on several pages.
#[derive(Debug, Serialize, Deserialize)]
pub struct TallyAnswer {
    /// Version of this format.
    pub format: u32,
    /// The groups of this page's flows.
    pub rows: Vec<FlowGroup>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<usize>,
}

/// What flows of a group have in common: the service's word, the server, the place, the protocol, the mode.
type Key = (u32, ServerId, Ip, u16, u8, &'static str);

impl FlowWalk {
    /// Does the command `flow-tally`.
    pub(in crate::engine) fn tally(&self, request: &TallyRequest) -> Result<Value, String> {
        let (now, mut next, mut looked) = (now_tick(), Some(request.cursor), 0);
        let mut groups: BTreeMap<Key, u64> = BTreeMap::new();
        while let Some(from) = next {
            // As many entries as may all be of a group of their own.
            let budget = (ENTRIES_MAX - looked).min(GROUPS_MAX - groups.len());
            if budget == 0 {
                break;
            }
            next = self.shared.flows.visit(from, budget, now, &mut |flow| {
                if let Some(key) = key(flow) {
                    *groups.entry(key).or_default() += 1;
                }
            });
            looked += budget;
        }
        let rows = groups.into_iter().map(|(key, flows)| self.group(key, flows)).collect();
        json(&TallyAnswer { format: 1, rows, next })
    }

    fn group(&self, (service, server, ip, port, protocol, mode): Key, flows: u64) -> FlowGroup {
        let tables = self.shared.tables.load();
        let record = self.plan.server(server);
        FlowGroup {
            service: tables.service(ServiceId::from_u32(service)).map(|service| service.name.to_string()),
            listen: SocketAddr::new(ip.into(), port),
            protocol,
            mode: mode.to_owned(),
            pool: record.map(|record| record.key.pool.clone()),
            server: record.map(|record| record.key.name.clone()),
            server_address: record.map(|record| record.key.address),
            down: record.is_some_and(|record| record.is_down() && !record.is_taken_for_up()),
            flows,
        }
    }
}

/// `None`: its connection is over.
fn key(flow: &Flow) -> Option<Key> {
    let to = &flow.client;
    match flow.state.phase() {
        Phase::Closed | Phase::Reset => None,
        Phase::Opening | Phase::Established | Phase::HalfClosed | Phase::Datagram => {
            Some((flow.service, flow.server_id, to.dst, to.dport, to.proto, mode(flow)))
        }
    }
}
