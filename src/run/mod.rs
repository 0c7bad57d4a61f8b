//! `ringlead run`: configuration → lock → steering program → sockets → workers → control loop, and back.

pub(crate) mod clock;
mod ports;
mod worker_thread;

use crate::memory;
use ports::PortPlan;
use ringlead_control::admin::{self, Access};
use ringlead_control::config::{self, Config};
use ringlead_control::engine::{Engine, EngineError, Inputs, Node, NodePort, NodeSocket, Signals};
use ringlead_control::lock::InstanceLock;
use ringlead_control::net::Net;
use ringlead_control::plan::Plan;
use ringlead_flow::{FlowTable, Sizes};
use ringlead_io::af_xdp::{self, XdpPort};
use ringlead_io::steer::{Mode, Rules, Steering};
use ringlead_l4::neighbours::NEIGHBOURS_MAX;
use ringlead_l4::tables::{SERVERS_MAX, Tables};
use ringlead_l4::{Shared, Worker, WorkerConfig};
use ringlead_pick::FrontHash;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;
use worker_thread::WorkerThread;

/// Requests of the command line that may wait for the control loop.
const REQUESTS_MAX: usize = 32;

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(config_path: &Path) -> ExitCode {
    let (config, warnings) = match config::load(config_path) {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            eprintln!("{diagnostics}");
            return ExitCode::from(2);
        }
    };
    for warning in warnings {
        eprintln!("{warning}");
    }
    match serve(config_path, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!(event = "start", "{why}");
            ExitCode::FAILURE
        }
    }
}

fn failed<E: Display>(doing: &str) -> impl FnOnce(E) -> String + '_ {
    move |error| format!("{doing}: {error}")
}

