//! Which services somebody serves: by its pool or its sorry pool.

use crate::config::ServiceConfig;
use crate::plan::Plan;

/// Of each service, in the configuration's order, whether one of its pools has a server that may get new flows, as of the last
/// snapshot. Whether somebody listens for a service of layer l7 is not looked up for this.
pub(super) fn served(plan: &Plan) -> Vec<bool> {
    let config = plan.config();
    // Services share pools, so each is counted through once.
    let serves: Vec<bool> = config.pools.iter().map(|pool| has_server(plan, &pool.name)).collect();
    let is_served =
        |service: &ServiceConfig| service.pools().any(|pool| serves.get(pool).copied().unwrap_or_default());
    config.services.iter().map(is_served).collect()
}

/// The names of the services that were [`served`] and are not any more. The configuration is the same as it was then.
pub(super) fn unserved(before: &[bool], plan: &Plan) -> Vec<String> {
    let changes = before.iter().zip(served(plan)).zip(&plan.config().services);
    let ended = changes.filter(|((before, now), _)| **before && !now);
    ended.map(|(_, service)| service.name.clone()).collect()
}

/// Whether somebody of a pool may get new flows.
fn has_server(plan: &Plan, pool: &str) -> bool {
    plan.strength(pool).is_some_and(|strength| strength.primaries_eligible + strength.backups_eligible > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, OperatorState};
    use crate::plan::Said;

    const FILE: &str = r#"version = 1
[dataplane]
cores = [0]
[port.net]
device = "eth0"
[service.alone]
listen = "192.0.2.10:80"
protocol = "tcp"
mode = "nat"
pool = "one"
[service.helped]
listen = "192.0.2.11:80"
protocol = "tcp"
mode = "nat"
pool = "one"
on-no-server = "sorry:two"
[pool.one]
algorithm = "round-robin"
server = [{ name = "s1", address = "10.0.0.1:80" }]
[pool.two]
algorithm = "round-robin"
server = [{ name = "s2", address = "10.0.0.2:80" }, { name = "s3", address = "10.0.0.3:80" }]
"#;

    fn ended_by(plan: &mut Plan, pool: &str, server: &str, state: OperatorState) -> Vec<String> {
        let before = served(plan);
        let (pool, server) = (pool.to_owned(), server.to_owned());
        plan.say(Said { pool, server, state, reason: None, since: 1, until: None, absent_since: None })
            .unwrap();
        drop(plan.snapshot());
        unserved(&before, plan)
    }

    #[test]
    fn who_takes_a_server_out_is_told_of_services_that_nobody_serves_since() {
        let mut plan = Plan::new(config::parse("t.toml", FILE).unwrap().0).unwrap();
        drop(plan.snapshot());
        let none = Vec::<String>::new();
        let out = OperatorState::Offline;
        assert_eq!(ended_by(&mut plan, "one", "s1", out), ["alone"], "the sorry pool serves the other");
        assert_eq!(ended_by(&mut plan, "one", "s1", OperatorState::Drain), none, "nobody did before");
        assert_eq!(ended_by(&mut plan, "two", "s2", out), none);
        assert_eq!(ended_by(&mut plan, "two", "s3", out), ["helped"], "the sorry pool's last");
        assert_eq!(ended_by(&mut plan, "one", "s1", OperatorState::Ready), none);
        assert_eq!(ended_by(&mut plan, "one", "s1", out), ["alone", "helped"], "the sorry pool has nobody");
    }
}
