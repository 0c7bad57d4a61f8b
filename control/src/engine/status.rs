//! What `ringlead status` shows, as one JSON object: the stable format.

use super::Engine;
use crate::admin::Request;
use crate::config::{Algorithm, Mode, OperatorState, PoolConfig, ServiceConfig};
use crate::plan::Reach;
use ringlead_l4::drops::Drop;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// The whole answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of this format.
    pub format: u32,
    /// ringlead's version.
    pub version: String,
    /// The node's name.
    pub node: String,
    /// The daemon's process id.
    pub pid: u32,
    /// Seconds since start.
    pub uptime_s: f64,
    /// Whether it has started completely.
    pub ready: bool,
    /// The snapshot in force.
    pub epoch: u64,
    /// The last reload.
    pub reload: ReloadStatus,
    /// What clients connect to.
    pub services: Vec<ServiceStatus>,
    /// Who serves.
    pub pools: Vec<PoolStatus>,
    /// Network interfaces.
    pub ports: Vec<PortStatus>,
    /// Pinned cores.
    pub workers: Vec<WorkerStatus>,
    /// Flows in the table.
    pub flows: FlowStatus,
    /// Frames dropped since start, by reason; only reasons that occurred.
    pub drops: BTreeMap<String, u64>,
    /// The steering program's counters.
    pub steering: BTreeMap<String, u64>,
}

/// The last reload.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// How many were tried since start.
    pub count: u64,
    /// Whether the last one was taken over.
    pub successful: bool,
    /// Why not.
    pub error: Option<String>,
    /// When, in seconds since 1970.
    pub at: Option<f64>,
}

/// One service.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// `l4`.
    pub layer: String,
    /// `nat` or `dsr`.
    pub mode: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Where it listens.
    pub listen: Vec<String>,
    /// Its pool.
    pub pool: String,
    /// Servers that may get new flows.
    pub servers_eligible: usize,
    /// All servers.
    pub servers: usize,
    /// Flows created.
    pub flows_created: u64,
    /// Frames from clients sent on.
    pub packets_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Frames from servers sent on (nat).
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
}

/// One pool.
#[derive(Debug, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// `maglev` or `round-robin`.
    pub algorithm: String,
    /// Its servers.
    pub servers: Vec<ServerStatus>,
}

/// One server.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Its weight.
    pub weight: u16,
    /// `ready`, `drain` or `offline`: what the operator wants.
    pub operator: String,
    /// `up`, `down`, `unknown` or `unchecked`: what the checks say.
    pub health: String,
    /// Why, in words.
    pub reason: String,
    /// Whether new flows may go there.
    pub eligible: bool,
    /// Flows now.
    pub flows: i64,
    /// Its next hop, or why there is none.
    pub next_hop: String,
    /// Whether the next hop's Ethernet address is known.
    pub neighbour: Option<String>,
}

/// One port.
#[derive(Debug, Serialize, Deserialize)]
pub struct PortStatus {
    /// Its name.
    pub name: String,
    /// Its device.
    pub device: String,
    /// How it is driven: `af-xdp native copy`.
    pub mode: String,
    /// Its queues.
    pub queues: Vec<QueueStatus>,
}

/// One queue of a port.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Its number.
    pub queue: u32,
    /// The worker that owns it.
    pub worker: usize,
    /// Frames received.
    pub rx: u64,
    /// Frames sent.
    pub tx: u64,
    /// Frames lost because a ring was full.
    pub rx_lost: u64,
    /// Frames the device refused to send.
    pub tx_invalid: u64,
}

/// One worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its number.
    pub worker: usize,
    /// Its core.
    pub core: usize,
    /// The share of time spent on frames, over 1, 10 and 60 seconds.
    pub load: [f64; 3],
    /// Milliseconds since its last heartbeat.
    pub beat_ms: u64,
    /// The snapshot it uses.
    pub epoch: u64,
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames it made itself.
    pub made: u64,
    /// Frames that wait.
    pub held: u64,
    /// Frames dropped.
    pub dropped: u64,
}

