//! What a load and a reload cost the control plane, a phase a figure, by the functions that `run` uses. What the kernel is
//! asked for then is not in it: `bench/README.md` says how that is seen.

use crate::core::cell::Family;
use crate::core::clock;
use crate::core::measure::{least, median};
use crate::core::round::counted_turns;
use crate::core::world::{Shape, World};
use ringlead_control::config::{self, Config};
use ringlead_control::plan::{Health, HopKey, Plan};
use ringlead_flow::ServerId;
use ringlead_l4::tables::{Mode, Tables};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

/// Services of a pool.
const SERVICES_A_POOL: usize = 50;
/// Servers of a pool.
const SERVERS_A_POOL: usize = 5;
/// Services of an address.
const SERVICES_AN_ADDRESS: usize = 50;
/// The workers' time of the first round, in nanoseconds; each later one is a millisecond later.
const START_NS: u64 = 2_000_000_000_000;

/// What came of one size.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Loaded {
    /// For comparisons.
    pub name: String,
    /// Services.
    pub services: usize,
    /// Servers, of all pools together.
    pub servers: usize,
    /// Bytes of the file.
    pub bytes: usize,
    /// What was timed.
    pub phases: Vec<Phase>,
}

/// One phase.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Phase {
    /// What it is: one of [`PHASES`].
    pub name: &'static str,
    /// Thread CPU time, the least of the rounds, in nanoseconds.
    pub ns: f64,
    /// The median of the rounds.
    pub median_ns: f64,
}

/// The phases in their order. The first four are a load. The reloads are all of a reload after reading and checking: plan,
/// rules and tables of a file with nothing, a service's port, or a server of a pool changed.
pub const PHASES: [&str; 9] =
    ["parse", "check", "plan", "tables", "pick-up", "free", "reload-same", "reload-service", "reload-pool"];

/// Loads and reloads every size, each once a round.
///
/// # Panics
/// When a generated file is refused.
#[must_use]
pub fn all(sizes: &[usize], rounds: usize, tell: &mut dyn FnMut(&str)) -> Vec<Loaded> {
    let mut loads: Vec<Load> = sizes.iter().map(|&services| Load::new(services)).collect();
    let mut times = vec![vec![Vec::with_capacity(rounds); PHASES.len()]; sizes.len()];
    for round in 0..rounds {
        tell(&format!("control: round {} of {rounds}", round + 1));
        for (load, times) in loads.iter_mut().zip(&mut times) {
            for (ns, times) in load.round(round as u64).into_iter().zip(times) {
                times.push(ns as f64);
            }
        }
    }
    let row = |(load, times): (&Load, Vec<Vec<f64>>)| {
        let phase = |(name, times): (&&'static str, Vec<f64>)| Phase {
            name,
            ns: least(&times, rounds).unwrap_or(f64::NAN),
            median_ns: median(&times, rounds).unwrap_or(f64::NAN),
        };
        Loaded {
            name: format!("control/{}", load.services),
            services: load.services,
            servers: load.services.div_ceil(SERVICES_A_POOL) * SERVERS_A_POOL,
            bytes: load.text.len(),
            phases: PHASES.iter().zip(times).map(phase).collect(),
        }
    };
    loads.iter().zip(times).map(row).collect()
}

/// Gives a worker new tables of so many services, so many times, and a turn after each without a packet. Returns how many
/// times that was.
pub(crate) fn pick_up(services: usize, times: usize) -> usize {
    let mut world = small();
    let mut plan =
        Plan::new(checked(&file(services, false, false))).expect("few enough services and servers");
    reach_all(&mut plan);
    let tables = [Arc::new(plan.snapshot()), Arc::new(plan.snapshot())];
    let now_ns = world.now_ns(false);
    for tables in tables.iter().cycle().take(times) {
        let before = world.shared.tables.swap(Arc::clone(tables));
        counted_turns(&mut world.lanes[0].worker, now_ns, 1);
        drop(before);
    }
    times
}

/// A worker with next to nothing of its own.
fn small() -> World {
    World::new(Shape {
        mode: Mode::Nat,
        families: vec![Family::Ipv4],
        flows: 1000,
        services: 1,
        servers: 1,
        workers: 1,
        accounts: false,
    })
}

/// One size: its files, and a worker to pick its tables up.
struct Load {
    services: usize,
    text: String,
    /// What a reload finds: the same, another service, another pool.
    others: [Config; 3],
    world: World,
}

impl Load {
    fn new(services: usize) -> Self {
        let text = file(services, false, false);
        let others = [(false, false), (true, false), (false, true)];
        Self {
            services,
            others: others.map(|(service, pool)| checked(&file(services, service, pool))),
            text,
            world: small(),
        }
    }

