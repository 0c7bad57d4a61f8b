//! Flows that another daemon's workers had: taken in, each with its source port and its place in the count of flows by server.
//!
//! For control, before frames are steered to the workers; they may turn and tick meanwhile.

use crate::shared::Shared;
use crate::tables::{Delivery, ServiceId, Tables, Way, protocol};
use ringlead_flow::snat::SnatPool;
use ringlead_flow::{Account, FlowSpec, Inserted, Link, Profile, ServerId, Tick, Tuple};
use ringlead_wire::{Endpoint, Ip, Protocol, TcpFlags};

/// A flow with this daemon's numbers for its service and its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inherited {
    /// As the client sends.
    pub client: Tuple,
    /// As the server answers, where its packets pass here.
    pub server: Option<Tuple>,
    /// The server.
    pub server_id: ServerId,
    /// The service.
    pub service: ServiceId,
    /// How its packets travel, as [`way_of`] said.
    pub way: u8,
    /// Its timers.
    pub profile: Profile,
    /// Where the client's packets come from.
    pub link: Link,
    /// What its TCP segments have shown, as [`State::marks`](ringlead_flow::State::marks) said.
    pub marks: u8,
    /// Ticks since its last packet.
    pub idle: u32,
    /// What it has carried, if its account was kept.
    pub account: Option<Account>,
}

/// Why a flow was not taken in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refused {
    /// Its service does not listen there any more, or reaches servers by another mode.
    Service,
    /// Its source port is not ours any more, or another flow's.
    Port,
    /// One of its tuples is another flow's.
    Taken,
    /// The table is full.
    Full,
}

/// How a flow's packets travel, from the service's word that it keeps: 0 as its ends say (nat, dsr), 1 both ends rewritten
/// (snat), 2 in a tunnel or to another node, 3 translated between the families.
#[must_use]
pub const fn way_of(word: u32) -> u8 {
    match Way::of(word) {
        Way::Plain => 0,
        Way::Snat => 1,
        Way::Tunnel => 2,
        Way::Translate => 3,
    }
}

/// Whether a flow of this way, as [`way_of`] said, has a source port of ours.
#[must_use]
pub const fn holds_port(way: u8) -> bool {
    matches!(way, 1 | 3)
}

impl Shared {
    /// Ends every flow that was silent for too long, as the workers' ticks do bit by bit: for when they have ended.
    pub fn sweep(&self, now: Tick) {
        let tables = self.tables.load();
        for shard in 0..self.flows.shards() {
            self.flows.age(shard, now, usize::MAX, &mut |gone| {
                self.loads.sub(gone.flow.server_id.0);
                self.ends.swept(&tables, gone);
                tables.give_port_back(&gone.flow);
            });
        }
    }

    /// Takes a flow in.
    ///
    /// # Errors
    /// Why not; then nothing is held for it.
    pub fn adopt(&self, tables: &Tables, flow: &Inherited, now: Tick) -> Result<(), Refused> {
        let Some(proto) = protocol(flow.client.proto).filter(|_| carries(tables, flow)) else {
            return Err(Refused::Service);
        };
        let ours = flow.server.filter(|_| holds_port(flow.way)).map(|answers| (answers.dst, answers.dport));
        let held = ours.map(|at| claim(tables, at, proto).ok_or(Refused::Port)).transpose()?;
        let spec = FlowSpec {
            client: flow.client,
            server: flow.server,
            server_id: flow.server_id,
            service: flow.service.to_u32() | u32::from(flow.way) << Way::SHIFT,
            profile: flow.profile,
            link: flow.link,
            first: TcpFlags(TcpFlags::ACK),
            account: flow.account,
        };
        // Counted whatever the server's limit is by now: the flow is there.
        let restored = self.loads.count(flow.server_id.0, None, || {
            let restored = self.flows.restore(&spec, flow.marks, flow.idle, now);
            (matches!(restored, Inserted::New(_)), restored)
        });
        let refused = match restored {
            Some(Inserted::New(_)) => return Ok(()),
            Some(Inserted::Full) => Refused::Full,
            Some(Inserted::Existing(_) | Inserted::TupleTaken | Inserted::Contended) | None => Refused::Taken,
        };
        if let (Some(pool), Some((ip, port))) = (held, ours) {
            pool.never_used(ip, port, proto);
        }
        Err(refused)
    }
}

/// The pool in which the flow has its source port from now on.
fn claim(tables: &Tables, (ip, port): (Ip, u16), proto: Protocol) -> Option<&SnatPool> {
    tables.snat.get(&ip).filter(|pool| pool.claim(ip, port, proto)).map(|pool| &**pool)
}

/// Whether the flow's service still listens where the client sends to, and by the mode that the flow has. A flow that went
/// on in another mode than its service's, after a reload, ends here.
fn carries(tables: &Tables, flow: &Inherited) -> bool {
    let Some(proto) = protocol(flow.client.proto) else { return false };
    let at = |ip, port| Endpoint { ip, port, protocol: proto };
    let listener = tables.listener(at(flow.client.dst, flow.client.dport));
    let Some(service) = listener.filter(|service| service.id == flow.service) else { return false };
    let answers_to_us = |answers: Tuple| {
        [answers.sport, 0].into_iter().any(|port| tables.is_nat_server(at(answers.src, port)))
    };
    let crosses = flow.server.is_some_and(|answers| answers.is_v4() != flow.client.is_v4());
    if flow.way != way_of(Way::mark(service, crosses)) || service.own == Some(flow.server_id) {
        return false;
    }
    match (&service.delivery, flow.server) {
        (Delivery::Nat, Some(answers)) => !crosses && answers_to_us(answers),
        (Delivery::Dsr | Delivery::Tunnel(_), None) => true,
        (Delivery::Snat(_), Some(_)) => !crosses || tables.mixed,
        _ => false,
    }
}
