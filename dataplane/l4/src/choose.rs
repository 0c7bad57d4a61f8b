//! Which server a packet without a flow gets, and the flow that it then has.

use crate::chosen::Chosen;
use crate::drops::Reason;
use crate::ends::EndQueue;
use crate::neighbours::Neighbours;
use crate::tables::{Chooser, Delivery, Pool, Server, Service, Tables, Way, protocol};
use crate::tries::tries;
use ringlead_flow::snat::{Mapping, SnatPool, SnatRandom};
use ringlead_flow::{Account, FlowSpec, FlowTable, Hit, Inserted, Link, Packed, ServerId, Side, Tick, Tuple};
use ringlead_pick::{Cursor, Loads};
use ringlead_wire::{Kind, Meta};
use std::ops::ControlFlow::{Break, Continue};

/// How many source ports are tried for one server.
const PORTS: u32 = 4;

/// What scheduling one packet came to.
pub(crate) enum Outcome {
    /// It has a flow now; `true`: this packet made it.
    Flow(bool),
    /// Forward it to this server without an entry.
    Stateless(ServerId),
    /// Nobody knows its connection: the reset that this node's kernel would answer with.
    Unknown,
    /// It cannot be served: the declared answer, counted under this reason where that is silence.
    Refuse(Reason),
    /// Drop it.
    Drop(Reason),
}

/// What came of trying one server.
enum Given {
    /// It is decided what becomes of the packet.
    Outcome(Outcome),
    /// The reply's addresses and ports are another flow's already.
    Taken,
    /// It has no room, or is no more.
    Never,
}

/// What came of an insert. The flow itself is the caller's hit by then: it is large, and copied once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    New,
    Existing,
    Taken,
    Full,
    Contended,
}

/// Where a packet's source port comes from, where it needs one.
pub(crate) struct Sources<'a> {
    /// The one that was taken ahead. What is left of it is the caller's to give back.
    pub ahead: Option<Mapping>,
    /// For others.
    pub random: &'a mut SnatRandom,
}

/// One packet that asks for a server.
pub(crate) struct Request<'a> {
    pub tables: &'a Tables,
    pub flows: &'a FlowTable,
    pub loads: &'a Loads,
    pub neighbours: &'a Neighbours,
    pub ends: &'a EndQueue,
    pub service: &'a Service,
    pub tuple: &'a Tuple,
    pub meta: &'a Meta,
    pub link: Link,
    /// The choice that was made ahead.
    pub picked: Option<ServerId>,
    pub now: Tick,
    /// The same time, in microseconds.
    pub now_us: u64,
    /// Whose share of the source ports is taken from.
    pub worker: usize,
}

/// Whether a packet begins a conversation, as far as it shows.
pub(crate) fn begins(meta: &Meta) -> bool {
    meta.kind == Kind::Udp || meta.kind == Kind::Tcp && meta.flags.is_syn()
}

/// The server that a client is known to, if that may still take it, or else the algorithm's choice, if that does not depend
/// on flows that are only about to be made: neither on how many there are, nor on where a client's first one goes.
pub(crate) fn ahead(
    tables: &Tables,
    loads: &Loads,
    service: &Service,
    tuple: &Tuple,
    now: Tick,
    cursor: &mut Option<&mut Cursor>,
) -> Option<ServerId> {
    known(tables, loads, service, tuple, now).or_else(|| {
        let waits = service.pool.chooser.counts_flows() || service.sticky.is_some();
        if waits { None } else { pick(tables, loads, &service.pool, tuple, &[], cursor) }
    })
}

/// The server that a sticky client had before.
fn known(tables: &Tables, loads: &Loads, service: &Service, tuple: &Tuple, now: Tick) -> Option<ServerId> {
    let sticky = service.sticky.as_ref()?;
    let id = ServerId(sticky.get(&sticky.key(tuple.src, service.pool.salt), now.0)?);
    may_return(tables, loads, service, id).then_some(id)
}

/// Whether a client that comes back may still have the server that it had.
pub(crate) fn may_return(tables: &Tables, loads: &Loads, service: &Service, id: ServerId) -> bool {
    tables.server(id).is_some_and(|server| server.admits) && service.pool.has_room(loads, id)
}