fn serve(config_path: &Path, config: Config) -> Result<(), String> {
    // The kernel would promise it, and end some process once the tables fill.
    if let Some(why) = memory::beyond(config.dataplane.flows_max) {
        return Err(why);
    }
    let _lock = InstanceLock::take(&config.node.state_dir).map_err(|e| e.to_string())?;
    if let Some(core) = config.dataplane.control_core
        && !core_affinity::set_for_current(core_affinity::CoreId { id: core })
    {
        tracing::warn!(core, "the control thread could not be pinned to its core");
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().thread_name("control-blocking").enable_all().build();
    runtime
        .map_err(failed("cannot start the control runtime"))?
        .block_on(serve_on_runtime(config_path, config))
}

async fn serve_on_runtime(config_path: &Path, config: Config) -> Result<(), String> {
    let signals = Signals::listen().map_err(failed("cannot listen to signals"))?;
    let (requests, admin) = mpsc::channel(REQUESTS_MAX);
    let control = &config.node.control;
    let _door = admin::serve(control, Access::Admin, requests.clone()).map_err(|e| e.to_string())?;
    let read_only = admin::read_only_path(control);
    let _read_only_door = admin::serve(&read_only, Access::ReadOnly, requests).map_err(|e| e.to_string())?;
    let (net, events) = Net::open().map_err(|e| e.to_string())?;
    let local = net.local_addresses().await.map_err(|e| e.to_string())?;
    let plan = Plan::new(config.clone()).map_err(|e| e.to_string())?.with_seed(random_bytes()?);
    let (node, workers) = open_dataplane(&config, &plan, &local)?;
    let stop = Arc::clone(&node.stop);
    let engine = Engine::new(plan, config_path.to_owned(), node, net);
    let ended = engine.run(Inputs { signals, net: events, admin }).await;
    stop.store(true, Ordering::Relaxed);
    workers.into_iter().for_each(WorkerThread::join);
    let steering = ended.map_err(|EngineError(why)| why)?;
    steering.detach_all().map_err(|e| e.to_string())?;
    tracing::info!(event = "stop", "stopped");
    Ok(())
}

/// Attaches the steering program, opens every worker's sockets and starts the workers. Nothing is steered to them yet.
fn open_dataplane(
    config: &Config,
    plan: &Plan,
    local: &BTreeSet<IpAddr>,
) -> Result<(Node, Vec<WorkerThread>), String> {
    let ports = ports::look_at(config)?;
    // On a restart the maps keep what the predecessor had, and gain what is new, before its program is replaced.
    let rules: Rules = plan.rules(local);
    let steer_ports: Vec<_> = ports.iter().map(PortPlan::steer_port).collect();
    let steering =
        Steering::open_with(&config.node.bpf_dir, &steer_ports, &rules).map_err(|e| e.to_string())?;
    let stop = Arc::new(AtomicBool::new(false));
    match open_rest(config, &ports, &steering, &stop) {
        Ok((shared, threads, sockets, ports)) => {
            let cores = config.dataplane.cores.clone();
            Ok((Node { shared, steering, ports, sockets, cores, stop }, threads))
        }
        Err(why) => {
            stop.store(true, Ordering::Relaxed);
            // Leave the node as it was found: without us, or with what a dead predecessor left, whose flows the kernel
            // would reset if its program went while its addresses stay.
            if !steering.modes().iter().any(|mode| mode.taken_over) {
                let _ = steering.detach_all();
            }
            Err(why)
        }
    }
}

type Rest = (Shared, Vec<WorkerThread>, Vec<NodeSocket>, Vec<NodePort>);

/// Sockets and workers: what comes after the steering program is on the ports.
fn open_rest(
    config: &Config,
    ports: &[PortPlan],
    steering: &Steering,
    stop: &Arc<AtomicBool>,
) -> Result<Rest, String> {
    let (shared, workers, sockets) = open_workers(config, ports, steering)?;
    let mut modes = Vec::new();
    let mut threads = Vec::new();
    for (index, mut worker) in workers.into_iter().enumerate() {
        for queue in 0..worker.queues() {
            modes.extend(worker.port(queue).map(|port| {
                (ringlead_io::Port::caps(port).device.clone(), ringlead_io::Port::caps(port).mode.clone())
            }));
        }
        let core = config.dataplane.cores.get(index).copied().unwrap_or_default();
        let thread = WorkerThread::start(worker, core, config.dataplane.idle, Arc::clone(stop));
        threads.push(thread.map_err(failed("cannot start a worker"))?);
    }
    let node_ports = ports.iter().map(|port| {
        let mode =
            modes.iter().find(|(device, _)| *device == port.config.device).map(|(_, mode)| mode.clone());
        NodePort {
            config: port.config.clone(),
            ifindex: port.facts.ifindex,
            mac: port.facts.mac,
            mtu: port.facts.mtu,
            strips_vlan: port.facts.strips_vlan,
            mode: mode.unwrap_or_default(),
            queues: port.queues.clone(),
        }
    });
    let node_ports: Vec<NodePort> = node_ports.collect();
    for port in &node_ports {
        let (name, queues) = (port.config.name.as_str(), port.queues.len());
        tracing::info!(event = "port", port = name, device = port.config.device, mode = port.mode, queues);
    }
    Ok((shared, threads, sockets, node_ports))
}

type Opened = (Shared, Vec<Worker<XdpPort>>, Vec<NodeSocket>);

fn open_workers(config: &Config, ports: &[PortPlan], steering: &Steering) -> Result<Opened, String> {
    let workers = config.dataplane.cores.len();
    let sizes = Sizes { flows_max: config.dataplane.flows_max, workers, seed: random_seed()? };
    let flows = FlowTable::new(&sizes).map_err(|e| e.to_string())?;
    let tables = Tables::empty(FrontHash::new(config.dataplane.hash_key));
    let shared = Shared::new(tables, Arc::new(flows), NEIGHBOURS_MAX, SERVERS_MAX, workers);
    let modes = steering.modes();
    for mode in &modes {
        if let Some(why) = &mode.fallback {
            tracing::warn!(
                event = "port",
                device = mode.device,
                why,
                "the steering program runs in generic mode"
            );
        }
        if mode.taken_over {
            tracing::info!(event = "port", device = mode.device, "took over from a predecessor");
        }
    }
    let mut sockets = Vec::new();
    let mut all = Vec::new();
    for index in 0..workers {
        let owned = ports::queues_of(ports, index);
        let specs: Vec<_> = owned.iter().map(|at| at.spec.clone()).collect();
        let options = ports::options(config, ports, specs.len());
        let (frames, drivers, report) = af_xdp::open_worker(&specs, &options).map_err(|e| e.to_string())?;
        for fallback in &report.fallbacks {
            let (device, queue) = (fallback.device.as_str(), fallback.queue);
            tracing::info!(event = "port", worker = index, device, queue, what = %fallback.what, "fallback");
        }
        let mut queues = Vec::new();
        for (at, mut driver) in owned.iter().zip(drivers) {
            if let Some(mode) = modes.iter().find(|mode| mode.ifindex == at.ifindex) {
                driver.set_attach_mode(match mode.mode {
                    Mode::Native => "native",
                    Mode::Generic => "generic",
                });
            }
            sockets.push(NodeSocket { ifindex: at.ifindex, queue: at.spec.queue, fd: driver.socket_fd() });
            queues.push((at.port, driver));
        }
        all.push(Worker::new(
            WorkerConfig { index, workers, seed: random_seed()? },
            frames,
            queues,
            shared.clone(),
        ));
    }
    Ok((shared, all, sockets))
}

/// A key for the flow table's hash that nobody outside can know.
fn random_seed() -> Result<[u64; 4], String> {
    let bytes: [u8; 32] = random_bytes()?;
    let mut seed = [0; 4];
    for (word, chunk) in seed.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = chunk.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
    }
    Ok(seed)
}

fn random_bytes<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let read = std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes));
    read.map_err(failed("cannot read /dev/urandom"))?;
    Ok(bytes)
}
