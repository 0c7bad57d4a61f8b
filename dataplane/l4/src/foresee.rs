//! What a new flow would get, and why: the choice that `schedule` would make of a first packet, without making it.
//!
//! By the same tables, look-ups and algorithms as the packet's own. What depends on a worker's turn or its random numbers
//! cannot be told ahead; then it is told among whom.

mod ports;

use crate::choose::{answers, goes_without, may_return, pick};
use crate::drops::Reason;
use crate::ending::of_segment;
use crate::lookup::must_choose_again;
use crate::shared::Shared;
use crate::tables::{Chooser, Delivery, Ends, Pool, Server, Service, Tables, protocol};
use crate::tries::tries;
use ports::{Ports, PortsByFamily};
use ringlead_flow::snat::SnatPool;
use ringlead_flow::{Flow, Hit, Packed, Room, ServerId, Side, Tick, Tuple};
use ringlead_wire::Protocol;
use std::collections::BTreeSet;
use std::ops::ControlFlow::{Break, Continue};

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
    /// Why it may get nobody although `choice` names somebody: it depends on the worker, its turns and its random numbers.
    pub unless: Option<Reason>,
    /// The family's flow table, where that has no room for the flow.
    pub full: Option<Room>,
}

/// What the first packet of this tuple (a SYN or a datagram of the client's) would get. For control: it allocates.
#[must_use]
pub fn foresee(shared: &Shared, tables: &Tables, service: &Service, tuple: &Tuple, now: Tick) -> Foreseen {
    let asked = Asked { shared, tables, service, tuple, now, flow: None, ports: PortsByFamily::default() };
    let had = asked.flow();
    let asked = Asked { flow: had, ..asked };
    let flow = had.filter(|flow| tables.has_service(flow.service));
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
        unless: None,
        full: None,
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

/// What comes of trying a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fits {
    /// It gets the packet; for this reason not from every worker.
    Yes(Option<Reason>),
    /// It gets the packet, whose flow has no room.
    Without(Room),
    /// The tries end: there is no room for the flow.
    Full(Room),
    /// The tries end: the packet is dropped, or answered as declared.
    Ends(Reason),
    /// The reply's addresses and ports are another flow's already.
    Taken,
    /// It has no room, or nobody knows the way to it.
    No,
}

impl Fits {
    const fn goes_on(self) -> bool {
        matches!(self, Self::Taken | Self::No)
    }
}

/// Whom the tries in one pool meet.
#[derive(Default)]
struct Met {
    able: Vec<ServerId>,
    taken: Vec<ServerId>,
    /// Why they may end with nobody.
    ends: Option<Reason>,
    full: Option<Room>,
}

impl Met {
    fn note(&mut self, id: ServerId, fits: Fits) {
        let (list, ends, full) = match fits {
            Fits::Yes(unless) => (Some(&mut self.able), unless, None),
            Fits::Without(room) => (Some(&mut self.able), None, Some(room)),
            Fits::Full(room) => (None, Some(Reason::TableFull), Some(room)),
            Fits::Ends(reason) => (None, Some(reason), None),
            Fits::Taken => (Some(&mut self.taken), None, None),
            Fits::No => (None, None, None),
        };
        if let Some(list) = list.filter(|list| !list.contains(&id)) {
            list.push(id);
        }
        self.ends = self.ends.or(ends);
        self.full = self.full.or(full);
    }
}

struct Asked<'a> {
    shared: &'a Shared,
    tables: &'a Tables,
    service: &'a Service,
    tuple: &'a Tuple,
    now: Tick,
    /// The tuple's flow: where it is given up, neither its server's answers nor its entry are in the way.
    flow: Option<Flow>,
    ports: PortsByFamily,
}