    /// Nanoseconds of each of [`PHASES`].
    fn round(&mut self, round: u64) -> [u64; PHASES.len()] {
        let (read, parse) = timed(|| config::read_text("many.toml", &self.text).expect("TOML"));
        let ((config, _), check) = timed(|| read.check().expect("a good file"));
        let (mut plan, made) = timed(|| Plan::new(config).expect("few enough services and servers"));
        reach_all(&mut plan);
        let (tables, built) = timed(|| plan.snapshot());
        let (pick_up, free) = self.publish(Arc::new(tables), START_NS + round * 1_000_000);
        let [same, service, pool] = self.others.clone().map(|config| reload(&plan, config));
        [parse, check, made, built, pick_up, free, same, service, pool]
    }

    /// Gives tables to the worker and takes them away again: what its tick costs then, and what freeing them costs control.
    fn publish(&mut self, tables: Arc<Tables>, now_ns: u64) -> (u64, u64) {
        let worker = &mut self.world.lanes[0].worker;
        let shared = &self.world.shared.tables;
        let before = shared.swap(Arc::clone(&tables));
        let ((), pick_up) = timed(|| worker.tick(now_ns));
        shared.store(before);
        worker.tick(now_ns);
        assert_eq!(Arc::strong_count(&tables), 1, "the worker has let go of them");
        let ((), free) = timed(|| drop(tables));
        (pick_up, free)
    }
}

/// What `run` does between a checked file and the tables' publication.
fn reload(plan: &Plan, config: Config) -> u64 {
    let ((tables, rules, plan), ns) = timed(|| {
        let mut plan = plan.clone();
        plan.adopt(config).expect("few enough services and servers");
        let rules = plan.rules(&BTreeSet::new());
        (plan.snapshot(), rules, plan)
    });
    drop((tables, rules, plan));
    ns
}

/// Says of every server that it is up and on the second port's own network.
fn reach_all(plan: &mut Plan) {
    let servers: Vec<(ServerId, IpAddr)> = plan.servers().map(|s| (s.id, s.key.address.ip())).collect();
    for (id, ip) in servers {
        plan.set_health(id, Health::Up, String::new());
        plan.set_reach(id, Ok(HopKey { port: 1, vlan: None, ip })).expect("few enough next hops");
    }
}

fn checked(text: &str) -> Config {
    config::parse("many.toml", text).expect("a good file").0
}

/// A file of so many services; with the first one, or the first pool's first server, at another port.
fn file(services: usize, other_service: bool, other_pool: bool) -> String {
    let mut text = String::from(
        "version = 1\n[dataplane]\ncores = [0]\n[port.wan]\ndevice = \"w0\"\nfaces = \"clients\"\n\
         [port.lan]\ndevice = \"l0\"\nfaces = \"servers\"\n[health.tcp]\ntype = \"tcp\"\n",
    );
    for n in 0..services {
        let (address, pool) = (n / SERVICES_AN_ADDRESS, n / SERVICES_A_POOL);
        let port = if other_service && n == 0 { 20_000 } else { 1_000 + n % SERVICES_AN_ADDRESS };
        let _ = writeln!(
            text,
            "[service.s{n}]\nlisten = \"10.9.{}.{}:{port}\"\nprotocol = \"tcp\"\nmode = \"nat\"\npool = \"p{pool}\"",
            address / 250,
            address % 250 + 1,
        );
    }
    for pool in 0..services.div_ceil(SERVICES_A_POOL) {
        let _ = writeln!(text, "[pool.p{pool}]\nalgorithm = \"maglev\"\nhealth = \"tcp\"\nserver = [");
        for server in 0..SERVERS_A_POOL {
            let n = pool * SERVERS_A_POOL + server;
            let port = if other_pool && n == 0 { 8_081 } else { 8_080 };
            let _ = writeln!(
                text,
                "  {{ name = \"s{server}\", address = \"10.2.{}.{}:{port}\" }},",
                n / 250,
                n % 250 + 1
            );
        }
        text.push_str("]\n");
    }
    text
}

/// The outcome of a piece of work, and its thread CPU time in nanoseconds.
fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let start = clock::thread_ns();
    let outcome = work();
    (outcome, clock::thread_ns() - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_of_every_size_is_measured() {
        let rows = all(&[1, 120], 3, &mut |_| ());
        assert_eq!(
            rows.iter().map(|row| (row.services, row.servers)).collect::<Vec<_>>(),
            [(1, 5), (120, 15)]
        );
        for row in &rows {
            assert_eq!(row.phases.iter().map(|phase| phase.name).collect::<Vec<_>>(), PHASES);
            assert!(row.phases.iter().all(|phase| phase.ns > 0.0), "{row:?}");
        }
    }

    #[test]
    fn the_files_of_a_reload_differ_in_one_thing() {
        let [same, service, pool] = [(false, false), (true, false), (false, true)]
            .map(|(service, pool)| checked(&file(100, service, pool)));
        let differ = |other: &Config| {
            let services = same.services.iter().zip(&other.services).filter(|(a, b)| a != b).count();
            let pools = same.pools.iter().zip(&other.pools).filter(|(a, b)| a != b).count();
            (services, pools)
        };
        assert_eq!((differ(&service), differ(&pool)), ((1, 0), (0, 1)));
    }
}
