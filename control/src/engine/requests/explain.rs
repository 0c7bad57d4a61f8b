//! Which server a new flow would get and why, why not the others, and the way there: by the tables that workers use now.

use super::flows::{FlowRow, FlowWalk, row, seconds};
use super::json;
use super::nobody::drop_of;
use super::reasons::{Reasons, choice_text};
use crate::engine::{Engine, now_tick};
use crate::plan::Reach;
use ringlead_flow::{ServerId, Tuple};
use ringlead_l4::drops::{Drop, Reason};
use ringlead_l4::foresee::{Choice, Foreseen, Step, foresee};
use ringlead_l4::tables::{Service, Tables};
use ringlead_wire::{Endpoint, Ip, Protocol};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// How many services of an address are named.
const NAMED_MAX: usize = 5;

/// The command `explain`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The client's address and port.
    pub client: SocketAddr,
    /// Where it connects to: an address and a port, or a service's name.
    pub service: String,
}

/// Its answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExplainAnswer {
    /// Version of this format.
    pub format: u32,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The client's address and port.
    pub client: String,
    /// Where it connects to.
    pub listen: String,
    /// Whether workers get its packets; else `says` has whose they are.
    pub ours: bool,
    /// What happens and why, in a sentence.
    pub says: String,
    /// The service.
    pub service: Option<String>,
    /// `l4` or `l7`.
    pub layer: Option<String>,
    /// `nat`, `snat`, `dsr` or `tunnel`.
    pub mode: Option<String>,
    /// The pool that chooses; the sorry pool where that stands in.
    pub pool: Option<String>,
    /// What decides: `flow`, `persistence`, `algorithm`, `own-node` (this node's kernel) or `nobody`.
    pub decided_by: Option<String>,
    /// The server that it gets, `POOL/SERVER`; `None`: nobody, or one of `candidates`.
    pub server: Option<String>,
    /// Those of which one gets it, where that depends on a worker's turn or its random numbers.
    pub candidates: Vec<String>,
    /// The drop reason under which it is counted if nobody gets it: that is certain without a `server` or `candidates`, and else
    /// up to the worker, its turns and its random numbers.
    pub drop: Option<String>,
    /// The slot of the pool's Maglev table.
    pub slot: Option<usize>,
    /// The slots of that table.
    pub slots: Option<usize>,
    /// The flow that these addresses and ports have now.
    pub flow: Option<FlowRow>,
    /// What persistence knows of the client.
    pub remembered: Option<RememberedRow>,
    /// Every server of the pool, and of the sorry pool where that stands in.
    pub servers: Vec<ExplainedServer>,
    /// How packets get to `server`.
    pub way: Option<ExplainedWay>,
}

/// What persistence knows of a client.
#[derive(Debug, Serialize, Deserialize)]
pub struct RememberedRow {
    /// `POOL/SERVER`.
    pub server: String,
    /// Seconds since its last new flow.
    pub idle_s: f64,
    /// Whether it may have that server again.
    pub counts: bool,
}

/// One server and what speaks for or against it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExplainedServer {
    /// `POOL/SERVER`.
    pub server: String,
    /// Its address.
    pub address: String,
    /// Whether it gets the flow.
    pub chosen: bool,
    /// Why, or why not.
    pub why: String,
}

/// The way to a server.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExplainedWay {
    /// The next hop's address.
    pub next_hop: String,
    /// The port that it is behind.
    pub port: String,
    /// Its device.
    pub device: String,
    /// The VLAN that it is in.
    pub vlan: Option<u16>,
    /// Its Ethernet address; `None`: not known, so packets wait, and are dropped as `no-neighbour` after a second.
    pub neighbour: Option<String>,
}

/// What an explanation needs. It is made off the control thread.
pub(in crate::engine) struct Explainer {
    pub(super) walk: FlowWalk,
    /// This node's own addresses.
    pub(super) local: BTreeSet<IpAddr>,
}

impl Engine {
    /// What an explanation needs, as of now.
    pub(in crate::engine) fn explainer(&self) -> Explainer {
        Explainer { walk: self.walk(), local: self.local.clone() }
    }
}

