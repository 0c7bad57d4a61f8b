//! The control loop: one task that owns the plan, hears the kernel, the checks, the operator and the signals, and is the only
//! one to change what workers read.

mod addresses;
mod agent;
mod devices;
mod drained;
mod hand_over;
mod health;
mod listening;
mod load;
mod look;
mod manager;
mod neighbours;
mod network;
pub mod node_state;
mod observe;
pub mod operator;
mod passive;
mod persistence;
mod pools;
mod publish;
mod reload;
mod replace;
mod report;
mod reporting;
pub mod requests;
mod routes;
mod served;
mod signals;
mod snat;
mod start;
mod state_file;
mod state_words;
pub mod status;
mod stop;
mod succeed;
mod undo;
pub mod weight;

use crate::admin::{Request, Successor};
use crate::config::{Origin, PortConfig};
use crate::health::{CheckSpec, Checker, HealthEvent, Prober};
use crate::logs::FlowLog;
use crate::net::{Net, NetEvent, NodeAddress};
use crate::notify::Notify;
use crate::plan::{HopKey, Plan};
use load::LoadMeter;
use reload::LastReload;
use report::ServiceTotals;
use ringlead_flow::Tick;
use ringlead_io::steer::Steering;
use ringlead_l4::Shared;
use ringlead_l4::tables::Tables;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

pub use look::{look, places};
pub use signals::Signals;
pub use undo::CONFIRM_S_MAX;

/// How often the loop looks after ghosts, old snapshots and silent workers.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

use hand_over::refuse_others;
pub use hand_over::{Leaving, introduction};

/// What stops the engine from starting or going on.
#[derive(Debug)]
pub struct EngineError(pub String);

impl std::fmt::Display for EngineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EngineError {}

/// An error with what was being done.
pub(crate) fn failed(doing: &str, error: impl std::fmt::Display) -> EngineError {
    EngineError(format!("{doing}: {error}"))
}

/// A configured port as it is on this machine.
#[derive(Debug, Clone)]
pub struct NodePort {
    /// Its configuration.
    pub config: PortConfig,
    /// Its index in the kernel.
    pub ifindex: u32,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Its MTU at the start, bytes.
    pub mtu: u32,
    /// Whether its device takes VLAN tags off before XDP sees them.
    pub strips_vlan: bool,
    /// The driver mode in words: `af-xdp native copy`.
    pub mode: String,
    /// (queue, worker) pairs.
    pub queues: Vec<(u32, usize)>,
}

/// An AF_XDP socket and where it belongs.
#[derive(Debug, Clone, Copy)]
pub struct NodeSocket {
    /// The port's index in the kernel.
    pub ifindex: u32,
    /// The receive queue.
    pub queue: u32,
    /// The socket; the worker keeps it open.
    pub fd: std::os::fd::RawFd,
}

/// The data plane as control sees it.
#[derive(Debug)]
pub struct Node {
    /// What workers share.
    pub shared: Shared,
    /// The steering program; `None` while a predecessor has it.
    pub steering: Option<Steering>,
    /// The ports, in the configuration's order.
    pub ports: Vec<NodePort>,
    /// The sockets to steer to; none while a predecessor has the queues.
    pub sockets: Vec<NodeSocket>,
    /// The workers' cores.
    pub cores: Vec<usize>,
    /// Set to end the workers.
    pub stop: Arc<AtomicBool>,
}

/// How the loop ended.
#[derive(Debug)]
pub enum Ended {
    /// By a signal. The steering program is to be detached once the workers have ended.
    Stopped(Option<Box<Steering>>),
    /// For a successor.
    Leaving(Box<Leaving>),
}

/// What the loop listens to.
#[derive(Debug)]
pub struct Inputs {
    /// The operator.
    pub signals: Signals,
    /// The kernel.
    pub net: mpsc::Receiver<NetEvent>,
    /// The command line.
    pub admin: mpsc::Receiver<(Request, oneshot::Sender<Value>)>,
    /// Processes that want to take this one's place.
    pub successors: mpsc::Receiver<Successor>,
}

/// The control loop's state.
#[derive(Debug)]
pub struct Engine {
    plan: Arc<Plan>,
    config_path: PathBuf,
    node: Node,
    net: Net,
    checker: Checker,
    /// For checks by the services' own path.
    prober: Prober,
    /// The checks that run, by id.
    specs: BTreeMap<u32, CheckSpec>,
    health: mpsc::Receiver<HealthEvent>,
    /// The ports, and the VLAN devices on them.
    devices: devices::Devices,
    /// This node's own addresses, as last asked.
    local: BTreeSet<IpAddr>,
    routes: routes::Routes,
    /// The next hops that the kernel keeps resolved.
    managed: BTreeSet<HopKey>,
    /// The networks that it is in: its addresses without those that ringlead adds.
    networks: Vec<NodeAddress>,
    /// Snapshots that a worker may still use.
    retired: Vec<Arc<Tables>>,
    /// Workers found silent, so that each silence is told once.
    silent: BTreeSet<usize>,
    load: LoadMeter,
    last_reload: LastReload,
    undo: undo::Undo,
    /// What each service's slot had counted before the service began.
    service_bases: Arc<BTreeMap<u32, ServiceTotals>>,
    sources: snat::Exhaustion,
    forgetting: persistence::Forgetting,
    pools: pools::PoolWatch,
    operator: operator::OperatorWatch,
    passive: passive::PassiveWatch,
    reports: requests::reported::ReportWatch,
    agents: agent::AgentWatch,
    taken_over: Option<status::TakeOverStatus>,
    observe: observe::Observe,
    reporting: reporting::Reporting,
    started: Instant,
    /// When neighbours were last looked at for some that nobody keeps resolved.
    managed_at: Instant,
    ready: bool,
    flow_log: FlowLog,
    notify: Notify,
    manager: manager::Told,
}

