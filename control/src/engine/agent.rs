//! What agents say, on its way into the plan.

use super::Engine;
use super::status::AgentStatus;
use crate::config::{Config, PoolConfig};
use crate::health::{AgentReply, CheckSpec, FlapRule, HealthEvent, Wish};
use crate::plan::{AgentChange, Plan, ServerRecord, keeps_weights};
use ringlead_flow::ServerId;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// Tells the question to a server's agent from its health check; no server's id is so large.
const AGENT: u32 = 1 << 31;

/// What waits, and what was told.
#[derive(Debug, Default)]
pub(super) struct AgentWatch {
    /// Whether the next snapshot will have other weights.
    pub(super) weights_due: bool,
    /// The pools that were told to keep their weights.
    keeping: BTreeSet<String>,
}

impl Engine {
    /// Takes what an agent said, or why it said nothing. Returns whether somebody's state changed; weights alone wait for
    /// their next round, or agents that say another share each time would have every one of them make a snapshot.
    pub(super) fn note_agent(&mut self, event: &HealthEvent, answer: &Result<AgentReply, String>) -> bool {
        let id = ServerId(event.id & !AGENT);
        let change = Arc::make_mut(&mut self.plan).hear_agent(id, answer, event.took);
        let Some(server) = self.plan.server(id) else { return false };
        let Some(agent) = &server.agent else { return false };
        let name = format!("{}/{}", server.key.pool, server.key.name);
        let (says, why) = (agent.in_words(), agent.why.as_deref());
        match (answer, change) {
            (Err(problem), _) => {
                // It may well have answered, but nothing that is known.
                tracing::warn!(
                    event = "agent",
                    server = name,
                    problem,
                    says,
                    "nothing new from the agent of {name}: what it last said stands: {problem}"
                );
            }
            (Ok(_), AgentChange::State) if agent.down => {
                tracing::warn!(event = "agent", server = name, says, why, "the agent of {name} says: {says}");
            }
            (Ok(_), AgentChange::State) => {
                tracing::info!(event = "agent", server = name, says, why, "the agent of {name} says: {says}");
            }
            (Ok(_), _) => tracing::debug!(event = "agent", server = name, says, why),
        }
        if change == AgentChange::Weight {
            let pools = &self.plan.config().pools;
            let pool = pools.iter().find(|pool| pool.name == server.key.pool);
            if pool.is_some_and(keeps_weights) {
                if self.agents.keeping.insert(server.key.pool.clone()) {
                    tracing::warn!(
                        event = "agent",
                        pool = server.key.pool,
                        server = name,
                        says,
                        "with maglev nodes choose alike, so no node changes weights by what it hears: they stay as configured"
                    );
                }
            } else {
                self.agents.weights_due = true;
            }
        }
        change == AgentChange::State
    }

    /// Forgets what agents said to which another question goes from now on.
    pub(super) fn forget_other_agents(&mut self, specs: &std::collections::BTreeMap<u32, CheckSpec>) {
        let others: Vec<ServerId> = specs
            .iter()
            .filter(|(id, spec)| {
                let last = self.specs.get(id);
                **id & AGENT != 0
                    && last.is_some_and(|last| last.target != spec.target || last.probe != spec.probe)
            })
            .map(|(id, _)| ServerId(id & !AGENT))
            .collect();
        for id in others {
            Arc::make_mut(&mut self.plan).forget_agent(id);
        }
    }
}

/// One question for each configured server whose pool has an agent.
pub(super) fn agent_specs(config: &Config, plan: &Plan) -> Vec<CheckSpec> {
    let mut specs = Vec::new();
    for pool in &config.pools {
        let Some(check) = pool.agent.and_then(|index| config.checks.get(index)) else { continue };
        let Some(probe) = &check.probe else { continue };
        let name: Arc<str> = pool.name.as_str().into();
        for server in &pool.servers {
            let Some(id) = plan.server_id(pool, server) else { continue };
            let port = check.port.unwrap_or_else(|| server.address.port());
            specs.push(CheckSpec {
                id: id.0 | AGENT,
                pool: Arc::clone(&name),
                target: SocketAddr::new(server.address.ip(), port),
                probe: Arc::clone(probe),
                interval: check.interval,
                interval_changing: None,
                timeout: check.timeout,
                rise: check.rise,
                fall: check.fall,
                flaps: FlapRule::NEVER,
            });
        }
    }
    specs
}

impl AgentStatus {
    pub(super) fn of(pool: &PoolConfig, server: &ServerRecord) -> Option<Self> {
        let agent = server.agent.as_ref()?;
        let wish = match agent.wish {
            Wish::Ready => "ready",
            Wish::Drain => "drain",
            Wish::Maint => "maint",
        };
        Some(Self {
            says: agent.in_words(),
            wish: wish.to_owned(),
            overruled: server.by_command,
            down: agent.down,
            percent: agent.percent,
            weight_kept: keeps_weights(pool) && !matches!(agent.percent, 0 | 100),
            reason: agent.why.clone(),
            ignored: agent.ignored.clone(),
            problem: agent.problem.clone(),
        })
    }
}
