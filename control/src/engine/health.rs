//! What the checks say, turned into who may get new flows.

use super::Engine;
use super::agent::agent_specs;
use crate::config::{CheckConfig, Config, Mode, Via};
use crate::health::{CheckSpec, HealthEvent, PathProbe, Probe, Prober, Road, in_words};
use crate::plan::{Health, Plan, ServerRecord, Source, tunnel_of};
use ringlead_flow::ServerId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    /// Takes one event and every other that waits already, then publishes once.
    pub(super) async fn on_health(&mut self, event: HealthEvent) {
        let mut changed = self.note_health(event);
        while let Ok(event) = self.health.try_recv() {
            changed |= self.note_health(event);
        }
        if changed {
            self.publish_and_steer().await;
        }
    }

    /// Notes one event; returns whether somebody's health changed.
    pub(super) fn note_health(&mut self, event: HealthEvent) -> bool {
        let id = ServerId(event.id);
        // An event of a check that has been stopped since, or of an id's former owner, is nobody's.
        if self.specs.get(&event.id).is_none_or(|spec| spec.target != event.target) {
            return false;
        }
        if let Some(answer) = &event.agent {
            return self.note_agent(&event, answer);
        }
        let health = if event.up { Health::Up } else { Health::Down };
        let plan = Arc::make_mut(&mut self.plan);
        let changed = plan.set_health(id, health, event.reason.clone());
        if changed && let Some(server) = self.plan.server(id) {
            tell_turn(server, Finding { took: Some(event.took), ..Finding::default() });
        }
        self.hold_down(id, event.held);
        changed
    }

    /// Notes and tells for how long a server is held down; `None`: it is not.
    pub(super) fn hold_down(&mut self, id: ServerId, held: Option<Duration>) {
        let until = held.map(|held| super::monotonic().saturating_add(held));
        Arc::make_mut(&mut self.plan).set_held(id, until);
        if let (Some(held), Some(server)) = (held, self.plan.server(id)) {
            let (server, held) = (format!("{}/{}", server.key.pool, server.key.name), in_words(held));
            tracing::warn!(
                event = "flaps",
                server,
                held,
                "it has gone down too often: held down, whatever its checks say"
            );
        }
    }

    /// Makes the running checks those of the configuration; a removed server's goes on for as long as it has flows.
    pub(super) fn sync_checks(&mut self) {
        let checks = check_specs(self.plan.config(), &self.plan, &self.prober);
        let agents = agent_specs(self.plan.config(), &self.plan);
        let mut specs: BTreeMap<u32, CheckSpec> =
            checks.into_iter().chain(agents).map(|spec| (spec.id, spec)).collect();
        self.forget_other_agents(&specs);
        for ghost in self.plan.servers().filter(|server| server.ghost) {
            if let Some(spec) = self.specs.get(&ghost.id.0) {
                specs.entry(ghost.id.0).or_insert_with(|| spec.clone());
            }
        }
        self.checker.reconcile(specs.values().cloned().collect());
        self.specs = specs;
    }
}

/// What led to a server's state, beside its reason.
#[derive(Debug, Default)]
pub(super) struct Finding {
    /// How long the check took.
    pub(super) took: Option<Duration>,
    /// So many times `rise` good checks bring it up again.
    pub(super) rises: Option<u32>,
    /// Who reported it.
    pub(super) peer: Option<String>,
    /// By which line of the file of tokens.
    pub(super) token_line: Option<u32>,
}

/// Says that a server has gone up or down: down is what somebody should look at.
pub(super) fn tell_turn(server: &ServerRecord, found: Finding) {
    let Finding { took, rises, peer, token_line } = found;
    let (name, reason) = (format!("{}/{}", server.key.pool, server.key.name), server.reason.as_str());
    let source = (server.source != Source::Check).then(|| server.source.name());
    let took_ms = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    if server.health.is_up() {
        let up = true;
        tracing::info!(
            event = "health",
            server = name,
            up,
            reason,
            source,
            took_ms,
            rises,
            peer,
            token_line,
            "{name} is up: {reason}"
        );
    } else {
        let up = false;
        let says = if server.health == Health::Down { "down" } else { "not known to be up" };
        tracing::warn!(
            event = "health",
            server = name,
            up,
            reason,
            source,
            took_ms,
            rises,
            peer,
            token_line,
            "{name} is {says}: {reason}"
        );
    }
}

