//! What a restart does to connections of servers that were taken out before it: without a flow, a segment's server is computed over
//! those that take new flows.

use crate::config::{Algorithm, Mode, OperatorState};
use crate::handover::Imported;
use crate::plan::Plan;
use std::collections::BTreeSet;

/// How many servers a line names.
const NAMED_MAX: usize = 10;

/// Says at a start, which has no flows of before, whose connections are lost by it.
pub(super) fn at_start(plan: &Plan) {
    tell(plan, "`run --take-over` keeps them");
}

/// Says the same of a take-over that no flows came over by.
pub(super) fn at_take_over(plan: &Plan, imported: Option<&Imported>) {
    if imported.is_none() {
        tell(plan, "no flows came over, so it is as after a crash");
    }
}

fn tell(plan: &Plan, so: &str) {
    let servers = robbed(plan);
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
        "they take no new flows, and connections that they still had before go to other servers now, which reset them; {so}"
    );
}

/// Servers that are taken out, by command, file or agent, and whose connections would go on if they were not: those of other
/// algorithms, of snat and of persistence end in any case.
fn robbed(plan: &Plan) -> Vec<String> {
    let config = plan.config();
    let computes = config.services.iter().filter(|service| {
        service.own_node.is_none()
            && service.persistence.is_none()
            && !matches!(service.mode, Mode::Snat { .. })
    });
    let pools: BTreeSet<usize> = computes.map(|service| service.pool).collect();
    let pools = pools.into_iter().filter_map(|pool| config.pools.get(pool));
    let by_table = pools.filter(|pool| matches!(pool.algorithm, Algorithm::Maglev { .. }));
    by_table
        .flat_map(|pool| pool.servers.iter().map(move |server| (pool, server)))
        .filter(|(pool, server)| {
            let record = plan.server_id(pool, server).and_then(|id| plan.server(id));
            // Connections of closed ones are to be reset.
            record.is_some_and(|record| {
                matches!(record.wanted(), OperatorState::Drain | OperatorState::Offline)
            })
        })
        .map(|(pool, server)| format!("{}/{}", pool.name, server.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::logs::heard::entries;
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
server = [{ name = "a", address = "10.0.0.1:80" }, { name = "b", address = "10.0.0.2:80" }, { name = "c", address = "10.0.0.3:80" }, { name = "d", address = "10.0.0.6:80", state = "drain" }, { name = "e", address = "10.0.0.7:80", state = "offline" }]
[pool.turns]
algorithm = "round-robin"
server = [{ name = "a", address = "10.0.0.4:80" }, { name = "b", address = "10.0.0.8:80", state = "drain" }]
[pool.out]
algorithm = "maglev"
server = [{ name = "a", address = "10.0.0.5:80" }]
"#;

    #[test]
    fn a_restart_tells_of_those_whose_connections_would_have_gone_on() {
        let (config, _) = config::parse("test.toml", TEXT).unwrap_or_else(|e| panic!("{e}"));
        let mut plan = Plan::new(config).unwrap();
        assert_eq!(robbed(&plan), ["web/d", "web/e"], "by the file");
        let says = [
            ("web", "a", OperatorState::Drain),
            ("web", "b", OperatorState::Closed),
            ("web", "c", OperatorState::Offline),
            ("web", "gone", OperatorState::Drain),
            ("turns", "a", OperatorState::Drain),
            ("web", "e", OperatorState::Ready),
            ("out", "a", OperatorState::Drain),
        ];
        let said = says.map(|(pool, server, state)| {
            let (pool, server) = (pool.to_owned(), server.to_owned());
            Said { pool, server, state, reason: None, since: 1, until: None, absent_since: None }
        });
        plan.remember_said(said.into());
        assert_eq!(robbed(&plan), ["web/a", "web/c", "web/d"]);
    }

    #[test]
    fn a_take_over_without_the_flows_tells_what_a_start_does() {
        let (config, _) = config::parse("test.toml", TEXT).unwrap_or_else(|e| panic!("{e}"));
        let plan = Plan::new(config).unwrap();
        let told = |said: &dyn Fn()| entries(said).into_iter().map(|entry| entry.fields).collect::<Vec<_>>();
        let at_start = told(&|| at_start(&plan));
        assert_eq!(at_start, [[("servers", "web/d, web/e".into())]]);
        assert_eq!(told(&|| at_take_over(&plan, None)), at_start);
        assert!(
            told(&|| at_take_over(&plan, Some(&Imported::default()))).is_empty(),
            "they have their flows"
        );
    }

    #[test]
    fn no_more_than_ten_are_named() {
        let servers: Vec<String> = (0..12)
            .map(|n| format!("{{ name = \"s{n}\", address = \"10.0.1.{n}:80\", state = \"drain\" }}"))
            .collect();
        let few = "[pool.web]\nalgorithm = \"maglev\"\nserver = [";
        let text = TEXT.replace(few, &format!("{few}{}, ", servers.join(", ")));
        let (config, _) = config::parse("test.toml", &text).unwrap_or_else(|e| panic!("{e}"));
        let told = entries(|| tell(&Plan::new(config).unwrap(), "so"));
        let named = told[0].fields[0].1.as_str().unwrap();
        assert!(named.starts_with("web/s0, web/s1, ") && named.ends_with("web/s9 and 4 more"), "{named}");
    }
}
