//! Pools: their status, who is short of servers, and weights that grow.

use super::Engine;
use super::report::Reporter;
use super::state_words::in_words;
use super::status::{
    AgentStatus, CheckTimesStatus, ConnectionStatus, PoolStatus, ReportedStatus, SaidStatus, ServerStatus,
};
use crate::config::{Algorithm, PanicThen, PoolConfig, ServerConfig};
use crate::health::Spread;
use crate::plan::{Alive, NodeDrain, Plan, Reach, Reported, Said, ServerRecord, Strength};
use ringlead_flow::ServerId;
use ringlead_l4::Shared;
use ringlead_l4::attempts::Attempted;
use ringlead_pick::default_size;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often the share of a server that starts slowly grows.
const WEIGHTS_EVERY: Duration = Duration::from_secs(1);

/// What was told, and when weights were last looked at.
#[derive(Debug, Default)]
pub(super) struct PoolWatch {
    /// The pools that were told to be short of servers.
    weak: BTreeSet<String>,
    /// The pools that have somebody for new flows.
    serving: BTreeSet<String>,
    /// The pools that were told to have nobody left.
    ended: BTreeSet<String>,
    /// The pools whose panic was told.
    panics: BTreeSet<String>,
    /// When the last snapshot was built.
    built: Option<Instant>,
}

impl Engine {
    /// Gives servers their share of now: those that start slowly, and those whose agents have said another one. The snapshot is built off this thread, as every one is.
    pub(super) async fn raise_weights(&mut self) {
        let due = self.pools.built.is_none_or(|built| built.elapsed() >= WEIGHTS_EVERY);
        if due && (self.plan.ramps() || std::mem::take(&mut self.agents.weights_due)) {
            self.publish().await;
        }
    }

    /// Says once what a pool lacks, and once when it has that again. After each snapshot.
    pub(super) fn watch_pools(&mut self) {
        self.pools.built = Some(Instant::now());
        for pool in &self.plan.config().pools {
            self.pools.tell_panic(pool, &self.plan);
            if let Some(strength) = self.plan.strength(&pool.name) {
                self.pools.tell_strength(&pool.name, strength);
            }
        }
        let names: BTreeSet<&str> = self.plan.config().pools.iter().map(|pool| pool.name.as_str()).collect();
        let PoolWatch { weak, serving, ended, panics, built: _ } = &mut self.pools;
        for told in [weak, serving, ended, panics] {
            told.retain(|pool| names.contains(pool.as_str()));
        }
    }
}

impl PoolWatch {
    /// Says once that nobody is left for new flows, else that fewer are than should be; and of each that was said when it is over.
    fn tell_strength(&mut self, pool: &str, strength: Strength) {
        let (eligible, backups) = (strength.primaries_eligible, strength.backups_eligible);
        let (serves, min_servers) = (eligible + backups > 0, strength.servers_min);
        if serves {
            self.serving.insert(pool.to_owned());
            if self.ended.remove(pool) {
                tracing::info!(event = "pool", pool, eligible, backups, "pool {pool} has a server again");
            }
        } else if self.serving.remove(pool) {
            // Not at the start, when nobody was there before.
            self.ended.insert(pool.to_owned());
            tracing::warn!(
                event = "pool",
                pool,
                "no server of pool {pool} is left: its services give new flows their on-no-server answer"
            );
        }
        match (strength.below_min(), self.weak.contains(pool)) {
            // Whose end was told is known to be short of servers.
            (true, false) if !self.ended.contains(pool) => {
                self.weak.insert(pool.to_owned());
                tracing::warn!(event = "pool", pool, eligible, min_servers, backups, "below min-servers");
            }
            (false, true) => {
                self.weak.remove(pool);
                tracing::info!(event = "pool", pool, eligible, min_servers, "min-servers again");
            }
            _ => {}
        }
    }

