//! A server's state in words: one text for the status, the listings and `explain`.

use super::status::AgentStatus;
use crate::config::PoolConfig;
use crate::plan::{Health, ServerRecord};
use std::time::{Duration, Instant};

/// All that there is to say. `now` is the clock of [`Plan::set_time`](crate::plan::Plan::set_time).
pub(super) fn in_words(pool: &PoolConfig, server: &ServerRecord, now: Duration) -> String {
    let disbelieved = server.health == Health::Down && server.is_taken_for_up();
    let panic = disbelieved.then(|| "gets flows all the same: its pool is in panic".to_owned());
    let said = [Some(found_in_words(server, now)), panic, agent_in_words(pool, server)];
    said.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// What its checks, clients' connections or a report say, for how long that counts, or that good checks are not believed yet:
/// what it fell from is then no longer so.
pub(super) fn found_in_words(server: &ServerRecord, now: Duration) -> String {
    let reason = &server.reason;
    if let Some(reported) = &server.reported {
        let left = reported.until.saturating_duration_since(Instant::now());
        return format!("{reason}, {} s left", left.as_secs_f64().ceil());
    }
    match server.held_until.and_then(|until| until.checked_sub(now)) {
        Some(left) if server.health == Health::Down => {
            let left = left.as_secs_f64().ceil();
            format!("held down for {left} s more: it came and went too often, the last time by: {reason}")
        }
        _ => reason.clone(),
    }
}

/// What its agent says, why, and what of that has no effect; `None`: its pool has none.
fn agent_in_words(pool: &PoolConfig, server: &ServerRecord) -> Option<String> {
    let agent = AgentStatus::of(pool, server)?;
    let overruled = agent.overruled && agent.wish != "ready";
    let notes = [
        overruled.then(|| "the operator's command stands above it".to_owned()),
        agent.weight_kept.then(|| "maglev keeps the weight".to_owned()),
        agent.ignored.map(|words| format!("ignored: {words}")),
        agent.problem.map(|problem| format!("nothing new from it: {problem}")),
    ];
    let notes: String = notes.into_iter().flatten().map(|note| format!("; {note}")).collect();
    Some(format!("agent: {}{}{notes}", agent.says, agent_why(server)))
}

/// Why, in its agent's words: ` ("disk is full")`; nothing where it does not say.
pub(super) fn agent_why(server: &ServerRecord) -> String {
    let why = server.agent.as_ref().and_then(|agent| agent.why.as_ref());
    why.map(|why| format!(" (\"{why}\")")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::health::AgentReply;
    use crate::plan::{Plan, Reported};
    use ringlead_flow::ServerId;

    const FILE: &str = r#"version = 1
[dataplane]
cores = [0]
[port.net]
device = "eth0"
[service.web]
listen = "192.0.2.10:80"
protocol = "tcp"
mode = "nat"
pool = "web"
[pool.web]
algorithm = "round-robin"
health = "tcp"
agent = "words"
panic = { below = 100, then = "all" }
server = [{ name = "s1", address = "10.0.0.1:80" }]
[health.tcp]
type = "tcp"
[health.words]
type = "agent"
port = 9000
"#;

    fn plan() -> (Plan, ServerId) {
        let plan = Plan::new(config::parse("t.toml", FILE).unwrap().0).unwrap();
        let id = plan.configured("web", "s1").unwrap().0.id;
        (plan, id)
    }

    fn words((plan, id): &(Plan, ServerId), now: u64) -> String {
        in_words(&plan.config().pools[0], plan.server(*id).unwrap(), Duration::from_secs(now))
    }

    #[test]
    fn who_is_held_down_is_not_said_to_fail_its_check_now() {
        let mut all = plan();
        all.0.set_health(all.1, Health::Down, "HTTP 500, expected 200-299".to_owned());
        assert_eq!(words(&all, 1), "HTTP 500, expected 200-299; agent: up");
        all.0.set_held(all.1, Some(Duration::from_secs(10)));
        let held = "it came and went too often, the last time by: HTTP 500, expected 200-299; agent: up";
        assert_eq!(words(&all, 1), format!("held down for 9 s more: {held}"));
        assert_eq!(words(&all, 11), "HTTP 500, expected 200-299; agent: up", "the hold is over");
        all.0.set_health(all.1, Health::Up, "HTTP 200".to_owned());
        assert_eq!(words(&all, 1), "HTTP 200; agent: up");
    }

    #[test]
    fn an_agents_reason_and_problem_stand_beside_what_the_check_says() {
        let mut all = plan();
        all.0.set_health(all.1, Health::Up, "HTTP 200".to_owned());
        let mut hears = |line: &str| {
            all.0.hear_agent(all.1, &AgentReply::parse(line), Duration::ZERO);
            words(&all, 1)
        };
        assert_eq!(hears("down # disk is full"), "HTTP 200; agent: down (\"disk is full\")");
        let unknown = "the agent says nothing that is known: bogus";
        let stands = "HTTP 200; agent: down (\"disk is full\"); nothing new from it: ";
        assert_eq!(hears("bogus"), format!("{stands}{unknown}"));
        assert_eq!(hears("up maxconn:3"), "HTTP 200; agent: up; ignored: maxconn:3");
    }

    #[test]
    fn a_report_says_for_how_long_and_a_panic_that_the_dead_get_flows() {
        let mut all = plan();
        all.0.set_health(all.1, Health::Down, "refused".to_owned());
        let _ = all.0.snapshot();
        assert_eq!(words(&all, 1), "refused; gets flows all the same: its pool is in panic; agent: up");
        let until = Instant::now() + Duration::from_secs(60);
        let reported = Reported { up: true, reason: Some("seen".to_owned()), since: 1, until };
        all.0.set_reported(all.1, Some(reported));
        assert_eq!(words(&all, 1), "reported: seen, 60 s left; agent: up");
    }
}
