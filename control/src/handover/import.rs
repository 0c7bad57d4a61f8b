//! A stream, taken into this process's tables: names become its own numbers; what it does not know is left out and counted.

use super::record::{ClientRecord, FlowRecord, RestRecord};
use super::stream::{Head, Reader, Unreadable};
use crate::plan::{Plan, ServerKey};
use ringlead_flow::{Account, Link, ServerId, Tick};
use ringlead_l4::Shared;
use ringlead_l4::adopt::{Inherited, Refused, holds_port};
use ringlead_l4::tables::{ServiceId, Tables};
use ringlead_pick::Sticky;
use ringlead_wire::Protocol;
use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::sync::Arc;

/// What came over.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Imported {
    /// The writer's version.
    pub program: String,
    /// When its workers were told to end, nanoseconds of `CLOCK_MONOTONIC`.
    pub stopped_ns: u64,
    /// Flows taken in.
    pub flows: u64,
    /// Flows not taken in, by reason.
    pub left_out: BTreeMap<&'static str, u64>,
    /// Source ports that rest: they did before, or their flows were left out.
    pub resting: u64,
    /// Clients that are still known.
    pub clients: u64,
    /// Clients that are not.
    pub clients_left_out: u64,
}

/// This process's numbers for the names in a stream's head.
struct Numbers {
    services: Vec<Option<ServiceId>>,
    servers: Vec<Option<ServerId>>,
    /// Those of them that clients may come back to.
    returns: Vec<bool>,
    ports: Vec<Option<u8>>,
    tables: Vec<Option<Arc<Sticky>>>,
    salts: Vec<Option<u32>>,
}

/// Takes a stream of `length` bytes in. `plan` has made the snapshot that `shared` holds.
///
/// # Errors
/// [`Unreadable`]. Where the stream ends early, which its length excludes but reading may say, what came before is in.
pub fn import(
    from: impl Read + Seek,
    length: u64,
    plan: &Plan,
    shared: &Shared,
) -> Result<Imported, Unreadable> {
    let mut reader = Reader::new(from, length)?;
    let numbers = Numbers::of(&reader.head, plan);
    // Of the same clock as now, but a writer's word is not to set ours forward.
    let stopped = Tick::from_nanos(reader.head.stopped_ns);
    let present = Tick::from_nanos(u64::try_from(crate::engine::monotonic().as_nanos()).unwrap_or(u64::MAX));
    let now = if stopped.since(present) > 0 { present } else { stopped };
    let tables = shared.tables.load_full();
    let mut done = Imported {
        program: std::mem::take(&mut reader.head.program),
        stopped_ns: reader.head.stopped_ns,
        ..Imported::default()
    };
    reader.flows(|record, account| match numbers.adopt((record, account), &tables, shared, now) {
        Ok(()) => done.flows += 1,
        Err(why) => {
            *done.left_out.entry(why).or_default() += 1;
            done.resting += u64::from(rest_of(record).is_some_and(|port| rest(&port, &tables)));
        }
    })?;
    // After the flows: a port that one of them has does not rest.
    reader.rests(|record| {
        if rest(record, &tables) {
            done.resting += u64::from(record.ports.count_ones());
        }
    })?;
    reader.clients(|record| {
        let known = numbers.remember(record, now);
        *(if known { &mut done.clients } else { &mut done.clients_left_out }) += 1;
    })?;
    Ok(done)
}

/// The source port of a flow that is left out: its server may still remember the connection. Should another flow have it by
/// now, it does not rest.
fn rest_of(record: &FlowRecord) -> Option<RestRecord> {
    let answers = record.server.filter(|_| holds_port(record.way))?;
    let (group, ports) = (answers.dport / 64, 1 << (answers.dport % 64));
    Some(RestRecord { ip: answers.dst, protocol: answers.proto, group, ports })
}

fn rest(record: &RestRecord, tables: &Tables) -> bool {
    let protocol = [Protocol::Tcp, Protocol::Udp].into_iter().find(|p| p.number() == record.protocol);
    let space = tables.snat.get(&record.ip).and_then(|pool| pool.space(record.ip));
    let Some((protocol, space)) = protocol.zip(space) else { return false };
    space.rest(protocol, record.group, record.ports);
    true
}

impl Numbers {
    fn of(head: &Head, plan: &Plan) -> Self {
        let config = plan.config();
        let key = |server: &super::stream::ServerName| ServerKey {
            pool: server.pool.clone(),
            name: server.name.clone(),
            address: server.address,
        };
        let servers: Vec<_> = head.servers.iter().map(|server| plan.id_of(&key(server))).collect();
        let returns = |id: &Option<ServerId>| {
            let record = id.and_then(|id| plan.server(id));
            record.is_some_and(|record| record.wanted().admits())
        };
        let sticky = plan.sticky_tables();
        let port = |name: &String| config.ports.iter().position(|port| port.name == *name);
        let table = |name: &String| sticky.iter().find(|(config, _)| config.name == *name);
        let salt = |name: &String| plan.salts().find(|(pool, _)| pool == name);
        Self {
            services: head.services.iter().map(|name| plan.service_id(name)).collect(),
            returns: servers.iter().map(returns).collect(),
            servers,
            ports: head.ports.iter().map(|name| u8::try_from(port(name)?).ok()).collect(),
            tables: head.tables.iter().map(|name| table(name).map(|(_, table)| Arc::clone(table))).collect(),
            salts: head.pools.iter().map(|name| salt(name).map(|(_, salt)| salt)).collect(),
        }
    }

    fn adopt(
        &self,
        (record, account): (&FlowRecord, Option<Account>),
        tables: &Tables,
        shared: &Shared,
        now: Tick,
    ) -> Result<(), &'static str> {
        let flow = Inherited {
            client: record.client,
            server: record.server,
            service: at(&self.services, record.service).ok_or("no such service")?,
            server_id: at(&self.servers, record.server_at).ok_or("no such server")?,
            way: record.way,
            profile: record.profile,
            link: self.link(record.link),
            marks: record.marks,
            idle: record.idle,
            account,
        };
        shared.adopt(tables, &flow, now).map_err(|why| match why {
            Refused::Service => "its service is another",
            Refused::Port => "its source port is not ours",
            Refused::Taken => "its addresses are another flow's",
            Refused::Full => "the table is full",
        })
    }

    /// The way back by a port of this process; unknown when it has no such port, until the client's next packet.
    fn link(&self, link: Link) -> Link {
        match at(&self.ports, link.port.into()) {
            Some(port) if link.vlans <= 2 => Link { port, ..link },
            _ => Link::NONE,
        }
    }

    fn remember(&self, record: &ClientRecord, now: Tick) -> bool {
        let returns = self.returns.get(record.server as usize).is_some_and(|returns| *returns);
        let table = self.tables.get(record.table as usize).and_then(Option::as_ref).filter(|_| returns);
        let (Some(table), Some(salt), Some(server)) =
            (table, at(&self.salts, record.pool), at(&self.servers, record.server))
        else {
            return false;
        };
        table.put(&table.key(record.source, salt), server.0, now.minus(record.idle).0)
    }
}

/// The number in that place, if there is one.
fn at<T: Copy>(numbers: &[Option<T>], place: u32) -> Option<T> {
    numbers.get(place as usize).copied().flatten()
}
