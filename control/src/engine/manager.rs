//! What the service manager hears of the loop.

use super::{Engine, monotonic};
use crate::notify::{Manager, Notify};
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
        let config = self.plan.config();
        let services = config.services.len() + config.local.len();
        let (mut servers, mut up) = (0_usize, 0_usize);
        for server in self.plan.servers().filter(|server| !server.ghost) {
            servers += 1;
            up += usize::from(server.health.is_up());
        }
        let silent = match self.silent.len() {
            0 => String::new(),
            silent => format!("; {silent} workers are silent"),
        };
        let refused = self.last_reload.error.as_ref().map_or("", |_| "; the last reload was refused");
        format!("serving {services} services, {up} of {servers} servers up{silent}{refused}")
    }
}
