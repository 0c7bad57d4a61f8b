//! What agents say of servers: words beside what operators want and what checks find, never mixed with either.

use super::{Plan, ServerRecord};
use crate::config::{Algorithm, OperatorState, PoolConfig};
use crate::health::{AgentReply, AgentState, Wish};
use ringlead_flow::ServerId;
use std::time::Duration;

/// The largest weight.
const WEIGHT_MAX: u32 = 256;

/// What an agent's answer changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AgentChange {
    /// Nothing.
    Nothing,
    /// The server's share only.
    Weight,
    /// What the server gets.
    State,
}

impl Plan {
    /// Takes an agent's answer, or the lack of one.
    pub fn hear_agent(
        &mut self,
        id: ServerId,
        answer: &Result<AgentReply, String>,
        took: Duration,
    ) -> AgentChange {
        let record = self.servers.get_mut(&id.0);
        let Some(agent) = record.and_then(|record| record.agent.as_mut()) else {
            return AgentChange::Nothing;
        };
        let before = (wish(agent), agent.down);
        let share = agent.percent;
        agent.hear(answer, took);
        match before == (wish(agent), agent.down) {
            false => AgentChange::State,
            true if share != agent.percent => AgentChange::Weight,
            true => AgentChange::Nothing,
        }
    }

    /// Forgets what an agent has said: another one is asked from now on.
    pub fn forget_agent(&mut self, id: ServerId) {
        if let Some(agent) = self.servers.get_mut(&id.0).and_then(|record| record.agent.as_mut()) {
            *agent = AgentState::default();
        }
    }
}

impl ServerRecord {
    /// What a server gets: what an operator said by command; else what the file says, or its agent where that wants less.
    #[must_use]
    pub fn wanted(&self) -> OperatorState {
        match (&self.agent, self.by_command) {
            (Some(agent), false) => stricter(self.operator, wish(agent)),
            _ => self.operator,
        }
    }

    /// Whether the checks and its agent find it fit for flows.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.health.is_up() && !self.agent_says_down()
    }

    /// Whether a check or its agent says that it is down.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.health == super::Health::Down || self.agent_says_down()
    }

    fn agent_says_down(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.down)
    }

    /// The agent's share of a weight, times 100: what has no weight of its own gets no flow, so 0 % is a wish to drain instead.
    /// Maglev keeps weights: nodes ask at different moments and must choose alike.
    pub(super) fn weight_in_hundredths(&self, pool: &PoolConfig, weight: u16) -> u16 {
        let percent = match &self.agent {
            Some(agent) if !keeps_weights(pool) && agent.percent > 0 => u32::from(agent.percent),
            _ => 100,
        };
        let scaled = (u32::from(weight) * percent).min(WEIGHT_MAX * 100);
        u16::try_from(scaled).unwrap_or(u16::MAX)
    }
}

/// Whether an agent's percentage changes no weight of this pool.
#[must_use]
pub const fn keeps_weights(pool: &PoolConfig) -> bool {
    matches!(pool.algorithm, Algorithm::Maglev { .. })
}

fn wish(agent: &AgentState) -> OperatorState {
    match (agent.wish, agent.percent) {
        (Wish::Maint, _) => OperatorState::Offline,
        (Wish::Drain, _) | (Wish::Ready, 0) => OperatorState::Drain,
        (Wish::Ready, _) => OperatorState::Ready,
    }
}

