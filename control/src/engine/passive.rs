//! Production traffic as a witness: servers whose clients' connections fail are taken down, until their checks say otherwise.

use super::Engine;
use super::health::{Finding, tell_turn};
use super::pools::attempted;
use crate::config::{OperatorState, PassiveConfig, PoolConfig};
use crate::health::Fallen;
use crate::health::passive::{PARTS, Sums, Window, fails, reason, suffers};
use crate::plan::{Health, Plan, Source};
use ringlead_flow::ServerId;
use ringlead_l4::attempts::Attempted;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most servers that are looked at in one go; pools that are due wait for the next one.
const SERVERS_AT_ONCE: usize = 2_000;
/// A server that falls again within so many windows of its last fall needs twice as many good checks.
const SOON: u32 = 10;
/// The most times `rise` that it needs.
const RISES_MAX: u32 = 32;

/// What is remembered of traffic.
#[derive(Debug, Default)]
pub(super) struct PassiveWatch {
    pools: BTreeMap<String, Watched>,
    falls: BTreeMap<u32, Fall>,
}

/// One pool.
#[derive(Debug, Default)]
struct Watched {
    looked: Option<Instant>,
    windows: BTreeMap<u32, Window>,
}

/// A server's last fall.
#[derive(Debug)]
struct Fall {
    at: Instant,
    rises: u32,
}

/// A server that is to go down.
struct Falling {
    id: ServerId,
    window: Duration,
    reason: String,
}

impl Engine {
    /// Takes down whoever fails clients.
    pub(super) async fn watch_traffic(&mut self) {
        let now = Instant::now();
        let count = |id| attempted(&self.node.shared, id);
        let falling = self.passive.look(&self.plan, now, count);
        let mut changed = false;
        for Falling { id, window, reason } in falling {
            let rises = self.passive.rises(id, window, now);
            // Without a check that runs nothing would bring it back.
            let Some(Fallen { held }) = self.checker.fall(id.0, rises) else { continue };
            changed |= Arc::make_mut(&mut self.plan).set_failing(id, reason);
            self.tell_fall(id, rises);
            self.hold_down(id, held);
        }
        if changed {
            self.publish_and_steer().await;
        }
    }

    /// Lets servers that are new count from zero, whatever their id has counted for another one.
    pub(super) fn note_new_servers(&mut self) {
        let shared = &self.node.shared;
        let new = Arc::make_mut(&mut self.plan).note_attempts_before(|id| attempted(shared, id));
        self.passive.forget(&new);
    }

    fn tell_fall(&self, id: ServerId, rises: u32) {
        let Some(record) = self.plan.server(id) else { return };
        tell_turn(record, Finding { rises: Some(rises), ..Finding::default() });
    }
}

impl PassiveWatch {
    /// Looks at the pools that are due and returns who is to go down. `count` is what all workers have counted of a server.
    fn look(&mut self, plan: &Plan, now: Instant, count: impl Fn(ServerId) -> Attempted) -> Vec<Falling> {
        let config = plan.config();
        let watched: Vec<(&PoolConfig, PassiveConfig)> = config
            .pools
            .iter()
            .filter_map(|pool| Some((pool, config.checks.get(pool.health?)?.passive?)))
            .collect();
        let names: BTreeSet<&str> = watched.iter().map(|(pool, _)| pool.name.as_str()).collect();
        self.pools.retain(|name, _| names.contains(name.as_str()));
        let soon = |window: Duration| window * SOON;
        let longest = watched.iter().map(|(_, passive)| soon(passive.window)).max().unwrap_or_default();
        self.falls.retain(|_, fall| now.duration_since(fall.at) < longest);
        let (mut falling, mut left) = (Vec::new(), SERVERS_AT_ONCE);
        // Who was looked at longest ago comes first, so that nobody waits for ever.
        let mut due: Vec<_> = watched
            .into_iter()
            .map(|(pool, passive)| (self.pools.get(&pool.name).and_then(|w| w.looked), pool, passive))
            .filter(|(looked, _, passive)| {
                looked.is_none_or(|at| now.duration_since(at) >= passive.window / PARTS)
            })
            .collect();
        due.sort_by_key(|(looked, ..)| *looked);
        for (_, pool, passive) in due {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(pool.servers.len());
            let watched = self.pools.entry(pool.name.clone()).or_default();
            watched.looked = Some(now);
            falling.extend(watched.look(plan, pool, passive, &count));
        }
        falling
    }

