//! `ringlead run`: configuration → lock → steering program → sockets → workers → control loop, and back.

pub(crate) mod clock;
mod files;
mod handed_over;
mod ports;
mod take_over;
mod worker_thread;

use handed_over::HandedOver;
use ports::PortPlan;
use ringlead_control::admin::{self, Access, Successor, client};
use ringlead_control::config::{self, Config, Diagnostics, LogTarget};
use ringlead_control::engine::{Ended, Engine, EngineError, Inputs, Node, NodePort, NodeSocket, Signals};
use ringlead_control::lock::InstanceLock;
use ringlead_control::logs;
use ringlead_control::machine::{self, Machine};
use ringlead_control::net::Net;
use ringlead_control::plan::Plan;
use ringlead_flow::{FlowTable, Sizes};
use ringlead_io::af_xdp::{Prepared, XdpPort};
use ringlead_io::device::DeviceFacts;
use ringlead_io::steer::{Mode, Steering};
use ringlead_l4::neighbours::NEIGHBOURS_MAX;
use ringlead_l4::tables::{SERVERS_MAX, Tables};
use ringlead_l4::{Shared, Worker, WorkerConfig};
use ringlead_pick::FrontHash;
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use worker_thread::WorkerThread;

/// Exit status when nothing was changed.
const REFUSED: u8 = 2;
/// Requests of the command line that may wait for the control loop.
const REQUESTS_MAX: usize = 32;

/// Runs until SIGTERM or SIGINT, or until a successor takes over. With `take_over` it follows the daemon that runs, if one does.
///
/// Exit status: 0, 1 when something failed, a successor that went before it had all among it, 2 when the configuration is refused, or
/// a take-over before it began: then the daemon that runs goes on.
pub(crate) fn run(config_path: &Path, take_over: bool) -> ExitCode {
    let mut loaded = match config::load_whole(config_path) {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            eprintln!("{diagnostics}");
            return ExitCode::from(REFUSED);
        }
    };
    let beside = take_over && may_run_beside(&loaded.config.node.control);
    let machine = Machine::ask(&loaded.config, beside);
    let found = machine::before(&loaded, &machine);
    let warnings = Diagnostics::of_warnings(std::mem::take(&mut loaded.warnings));
    // Where the log cannot be opened, that is among what was found: it is told by standard error.
    if let (Err(why), false) =
        (logs::prepare(&loaded.config.observe.log).map(logs::adopt), found.has_errors())
    {
        eprintln!("ringlead run: {why}");
        return ExitCode::from(REFUSED);
    }
    let elsewhere = loaded.config.observe.log.to != LogTarget::Stderr;
    let fits = fits(&machine, &found);
    let found = warnings.and(found);
    if elsewhere && found.has_errors() {
        eprintln!("{found}");
    }
    machine::tell(&found);
    files::allow();
    let ended = match fits {
        Err(why) if take_over => Err(Failed::Refused(why)),
        Err(why) => Err(Failed::Broken(why)),
        Ok(devices) if take_over => take_over::serve(config_path, loaded, devices),
        Ok(devices) => serve(config_path, loaded, devices),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Refused(why)) => {
            tracing::error!(event = "take-over", "refused, nothing was changed: {why}");
            tell_here(elsewhere, &format!("refused, nothing was changed: {why}"));
            ExitCode::from(REFUSED)
        }
        Err(Failed::Broken(why)) => {
            tracing::error!(event = "start", "{why}");
            tell_here(elsewhere, &why);
            ExitCode::FAILURE
        }
        Err(Failed::Left) => ExitCode::FAILURE,
    }
}

/// Who started it and sees no daemon is told why, wherever the log goes: it may be that of the daemon that runs.
fn tell_here(elsewhere: bool, why: &str) {
    // What dies must not wait for a terminal that hangs.
    if elsewhere && logs::takes_more() {
        eprintln!("ringlead run: {why}");
    }
}

/// Whether a daemon runs that keeps its memory while this one starts. Who does not answer may.
fn may_run_beside(control: &Path) -> bool {
    client::is_there(control).unwrap_or(true)
}

/// The ports' devices, unless something about this machine is in the way.
fn fits(machine: &Machine, found: &Diagnostics) -> Result<Vec<DeviceFacts>, String> {
    let devices = machine.devices().filter(|_| !found.has_errors());
    devices.ok_or_else(|| format!("this machine does not fit the configuration: {}", found.summary()))
}

/// Why there is no daemon, or none any more.
enum Failed {
    /// Nothing was changed: a predecessor goes on.
    Refused(String),
    /// Something failed.
    Broken(String),
    /// The successor has gone that this one let go for; the log says so.
    Left,
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::Broken(why)
    }
}

fn failed<E: Display>(doing: &str) -> impl FnOnce(E) -> String + '_ {
    move |error| format!("{doing}: {error}")
}