impl Explainer {
    /// Does the command `explain`.
    pub(in crate::engine) fn explain(&self, request: &ExplainRequest) -> Result<Value, String> {
        let protocol = match request.protocol.as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            other => return Err(format!("`{other}` is neither tcp nor udp")),
        };
        let to = self.target(request, protocol)?;
        let client = request.client;
        if client.is_ipv4() != to.is_ipv4() {
            return Err(format!("{client} and {to} are of different families"));
        }
        let tuple = Tuple {
            src: Ip::from(client.ip()),
            sport: client.port(),
            dst: Ip::from(to.ip()),
            dport: to.port(),
            proto: protocol.number(),
        };
        let at = Endpoint { ip: tuple.dst, port: to.port(), protocol };
        let tables = self.walk.shared.tables.load();
        match tables.listener(at) {
            Some(service) => json(&self.ours(&tables, service, &tuple, at, client)),
            None => json(&ExplainAnswer { says: self.whose(&tables, at), ..blank(at, client) }),
        }
    }

    /// Where the client connects to: a service's first address of the client's family, or as written.
    fn target(&self, request: &ExplainRequest, protocol: Protocol) -> Result<SocketAddr, String> {
        let name = request.service.as_str();
        if let Ok(at) = name.parse() {
            return Ok(at);
        }
        let config = self.walk.plan.config();
        let named = config.services.iter().map(|s| (&s.name, &s.listen));
        let mut named = named.chain(config.local.iter().map(|s| (&s.name, &s.listen)));
        let (_, listen) = named
            .find(|(known, _)| *known == name)
            .ok_or_else(|| format!("`{name}` is no ADDRESS:PORT, and there is no service of that name"))?;
        let v4 = request.client.is_ipv4();
        let fits = |at: &&Endpoint| at.ip.is_v4() == v4 && at.protocol == protocol;
        let at = listen.iter().find(fits).ok_or_else(|| {
            let family = if v4 { "IPv4" } else { "IPv6" };
            format!("service `{name}` listens on no {family} address for {protocol}")
        })?;
        if at.port == 0 {
            return Err(format!("service `{name}` listens on every port: say {}:PORT", IpAddr::from(at.ip)));
        }
        Ok(SocketAddr::new(at.ip.into(), at.port))
    }

    fn ours(
        &self,
        tables: &Tables,
        service: &Service,
        tuple: &Tuple,
        at: Endpoint,
        client: SocketAddr,
    ) -> ExplainAnswer {
        let now = now_tick();
        let seen = foresee(&self.walk.shared, tables, service, tuple, now);
        let reasons = Reasons { explainer: self, tables, service, seen: &seen };
        let (server, candidates) = match &seen.choice {
            Choice::Flow(id) | Choice::Client(id) | Choice::Algorithm(id) => (Some(*id), Vec::new()),
            Choice::AnyOf(ids) => (None, ids.iter().map(|id| self.name(*id)).collect()),
            Choice::Nobody(_) => (None, Vec::new()),
        };
        let sorry = service.sorry.as_ref().filter(|_| seen.stands_in);
        let layer = if service.own.is_some() { "l7" } else { "l4" };
        let slots = reasons.slots();
        ExplainAnswer {
            ours: true,
            says: self.says(service, &seen, &reasons),
            service: Some(service.name.to_string()),
            layer: Some(layer.to_owned()),
            mode: Some(service.delivery.mode().name().to_owned()),
            pool: Some(sorry.unwrap_or(&service.pool).name.to_string()),
            decided_by: Some(choice_text(&seen.choice).to_owned()),
            server: server.map(|id| self.name(id)),
            candidates,
            drop: drop_of(&seen).map(|reason| Drop::from(reason).name().to_owned()),
            slot: seen.slot.filter(|_| slots.is_some()),
            slots,
            flow: seen.flow.map(|flow| row(&self.walk.plan, tables, &self.walk.ports, &flow, now)),
            remembered: seen.remembered.map(|known| RememberedRow {
                server: self.name(known.server),
                idle_s: seconds(known.idle),
                counts: known.counts,
            }),
            servers: reasons.all(),
            way: server.and_then(|id| self.way(id)),
            ..blank(at, client)
        }
    }

    fn says(&self, service: &Service, seen: &Foreseen, reasons: &Reasons<'_>) -> String {
        let again = self.given_up(seen);
        let slot =
            || reasons.slots().zip(seen.slot).map(|(slots, slot)| format!("Maglev slot {slot} of {slots}"));
        let said = match &seen.choice {
            Choice::Flow(id) => format!("an established flow goes to {}", self.name(*id)),
            Choice::Client(id) => format!("{again}the client comes back to {}", self.name(*id)),
            Choice::Algorithm(id) if seen.stands_in => {
                format!(
                    "{again}nobody of pool {} can take it; the sorry pool gives {}",
                    service.pool.name,
                    self.name(*id)
                )
            }
            Choice::Algorithm(id) => {
                let why = slot().unwrap_or_else(|| "nobody else can take it, or has as few flows".to_owned());
                format!("{again}a new flow goes to {}: {why}", self.name(*id))
            }
            Choice::AnyOf(ids) => {
                let names: Vec<String> = ids.iter().map(|id| self.name(*id)).collect();
                format!("{again}a new flow goes to one of {}: {}", names.join(", "), reasons.turn())
            }
            Choice::Nobody(Reason::OwnNode) => {
                return "this node's own kernel takes it: of the nodes that share the service it is this one's, or none takes flows"
                    .to_owned();
            }
            Choice::Nobody(reason) => return format!("{again}{}", self.nobody(service, seen, *reason)),
        };
        said + &self.unless(service, seen)
    }

    /// What a first packet gives up, and what becomes of the connection if none comes.
    fn given_up(&self, seen: &Foreseen) -> String {
        let (Some(flow), false) = (&seen.flow, matches!(seen.choice, Choice::Flow(_))) else {
            return String::new();
        };
        let server = self.name(flow.server_id);
        match seen.segment {
            Some(Step::Reset) => format!(
                "a segment of the connection that is there, to {server}, resets both ends; a SYN gives it up, and "
            ),
            Some(Step::Keep) => {
                format!("segments of the connection that is there go on to {server}; a SYN gives it up, and ")
            }
            Some(Step::ChooseAgain) | None => "the flow that is there is given up, and ".to_owned(),
        }
    }

    /// Who gets packets to an address and port that is no service of the workers'.
    fn whose(&self, tables: &Tables, at: Endpoint) -> String {
        let config = self.walk.plan.config();
        let ip = IpAddr::from(at.ip);
        if let Some(local) = config.local.iter().find(|service| service.listen.contains(&at)) {
            let name = &local.name;
            return format!(
                "service {name} (l7) is this node's own: its kernel accepts the connection, and a proxy there chooses a server for each request"
            );
        }
        if tables.snat.contains_key(&at.ip) {
            return format!(
                "{ip} is a source address of [snat]: only servers' answers to flows are taken there, everything else is dropped or left to the kernel"
            );
        }
        let others: Vec<(&str, Endpoint)> = config
            .services
            .iter()
            .flat_map(|service| {
                service
                    .listen
                    .iter()
                    .filter(|listen| listen.ip == at.ip)
                    .map(move |listen| (service.name.as_str(), *listen))
            })
            .collect();
        if !others.is_empty() {
            let named: Vec<String> =
                others.iter().take(NAMED_MAX).map(|(name, listen)| format!("{name} ({listen})")).collect();
            let more = match others.len() - named.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            return format!(
                "{ip} has services, but none at {at}: {}{more}; the packet is this node's kernel's",
                named.join(", ")
            );
        }
        if self.local.contains(&ip) {
            return format!("{ip} is an address of this node, and no service: the packet is its kernel's");
        }
        format!(
            "{ip} is no service and no address of this node: the packet is left to the kernel, which routes or drops it"
        )
    }

    fn way(&self, id: ServerId) -> Option<ExplainedWay> {
        let Reach::Via { neighbour, hop } = &self.walk.plan.server(id)?.reach else { return None };
        let port = self.walk.ports.get(usize::from(hop.port))?;
        let known = self.walk.shared.neighbours.get(*neighbour);
        Some(ExplainedWay {
            next_hop: hop.ip.to_string(),
            port: port.name.clone(),
            device: port.device.clone(),
            vlan: hop.vlan.map(|vlan| vlan.get()),
            neighbour: known.map(|hop| hop.mac.map(|byte| format!("{byte:02x}")).join(":")),
        })
    }

    /// `POOL/SERVER`.
    pub(super) fn name(&self, id: ServerId) -> String {
        let record = self.walk.plan.server(id);
        record.map_or_else(|| "?".to_owned(), |record| format!("{}/{}", record.key.pool, record.key.name))
    }
}

fn blank(at: Endpoint, client: SocketAddr) -> ExplainAnswer {
    ExplainAnswer {
        format: 1,
        protocol: at.protocol.to_string(),
        client: client.to_string(),
        listen: SocketAddr::new(at.ip.into(), at.port).to_string(),
        ours: false,
        says: String::new(),
        service: None,
        layer: None,
        mode: None,
        pool: None,
        decided_by: None,
        server: None,
        candidates: Vec::new(),
        drop: None,
        slot: None,
        slots: None,
        flow: None,
        remembered: None,
        servers: Vec::new(),
        way: None,
    }
}