    /// Forgets whoever had these ids before.
    fn forget(&mut self, ids: &[ServerId]) {
        let ids: BTreeSet<u32> = ids.iter().map(|id| id.0).collect();
        self.falls.retain(|id, _| !ids.contains(id));
        for watched in self.pools.values_mut() {
            watched.windows.retain(|id, _| !ids.contains(id));
        }
    }

    /// How many times `rise` a server that falls now needs to come back: more each time that it falls again soon.
    fn rises(&mut self, id: ServerId, window: Duration, now: Instant) -> u32 {
        let last = self.falls.get(&id.0).filter(|fall| now.duration_since(fall.at) < window * SOON);
        let rises = last.map_or(1, |fall| (fall.rises * 2).min(RISES_MAX));
        self.falls.insert(id.0, Fall { at: now, rises });
        rises
    }
}

impl Watched {
    /// One pool: who of it is to go down.
    fn look(
        &mut self,
        plan: &Plan,
        pool: &PoolConfig,
        passive: PassiveConfig,
        count: impl Fn(ServerId) -> Attempted,
    ) -> Vec<Falling> {
        let ids: BTreeSet<u32> =
            pool.servers.iter().filter_map(|s| plan.server_id(pool, s)).map(|id| id.0).collect();
        // Whoever gets no flows says nothing, and begins anew when it gets some again; so does one of whom a report says that it is
        // up, which counts before anything seen here.
        let serves = |id: &u32| {
            plan.server(ServerId(*id)).is_some_and(|s| {
                s.wanted() == OperatorState::Ready && s.health == Health::Up && s.source != Source::Report
            })
        };
        let ids: Vec<u32> = ids.into_iter().filter(serves).collect();
        self.windows.retain(|id, _| ids.binary_search(id).is_ok());
        for id in ids {
            self.windows.entry(id).or_default().push(count(ServerId(id)));
        }
        let falling = self.falling(passive);
        for fall in &falling {
            self.windows.remove(&fall.id.0);
        }
        falling
    }