/// One check for each configured server whose pool has one.
fn check_specs(config: &Config, plan: &Plan, prober: &Prober) -> Vec<CheckSpec> {
    let mut specs = Vec::new();
    for (index, pool) in config.pools.iter().enumerate() {
        let Some(check) = pool.health.and_then(|index| config.checks.get(index)) else { continue };
        let Some(probe) = &check.probe else { continue };
        let name: Arc<str> = pool.name.as_str().into();
        let roads = roads(config, index, check);
        for server in &pool.servers {
            let Some(id) = plan.server_id(pool, server) else { continue };
            let probe = match check.via {
                Via::Direct => Arc::clone(probe),
                Via::ServicePath { source } => Arc::new(Probe::Path(PathProbe {
                    asks: Arc::clone(probe),
                    server: id,
                    first_hop: plan.neighbour_of(id),
                    roads: roads.clone(),
                    source,
                    prober: prober.clone(),
                })),
            };
            let port = check.port.unwrap_or_else(|| server.address.port());
            specs.push(CheckSpec {
                id: id.0,
                pool: Arc::clone(&name),
                target: SocketAddr::new(server.address.ip(), port),
                probe,
                interval: check.interval,
                interval_changing: check.interval_changing,
                timeout: check.timeout,
                rise: check.rise,
                fall: check.fall,
                flaps: check.flaps,
            });
        }
    }
    specs
}

/// By which roads a pool's servers are checked: to each address of each service that uses it, once.
fn roads(config: &Config, pool: usize, check: &CheckConfig) -> Vec<Road> {
    let mut roads: Vec<Road> = Vec::new();
    if check.via == Via::Direct {
        return roads;
    }
    let mut seen = BTreeSet::new();
    for service in config.services.iter().filter(|service| service.pools().any(|used| used == pool)) {
        let tunnel = match service.mode {
            Mode::Tunnel { tunnel } => config.tunnels.get(tunnel).and_then(tunnel_of),
            Mode::Nat | Mode::Snat { .. } | Mode::Dsr => None,
        };
        for listen in &service.listen {
            let at = SocketAddr::new(listen.ip.into(), check.port.unwrap_or(listen.port));
            if seen.insert((at, service.mode.name())) {
                roads.push(Road { service: at, tunnel });
            }
        }
    }
    roads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::logs::heard::entries;
    use tracing::Level;

    const FILE: &str = "version = 1\n[dataplane]\ncores = [0]\n[port.wan]\ndevice = \"eth0\"\n\
        [health.t]\ntype = \"tcp\"\n\
        [pool.web]\nalgorithm = \"maglev\"\nhealth = \"t\"\nserver = [{ name = \"a\", address = \"10.0.0.1:80\" }]\n";

    #[test]
    fn a_server_that_goes_down_is_a_warning_in_words_and_one_that_comes_up_is_not() {
        let mut plan = Plan::new(config::parse("test.toml", FILE).unwrap().0).unwrap();
        let id = plan.configured("web", "a").unwrap().0.id;
        for (health, level, says) in [
            (Health::Down, Level::WARN, "web/a is down: refused"),
            (Health::Up, Level::INFO, "web/a is up: refused"),
        ] {
            plan.set_health(id, health, "refused".to_owned());
            let server = plan.server(id).unwrap();
            let told = entries(|| {
                tell_turn(server, Finding { took: Some(Duration::from_millis(7)), ..Finding::default() })
            });
            let [entry] = &told[..] else { panic!("{told:?}") };
            assert_eq!((entry.level, entry.message.as_str()), (level, says));
            let fields: Vec<_> = entry.fields.iter().map(|(name, value)| (*name, value.clone())).collect();
            let up = (health == Health::Up).into();
            assert_eq!(
                fields,
                [("server", "web/a".into()), ("up", up), ("reason", "refused".into()), ("took_ms", 7.into())]
            );
        }
        plan.set_failing(id, "passive".to_owned());
        let told =
            entries(|| tell_turn(plan.server(id).unwrap(), Finding { rises: Some(2), ..Finding::default() }));
        let fields: Vec<_> = told[0].fields.iter().map(|(name, _)| *name).collect();
        assert_eq!(fields, ["server", "up", "reason", "source", "rises"]);
    }
}