/// The flow table.
#[derive(Debug, Serialize, Deserialize)]
pub struct FlowStatus {
    /// IPv4 flows.
    pub ipv4: usize,
    /// IPv6 flows.
    pub ipv6: usize,
    /// The most of each family.
    pub max: usize,
    /// Created since start.
    pub created: u64,
    /// Ended since start.
    pub ended: u64,
}

impl Engine {
    /// Everything `status` shows, as of now.
    pub(super) fn status(&self) -> Status {
        let config = self.plan.config();
        let counters = &self.node.shared.counters;
        let count = self.node.shared.flows.count();
        let total = |get: &dyn Fn(&ringlead_l4::counters::Counters) -> u64| {
            counters.iter().map(|c| get(c)).sum::<u64>()
        };
        Status {
            format: 1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: config.node.name.clone().unwrap_or_else(host_name),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            ready: self.ready,
            epoch: self.plan.epoch(),
            reload: self.reload_status(),
            services: config.services.iter().map(|service| self.service_status(service)).collect(),
            pools: config.pools.iter().map(|pool| self.pool_status(pool)).collect(),
            ports: self.port_statuses(),
            workers: (0..counters.len()).filter_map(|worker| self.worker_status(worker)).collect(),
            flows: FlowStatus {
                ipv4: count.v4,
                ipv6: count.v6,
                max: config.dataplane.flows_max,
                created: total(&|c| c.flows_created.get()),
                ended: total(&|c| c.flows_ended.get()),
            },
            drops: Drop::all()
                .map(|reason| (reason.name().to_owned(), total(&|c| c.dropped(reason))))
                .filter(|(_, n)| *n > 0)
                .collect(),
            steering: self.steering_status(),
        }
    }

    fn reload_status(&self) -> ReloadStatus {
        let last = &self.last_reload;
        let at = last.at.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        ReloadStatus {
            count: last.count,
            successful: last.error.is_none(),
            error: last.error.clone(),
            at: at.map(|at| at.as_secs_f64()),
        }
    }

    fn service_status(&self, service: &ServiceConfig) -> ServiceStatus {
        let pool = self.plan.config().pools.get(service.pool);
        let slot = self.plan.service_id(&service.name).map(|id| id.slot);
        let total = |get: fn(&ringlead_l4::counters::ServiceCounters) -> u64| {
            let each = self.node.shared.counters.iter();
            each.filter_map(|c| slot.and_then(|slot| c.service(slot))).map(get).sum::<u64>()
        };
        let records = pool.into_iter().flat_map(|pool| {
            pool.servers.iter().filter_map(|server| self.plan.server(self.plan.server_id(pool, server)?))
        });
        ServiceStatus {
            name: service.name.clone(),
            layer: "l4".to_owned(),
            mode: match service.mode {
                Mode::Nat => "nat",
                Mode::Dsr => "dsr",
            }
            .to_owned(),
            protocol: service.protocol.to_string(),
            listen: service
                .listen
                .iter()
                .map(|at| std::net::SocketAddr::new(at.ip.into(), at.port).to_string())
                .collect(),
            pool: pool.map(|pool| pool.name.clone()).unwrap_or_default(),
            servers_eligible: records.filter(|record| self.plan.eligible(record)).count(),
            servers: pool.map_or(0, |pool| pool.servers.len()),
            flows_created: total(|c| c.flows.get()),
            packets_in: total(|c| c.packets_in.get()),
            bytes_in: total(|c| c.bytes_in.get()),
            packets_out: total(|c| c.packets_out.get()),
            bytes_out: total(|c| c.bytes_out.get()),
        }
    }