impl Request<'_> {
    /// Finds the packet a server. Its flow, where it has one then, is put into `hit`.
    pub(crate) fn serve(
        &self,
        cursor: &mut Option<&mut Cursor>,
        sources: &mut Sources<'_>,
        hit: &mut Hit,
    ) -> Outcome {
        let pool = &*self.service.pool;
        let recomputes = self.service.recomputes();
        if self.meta.kind == Kind::IcmpError {
            // An error never makes a flow; where the server can be computed again, and answers by itself, it needs none.
            let computed = (recomputes && !self.service.delivery.is_two_sided()).then_some(self.picked);
            if self.picked.is_some() && self.picked == self.service.own {
                return Outcome::Drop(Reason::OwnNode);
            }
            return computed.flatten().map_or(Outcome::Drop(Reason::IcmpWithoutFlow), Outcome::Stateless);
        }
        if !recomputes && !begins(self.meta) {
            return Outcome::Drop(Reason::UnknownFlow);
        }
        let mut taken = false;
        // A packet before this one in the burst may have made the client known.
        let known = || known(self.tables, self.loads, self.service, self.tuple, self.now);
        let mut ahead = self.picked.or_else(known);
        let next = |tried: &[ServerId]| {
            ahead.take().or_else(|| pick(self.tables, self.loads, pool, self.tuple, tried, cursor))
        };
        let outcome = tries(next, |id, before| {
            if let Some(outcome) = self.of_nodes(id) {
                return Break(outcome);
            }
            match self.give((pool, id, before), sources, hit) {
                Given::Outcome(outcome) => return Break(outcome),
                Given::Taken => taken = true,
                Given::Never => {}
            }
            Continue(())
        });
        if let Some(outcome) = outcome {
            return outcome;
        }
        if taken { Outcome::Drop(Reason::TupleTaken) } else { self.sorry(cursor, sources, hit) }
    }

    /// What becomes of a packet for one of the nodes that share a service, where that is not to hand it on. A segment of no flow
    /// in a slot of this node's own has no socket here either; one of another's must not go back to the node that it is from.
    #[inline]
    fn of_nodes(&self, id: ServerId) -> Option<Outcome> {
        let own = self.service.own?;
        match (own == id, begins(self.meta)) {
            (true, true) => Some(Outcome::Drop(Reason::OwnNode)),
            (true, false) => Some(Outcome::Unknown),
            (false, true) => None,
            // By dsr the sender's address tells who sent it. A tunnel's packets come to the node itself, and its next hop may be the
            // router that clients come by.
            (false, false) if matches!(self.service.delivery, Delivery::Dsr) => {
                let hop = self.neighbours.get(self.tables.server(id)?.neighbour)?;
                (hop.mac == self.link.mac).then_some(Outcome::Drop(Reason::NodeLoop))
            }
            (false, false) => None,
        }
    }

    /// Nobody of the pool takes it: the sorry pool, if there is one, or the declared answer.
    #[cold]
    fn sorry(&self, cursor: &mut Option<&mut Cursor>, sources: &mut Sources<'_>, hit: &mut Hit) -> Outcome {
        if let Some(outcome) = self.made_meanwhile(hit) {
            return outcome;
        }
        let Some(pool) = &self.service.sorry else { return Outcome::Refuse(Reason::NoServer) };
        let next = |tried: &[ServerId]| pick(self.tables, self.loads, pool, self.tuple, tried, cursor);
        let outcome = tries(next, |id, before| match self.give((pool, id, before), sources, hit) {
            Given::Outcome(outcome) => Break(outcome),
            Given::Taken | Given::Never => Continue(()),
        });
        outcome.unwrap_or(Outcome::Refuse(Reason::NoServer))
    }

    /// The flow that a packet before this one in the burst has made, or another worker has: it may have taken what this
    /// packet is about to be refused for.
    #[cold]
    fn made_meanwhile(&self, hit: &mut Hit) -> Option<Outcome> {
        let wide = || self.flows.lookup_widened(&Packed::from(self.tuple), self.now).map(|hit| hit.flow());
        let flow = self.flows.lookup(self.tuple, self.now);
        let flow = flow.or_else(|| if self.tables.mixed { wide() } else { None })?;
        *hit = Hit::from(&flow);
        (flow.side == Side::Client).then_some(Outcome::Flow(false))
    }

    /// Gives the packet a flow to one server, if it can have one there. `choice`: of which pool, which one, and after how many.
    fn give(
        &self,
        choice @ (pool, id, _): (&Pool, ServerId, usize),
        sources: &mut Sources<'_>,
        hit: &mut Hit,
    ) -> Given {
        let Some(server) = self.tables.server(id) else { return Given::Never };
        let account = self.ends.account(self.tables, self.tuple, self.now_us, || self.chosen(choice));
        let begun = (id, account);
        let inserted = self.loads.count(id.0, pool.limit(id), || {
            let inserted = match &self.service.delivery {
                Delivery::Snat(ports) => self.insert_with_port(ports, begun, server, sources, hit),
                Delivery::Nat => Ok(self.insert(begun, Some(answers(server, self.tuple)), hit)),
                Delivery::Dsr | Delivery::Tunnel(_) => Ok(self.insert(begun, None, hit)),
            };
            (inserted == Ok(Made::New), inserted)
        });
        let Some(inserted) = inserted else { return Given::Never };
        if inserted == Ok(Made::New) {
            self.remember(pool, id);
        }
        Given::Outcome(match inserted {
            Ok(Made::New) => Outcome::Flow(true),
            Ok(Made::Existing) => Outcome::Flow(false),
            Ok(Made::Taken) => return Given::Taken,
            Ok(Made::Full | Made::Contended) if goes_without(self.service, pool) => Outcome::Stateless(id),
            Ok(Made::Full) => Outcome::Drop(Reason::TableFull),
            Ok(Made::Contended) => Outcome::Drop(Reason::Contended),
            Err(reason) => self.made_meanwhile(hit).unwrap_or(Outcome::Refuse(reason)),
        })
    }

    /// snat: with a source port of this worker's share. The flow table has the last word on a port.
    fn insert_with_port(
        &self,
        ports: &SnatPool,
        begun: (ServerId, Option<Account>),
        server: &Server,
        sources: &mut Sources<'_>,
        hit: &mut Hit,
    ) -> Result<Made, Reason> {
        let Some(protocol) = protocol(self.tuple.proto) else { return Ok(Made::Taken) };
        for _ in 0..PORTS {
            let v4 = server.ip.is_v4();
            let ahead = sources.ahead.take_if(|ours| ours.ip.is_v4() == v4);
            let ours = ahead.or_else(|| ports.take(self.worker, protocol, v4, sources.random));
            let Some(ours) = ours else { return Err(Reason::SnatExhausted) };
            let answers = Tuple { dst: ours.ip, dport: ours.port, ..answers(server, self.tuple) };
            let made = self.insert(begun, Some(answers), hit);
            if made == Made::New {
                return Ok(made);
            }
            ports.never_used(ours.ip, ours.port, protocol);
            if made != Made::Taken {
                return Ok(made);
            }
        }
        Ok(Made::Taken)
    }

    /// Why a server: for a flow whose account is about to be opened.
    #[cold]
    fn chosen(&self, (pool, id, tried): (&Pool, ServerId, usize)) -> Chosen {
        let is_sorry = !std::ptr::eq(pool, &*self.service.pool);
        let known = || known(self.tables, self.loads, self.service, self.tuple, self.now);
        let is_known = !is_sorry && tried == 0 && known() == Some(id);
        Chosen::of(pool, is_sorry, is_known, tried, !begins(self.meta))
    }

    fn insert(
        &self,
        (server_id, account): (ServerId, Option<Account>),
        server: Option<Tuple>,
        hit: &mut Hit,
    ) -> Made {
        let crosses = server.is_some_and(|answers| answers.src.is_v4() != self.tuple.src.is_v4());
        let spec = FlowSpec {
            client: *self.tuple,
            server,
            server_id,
            service: Way::mark(self.service, crosses),
            profile: self.service.profile,
            link: self.link,
            first: self.meta.flags,
            account,
        };
        let (flow, made) = match self.flows.insert(&spec, self.now) {
            Inserted::New(flow) => (flow, Made::New),
            Inserted::Existing(flow) => (flow, Made::Existing),
            Inserted::TupleTaken => return Made::Taken,
            Inserted::Full => return Made::Full,
            Inserted::Contended => return Made::Contended,
        };
        *hit = Hit::from(&flow);
        made
    }

    /// Notes which server the client has now, where clients are to come back: to the pool's own servers, not to those that
    /// only stand in.
    #[inline]
    fn remember(&self, pool: &Pool, id: ServerId) {
        if let Some(sticky) = &self.service.sticky
            && std::ptr::eq(pool, &*self.service.pool)
        {
            sticky.put(&sticky.key(self.tuple.src, self.service.pool.salt), id.0, self.now.0);
        }
    }
}

