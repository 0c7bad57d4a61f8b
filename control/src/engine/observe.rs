//! Where metrics are served, and what a scrape gets from the control loop.

use super::report::Reporter;
use super::{Engine, Node, monotonic};
use crate::config::{Config, Origin};
use crate::http::{self, Opened, Server};
use crate::machine::Judge;
use crate::metrics::{Ask, Door, Figures, Make, Pulse, ServiceDrops, WorkerFigures};
use crate::plan::Reach;
use ringlead_l4::drops::{Drop, OF_SERVICE};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

/// Scrapes that may wait for the control loop: the server asks for one at a time.
const ASKS_MAX: usize = 4;
/// Between attempts to listen where the predecessor did.
const LISTEN_EVERY: Duration = Duration::from_secs(1);

/// Frames dropped for one service, by place in [`OF_SERVICE`].
pub(super) type DropCounts = [u64; OF_SERVICE.len()];

/// `Some(place)`: another place, at which it is listened while the old one still is; `None`: the same place.
pub(super) type NextMetrics = Option<Option<Opened>>;

/// Where it cannot be listened, and why.
#[derive(Debug, Clone)]
pub(super) struct Deaf {
    /// The key of `[observe]`.
    pub key: &'static str,
    pub at: SocketAddr,
    pub error: Arc<io::Error>,
}

impl Deaf {
    /// As a finding about the configuration that wants it.
    pub(super) fn told(&self, config: &Config, origin: &Origin) -> String {
        let mut judge = Judge::new(config, origin);
        judge.listening(self.key, self.at, &self.error);
        judge.end().to_string()
    }
}

/// Whoever serves metrics, and what it needs of the control loop.
#[derive(Debug)]
pub(super) struct Observe {
    server: Option<Server>,
    pulse: Arc<Pulse>,
    ask: mpsc::Sender<Ask>,
    asked: mpsc::Receiver<Ask>,
    /// When listening was last tried.
    tried: Option<Instant>,
    /// What each service's slot had dropped before the service began.
    bases: Arc<BTreeMap<u32, DropCounts>>,
    /// The most that was shown of drops that are no service's: workers count a frame for its service a moment before they count
    /// it at all, and a counter must not go back.
    others: Arc<[AtomicU64]>,
    started_at: SystemTime,
}

impl Observe {
    pub(super) fn new(node: &Node) -> Self {
        let (ask, asked) = mpsc::channel(ASKS_MAX);
        Self {
            server: None,
            pulse: Arc::new(Pulse::new(Arc::clone(&node.shared.counters), node.cores.clone())),
            ask,
            asked,
            tried: None,
            bases: Arc::default(),
            others: Drop::all().map(|_| AtomicU64::new(0)).collect(),
            started_at: SystemTime::now(),
        }
    }

    /// The control loop turns.
    pub(super) fn beat(&self, ready: bool) {
        self.pulse.beat(ready);
    }

    /// The next scrape that wants to know.
    pub(super) async fn asked(&mut self) -> Option<Ask> {
        self.asked.recv().await
    }

    /// Where they are served now.
    pub(super) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// What another configuration changes about where metrics are served. The old place is still served, as those `beside` it are.
    ///
    /// # Errors
    /// When it cannot be listened there.
    pub(super) fn changed(&self, at: Option<SocketAddr>, beside: &[&Server]) -> Result<NextMetrics, Deaf> {
        if self.server.as_ref().map(Server::at) == at {
            return Ok(None);
        }
        let open =
            |at| http::open(at, beside).map_err(|error| Deaf { key: "metrics", at, error: Arc::new(error) });
        at.map(open).transpose().map(Some)
    }

    /// Puts the change in force: the new place is served. Returns the old one, to be closed.
    #[must_use]
    pub(super) fn adopt(&mut self, next: NextMetrics) -> Option<Server> {
        let opened = next?;
        let begun = opened.map(|opened| self.begin(opened));
        std::mem::replace(&mut self.server, begun)
    }

    /// Serves a place.
    pub(super) fn begin(&self, opened: Opened) -> Server {
        Server::begin(opened, Arc::new(Door::new(self.ask.clone(), Arc::clone(&self.pulse))))
    }
}

impl Engine {
    /// Begins to serve metrics where the configuration says.
    pub(super) fn listen(&mut self) -> Result<(), String> {
        let next = self.observe.changed(self.plan.config().observe.metrics, &[]);
        let next = next.map_err(|deaf| deaf.told(self.plan.config(), &self.undo.origin()))?;
        // Nothing was served.
        drop(self.observe.adopt(next));
        Ok(())
    }

