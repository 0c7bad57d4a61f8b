//! What a new flow would get, and why: the choice that `schedule` would make of a first packet, without making it.
//!
//! By the same tables, look-ups and algorithms as the packet's own. What depends on a worker's turn or its random numbers
//! cannot be told ahead; then it is told among whom.

use crate::choose::{CHOICES, answers, may_return, pick};
use crate::drops::Reason;
use crate::ending::of_segment;
use crate::lookup::must_choose_again;
use crate::shared::Shared;
use crate::tables::{Chooser, Delivery, Ends, Pool, Service, Tables, protocol};
use ringlead_flow::{Flow, Hit, Packed, ServerId, Side, Tick, Tuple};
use ringlead_wire::Protocol;

pub use crate::ending::Step;

/// What is known about a client that comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// The server that it had.
    pub server: ServerId,
    /// Ticks since that was last used.
    pub idle: u32,
    /// Whether it may have it again.
    pub counts: bool,
}

/// Who would get a flow's first packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Choice {
    /// The server of the flow that there is already.
    Flow(ServerId),
    /// The server that the client had before.
    Client(ServerId),
    /// The algorithm's.
    Algorithm(ServerId),
    /// One of these: whose turn it is, or who is drawn, differs between workers and packets.
    AnyOf(Vec<ServerId>),
    /// Nobody; counted under this reason, or answered as declared.
    Nobody(Reason),
}

/// What a flow's first packet would meet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Foreseen {
    /// The flow that its addresses and ports have now.
    pub flow: Option<Flow>,
    /// What becomes of a segment in the middle of that flow's connection, where it is TCP.
    pub segment: Option<Step>,
    /// What persistence knows of the client.
    pub remembered: Option<Remembered>,
    /// The slot of the pool's Maglev table, with Maglev.
    pub slot: Option<usize>,
    /// Servers whose answers would be taken for another flow's of the same client.
    pub taken: Vec<ServerId>,
    /// Whether `choice` is of the sorry pool.
    pub stands_in: bool,
    /// Who gets it.
    pub choice: Choice,
}

/// What the first packet of this tuple (a SYN or a datagram of the client's) would get. For control: it allocates.
#[must_use]
pub fn foresee(shared: &Shared, tables: &Tables, service: &Service, tuple: &Tuple, now: Tick) -> Foreseen {
    let asked = Asked { shared, tables, service, tuple, now, flow: None };
    let flow = asked.flow();
    let asked = Asked { flow, ..asked };
    let remembered = asked.remembered();
    let slot = match &service.pool.chooser {
        Chooser::Maglev { table, by } => {
            let t = tuple;
            Some(table.slot(tables.hash.flow_by(*by, t.src, t.dst, t.sport, t.dport, t.proto)))
        }
        Chooser::RoundRobin(_) | Chooser::LeastFlows(_) | Chooser::RandomTwo(_) => None,
    };
    let mut seen = Foreseen {
        flow,
        segment: flow
            .filter(|_| protocol(tuple.proto) == Some(Protocol::Tcp))
            .map(|flow| of_segment(tables, &flow)),
        remembered,
        slot,
        taken: Vec::new(),
        stands_in: false,
        choice: Choice::Nobody(Reason::NoServer),
    };
    seen.choice = match flow {
        Some(flow) if !is_given_up(tables, &flow) => Choice::Flow(flow.server_id),
        _ => asked.choose(&mut seen),
    };
    seen
}

/// Whether a first packet gives its flow up: `lookup` does, or `end`.
fn is_given_up(tables: &Tables, flow: &Flow) -> bool {
    let ends = tables.server(flow.server_id).is_some_and(|server| server.ends != Ends::Keep);
    ends || must_choose_again(tables, &Hit::from(flow))
}

/// Whether a server can have the flow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fits {
    Yes,
    /// The reply's addresses and ports are another flow's already.
    Taken,
    /// It has no room, or nobody knows the way to it.
    No,
}

struct Asked<'a> {
    shared: &'a Shared,
    tables: &'a Tables,
    service: &'a Service,
    tuple: &'a Tuple,
    now: Tick,
    /// The tuple's flow: where it is given up, its server's answers are not in the way.
    flow: Option<Flow>,
}