fn serve(config_path: &Path, loaded: config::Loaded, devices: Vec<DeviceFacts>) -> Result<(), Failed> {
    let lock = InstanceLock::take(&loaded.config.node.state_dir).map_err(|e| e.to_string())?;
    let runtime = control_runtime(&loaded.config)?;
    let left = runtime.block_on(serve_on_runtime(config_path, loaded, devices))?;
    leave(left, runtime, lock)
}

/// The control thread's runtime: this thread, on its core.
fn control_runtime(config: &Config) -> Result<Runtime, String> {
    if let Some(core) = config.dataplane.control_core
        && !core_affinity::set_for_current(core_affinity::CoreId { id: core })
    {
        tracing::warn!(core, "the control thread could not be pinned to its core");
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().thread_name("control-blocking").enable_all().build();
    runtime.map_err(failed("cannot start the control runtime"))
}

/// Lets go of all that a successor needs, and then tells it, if there is one.
fn leave(left: Option<HandedOver>, runtime: Runtime, lock: InstanceLock) -> Result<(), Failed> {
    // A listing or a scrape under way is nothing to wait for while nobody forwards. Connections of checks are reset as they are dropped.
    runtime.shutdown_background();
    let told = left.map_or(Ok(()), |left| left.tell(&lock));
    match &told {
        Ok(()) => drop(lock),
        // A successor that did not take it may have it in its socket, and would hold it without knowing.
        Err(_) => lock.release().map_err(failed("cannot let go of the lock"))?,
    }
    told
}

async fn serve_on_runtime(
    config_path: &Path,
    loaded: config::Loaded,
    devices: Vec<DeviceFacts>,
) -> Result<Option<HandedOver>, String> {
    let config::Loaded { config, effective, origin, .. } = loaded;
    let signals = Signals::listen().map_err(failed("cannot listen to signals"))?;
    let (_doors, admin, successors) = open_doors(&config)?;
    let (net, events) = Net::open().map_err(|e| e.to_string())?;
    let local = net.local_addresses().await.map_err(|e| e.to_string())?;
    let plan = Plan::new(config.clone()).map_err(|e| e.to_string())?.with_seed(random_bytes()?);
    let ports = ports::on_devices(&config, devices);
    let shared = shared(&config)?;
    let memory = packet_memory(&config, &ports)?;
    // On a restart the maps keep what the predecessor had, and gain what is new, before its program is replaced.
    let stop = Arc::new(AtomicBool::new(false));
    let steer_ports: Vec<_> = ports.iter().map(PortPlan::steer_port).collect();
    let steering = Steering::open_with(&config.node.bpf_dir, &steer_ports, &plan.rules(&local));
    let steering = steering.map_err(|e| e.to_string())?;
    let opened = open_dataplane(&config, &ports, steering, memory, &shared, &stop)?;
    let mut node = node(&config, &ports, &shared, &stop);
    node.steering = Some(opened.steering);
    node.sockets = opened.sockets;
    for (port, mode) in node.ports.iter_mut().zip(opened.modes) {
        port.mode = mode;
    }
    let engine = Engine::new(plan, config_path.to_owned(), (effective.into(), origin), node, net);
    let inputs = Inputs { signals, net: events, admin, successors };
    finish(engine.run(inputs).await, &stop, opened.threads, &shared)
}

type Requests = mpsc::Receiver<(admin::Request, oneshot::Sender<serde_json::Value>)>;

/// The control socket and the read-only one; closed when dropped.
fn open_doors(config: &Config) -> Result<([admin::Server; 2], Requests, mpsc::Receiver<Successor>), String> {
    let (requests, admin) = mpsc::channel(REQUESTS_MAX);
    let (candidates, successors) = mpsc::channel(1);
    let control = &config.node.control;
    let door = admin::serve_successors(control, requests.clone(), candidates).map_err(|e| e.to_string())?;
    let read_only = admin::read_only_path(control);
    let read_only_door = admin::serve(&read_only, Access::ReadOnly, requests).map_err(|e| e.to_string())?;
    Ok(([door, read_only_door], admin, successors))
}

/// Ends the workers, then takes the node's part down or writes it up for a successor.
fn finish(
    ended: Result<Ended, EngineError>,
    stop: &AtomicBool,
    workers: Vec<WorkerThread>,
    shared: &Shared,
) -> Result<Option<HandedOver>, String> {
    stop.store(true, Ordering::Relaxed);
    workers.into_iter().for_each(WorkerThread::join);
    match ended.map_err(|EngineError(why)| why)? {
        Ended::Stopped(steering) => {
            steering.map_or(Ok(()), |steering| steering.detach_all()).map_err(|e| e.to_string())?;
            tracing::info!(event = "stop", "stopped");
            Ok(None)
        }
        Ended::Leaving(leaving) => Ok(Some(HandedOver::write(*leaving, shared))),
    }
}

/// The node as control sees it, before anything is open.
fn node(config: &Config, ports: &[PortPlan], shared: &Shared, stop: &Arc<AtomicBool>) -> Node {
    let port = |port: &PortPlan| NodePort {
        config: port.config.clone(),
        ifindex: port.facts.ifindex,
        mac: port.facts.mac,
        mtu: port.facts.mtu,
        strips_vlan: port.facts.strips_vlan,
        mode: String::new(),
        queues: port.queues.clone(),
    };
    Node {
        shared: shared.clone(),
        steering: None,
        ports: ports.iter().map(port).collect(),
        sockets: Vec::new(),
        cores: config.dataplane.cores.clone(),
        stop: Arc::clone(stop),
    }
}

/// What workers share; the flow table's memory is taken here.
fn shared(config: &Config) -> Result<Shared, String> {
    let workers = config.dataplane.cores.len();
    let sizes = Sizes { flows_max: config.dataplane.flows_max, workers, seed: random_seed()? };
    let flows = FlowTable::new(&sizes).map_err(|e| e.to_string())?;
    let tables = Tables::empty(FrontHash::new(config.dataplane.hash_key));
    Ok(Shared::new(tables, Arc::new(flows), NEIGHBOURS_MAX, SERVERS_MAX, workers))
}

/// Every worker's packet memory, in their order; no queue is bound yet.
fn packet_memory(config: &Config, ports: &[PortPlan]) -> Result<Vec<Prepared>, String> {
    let one = |index| {
        let specs: Vec<_> = ports::queues_of(ports, index).into_iter().map(|at| at.spec).collect();
        let options = ports::options(config, ports, specs.len());
        Prepared::new(&specs, &options).map_err(|e| e.to_string())
    };
    (0..config.dataplane.cores.len()).map(one).collect()
}

/// Program, sockets and running workers, to which nothing is steered yet.
struct Dataplane {
    steering: Steering,
    threads: Vec<WorkerThread>,
    sockets: Vec<NodeSocket>,
    /// How each port is driven, in words.
    modes: Vec<String>,
}

/// Opens every worker's sockets and starts the workers; the steering program is on the ports.
fn open_dataplane(
    config: &Config,
    ports: &[PortPlan],
    steering: Steering,
    memory: Vec<Prepared>,
    shared: &Shared,
    stop: &Arc<AtomicBool>,
) -> Result<Dataplane, String> {
    match open_rest(config, ports, &steering, memory, shared, stop) {
        Ok((threads, sockets, modes)) => Ok(Dataplane { steering, threads, sockets, modes }),
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

type Rest = (Vec<WorkerThread>, Vec<NodeSocket>, Vec<String>);

/// Sockets and workers: what comes after the steering program is on the ports.
fn open_rest(
    config: &Config,
    ports: &[PortPlan],
    steering: &Steering,
    memory: Vec<Prepared>,
    shared: &Shared,
    stop: &Arc<AtomicBool>,
) -> Result<Rest, String> {
    let (workers, sockets) = open_workers(ports, steering, memory, shared)?;
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
    let mode_of = |port: &PortPlan| {
        let mode = modes.iter().find(|(device, _)| *device == port.config.device);
        mode.map(|(_, mode)| mode.clone()).unwrap_or_default()
    };
    let modes: Vec<String> = ports.iter().map(mode_of).collect();
    for (port, mode) in ports.iter().zip(&modes) {
        let (name, queues) = (port.config.name.as_str(), port.queues.len());
        tracing::info!(event = "port", port = name, device = port.config.device, mode, queues);
    }
    Ok((threads, sockets, modes))
}

type Opened = (Vec<Worker<XdpPort>>, Vec<NodeSocket>);

fn open_workers(
    ports: &[PortPlan],
    steering: &Steering,
    memory: Vec<Prepared>,
    shared: &Shared,
) -> Result<Opened, String> {
    let workers = memory.len();
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
    for (index, prepared) in memory.into_iter().enumerate() {
        let owned = ports::queues_of(ports, index);
        let (frames, drivers, report) = prepared.open().map_err(|e| e.to_string())?;
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
    Ok((all, sockets))
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

#[cfg(test)]
mod tests {
    use super::may_run_beside;
    use std::fs;
    use std::os::unix::net::UnixListener;

    #[test]
    fn memory_is_shared_only_with_a_daemon_that_runs() {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("control");
        assert!(!may_run_beside(&control), "there never was one");
        let daemon = UnixListener::bind(&control).unwrap();
        assert!(may_run_beside(&control));
        drop(daemon);
        assert!(control.exists() && !may_run_beside(&control), "it died");
        fs::remove_file(&control).unwrap();
    }
}
