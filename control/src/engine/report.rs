//! Fills the status.

use super::listening::Listening;
use super::status::{
    FlowStatus, PortStatus, QueueStatus, ReloadStatus, SaidStatus, ServiceStatus, Status, TakeOverStatus,
    WorkerStatus,
};
use super::{Engine, NodePort};
use crate::config::{LocalService, OnNoServer, ServiceConfig};
use crate::health::RecentTimes;
use crate::plan::Plan;
use ringlead_io::steer::Steering;
use ringlead_l4::Shared;
use ringlead_l4::counters::{Counters, ServiceCounters};
use ringlead_l4::drops::Drop;
use ringlead_l4::tables::ServiceId;
use ringlead_wire::{Endpoint, Protocol};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A service's counters over all workers: flows, packets and bytes in, packets and bytes out.
pub(super) type ServiceTotals = [u64; 5];

/// All that a status is made of. It grows with services, servers, source ports and remembered clients, so it is made off the
/// control thread.
pub(super) struct Reporter {
    pub(super) plan: Arc<Plan>,
    pub(super) shared: Shared,
    pub(super) ports: Vec<NodePort>,
    pub(super) cores: Vec<usize>,
    pub(super) bases: Arc<BTreeMap<u32, ServiceTotals>>,
    /// Of each worker: the share of time spent on frames, over 1, 10 and 60 seconds.
    loads: Vec<[f64; 3]>,
    reload: ReloadStatus,
    taken_over: Option<TakeOverStatus>,
    steering: BTreeMap<String, u64>,
    pub(super) check_times: RecentTimes,
    started: Instant,
    ready: bool,
}

impl Reporter {
    /// Everything `status` shows, as of now.
    pub(super) fn status(self) -> Status {
        let config = self.plan.config();
        let counters = &self.shared.counters;
        let count = self.shared.flows.count();
        let total = |get: &dyn Fn(&Counters) -> u64| counters.iter().map(|c| get(c)).sum::<u64>();
        Status {
            format: 1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: config.node.name.clone().unwrap_or_else(host_name),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            ready: self.ready,
            node_state: if self.plan.node_drain().is_some() { "drain" } else { "ready" }.to_owned(),
            node_said: self.plan.node_drain().map(SaidStatus::of_node),
            epoch: self.plan.epoch(),
            reload: self.reload.clone(),
            take_over: self.taken_over.clone(),
            services: self.service_statuses(),
            pools: config.pools.iter().map(|pool| self.pool_status(pool)).collect(),
            snat: self.snat_status(),
            persistence: self.persistence_status(),
            ports: self.port_statuses(),
            workers: self.worker_statuses(),
            flows: FlowStatus {
                ipv4: count.v4,
                ipv6: count.v6,
                max: config.dataplane.flows_max,
                created: total(&|c| c.flows_created.get()),
                ended: total(&|c| c.flows_ended.get()) + self.shared.ended.load(Ordering::Relaxed),
            },
            drops: Drop::all()
                .map(|reason| (reason.name().to_owned(), total(&|c| c.dropped(reason))))
                .filter(|(_, n)| *n > 0)
                .collect(),
            steering: self.steering.clone(),
        }
    }

    /// Those that workers forward, then those of this node alone.
    fn service_statuses(&self) -> Vec<ServiceStatus> {
        let config = self.plan.config();
        let l7 = !config.local.is_empty() || self.plan.has_nodes();
        let sockets = if l7 { Listening::now() } else { Listening::default() };
        let forwarded = config.services.iter().map(|service| self.service_status(service, &sockets));
        forwarded.chain(config.local.iter().map(|service| local_status(service, &sockets))).collect()
    }

    pub(super) fn service_status(&self, service: &ServiceConfig, sockets: &Listening) -> ServiceStatus {
        let config = self.plan.config();
        let pool = config.pools.get(service.pool);
        let [flows_created, packets_in, bytes_in, packets_out, bytes_out] =
            self.service_totals(&service.name);
        let records = pool.into_iter().flat_map(|pool| {
            pool.servers.iter().filter_map(|server| self.plan.server(self.plan.server_id(pool, server)?))
        });
        ServiceStatus {
            name: service.name.clone(),
            layer: service.layer().to_owned(),
            mode: service.mode.name().to_owned(),
            protocol: service.protocol.to_string(),
            listen: endpoints(&service.listen).map(|at| at.to_string()).collect(),
            pool: pool.map(|pool| pool.name.clone()).unwrap_or_default(),
            listening: service.own_node.map(|_| endpoints(&service.listen).all(|at| sockets.has(at))),
            on_no_server: service.on_no_server.name().to_owned(),
            sorry: service.sorry.and_then(|sorry| config.pools.get(sorry)).map(|pool| pool.name.clone()),
            persistence: service
                .persistence
                .and_then(|at| config.persistence.get(at))
                .map(|table| table.name.clone()),
            servers_eligible: records.filter(|record| self.plan.eligible(record)).count(),
            servers_up: pool.map_or(0, |pool| self.servers_up(pool)),
            panic: pool.and_then(|pool| self.plan.panic(&pool.name)).map(|then| then.name().to_owned()),
            servers: pool.map_or(0, |pool| pool.servers.len()),
            flows_created,
            packets_in,
            bytes_in,
            packets_out,
            bytes_out,
        }
    }

    /// What a service has counted since it began.
    fn service_totals(&self, name: &str) -> ServiceTotals {
        let Some(id) = self.plan.service_id(name) else { return ServiceTotals::default() };
        let base = self.bases.get(&id.to_u32()).copied().unwrap_or_default();
        let now = slot_totals(&self.shared, id.slot);
        std::array::from_fn(|i| now[i].wrapping_sub(base[i]))
    }