    /// Says once when a panic begins, and once when it is over.
    fn tell_panic(&mut self, pool: &PoolConfig, plan: &Plan) {
        let (name, Alive { ready, up }) = (pool.name.as_str(), plan.alive(pool));
        match plan.panic(name) {
            Some(then) if self.panics.insert(name.to_owned()) => {
                let answer = match then {
                    PanicThen::All => "the checks are disbelieved: every ready server gets flows",
                    PanicThen::Nobody => "no server gets flows",
                    PanicThen::Backup => "only the backups get flows",
                };
                tracing::error!(
                    event = "pool-panic",
                    pool = name,
                    panic = true,
                    up,
                    ready,
                    then = then.name(),
                    "most servers look dead: {answer}"
                );
            }
            None if self.panics.remove(name) => {
                tracing::warn!(
                    event = "pool-panic",
                    pool = name,
                    panic = false,
                    up,
                    ready,
                    "the panic is over"
                );
            }
            Some(_) | None => {}
        }
    }
}

impl ReportedStatus {
    fn of(reported: &Reported) -> Self {
        let left = reported.until.saturating_duration_since(Instant::now());
        let (up, reason) = (reported.up, reported.reason.clone());
        Self { up, reason, since: reported.since, left_s: left.as_secs_f64().ceil() }
    }
}

impl CheckTimesStatus {
    fn of(spread: Spread) -> Self {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        Self { checks: spread.checks, p50_ms: ms(spread.p50), p99_ms: ms(spread.p99) }
    }
}

impl SaidStatus {
    fn of(said: &Said) -> Self {
        Self { reason: said.reason.clone(), since: said.since, until: said.until }
    }

    pub(super) fn of_node(drain: &NodeDrain) -> Self {
        Self { reason: drain.reason.clone(), since: drain.since, until: None }
    }
}

impl Reporter {
    pub(super) fn pool_status(&self, pool: &PoolConfig) -> PoolStatus {
        self.pool_status_with(pool, self.server_statuses(pool))
    }

    pub(super) fn server_statuses(&self, pool: &PoolConfig) -> Vec<ServerStatus> {
        pool.servers.iter().filter_map(|server| self.server_status(pool, server)).collect()
    }

    /// Of a pool, with whatever is to be said of its servers.
    pub(super) fn pool_status_with<S>(&self, pool: &PoolConfig, servers: S) -> PoolStatus<S> {
        let (hash, table_size) = match pool.algorithm {
            Algorithm::Maglev { size, hash } => {
                let size = size.unwrap_or_else(|| default_size(pool.servers.len()));
                (Some(hash.name().to_owned()), Some(size))
            }
            Algorithm::RoundRobin | Algorithm::LeastFlows | Algorithm::RandomTwo => (None, None),
        };
        let strength = self.plan.strength(&pool.name);
        PoolStatus {
            name: pool.name.clone(),
            algorithm: pool.algorithm.name().to_owned(),
            hash,
            table_size,
            slow_start_s: pool.slow_start.map(|ramp| ramp.as_secs_f64()),
            min_servers: pool.servers_min,
            below_min_servers: strength.is_some_and(|strength| strength.below_min()),
            servers_up: self.servers_up(pool),
            panic: self.plan.panic(&pool.name).map(|then| then.name().to_owned()),
            backups_in_use: strength.is_some_and(|strength| strength.uses_backups()),
            servers,
        }
    }

    /// Servers that their checks and agents find up.
    pub(super) fn servers_up(&self, pool: &PoolConfig) -> usize {
        let records = pool.servers.iter().filter_map(|of| self.plan.server(self.plan.server_id(pool, of)?));
        records.filter(|record| record.is_up()).count()
    }

    /// Those that it took part in, not those of whoever had its id before.
    fn connections(&self, server: &ServerRecord) -> ConnectionStatus {
        let all = attempted(&self.shared, server.id).since(server.attempts_before.unwrap_or_default());
        let Attempted { answered, unanswered, refused, unreachable } = all;
        ConnectionStatus { answered, unanswered, refused, unreachable }
    }