impl Engine {
    /// An engine that has not started yet; `text` is the configuration's, `effective` and what it was read from. Must be called
    /// on the runtime that will run it.
    #[must_use]
    pub fn new(plan: Plan, config_path: PathBuf, text: (Arc<str>, Origin), node: Node, net: Net) -> Self {
        let (effective, origin) = text;
        let (events, health) = mpsc::channel(1024);
        let ports = node.ports.iter().map(|port| (port.ifindex, port.mac)).collect();
        let flow_log = FlowLog::new(Arc::clone(&node.shared.ends));
        Self {
            load: LoadMeter::new(node.cores.len()),
            observe: observe::Observe::new(&node),
            reporting: reporting::Reporting::new(),
            devices: devices::Devices::of(node.ports.iter().map(|port| port.ifindex)),
            prober: Prober::new(node.shared.clone(), ports),
            plan: Arc::new(plan),
            config_path,
            node,
            net,
            checker: Checker::new(events),
            specs: BTreeMap::new(),
            health,
            local: BTreeSet::new(),
            routes: routes::Routes::default(),
            managed: BTreeSet::new(),
            networks: Vec::new(),
            retired: Vec::new(),
            silent: BTreeSet::new(),
            last_reload: LastReload::default(),
            undo: undo::Undo::new(undo::Written { effective, origin }),
            service_bases: Arc::default(),
            sources: snat::Exhaustion::default(),
            forgetting: persistence::Forgetting::default(),
            pools: pools::PoolWatch::default(),
            operator: operator::OperatorWatch::default(),
            passive: passive::PassiveWatch::default(),
            reports: requests::reported::ReportWatch::default(),
            agents: agent::AgentWatch::default(),
            taken_over: None,
            started: Instant::now(),
            managed_at: Instant::now(),
            ready: false,
            flow_log,
            notify: Notify::from_env(),
            manager: manager::Told::default(),
        }
    }

    /// Starts, unless it stepped in for a predecessor, serves until SIGTERM or SIGINT, and stops in the order that resets nobody;
    /// or leaves the node to a successor.
    ///
    /// # Errors
    /// When starting fails; what was set up by then is taken back.
    pub async fn run(mut self, mut inputs: Inputs) -> Result<Ended, EngineError> {
        if !self.ready {
            let started = tokio::select! {
                started = self.start() => started,
                () = inputs.signals.told_to_stop() => Err(EngineError("told to stop while starting".to_owned())),
            };
            if let Err(error) = started {
                // The first error is the one to tell; what cannot be taken back is logged by `stop`.
                let _ = self.stop().await.map(Steering::detach_all);
                return Err(error);
            }
        }
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.observe.beat(self.ready);
            tokio::select! {
                Some(ask) = self.observe.asked() => self.on_scrape(ask),
                Some(call) = self.reporting.called() => self.on_report(call).await,
                Some(event) = self.health.recv() => self.on_health(event).await,
                Some(event) = inputs.net.recv() => self.on_net(event, &mut inputs.net).await,
                Some((request, answer)) = inputs.admin.recv() => self.on_request(&request, answer).await,
                Some(successor) = inputs.successors.recv() => {
                    if let Some((successor, file)) = self.agree(successor) {
                        refuse_others(&mut inputs.successors);
                        return Ok(Ended::Leaving(Box::new(self.leave(successor, file).await)));
                    }
                }
                told = inputs.signals.next() => if self.on_signal(told).await { break },
                _ = housekeeping.tick() => self.keep_house().await,
            }
        }
        tracing::info!(event = "stop", "stopping");
        self.notify.stopping();
        Ok(Ended::Stopped(self.stop().await.map(Box::new)))
    }

    /// Forgets what nobody uses any more, and notices silent workers.
    async fn keep_house(&mut self) {
        self.load.sample(&self.node.shared.counters);
        self.listen_again();
        self.take_reports_again();
        self.undo_unconfirmed().await;
        self.free_retired();
        self.watch_workers();
        self.tell_manager();
        self.watch_sources();
        self.manage_again().await;
        self.forget_clients().await;
        self.forget_ghosts().await;
        self.forget_guests();
        self.raise_weights().await;
        self.end_said().await;
        self.end_reports().await;
        self.watch_traffic().await;
        self.answer_waits();
    }

    /// Says once when a worker stops beating, and once when it beats again.
    fn watch_workers(&mut self) {
        const SILENT: Duration = Duration::from_secs(1);
        let now = monotonic();
        for (worker, counters) in self.node.shared.counters.iter().enumerate() {
            let beat = Duration::from_nanos(counters.beat.get());
            let core = self.node.cores.get(worker).copied().unwrap_or_default();
            if now.saturating_sub(beat) > SILENT {
                if self.silent.insert(worker) {
                    tracing::error!(
                        event = "worker",
                        worker,
                        core,
                        "the worker has been silent for a second"
                    );
                }
            } else if self.silent.remove(&worker) {
                tracing::info!(event = "worker", worker, core, "the worker beats again");
            }
        }
    }
}

/// The clock that flows and remembered clients are aged by.
pub(crate) fn now_tick() -> Tick {
    Tick::from_nanos(u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX))
}

/// The clock of the workers' heartbeat.
pub(crate) fn monotonic() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}