    fn pool_status(&self, pool: &PoolConfig) -> PoolStatus {
        let algorithm = match pool.algorithm {
            Algorithm::Maglev { .. } => "maglev",
            Algorithm::RoundRobin => "round-robin",
        };
        let server = |server: &crate::config::ServerConfig| {
            let id = self.plan.server_id(pool, server)?;
            let record = self.plan.server(id)?;
            let (next_hop, neighbour) = match &record.reach {
                Reach::Unknown => ("not looked up yet".to_owned(), None),
                Reach::Unreachable(why) => (format!("unreachable: {why}"), None),
                Reach::Via { neighbour, hop } => {
                    let port =
                        self.node.ports.get(usize::from(hop.0)).map_or("?", |port| port.config.name.as_str());
                    let mac = self.node.shared.neighbours.get(*neighbour).map(|hop| mac_text(hop.mac));
                    (format!("{} by port {port}", hop.1), mac)
                }
            };
            Some(ServerStatus {
                name: server.name.clone(),
                address: server.address.to_string(),
                weight: server.weight,
                operator: operator_name(record.operator).to_owned(),
                health: record.health.name().to_owned(),
                reason: record.reason.clone(),
                eligible: self.plan.eligible(record),
                flows: self.node.shared.counters.iter().map(|c| c.server_flows(id.0)).sum::<i64>().max(0),
                next_hop,
                neighbour,
            })
        };
        PoolStatus {
            name: pool.name.clone(),
            algorithm: algorithm.to_owned(),
            servers: pool.servers.iter().filter_map(server).collect(),
        }
    }

    fn port_statuses(&self) -> Vec<PortStatus> {
        let queue = |index: usize, &(queue, worker): &(u32, usize)| {
            let stats = self
                .node
                .shared
                .counters
                .get(worker)
                .and_then(|c| c.port_stats(index, queue))
                .unwrap_or_default();
            QueueStatus {
                queue,
                worker,
                rx: stats.rx,
                tx: stats.tx,
                rx_lost: stats.rx_lost,
                tx_invalid: stats.tx_invalid,
            }
        };
        let ports = self.node.ports.iter().enumerate();
        ports
            .map(|(index, port)| PortStatus {
                name: port.config.name.clone(),
                device: port.config.device.clone(),
                mode: port.mode.clone(),
                queues: port.queues.iter().map(|at| queue(index, at)).collect(),
            })
            .collect()
    }

    fn worker_status(&self, worker: usize) -> Option<WorkerStatus> {
        let c = self.node.shared.counters.get(worker)?;
        let beat = std::time::Duration::from_nanos(c.beat.get());
        Some(WorkerStatus {
            worker,
            core: self.node.cores.get(worker).copied()?,
            load: [1, 10, 60].map(|seconds| self.load.load(worker, seconds)),
            beat_ms: u64::try_from(super::monotonic().saturating_sub(beat).as_millis()).unwrap_or(u64::MAX),
            epoch: c.epoch.get(),
            received: c.received.get(),
            sent: c.sent.get(),
            made: c.made.get(),
            held: c.held.get(),
            dropped: Drop::all().map(|reason| c.dropped(reason)).sum(),
        })
    }

    fn steering_status(&self) -> BTreeMap<String, u64> {
        let Ok(counters) = self.node.steering.counters() else { return BTreeMap::new() };
        BTreeMap::from([
            ("passed".to_owned(), counters.passed),
            ("redirected".to_owned(), counters.redirected),
        ])
    }

    /// Answers one request of the command line.
    pub(super) async fn on_request(&mut self, request: &Request, answer: oneshot::Sender<Value>) {
        let said = match request.command.as_str() {
            "status" => serde_json::to_value(self.status()).unwrap_or_else(|e| refusal(&e.to_string())),
            "reload" => {
                self.reload().await;
                serde_json::to_value(self.reload_status()).unwrap_or_else(|e| refusal(&e.to_string()))
            }
            other => refusal(&format!("unknown command `{other}`; this version knows `status` and `reload`")),
        };
        // The asker may have gone; then nobody needs the answer.
        let _ = answer.send(said);
    }
}

fn refusal(why: &str) -> Value {
    serde_json::json!({ "error": why })
}

fn operator_name(state: OperatorState) -> &'static str {
    match state {
        OperatorState::Ready => "ready",
        OperatorState::Drain => "drain",
        OperatorState::Offline => "offline",
    }
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn host_name() -> String {
    let name = nix::sys::utsname::uname().ok().and_then(|names| names.nodename().to_str().map(str::to_owned));
    name.unwrap_or_else(|| "?".to_owned())
}
