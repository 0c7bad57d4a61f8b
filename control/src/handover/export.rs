//! What workers that have ended knew, as a stream.

use super::record::{AccountRecord, ClientRecord, FlowRecord, RestRecord};
use super::stream::{Head, ServerName, Writer};
use crate::plan::Plan;
use ahash::AHashMap;
use ringlead_flow::{Flow, Tick};
use ringlead_l4::Shared;
use ringlead_l4::adopt::way_of;
use ringlead_l4::tables::ServiceId;
use ringlead_wire::Protocol;
use std::io::{self, Seek, Write};

/// What went into a stream, and what did not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exported {
    /// Flows.
    pub flows: u64,
    /// Flows of services that are no more.
    pub left_out: u64,
    /// Groups of 64 source ports of which some rest.
    pub rests: u64,
    /// Remembered clients.
    pub clients: u64,
}

/// Numbers of this process and the places of their names in the head.
struct Places {
    services: AHashMap<u32, u32>,
    servers: AHashMap<u32, u32>,
    pools: AHashMap<u32, u32>,
}

/// Writes the flows of both families, the source ports at rest and the remembered clients. The workers must have ended: what
/// they would still change might be lost. `stopped_ns`: when they were told to, nanoseconds of `CLOCK_MONOTONIC`. `version`: the
/// latest stream that the reader knows.
///
/// # Errors
/// What writing says.
pub fn export(
    plan: &Plan,
    shared: &Shared,
    stopped_ns: u64,
    version: u32,
    out: impl Write + Seek,
) -> io::Result<Exported> {
    let now = Tick::from_nanos(stopped_ns);
    // Ports of flows that are over already rest from now on.
    shared.sweep(now);
    let tables = shared.tables.load();
    let (head, places) = names(plan, stopped_ns);
    let mut writer = Writer::new(out, &head, version)?;
    let mut left_out = 0;
    visit(shared, now, &mut |flow| match places.record(flow, now) {
        Some(record) => writer.flow(&record),
        None => {
            left_out += 1;
            // Written up with the ports at rest, below.
            tables.give_port_back(flow);
        }
    });
    for (&ip, pool) in tables.snat.iter() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for (group, ports) in pool.space(ip).into_iter().flat_map(|space| space.resting(protocol)) {
                writer.rest(&RestRecord { ip, protocol: protocol.number(), group, ports });
            }
        }
    }
    for (table, (_, sticky)) in (0..).zip(plan.sticky_tables()) {
        sticky.visit(0, usize::MAX, now.0, |entry| {
            let (pool, server) = (places.pools.get(&entry.salt), places.servers.get(&entry.server));
            if let (Some(&pool), Some(&server)) = (pool, server) {
                let (idle, source) = (entry.idle_ticks, entry.source);
                writer.client(&ClientRecord { table, pool, server, idle, source });
            }
        });
    }
    if writer.has_accounts() && shared.flows.has_accounts() {
        let mut place = 0;
        visit(shared, now, &mut |flow| {
            if places.record(flow, now).is_some() {
                if let Some(account) = shared.flows.account(flow) {
                    writer.account(&AccountRecord { flow: place, account });
                }
                place += 1;
            }
        });
    }
    let counts = writer.finish()?;
    let flows = counts.narrow + counts.wide;
    Ok(Exported { flows, left_out, rests: counts.rests, clients: counts.clients })
}

/// Shows every flow: narrow ones first, in the same order each time.
fn visit(shared: &Shared, now: Tick, show: &mut dyn FnMut(&Flow)) {
    let mut from = Some(0);
    while let Some(at) = from {
        from = shared.flows.visit(at, usize::MAX, now, show);
    }
}

/// Everything that a record may name.
fn names(plan: &Plan, stopped_ns: u64) -> (Head, Places) {
    let config = plan.config();
    let services = config.services.iter().map(|service| plan.service_id(&service.name));
    let head = Head {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        stopped_ns,
        services: config.services.iter().map(|service| service.name.clone()).collect(),
        servers: plan
            .servers()
            .map(|server| ServerName {
                pool: server.key.pool.clone(),
                name: server.key.name.clone(),
                address: server.key.address,
            })
            .collect(),
        ports: config.ports.iter().map(|port| port.name.clone()).collect(),
        tables: plan.sticky_tables().into_iter().map(|(config, _)| config.name).collect(),
        pools: plan.salts().map(|(pool, _)| pool.to_owned()).collect(),
    };
    let places = Places {
        services: services.zip(0..).filter_map(|(id, at)| Some((id?.to_u32(), at))).collect(),
        servers: plan.servers().map(|server| server.id.0).zip(0..).collect(),
        pools: plan.salts().map(|(_, salt)| salt).zip(0..).collect(),
    };
    (head, places)
}

impl Places {
    /// A flow by names; `None` when its service is no more.
    fn record(&self, flow: &Flow, now: Tick) -> Option<FlowRecord> {
        Some(FlowRecord {
            client: flow.client,
            server: flow.server,
            service: *self.services.get(&ServiceId::from_u32(flow.service).to_u32())?,
            server_at: *self.servers.get(&flow.server_id.0)?,
            way: way_of(flow.service),
            profile: flow.state.profile(),
            link: flow.link,
            marks: flow.state.marks(),
            idle: now.since(flow.state.last_seen()),
        })
    }
}
