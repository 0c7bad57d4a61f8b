//! What the service manager hears of the loop.

use super::served::served;
use super::{Engine, monotonic};
use crate::notify::{Manager, Notify};
use crate::plan::Plan;
use std::time::{Duration, Instant};

/// How often the words for the manager are made anew: they count all servers.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// What it was told last.
#[derive(Debug, Default)]
pub(super) struct Told {
    at: Option<Instant>,
    status: String,
}

impl Engine {
    /// The manager of the predecessor is this one's: it watches whoever is the service, however that was started.
    /// `None`: it did not say; then it is the one that this process knows itself, if any.
    pub fn inherit_manager(&mut self, manager: Option<&Manager>) {
        self.notify = manager.map_or_else(Notify::in_place_of_another, Notify::inherited);
        self.tell_step();
    }

    /// A step of the take-over is done; no worker need run for that.
    pub fn tell_step(&self) {
        self.notify.step();
    }

    /// It serves, or serves again after a reload.
    pub(super) fn tell_manager_ready(&mut self) {
        let status = self.in_words();
        self.notify.ready(self.taken_over.is_some(), &status);
        self.manager = Told { at: Some(Instant::now()), status };
    }

    /// A beat, if every worker has one and this loop turns, which it does here; and how it goes, if that has changed.
    pub(super) fn tell_manager(&mut self) {
        if !self.notify.is_heard() {
            return;
        }
        let counters = &self.node.shared.counters;
        self.notify.feed(monotonic(), counters.iter().map(|c| Duration::from_nanos(c.beat.get())));
        if self.manager.at.is_some_and(|at| at.elapsed() < STATUS_EVERY) {
            return;
        }
        let status = self.in_words();
        if status != self.manager.status {
            self.notify.status(&status);
        }
        self.manager = Told { at: Some(Instant::now()), status };
    }

    /// `serving 3 services, 5 of 6 servers up; the last reload was refused`.
    fn in_words(&self) -> String {
        let silent = match self.silent.len() {
            0 => String::new(),
            silent => format!("; {silent} workers are silent"),
        };
        let refused = self.last_reload.error.as_ref().map_or("", |_| "; the last reload was refused");
        format!("{}{silent}{refused}", serving(&self.plan))
    }
}

/// `serving 7 of 9 services (2 without a server), 5 of 6 servers up; pools in panic: 1`.
fn serving(plan: &Plan) -> String {
    let config = plan.config();
    let (mut servers, mut up) = (0_usize, 0_usize);
    for server in plan.servers().filter(|server| !server.ghost) {
        servers += 1;
        up += usize::from(server.is_up());
    }
    let all = config.services.len() + config.local.len();
    let idle = served(plan).into_iter().filter(|served| !served).count();
    let services = match idle {
        0 => format!("{all} services"),
        idle => format!("{} of {all} services ({idle} without a server)", all - idle),
    };
    let panics = match config.pools.iter().filter(|pool| plan.panic(&pool.name).is_some()).count() {
        0 => String::new(),
        panics => format!("; pools in panic: {panics}"),
    };
    format!("serving {services}, {up} of {servers} servers up{panics}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::plan::Health;

    const FILE: &str = r#"version = 1
[dataplane]
cores = [0]
[port.net]
device = "eth0"
[service.a]
listen = "192.0.2.10:80"
protocol = "tcp"
mode = "nat"
pool = "one"
[service.b]
listen = "192.0.2.11:80"
protocol = "tcp"
mode = "nat"
pool = "one"
on-no-server = "sorry:two"
[service.c]
listen = "192.0.2.12:80"
protocol = "tcp"
mode = "nat"
pool = "two"
[pool.one]
algorithm = "round-robin"
health = "t"
server = [{ name = "s1", address = "10.0.0.1:80" }]
[pool.two]
algorithm = "round-robin"
health = "t"
panic = { below = 100, then = "all" }
server = [{ name = "s2", address = "10.0.0.2:80" }]
[health.t]
type = "tcp"
"#;

    #[test]
    fn services_that_nobody_serves_are_told_apart() {
        let mut plan = Plan::new(config::parse("t.toml", FILE).unwrap().0).unwrap();
        let ids =
            [("one", "s1"), ("two", "s2")].map(|(pool, name)| plan.configured(pool, name).unwrap().0.id);
        let mut said = |states: [Health; 2]| {
            for (id, health) in ids.into_iter().zip(states) {
                plan.set_health(id, health, "said".to_owned());
            }
            drop(plan.snapshot());
            serving(&plan)
        };
        assert_eq!(said([Health::Up; 2]), "serving 3 services, 2 of 2 servers up");
        let without = "serving 2 of 3 services (1 without a server), 1 of 2 servers up";
        assert_eq!(said([Health::Down, Health::Up]), without, "the sorry pool serves b");
        let panic = "serving 3 services, 1 of 2 servers up; pools in panic: 1";
        assert_eq!(said([Health::Up, Health::Down]), panic);
    }
}