impl Asked<'_> {
    /// The flow that the client's packets have, of a service that is still there.
    fn flow(&self) -> Option<Flow> {
        let flows = &self.shared.flows;
        let wide = || flows.lookup_widened(&Packed::from(self.tuple), self.now).map(|hit| hit.flow());
        let flow = flows.lookup(self.tuple, self.now);
        let flow = flow.or_else(|| if self.tables.mixed { wide() } else { None })?;
        (flow.side == Side::Client && self.tables.has_service(flow.service)).then_some(flow)
    }

    fn remembered(&self) -> Option<Remembered> {
        let sticky = self.service.sticky.as_ref()?;
        let key = sticky.key(self.tuple.src, self.service.pool.salt);
        let (server, idle) = sticky.peek(&key, self.now.0)?;
        let server = ServerId(server);
        let counts = may_return(self.tables, &self.shared.loads, self.service, server);
        Some(Remembered { server, idle, counts })
    }

    /// As `Request::serve` does, step by step.
    fn choose(&self, seen: &mut Foreseen) -> Choice {
        if self.service.own.is_some() && self.service.pool.members.is_empty() {
            // Where no node takes any the front leaves all to this node's kernel: no worker gets to see them.
            return Choice::Nobody(Reason::OwnNode);
        }
        let client = seen.remembered.filter(|known| known.counts).map(|known| known.server);
        if let Some(id) = client {
            if self.service.own == Some(id) {
                return Choice::Nobody(Reason::OwnNode);
            }
            match self.fits(&self.service.pool, id) {
                Fits::Yes => return Choice::Client(id),
                Fits::Taken => seen.taken.push(id),
                Fits::No => {}
            }
        }
        if let Some(choice) = self.among(&self.service.pool, client, seen) {
            return choice;
        }
        if !seen.taken.is_empty() {
            return Choice::Nobody(Reason::TupleTaken);
        }
        let Some(sorry) = &self.service.sorry else { return Choice::Nobody(Reason::NoServer) };
        seen.stands_in = true;
        self.among(sorry, None, seen).unwrap_or(Choice::Nobody(Reason::NoServer))
    }

    /// The algorithm's choice of a pool; `None`: nobody of it can have the flow. As `serve` goes on: those that it may name
    /// first, and where all of them are taken, those that it names then, as often as a packet is worth.
    fn among(&self, pool: &Pool, tried: Option<ServerId>, seen: &mut Foreseen) -> Option<Choice> {
        let mut tried: Vec<ServerId> = tried.into_iter().collect();
        let mut able = Vec::new();
        while able.is_empty() && tried.len() < CHOICES {
            let may = self.candidates(pool, &tried);
            let Some(may) = may else { return self.computed(pool, tried, seen) };
            if may.is_empty() {
                break;
            }
            for id in may {
                match self.fits(pool, id) {
                    Fits::Yes => able.push(id),
                    Fits::Taken if !seen.taken.contains(&id) => seen.taken.push(id),
                    Fits::Taken | Fits::No => {}
                }
                tried.push(id);
            }
        }
        match able.as_slice() {
            [] => None,
            [one] => Some(Choice::Algorithm(*one)),
            _ => Some(Choice::AnyOf(able)),
        }
    }

    /// Maglev's choice, and its next ones where the first cannot have the flow.
    fn computed(&self, pool: &Pool, mut tried: Vec<ServerId>, seen: &mut Foreseen) -> Option<Choice> {
        while tried.len() < CHOICES {
            let id = pick(self.tables, &self.shared.loads, pool, self.tuple, &tried, &mut None)?;
            if self.service.own == Some(id) {
                return Some(Choice::Nobody(Reason::OwnNode));
            }
            match self.fits(pool, id) {
                Fits::Yes => return Some(Choice::Algorithm(id)),
                Fits::Taken if !seen.taken.contains(&id) => seen.taken.push(id),
                Fits::Taken | Fits::No => {}
            }
            tried.push(id);
        }
        None
    }

    /// Whom the algorithm may name after these; `None`: it computes the one (Maglev).
    fn candidates(&self, pool: &Pool, tried: &[ServerId]) -> Option<Vec<ServerId>> {
        let id = |member: usize| pool.members.get(member).copied();
        let load = |member: usize| id(member).map_or(u32::MAX, |id| self.shared.loads.get(id.0));
        let has_room = |id: &ServerId| pool.has_room(&self.shared.loads, *id);
        let may = |member: usize| id(member).is_some_and(|id| !tried.contains(&id) && has_room(&id));
        match &pool.chooser {
            Chooser::Maglev { .. } => None,
            Chooser::RoundRobin(_) => {
                Some((0..pool.members.len()).filter(|member| may(*member)).filter_map(id).collect())
            }
            Chooser::RandomTwo(members) => {
                Some(members.candidates(load, may).into_iter().filter_map(id).collect())
            }
            Chooser::LeastFlows(members) => {
                Some(members.equals(load, may).into_iter().filter_map(id).collect())
            }
        }
    }

    fn fits(&self, pool: &Pool, id: ServerId) -> Fits {
        let Some(server) = self.tables.server(id) else { return Fits::No };
        if !pool.has_room(&self.shared.loads, id) {
            return Fits::No;
        }
        let taken = match &self.service.delivery {
            Delivery::Nat => {
                let other = self.shared.flows.lookup(&answers(server, self.tuple), self.now);
                other.is_some_and(|other| self.flow.is_none_or(|flow| flow.entry != other.entry))
            }
            // snat looks for another port; without replies there is nothing to be taken.
            Delivery::Snat(_) | Delivery::Dsr | Delivery::Tunnel(_) => false,
        };
        if taken { Fits::Taken } else { Fits::Yes }
    }
}