    /// The same for a successor, once a second until it works: nobody is harmed by metrics that come late.
    pub(super) fn listen_again(&mut self) {
        if self.observe.server.is_some() || self.plan.config().observe.metrics.is_none() {
            return;
        }
        if self.observe.tried.is_some_and(|tried| tried.elapsed() < LISTEN_EVERY) {
            return;
        }
        let first = self.observe.tried.replace(Instant::now()).is_none();
        match self.listen() {
            Ok(()) => tracing::info!(event = "metrics", "served"),
            Err(why) if first => tracing::warn!(event = "metrics", "tried again every second:\n{why}"),
            Err(_) => {}
        }
    }

    /// Hands out what figures are made of.
    pub(super) fn on_scrape(&self, ask: Ask) {
        let begin = monotonic();
        let reporter = self.reporter();
        let (bases, others) = (Arc::clone(&self.observe.bases), Arc::clone(&self.observe.others));
        let door = self.reporting.door();
        let (checks, started_at) = (self.checker.times(), self.observe.started_at);
        let control = monotonic().saturating_sub(begin);
        let make: Make = Box::new(move || {
            let service_drops = reporter.service_drops(&bases);
            let other_drops = reporter.other_drops(&others);
            let started_at = started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            Figures {
                started_at_s: started_at.as_secs_f64(),
                workers: reporter.worker_figures(),
                service_drops,
                other_drops,
                next_hops: reporter.next_hops(),
                checks,
                reports: door.counts().get(),
                control,
                status: reporter.status(),
            }
        });
        // The scraper may have gone; then nobody needs it.
        let _ = ask.send(make);
    }

    /// Lets the drops of services that are new count from zero, whatever their slot has counted for another one.
    pub(super) fn note_new_drops(&mut self) {
        let services = &self.plan.config().services;
        let ids = services.iter().filter_map(|service| self.plan.service_id(&service.name));
        let counters = &self.node.shared.counters;
        let total = |slot| sum(counters.iter().map(|worker| worker.service_dropped(slot)));
        let bases = ids.map(|id| {
            let known = self.observe.bases.get(&id.to_u32()).copied();
            (id.to_u32(), known.unwrap_or_else(|| total(id.slot)))
        });
        self.observe.bases = Arc::new(bases.collect());
    }
}

fn sum(counts: impl Iterator<Item = DropCounts>) -> DropCounts {
    counts.fold(DropCounts::default(), |total, of| std::array::from_fn(|i| total[i].wrapping_add(of[i])))
}

impl Reporter {
    /// What services have dropped since they began; of those alone that have.
    fn service_drops(&self, bases: &BTreeMap<u32, DropCounts>) -> Vec<ServiceDrops> {
        let of = |service: &str| {
            let id = self.plan.service_id(service)?;
            let base = bases.get(&id.to_u32()).copied().unwrap_or_default();
            let now = sum(self.shared.counters.iter().map(|worker| worker.service_dropped(id.slot)));
            let counts = std::array::from_fn(|i| now[i].saturating_sub(base[i]));
            (counts != DropCounts::default()).then(|| ServiceDrops { service: service.to_owned(), counts })
        };
        self.plan.config().services.iter().filter_map(|service| of(&service.name)).collect()
    }

    /// Every reason with the frames that were counted for no service, past ones included: what all workers dropped, less that.
    fn other_drops(&self, shown: &[AtomicU64]) -> Vec<(&'static str, u64)> {
        let counters = &self.shared.counters;
        let of_services = sum(counters.iter().map(|worker| worker.services_dropped()));
        let others = Drop::all().zip(shown).map(|(reason, shown)| {
            let all: u64 = counters.iter().map(|worker| worker.dropped(reason)).sum();
            let charged = reason.of_service().map_or(0, |place| of_services[place]);
            let other = all.saturating_sub(charged);
            (reason.name(), shown.fetch_max(other, Ordering::Relaxed).max(other))
        });
        others.collect()
    }

    fn worker_figures(&self) -> Vec<WorkerFigures> {
        let workers = self.shared.counters.iter().zip(&self.cores);
        let of = |(counters, core): (&Arc<ringlead_l4::counters::Counters>, &usize)| WorkerFigures {
            core: *core,
            busy: Duration::from_nanos(counters.busy_ns.get()),
            idle: Duration::from_nanos(counters.idle_ns.get()),
            latency: counters.latency.get(),
        };
        workers.map(of).collect()
    }

    /// Next hops whose Ethernet address is known, and those whose is not; each once.
    fn next_hops(&self) -> [u64; 2] {
        let hops = self.plan.servers().filter_map(|server| match &server.reach {
            Reach::Via { neighbour, hop } => Some((*hop, *neighbour)),
            Reach::Unknown | Reach::Itself | Reach::Unreachable(_) => None,
        });
        let hops: BTreeMap<_, _> = hops.collect();
        let resolved = hops.values().filter(|id| self.shared.neighbours.get(**id).is_some()).count();
        [resolved as u64, (hops.len() - resolved) as u64]
    }
}