impl Asked<'_> {
    /// The flow that the client's packets have.
    fn flow(&self) -> Option<Flow> {
        let flows = &self.shared.flows;
        let wide = || flows.lookup_widened(&Packed::from(self.tuple), self.now).map(|hit| hit.flow());
        let flow = flows.lookup(self.tuple, self.now);
        let flow = flow.or_else(|| if self.tables.mixed { wide() } else { None })?;
        (flow.side == Side::Client).then_some(flow)
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
        if let Some(choice) = self.among(&self.service.pool, client, seen) {
            return choice;
        }
        let Some(sorry) = &self.service.sorry else { return Choice::Nobody(Reason::NoServer) };
        seen.stands_in = true;
        // Whom the sorry pool's servers cannot take is refused.
        let refused = |reason| if reason == Reason::TupleTaken { Reason::NoServer } else { reason };
        let choice = self.among(sorry, None, seen).unwrap_or(Choice::Nobody(Reason::NoServer));
        seen.unless = seen.unless.map(refused);
        if let Choice::Nobody(reason) = choice { Choice::Nobody(refused(reason)) } else { choice }
    }

    /// What the tries in a pool come to; `None`: nobody of it can have the flow, and no answer is in the way.
    ///
    /// They are the worker's own, with bad luck: as long as a turn or a draw can name a server that cannot have the flow, it does.
    /// So whoever can have it is met on the way, and it shows whether a worker may end its tries before.
    fn among(&self, pool: &Pool, client: Option<ServerId>, seen: &mut Foreseen) -> Option<Choice> {
        let (mut ahead, mut met, mut is_taken) = (client, Met::default(), false);
        let next = |tried: &[ServerId]| {
            let may = ahead.take().map_or_else(|| self.candidates(pool, tried), |id| vec![id]);
            let may: Vec<(ServerId, Fits)> = may.into_iter().map(|id| (id, self.fits(pool, id))).collect();
            may.iter().for_each(|(id, fits)| met.note(*id, *fits));
            let in_vain = may.iter().filter(|(_, fits)| fits.goes_on());
            // Of two at random the worse is named only while another one is as bad: so it comes first.
            let unlucky = in_vain.max_by_key(|(id, _)| self.shared.loads.get(id.0));
            unlucky.or(may.first()).map(|(id, _)| *id)
        };
        let decided = tries(next, |id, _| {
            let fits = self.fits(pool, id);
            is_taken |= fits == Fits::Taken;
            if fits.goes_on() { Continue(()) } else { Break(()) }
        });
        let in_vain = if is_taken { Reason::TupleTaken } else { Reason::NoServer };
        let ends = met.ends.or_else(|| decided.is_none().then_some(in_vain));
        seen.full = met.full;
        seen.taken.extend(met.taken);
        let choice = match met.able.as_slice() {
            [] => return ends.filter(|reason| *reason != Reason::NoServer).map(Choice::Nobody),
            [one] if Some(*one) == client => Choice::Client(*one),
            [one] => Choice::Algorithm(*one),
            _ => Choice::AnyOf(met.able),
        };
        seen.unless = ends;
        Some(choice)
    }

    /// Whom the algorithm may name after these.
    fn candidates(&self, pool: &Pool, tried: &[ServerId]) -> Vec<ServerId> {
        let loads = &self.shared.loads;
        let id = |member: usize| pool.members.get(member).copied();
        let load = |member: usize| id(member).map_or(u32::MAX, |id| loads.get(id.0));
        let may =
            |member: usize| id(member).is_some_and(|id| !tried.contains(&id) && pool.has_room(loads, id));
        let members = match &pool.chooser {
            Chooser::Maglev { .. } => {
                return pick(self.tables, loads, pool, self.tuple, tried, &mut None).into_iter().collect();
            }
            Chooser::RoundRobin(turns) => {
                let with_turns: BTreeSet<usize> = turns.sequence().iter().copied().map(usize::from).collect();
                with_turns.into_iter().filter(|member| may(*member)).collect()
            }
            Chooser::RandomTwo(members) => members.candidates(load, may),
            Chooser::LeastFlows(members) => members.equals(load, may),
        };
        members.into_iter().filter_map(id).collect()
    }

    /// As `give` does, step by step.
    fn fits(&self, pool: &Pool, id: ServerId) -> Fits {
        if self.service.own == Some(id) {
            return Fits::Ends(Reason::OwnNode);
        }
        let Some(server) = self.tables.server(id) else { return Fits::No };
        if !pool.has_room(&self.shared.loads, id) {
            return Fits::No;
        }
        let (answers, unless) = match &self.service.delivery {
            Delivery::Nat => {
                let answers = answers(server, self.tuple);
                if self.is_taken(&answers) {
                    return Fits::Taken;
                }
                (Some(answers), None)
            }
            // The port that is drawn is half of the tuple that its answers have.
            Delivery::Snat(ports) => match self.ports(ports, server) {
                Ports::None => return Fits::Ends(Reason::SnatExhausted),
                Ports::Some => (None, Some(Reason::SnatExhausted)),
                Ports::All => (None, None),
            },
            Delivery::Dsr | Delivery::Tunnel(_) => (None, None),
        };
        let two_sided = self.service.delivery.is_two_sided();
        let v4 = self.tuple.is_v4() && (!two_sided || server.ip.is_v4());
        // The flow that is given up leaves its place.
        let leaves = |flow: Flow| v4 == (flow.client.is_v4() && flow.server.is_none_or(|of| of.is_v4()));
        let room = self.shared.flows.room(self.tuple, answers.as_ref(), v4);
        match room.fits || self.flow.is_some_and(leaves) {
            true => Fits::Yes(unless),
            false if goes_without(self.service, pool) => Fits::Without(room),
            false => Fits::Full(room),
        }
    }

    /// Whether a server's answers would be taken for another flow's.
    fn is_taken(&self, answers: &Tuple) -> bool {
        let other = self.shared.flows.lookup(answers, self.now);
        other.is_some_and(|other| self.flow.is_none_or(|flow| flow.entry != other.entry))
    }

    /// Which workers have a source port left for a server's family.
    fn ports(&self, ports: &SnatPool, server: &Server) -> Ports {
        let Some(protocol) = protocol(self.tuple.proto) else { return Ports::None };
        let v4 = server.ip.is_v4();
        self.ports.of(v4, ports.workers(), |worker| ports.has_free(*worker, protocol, v4))
    }
}