    pub(super) fn server_status(&self, pool: &PoolConfig, server: &ServerConfig) -> Option<ServerStatus> {
        let id = self.plan.server_id(pool, server)?;
        let record = self.plan.server(id)?;
        let (next_hop, neighbour) = match &record.reach {
            Reach::Unknown => ("not looked up yet".to_owned(), None),
            Reach::Itself => ("this node itself".to_owned(), None),
            Reach::Unreachable(why) => (format!("unreachable: {why}"), None),
            Reach::Via { neighbour, hop } => {
                let port = self.ports.get(usize::from(hop.port));
                let port = port.map_or("?", |port| port.config.name.as_str());
                let vlan = hop.vlan.map(|vid| format!(", VLAN {vid}")).unwrap_or_default();
                let mac = self.shared.neighbours.get(*neighbour).map(|hop| mac_text(hop.mac));
                (format!("{} by port {port}{vlan}", hop.ip), mac)
            }
        };
        Some(ServerStatus {
            name: server.name.clone(),
            address: server.address.to_string(),
            weight: self.plan.weight(pool, server),
            weight_file: server.weight,
            weight_now: self.plan.weight_now(pool, server),
            backup: server.backup,
            flows_max: server.flows_max,
            operator: record.operator.name().to_owned(),
            operator_file: server.state.name().to_owned(),
            said: self.plan.said(&pool.name, &server.name).map(SaidStatus::of),
            agent: AgentStatus::of(pool, record),
            health: record.health.name().to_owned(),
            reason: record.reason.clone(),
            why: in_words(pool, record, super::monotonic()),
            health_source: record.source.name().to_owned(),
            reported: record.reported.as_ref().map(ReportedStatus::of),
            check_times: self.check_times.of(id.0).map(CheckTimesStatus::of),
            connections: self.connections(record),
            held_s: record
                .held_until
                .and_then(|until| Some(until.checked_sub(super::monotonic())?.as_secs_f64())),
            eligible: self.plan.eligible(record),
            flows: self.shared.loads.get(id.0).into(),
            next_hop,
            neighbour,
        })
    }
}

/// What all workers have counted by a server's id.
pub(super) fn attempted(shared: &Shared, id: ServerId) -> Attempted {
    shared.attempts.iter().fold(Attempted::default(), |sum, worker| sum.plus(worker.of(id)))
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::heard::entries;

    /// What is said of a pool with these primaries and backups after each other, `min-servers` wanted.
    fn said(servers_min: usize, steps: &[(usize, usize)]) -> Vec<Vec<String>> {
        let mut watch = PoolWatch::default();
        let mut at = |&(primaries_eligible, backups_eligible)| {
            let strength = Strength { primaries: 3, primaries_eligible, backups_eligible, servers_min };
            let told = entries(|| watch.tell_strength("web", strength));
            told.into_iter().map(|entry| format!("{}: {}", entry.level_name(), entry.message)).collect()
        };
        steps.iter().map(&mut at).collect()
    }

    const END: &str =
        "warn: no server of pool web is left: its services give new flows their on-no-server answer";
    const BACK: &str = "info: pool web has a server again";
    const SHORT: &str = "warn: below min-servers";
    const ENOUGH: &str = "info: min-servers again";

    #[test]
    fn the_last_servers_end_and_its_return_are_told_once() {
        let expected: [&[&str]; 5] = [&[], &[END], &[], &[BACK], &[]];
        assert_eq!(said(1, &[(1, 0), (0, 0), (0, 0), (1, 0), (1, 0)]), expected);
    }

    #[test]
    fn who_is_back_and_still_too_few_is_told_with_what_is_missing() {
        let of_three = said(3, &[(3, 0), (0, 0), (1, 0), (2, 0), (3, 0)]);
        let expected: [&[&str]; 5] = [&[], &[END], &[BACK, SHORT], &[], &[ENOUGH]];
        assert_eq!(of_three, expected);
        let by_steps = said(3, &[(3, 0), (2, 0), (0, 0), (3, 0)]);
        let expected: [&[&str]; 4] = [&[], &[SHORT], &[END], &[BACK, ENOUGH]];
        assert_eq!(by_steps, expected);
    }

    #[test]
    fn a_backup_that_is_back_is_told_while_primaries_are_short() {
        let told = said(1, &[(1, 1), (0, 1), (0, 0), (0, 1), (1, 1)]);
        let expected: [&[&str]; 5] = [&[], &[SHORT], &[END], &[BACK], &[ENOUGH]];
        assert_eq!(told, expected);
    }

    #[test]
    fn nobody_at_the_start_is_no_end() {
        let expected: [&[&str]; 3] = [&[SHORT], &[], &[ENOUGH]];
        assert_eq!(said(1, &[(0, 0), (0, 0), (1, 0)]), expected);
    }
}
