//! What a restart does to connections of servers that were taken out before it: without a flow, a segment's server is computed over
//! those that take new flows.

use super::Engine;
use crate::config::{Algorithm, Mode, OperatorState};
use crate::plan::Plan;

/// How many servers a line names.
const NAMED_MAX: usize = 10;

impl Engine {
    /// Says at a start without the flows of before whose connections are lost by it.
    pub(super) fn tell_drained(&self) {
        let servers = robbed(&self.plan);
        if servers.is_empty() {
            return;
        }
        let more = servers.len().saturating_sub(NAMED_MAX);
        let mut named = servers.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
        if more > 0 {
            named.push_str(&format!(" and {more} more"));
        }
        tracing::warn!(
            event = "operator",
            servers = named,
            "they take no new flows, and connections that they had before the restart go to other servers now, which reset them; `run --take-over` keeps them"
        );
    }
}

/// Servers out by command whose connections would go on after a restart if they were not: those of other algorithms, of snat and
/// of persistence end in any case.
fn robbed(plan: &Plan) -> Vec<String> {
    let config = plan.config();
    let computes = |name: &str| {
        config.services.iter().any(|service| {
            let pool = config.pools.get(service.pool);
            pool.is_some_and(|pool| pool.name == name && matches!(pool.algorithm, Algorithm::Maglev { .. }))
                && service.own_node.is_none()
                && service.persistence.is_none()
                && !matches!(service.mode, Mode::Snat { .. })
        })
    };
    // Connections of closed ones are to be reset.
    let out =
        plan.all_said().filter(|said| matches!(said.state, OperatorState::Drain | OperatorState::Offline));
    let here = out.filter(|said| computes(&said.pool) && plan.configured(&said.pool, &said.server).is_ok());
    here.map(|said| format!("{}/{}", said.pool, said.server)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::plan::Said;

    const TEXT: &str = r#"version = 1
[dataplane]
cores = [0]
[port.wan]
device = "eth0"
[port.lan]
device = "eth1"
[snat.out]
addresses = ["10.0.0.200"]
[service.web]
listen = "10.9.0.1:80"
protocol = "tcp"
mode = "nat"
pool = "web"
[service.turns]
listen = "10.9.0.2:80"
protocol = "tcp"
mode = "nat"
pool = "turns"
[service.out]
listen = "10.9.0.3:80"
protocol = "tcp"
mode = "snat"
snat = "out"
pool = "out"
[pool.web]
algorithm = "maglev"
server = [{ name = "a", address = "10.0.0.1:80" }, { name = "b", address = "10.0.0.2:80" }, { name = "c", address = "10.0.0.3:80" }]
[pool.turns]
algorithm = "round-robin"
server = [{ name = "a", address = "10.0.0.4:80" }]
[pool.out]
algorithm = "maglev"
server = [{ name = "a", address = "10.0.0.5:80" }]
"#;

    #[test]
    fn a_restart_tells_of_those_whose_connections_would_have_gone_on() {
        let (config, _) = config::parse("test.toml", TEXT).unwrap_or_else(|e| panic!("{e}"));
        let mut plan = Plan::new(config).unwrap();
        assert_eq!(robbed(&plan), Vec::<String>::new());
        let says = [
            ("web", "a", OperatorState::Drain),
            ("web", "b", OperatorState::Closed),
            ("web", "c", OperatorState::Offline),
            ("web", "gone", OperatorState::Drain),
            ("turns", "a", OperatorState::Drain),
            ("out", "a", OperatorState::Drain),
        ];
        let said = says.map(|(pool, server, state)| {
            let (pool, server) = (pool.to_owned(), server.to_owned());
            Said { pool, server, state, reason: None, since: 1, until: None, absent_since: None }
        });
        plan.remember_said(said.into());
        assert_eq!(robbed(&plan), ["web/a", "web/c"]);
    }
}