    fn falling(&self, passive: PassiveConfig) -> Vec<Falling> {
        let failing = || self.windows.iter().filter(|(_, window)| fails(window.seen(), passive.errors));
        // Mostly nobody fails; in a flood all do.
        if failing().next().is_none() {
            return Vec::new();
        }
        let sums = Sums::of(self.windows.values());
        failing()
            .filter(|(_, window)| suffers(window.seen(), sums.others(window), passive.errors))
            .map(|(id, window)| Falling {
                id: ServerId(*id),
                window: passive.window,
                reason: reason(window.seen(), passive.window),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::plan::Reported;

    const FILE: &str = "version = 1\n[dataplane]\ncores = [0]\n[port.wan]\ndevice = \"eth0\"\n\
        [health.t]\ntype = \"tcp\"\npassive = { errors = 5, window = \"10s\" }\n\
        [pool.web]\nalgorithm = \"maglev\"\nhealth = \"t\"\nserver = [\
        { name = \"a\", address = \"10.0.0.1:80\" }, { name = \"b\", address = \"10.0.0.2:80\" }]\n";

    /// Both servers up, and the ids of a and b.
    fn plan() -> (Plan, [ServerId; 2]) {
        let mut plan = Plan::new(config::parse("test.toml", FILE).unwrap().0).unwrap();
        let ids = ["a", "b"].map(|name| plan.configured("web", name).unwrap().0.id);
        for id in ids {
            plan.set_health(id, Health::Up, "connected".to_owned());
        }
        (plan, ids)
    }

    fn seen(answered: u32, unanswered: u32) -> Attempted {
        Attempted { answered, unanswered, ..Attempted::default() }
    }

    #[test]
    fn who_fails_its_clients_falls_for_what_it_did_within_the_window() {
        let ((plan, [a, _]), begin) = (plan(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut watch = PassiveWatch::default();
        let before = |_| seen(100, 100);
        assert!(watch.look(&plan, at(0), before).is_empty(), "what was before does not count");
        let after = |id| if id == a { seen(100, 105) } else { seen(150, 100) };
        assert!(watch.look(&plan, begin + Duration::from_millis(500), after).is_empty(), "not due");
        let falling = watch.look(&plan, at(1), after);
        let told: Vec<_> = falling.iter().map(|fall| (fall.id, fall.reason.as_str())).collect();
        assert_eq!(told, [(a, "passive: 5 of 5 connections in 10 s unanswered")]);
        assert!(watch.look(&plan, at(2), after).is_empty(), "it begins anew");
    }

    #[test]
    fn who_has_just_come_up_is_compared_over_the_same_time() {
        let ((mut plan, [a, b]), begin) = (plan(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut watch = PassiveWatch::default();
        plan.set_health(a, Health::Down, "refused".to_owned());
        assert!(watch.look(&plan, at(0), |_| seen(0, 0)).is_empty());
        let honest = |id| if id == b { seen(500, 0) } else { seen(0, 0) };
        assert!(watch.look(&plan, at(1), honest).is_empty());
        plan.set_health(a, Health::Up, "connected".to_owned());
        assert!(watch.look(&plan, at(2), honest).is_empty());
        let flooded = |id| if id == b { seen(500, 50) } else { seen(0, 50) };
        assert!(watch.look(&plan, at(3), flooded).is_empty());
    }

    #[test]
    fn who_is_not_up_is_not_judged() {
        let ((mut plan, [a, b]), begin) = (plan(), Instant::now());
        let mut watch = PassiveWatch::default();
        assert!(watch.look(&plan, begin, |_| seen(0, 0)).is_empty());
        plan.set_health(a, Health::Down, "refused".to_owned());
        let after = |id| if id == b { seen(50, 0) } else { seen(0, 50) };
        assert!(watch.look(&plan, begin + Duration::from_secs(1), after).is_empty());
        plan.set_health(a, Health::Up, "connected".to_owned());
        assert!(watch.look(&plan, begin + Duration::from_secs(2), after).is_empty(), "its window begins now");
    }

    #[test]
    fn who_is_reported_up_is_not_judged_until_the_report_is_over() {
        let ((mut plan, [a, b]), begin) = (plan(), Instant::now());
        let until = begin + Duration::from_secs(3_600);
        plan.set_reported(a, Some(Reported { up: true, reason: None, since: 0, until }));
        let mut watch = PassiveWatch::default();
        let counted =
            |seconds: u32| move |id| if id == b { seen(10 * seconds, 0) } else { seen(0, 5 * seconds) };
        for seconds in 0..30 {
            let falling = watch.look(&plan, begin + Duration::from_secs(seconds.into()), counted(seconds));
            assert!(falling.is_empty(), "it falls after {seconds} s");
        }
        plan.set_reported(a, None);
        assert!(
            watch.look(&plan, begin + Duration::from_secs(30), counted(30)).is_empty(),
            "its window begins now"
        );
        let falling = watch.look(&plan, begin + Duration::from_secs(31), counted(31));
        assert_eq!(falling.iter().map(|fall| fall.id).collect::<Vec<_>>(), [a]);
        assert_eq!(watch.rises(a, Duration::from_secs(10), begin + Duration::from_secs(31)), 1);
    }

    #[test]
    fn who_gets_anothers_id_is_not_taken_for_it() {
        let ((plan, [a, _]), begin) = (plan(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut watch = PassiveWatch::default();
        watch.rises(a, Duration::from_secs(10), begin);
        assert!(watch.look(&plan, at(0), |_| seen(0, 0)).is_empty());
        watch.forget(&[a]);
        let after = |id| if id == a { seen(0, 5) } else { seen(50, 0) };
        assert!(watch.look(&plan, at(1), after).is_empty(), "the failures are the other one's");
        assert_eq!(watch.rises(a, Duration::from_secs(10), at(2)), 1, "so is the fall");
    }

    #[test]
    fn who_falls_again_soon_needs_more_good_checks() {
        let (mut watch, begin) = (PassiveWatch::default(), Instant::now());
        let mut rises =
            |seconds| watch.rises(ServerId(1), Duration::from_secs(10), begin + Duration::from_secs(seconds));
        assert_eq!([0, 50, 120, 200, 280, 360, 440].map(&mut rises), [1, 2, 4, 8, 16, 32, 32]);
        assert_eq!(rises(1_000), 1, "it did well for long");
    }
}