/// Whether the packets of a flow that cannot be stored all find the same server of the pool, who answers by itself.
pub(crate) fn goes_without(service: &Service, pool: &Pool) -> bool {
    service.recomputes() && pool.chooser.recomputes() && !service.delivery.is_two_sided()
}

/// The algorithm's server for a packet, and, where some have been tried in vain, its next.
pub(crate) fn pick(
    tables: &Tables,
    loads: &Loads,
    pool: &Pool,
    tuple: &Tuple,
    tried: &[ServerId],
    cursor: &mut Option<&mut Cursor>,
) -> Option<ServerId> {
    let id = |member: usize| pool.members.get(member).copied();
    let load = |member: usize| id(member).map_or(u32::MAX, |id| loads.get(id.0));
    let may = |member: usize| id(member).is_some_and(|id| !tried.contains(&id) && pool.has_room(loads, id));
    let member = match &pool.chooser {
        Chooser::Maglev { table, by } => {
            let t = tuple;
            let hash = tables.hash.flow_by(*by, t.src, t.dst, t.sport, t.dport, t.proto);
            table.pick_again(hash, u32::try_from(tried.len()).unwrap_or(u32::MAX))
        }
        Chooser::RoundRobin(turns) => turns.next_where(cursor.as_deref_mut()?, may),
        Chooser::LeastFlows(members) => members.pick(load, may, cursor.as_deref_mut()?),
        Chooser::RandomTwo(members) => members.pick(load, may, cursor.as_deref_mut()?),
    };
    id(member?)
}

/// As the server answers the client.
pub(crate) fn answers(server: &Server, client: &Tuple) -> Tuple {
    let port = if server.port == 0 { client.dport } else { server.port };
    Tuple { src: server.ip, sport: port, dst: client.src, dport: client.sport, proto: client.proto }
}