    pub(super) fn port_statuses(&self) -> Vec<PortStatus> {
        let queue = |index: usize, &(queue, worker): &(u32, usize)| {
            let stats =
                self.shared.counters.get(worker).and_then(|c| c.port_stats(index, queue)).unwrap_or_default();
            QueueStatus {
                queue,
                worker,
                rx: stats.rx,
                tx: stats.tx,
                rx_lost: stats.rx_lost,
                tx_invalid: stats.tx_invalid,
            }
        };
        let ports = self.ports.iter().enumerate();
        ports
            .map(|(index, port)| PortStatus {
                name: port.config.name.clone(),
                device: port.config.device.clone(),
                mode: port.mode.clone(),
                queues: port.queues.iter().map(|at| queue(index, at)).collect(),
            })
            .collect()
    }

    pub(super) fn worker_statuses(&self) -> Vec<WorkerStatus> {
        (0..self.shared.counters.len()).filter_map(|worker| self.worker_status(worker)).collect()
    }

    fn worker_status(&self, worker: usize) -> Option<WorkerStatus> {
        let c = self.shared.counters.get(worker)?;
        let beat = std::time::Duration::from_nanos(c.beat.get());
        Some(WorkerStatus {
            worker,
            core: self.cores.get(worker).copied()?,
            load: self.loads.get(worker).copied().unwrap_or_default(),
            beat_ms: u64::try_from(super::monotonic().saturating_sub(beat).as_millis()).unwrap_or(u64::MAX),
            epoch: c.epoch.get(),
            received: c.received.get(),
            sent: c.sent.get(),
            made: c.made.get(),
            held: c.held.get(),
            dropped: Drop::all().map(|reason| c.dropped(reason)).sum(),
        })
    }
}

impl Engine {
    pub(super) fn reload_status(&self) -> ReloadStatus {
        let last = &self.last_reload;
        let at = last.at.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        ReloadStatus {
            count: last.count,
            successful: last.error.is_none(),
            error: last.error.clone(),
            at: at.map(|at| at.as_secs_f64()),
            waits_s: self.undo.waits_s(Instant::now()),
        }
    }

    fn steering_status(&self) -> BTreeMap<String, u64> {
        let Some(Ok(counters)) = self.node.steering.as_ref().map(Steering::counters) else {
            return BTreeMap::new();
        };
        BTreeMap::from([
            ("passed".to_owned(), counters.passed),
            ("redirected".to_owned(), counters.redirected),
        ])
    }

    /// What a status is made of, as of now.
    pub(super) fn reporter(&self) -> Reporter {
        let workers = 0..self.node.cores.len();
        Reporter {
            plan: Arc::clone(&self.plan),
            shared: self.node.shared.clone(),
            ports: self.node.ports.clone(),
            cores: self.node.cores.clone(),
            bases: Arc::clone(&self.service_bases),
            loads: workers.map(|worker| [1, 10, 60].map(|seconds| self.load.load(worker, seconds))).collect(),
            reload: self.reload_status(),
            taken_over: self.taken_over.clone(),
            steering: self.steering_status(),
            check_times: self.checker.recent(),
            started: self.started,
            ready: self.ready,
        }
    }

    /// Lets services and servers that are new count from zero, whatever their place has counted for another one.
    pub(super) fn note_new_services(&mut self) {
        let services = &self.plan.config().services;
        let ids = services.iter().filter_map(|service| self.plan.service_id(&service.name));
        let base = |id: ServiceId| {
            let known = self.service_bases.get(&id.to_u32()).copied();
            (id.to_u32(), known.unwrap_or_else(|| slot_totals(&self.node.shared, id.slot)))
        };
        self.service_bases = Arc::new(ids.map(base).collect());
        self.note_new_drops();
        self.note_new_servers();
    }
}

/// What a slot has counted since the start, for all services that it was.
fn slot_totals(shared: &Shared, slot: u16) -> ServiceTotals {
    let get: [fn(&ServiceCounters) -> u64; 5] = [
        |c| c.flows.get(),
        |c| c.packets_in.get(),
        |c| c.bytes_in.get(),
        |c| c.packets_out.get(),
        |c| c.bytes_out.get(),
    ];
    get.map(|get| shared.counters.iter().filter_map(|c| c.service(slot)).map(get).sum())
}

/// A service with which workers have nothing to do.
pub(super) fn local_status(service: &LocalService, sockets: &Listening) -> ServiceStatus {
    ServiceStatus {
        name: service.name.clone(),
        layer: "l7".to_owned(),
        mode: "kernel".to_owned(),
        protocol: Protocol::Tcp.to_string(),
        listen: endpoints(&service.listen).map(|at| at.to_string()).collect(),
        pool: String::new(),
        listening: Some(endpoints(&service.listen).all(|at| sockets.has(at))),
        on_no_server: OnNoServer::Reset.name().to_owned(),
        sorry: None,
        persistence: None,
        servers_eligible: 0,
        servers_up: 0,
        panic: None,
        servers: 0,
        flows_created: 0,
        packets_in: 0,
        bytes_in: 0,
        packets_out: 0,
        bytes_out: 0,
    }
}

fn endpoints(listen: &[Endpoint]) -> impl Iterator<Item = SocketAddr> {
    listen.iter().map(|at| SocketAddr::new(at.ip.into(), at.port))
}

fn host_name() -> String {
    let name = nix::sys::utsname::uname().ok().and_then(|names| names.nodename().to_str().map(str::to_owned));
    name.unwrap_or_else(|| "?".to_owned())
}