/// The one that gives a server less; an agent never wants more than `Offline` takes away.
const fn stricter(file: OperatorState, agent: OperatorState) -> OperatorState {
    match (file, agent) {
        (OperatorState::Ready, agent) => agent,
        (OperatorState::Drain, OperatorState::Offline) => agent,
        (file, _) => file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::plan::{Health, Said};

    fn plan(algorithm: &str) -> Plan {
        let text = format!(
            "version = 1\n[dataplane]\ncores = [0]\n[port.wan]\ndevice = \"eth0\"\n\
             [pool.web]\nalgorithm = \"{algorithm}\"\nagent = \"agent\"\n\
             server = [{{ name = \"a\", address = \"10.0.0.1:80\", weight = 3 }},\
             {{ name = \"b\", address = \"10.0.0.2:80\", weight = 3 }}]\n\
             [health.agent]\ntype = \"agent\"\nport = 9000\n"
        );
        Plan::new(config::parse("test.toml", &text).unwrap().0).unwrap()
    }

    fn first(plan: &Plan) -> &ServerRecord {
        plan.configured("web", "a").unwrap().0
    }

    fn hear(plan: &mut Plan, line: &str) -> AgentChange {
        let id = first(plan).id;
        plan.hear_agent(id, &AgentReply::parse(line), Duration::ZERO)
    }

    fn by_command(state: OperatorState) -> Said {
        let (pool, server) = ("web".to_owned(), "a".to_owned());
        Said { pool, server, state, reason: None, since: 1, until: None, absent_since: None }
    }

    #[test]
    fn an_agents_wish_counts_until_an_operator_says_something() {
        let mut plan = plan("round-robin");
        assert_eq!(hear(&mut plan, "drain"), AgentChange::State);
        assert_eq!(hear(&mut plan, "drain"), AgentChange::Nothing, "said before");
        assert_eq!(hear(&mut plan, "drain 50%"), AgentChange::Weight);
        assert_eq!(
            (first(&plan).wanted(), first(&plan).operator),
            (OperatorState::Drain, OperatorState::Ready)
        );
        assert!(!plan.eligible(first(&plan)));
        plan.say(by_command(OperatorState::Ready)).unwrap();
        assert_eq!(first(&plan).wanted(), OperatorState::Ready, "a command stands above it");
        assert!(plan.eligible(first(&plan)));
        plan.adopt(plan.config().clone()).unwrap();
        assert_eq!(first(&plan).wanted(), OperatorState::Ready, "across reloads, too");
        plan.unsay("web", "a").unwrap();
        assert_eq!(first(&plan).wanted(), OperatorState::Drain);
        hear(&mut plan, "maint");
        assert_eq!(first(&plan).wanted(), OperatorState::Offline);
        hear(&mut plan, "ready");
        assert!(plan.eligible(first(&plan)));
    }

    #[test]
    fn an_agents_down_is_beside_the_checks_and_above_no_state() {
        let mut plan = plan("round-robin");
        hear(&mut plan, "down # disk full");
        assert!(first(&plan).is_down() && !plan.eligible(first(&plan)));
        assert_eq!(first(&plan).health, Health::Unchecked, "never mixed");
        plan.say(by_command(OperatorState::Ready)).unwrap();
        assert!(!plan.eligible(first(&plan)), "down is no wish");
        hear(&mut plan, "up");
        assert!(plan.eligible(first(&plan)));
    }

    #[test]
    fn a_percentage_scales_the_weight_but_not_with_maglev() {
        let weight = |algorithm: &str, line: &str| {
            let mut plan = plan(algorithm);
            hear(&mut plan, line);
            let _ = plan.snapshot();
            let pool = &plan.config().pools[0];
            (plan.weight_now(pool, &pool.servers[0]), plan.eligible(first(&plan)))
        };
        assert_eq!(weight("round-robin", "50%"), (1.5, true));
        assert_eq!(weight("least-flows", "200%"), (6.0, true));
        assert_eq!(weight("random-2", "25600%"), (256.0, true), "bounded");
        assert!(!weight("round-robin", "0%").1, "no share is a wish to drain");
        assert_eq!(weight("maglev", "50%"), (3.0, true));
    }

    #[test]
    fn another_agent_begins_anew() {
        let mut plan = plan("round-robin");
        hear(&mut plan, "maint 10%");
        let id = first(&plan).id;
        plan.forget_agent(id);
        assert_eq!(first(&plan).agent, Some(AgentState::default()));
    }
}
