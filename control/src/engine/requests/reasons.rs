//! Why a server gets a new flow, and why each other one does not.

use super::explain::{ExplainedServer, Explainer};
use crate::config::{PanicThen, PoolConfig, ServerConfig};
use crate::plan::{Out, ServerRecord};
use ringlead_flow::ServerId;
use ringlead_l4::drops::Reason;
use ringlead_l4::foresee::{Choice, Foreseen};
use ringlead_l4::tables::{Chooser, Pool, Service, Tables};

/// What a choice was made from.
pub(super) struct Reasons<'a> {
    pub(super) explainer: &'a Explainer,
    pub(super) tables: &'a Tables,
    pub(super) service: &'a Service,
    pub(super) seen: &'a Foreseen,
}

impl Reasons<'_> {
    /// Every server of the pool, and of the sorry pool where that stands in.
    pub(super) fn all(&self) -> Vec<ExplainedServer> {
        let sorry = self.service.sorry.as_deref().filter(|_| self.seen.stands_in);
        [Some(&*self.service.pool), sorry].into_iter().flatten().flat_map(|pool| self.of(pool)).collect()
    }

    /// The slots of the Maglev table that decides.
    pub(super) fn slots(&self) -> Option<usize> {
        match &self.service.pool.chooser {
            Chooser::Maglev { table, .. } => Some(table.slots().len()).filter(|slots| *slots > 0),
            Chooser::RoundRobin(_) | Chooser::LeastFlows(_) | Chooser::RandomTwo(_) => None,
        }
    }

    /// Why one of several gets it.
    pub(super) fn turn(&self) -> &'static str {
        let pool = self.service.sorry.as_ref().filter(|_| self.seen.stands_in).unwrap_or(&self.service.pool);
        match &pool.chooser {
            Chooser::RoundRobin(_) => "whose turn it is with the worker that gets its first packet",
            Chooser::LeastFlows(_) => "they have equally few flows for their weights",
            Chooser::RandomTwo(_) => "the one of two drawn at random that has fewer flows for its weight",
            Chooser::Maglev { .. } => "the table decides",
        }
    }

    fn of(&self, pool: &Pool) -> Vec<ExplainedServer> {
        let config = self.explainer.walk.plan.config();
        let Some(found) = config.pools.iter().find(|config| *config.name == *pool.name) else {
            return Vec::new();
        };
        let explained = |server: &ServerConfig| {
            let plan = &self.explainer.walk.plan;
            let record = plan.server(plan.server_id(found, server)?)?;
            let chosen = self.is_chosen(record.id);
            let why = if chosen { self.why(record) } else { self.why_not(pool, found, server, record) };
            let (server, address) = (format!("{}/{}", found.name, server.name), server.address.to_string());
            Some(ExplainedServer { server, address, chosen, why })
        };
        found.servers.iter().filter_map(explained).collect()
    }

    fn is_chosen(&self, server: ServerId) -> bool {
        match &self.seen.choice {
            Choice::Flow(id) | Choice::Client(id) | Choice::Algorithm(id) => *id == server,
            Choice::AnyOf(_) | Choice::Nobody(_) => false,
        }
    }

    fn why(&self, record: &ServerRecord) -> String {
        let disbelieved = record.is_down() && record.is_taken_for_up() && !self.has_flow();
        let panic = if disbelieved { "; down, which the pool in panic does not believe" } else { "" };
        let why = match (&self.seen.choice, self.seen.slot) {
            (Choice::Flow(_), _) => "has the flow".to_owned(),
            (Choice::Client(_), _) => "the client had it before (persistence)".to_owned(),
            (Choice::Algorithm(_), _) if self.seen.stands_in => "of the sorry pool".to_owned(),
            (Choice::Algorithm(_), Some(slot)) if self.seen.taken.is_empty() => {
                format!("Maglev slot {slot} is its")
            }
            (Choice::Algorithm(_), Some(_)) => "Maglev's next choice".to_owned(),
            (Choice::Algorithm(_), None) => "the algorithm leaves nobody else".to_owned(),
            (Choice::AnyOf(_) | Choice::Nobody(_), _) => String::new(),
        };
        format!("{why}{panic}")
    }

    const fn has_flow(&self) -> bool {
        matches!(self.seen.choice, Choice::Flow(_))
    }

    /// The first that holds of what speaks against a server.
    fn why_not(
        &self,
        pool: &Pool,
        config: &PoolConfig,
        server: &ServerConfig,
        record: &ServerRecord,
    ) -> String {
        if let Some(why) = self.out(config, record) {
            return why;
        }
        if !pool.members.contains(&record.id) {
            return if server.backup {
                "backup: enough other servers are up".to_owned()
            } else {
                "not in the tables yet".to_owned()
            };
        }
        if self.tables.server(record.id).is_none() {
            return "the way to it is not known yet".to_owned();
        }
        let loads = &self.explainer.walk.shared.loads;
        if !pool.has_room(loads, record.id) {
            let (flows, limit) = (loads.get(record.id.0), pool.limit(record.id).unwrap_or_default());
            return format!("full: {flows} of {limit} flows");
        }
        if self.seen.taken.contains(&record.id) {
            return "its answers would be taken for another flow's of this client".to_owned();
        }
        match (&self.seen.choice, &pool.chooser) {
            (Choice::Flow(_), _) => "the flow is another's".to_owned(),
            (Choice::Client(_), _) => "the client comes back to another".to_owned(),
            (Choice::Nobody(Reason::TableFull), _) => "the flow table has no room".to_owned(),
            (Choice::Nobody(Reason::SnatExhausted), _) => "no source port is free".to_owned(),
            (Choice::Nobody(Reason::TupleTaken), _) => {
                "not tried: a worker ends its tries before it".to_owned()
            }
            (Choice::AnyOf(able), _) if able.contains(&record.id) => "may get it".to_owned(),
            (_, Chooser::Maglev { .. }) => "the slot is another's".to_owned(),
            (_, Chooser::LeastFlows(_)) => {
                format!("has more flows for its weight: {}", loads.get(record.id.0))
            }
            (_, Chooser::RoundRobin(_) | Chooser::RandomTwo(_)) => "not chosen".to_owned(),
        }
    }

    /// What keeps a server out of the tables, by what they were made from.
    fn out(&self, pool: &PoolConfig, record: &ServerRecord) -> Option<String> {
        let plan = &self.explainer.walk.plan;
        let quoted = |reason: Option<&str>| reason.map(|why| format!(" (\"{why}\")")).unwrap_or_default();
        Some(match plan.out(record)? {
            Out::Gone => "no longer in the configuration".to_owned(),
            Out::Operator(state) => {
                let said = plan.said(&pool.name, &record.key.name);
                format!("{}{}", state.name(), quoted(said.and_then(|said| said.reason.as_deref())))
            }
            Out::Health(health) => format!("{}: {}", health.name(), record.reason),
            Out::AgentSaysDown => "down: its agent says so".to_owned(),
            Out::Agent(state) => format!("{}: its agent wants that", state.name()),
            Out::Panic(PanicThen::Backup) => "panic: only the pool's backups get flows".to_owned(),
            Out::Panic(PanicThen::Nobody | PanicThen::All) => {
                "panic: no server of the pool gets flows".to_owned()
            }
            Out::NodeDrains => {
                let why = plan.node_drain().and_then(|drain| drain.reason.as_deref());
                format!("this node itself, which drains{}", quoted(why))
            }
            Out::Unreachable(why) => format!("unreachable: {why}"),
        })
    }
}

/// What decides.
pub(super) const fn choice_text(choice: &Choice) -> &'static str {
    match choice {
        Choice::Flow(_) => "flow",
        Choice::Client(_) => "persistence",
        Choice::Algorithm(_) | Choice::AnyOf(_) => "algorithm",
        Choice::Nobody(Reason::OwnNode) => "own-node",
        Choice::Nobody(_) => "nobody",
    }
}
