//! `ringlead run --take-over`: everything is made ready while the predecessor serves; then it lets go, its flows come over,
//! and the queues are bound anew.

use super::clock::monotonic_ns;
use super::ports::PortPlan;
use super::{
    Failed, HandedOver, control_runtime, failed, finish, leave, node, open_dataplane, open_doors,
    packet_memory, ports, shared,
};
use crate::memory;
use ringlead_control::admin::client::{self, ClientError};
use ringlead_control::config::{self, Config};
use ringlead_control::engine::{Engine, EngineError, Inputs, Signals, introduction};
use ringlead_control::handover::{Imported, import};
use ringlead_control::lock::{InstanceLock, LockError};
use ringlead_control::net::Net;
use ringlead_control::notify::Manager;
use ringlead_control::plan::Plan;
use ringlead_io::af_xdp::Prepared;
use ringlead_io::device::DeviceFacts;
use ringlead_io::steer::{Loaded, SteerError, Steering};
use ringlead_l4::Shared;
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::Seek;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

/// How long a predecessor may take to answer: it may be in a reload, and its flows may be many.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long its lock may outlive its answer, which comes last: it may have died before.
const LOCK_MAX: Duration = Duration::from_secs(2);
/// Between two looks at the lock.
const PAUSE: Duration = Duration::from_millis(1);

/// What a predecessor left.
struct Left {
    /// Its flows; or why there are none.
    stream: Result<File, String>,
    /// The lock, which it held until now; `None`: it died, or does not pass it on.
    lock: Option<OwnedFd>,
    /// When it stopped forwarding, nanoseconds of `CLOCK_MONOTONIC`.
    stopped_ns: u64,
    /// Who watches over it.
    manager: Option<Manager>,
}

/// Follows the daemon that runs, or, where none does, starts as always.
pub(super) fn serve(
    config_path: &Path,
    loaded: config::Loaded,
    devices: Vec<DeviceFacts>,
) -> Result<(), Failed> {
    match client::is_there(&loaded.config.node.control) {
        Ok(true) => {}
        Ok(false) => {
            tracing::info!(event = "take-over", "nobody to take over from: starting normally");
            return super::serve(config_path, loaded, devices);
        }
        Err(error) => return Err(Failed::Refused(error.to_string())),
    }
    let runtime = control_runtime(&loaded.config).map_err(Failed::Refused)?;
    let (left, lock) = runtime.block_on(serve_on_runtime(config_path, loaded, devices))?;
    leave(left, runtime, lock)
}

async fn serve_on_runtime(
    config_path: &Path,
    loaded: config::Loaded,
    devices: Vec<DeviceFacts>,
) -> Result<(Option<HandedOver>, InstanceLock), Failed> {
    let config::Loaded { config, effective, origin, .. } = loaded;
    let mut signals = Signals::listen().map_err(|error| Failed::Refused(error.to_string()))?;
    let (net, events) = Net::open().map_err(|error| Failed::Refused(error.to_string()))?;
    let ports = ports::on_devices(&config, devices);
    let plan = Plan::new(config.clone()).map_err(|error| Failed::Refused(error.to_string()))?;
    let plan = plan.with_seed(super::random_bytes().map_err(Failed::Refused)?).expecting_guests();
    let shared = shared(&config).map_err(Failed::Refused)?;
    let stop = Arc::new(AtomicBool::new(false));
    let node = node(&config, &ports, &shared, &stop);
    let mut engine = Engine::new(plan, config_path.to_owned(), (effective.into(), origin), node, net);
    engine.prepare(&mut signals).await.map_err(|EngineError(why)| Failed::Refused(why))?;

    let refused = |error: SteerError| Failed::Refused(error.to_string());
    let mut loaded = Loaded::beside(&config.node.bpf_dir).map_err(refused)?;
    if let Some(loaded) = &mut loaded {
        loaded.fits(&engine.rules_soon()).map_err(refused)?;
    }

    let early = early_memory(&config, &ports).map_err(Failed::Refused)?;
    let left = ask(&config).await?;
    let lock = take_lock(&config, left.lock)?;
    engine.inherit_manager(left.manager.as_ref());
    let (_doors, admin, successors) = open_doors(&config)?;
    let coming = spawn_blocking({
        let (plan, shared) = (engine.plan(), shared.clone());
        move || take_in(left.stream, &plan, &shared)
    });
    let steering = put_on(&config, &ports, &engine, loaded)?;
    let memory = early.map_or_else(|| packet_memory(&config, &ports), Ok)?;
    let opened = open_dataplane(&config, &ports, steering, memory, &shared, &stop)?;
    engine.tell_step();
    let imported = coming.await.map_err(failed("taking the flows in"))?;
    engine.tell_step();
    let (sockets, modes) = (opened.sockets, opened.modes);
    let stepped = engine.step_in(opened.steering, sockets, &modes, imported.as_ref(), left.stopped_ns).await;
    if let Err(EngineError(why)) = stepped {
        stop.store(true, Ordering::Relaxed);
        return Err(Failed::Broken(why));
    }
    let inputs = Inputs { signals, net: events, admin, successors };
    let left = finish(engine.run(inputs).await, &stop, opened.threads, &shared)?;
    Ok((left, lock))
}

/// The packet memory, made while the predecessor forwards. `None`: huge pages are reserved, but not enough for both of us; better to
/// make it from those that it leaves.
fn early_memory(config: &Config, ports: &[PortPlan]) -> Result<Option<Vec<Prepared>>, String> {
    let made = packet_memory(config, ports)?;
    let good = made.iter().all(Prepared::is_on_huge_pages) || !memory::has_huge_pages();
    Ok(good.then_some(made))
}

/// The steering program, in place of the predecessor's.
fn put_on(
    config: &Config,
    ports: &[PortPlan],
    engine: &Engine,
    loaded: Option<Loaded>,
) -> Result<Steering, String> {
    let steer_ports: Vec<_> = ports.iter().map(PortPlan::steer_port).collect();
    let rules = engine.first_rules();
    let steering = match loaded {
        Some(loaded) => loaded.open_with(&steer_ports, &rules),
        None => Steering::open_with(&config.node.bpf_dir, &steer_ports, &rules),
    };
    steering.map_err(|error| error.to_string())
}

/// Asks the predecessor to let go, and waits until it has. One that died meanwhile has.
async fn ask(config: &Config) -> Result<Left, Failed> {
    let (path, request) = (config.node.control.clone(), introduction(config));
    let asked_ns = monotonic_ns();
    let asked = spawn_blocking(move || client::request_files(&path, &request, ANSWER_MAX)).await;
    match asked.map_err(failed("asking the predecessor"))? {
        Ok(handed) => {
            let acknowledged = handed.acknowledge();
            let (answer, mut files) = (handed.answer, handed.files);
            let lock = if answer.get("lock").is_some() { files.pop() } else { None };
            if let Err(error) = &acknowledged {
                tracing::warn!(event = "take-over", %error, "the predecessor waits no more: its lock is asked for anew");
            }
            // It may have let go of what it passed on, for somebody else to take.
            let lock = lock.filter(|_| acknowledged.is_ok());
            let file = files.pop();
            let why = || answer.get("why").and_then(Value::as_str).unwrap_or("no stream came").to_owned();
            let stopped_ns = answer.get("stopped-ns").and_then(Value::as_u64).unwrap_or(asked_ns);
            // One of an older version says nothing of it.
            let manager = answer.get("manager").and_then(|told| Manager::deserialize(told).ok());
            Ok(Left { stream: file.map(File::from).ok_or_else(why), lock, stopped_ns, manager })
        }
        Err(ClientError::Refused(why) | ClientError::Busy(why) | ClientError::Stopping(why)) => {
            Err(Failed::Refused(why))
        }
        Err(ClientError::Forbidden { path }) => {
            Err(Failed::Refused(format!("not allowed to talk to {}", path.display())))
        }
        // It may have died: then its lock is free, and what there is is what a dead daemon leaves.
        Err(error) => {
            Ok(Left { stream: Err(error.to_string()), lock: None, stopped_ns: asked_ns, manager: None })
        }
    }
}

/// The lock that was passed on; of a predecessor that died, the one that is free. Where somebody holds that, another successor
/// was faster.
fn take_lock(config: &Config, passed_on: Option<OwnedFd>) -> Result<InstanceLock, Failed> {
    if let Some(file) = passed_on {
        return InstanceLock::passed_on(file, &config.node.state_dir)
            .map_err(|error| Failed::Broken(error.to_string()));
    }
    let begin = Instant::now();
    loop {
        match InstanceLock::take(&config.node.state_dir) {
            Ok(lock) => return Ok(lock),
            Err(LockError::Held { .. }) if begin.elapsed() < LOCK_MAX => sleep(PAUSE),
            Err(error @ LockError::Held { .. }) => return Err(Failed::Refused(error.to_string())),
            Err(error) => return Err(Failed::Broken(error.to_string())),
        }
    }
}

/// Takes the flows in; `None`: there are none, and the log says why.
fn take_in(stream: Result<File, String>, plan: &Plan, shared: &Shared) -> Option<Imported> {
    let begin = monotonic_ns();
    let taken = stream.and_then(|file| {
        // It was left at its end.
        (&file).rewind().map_err(|error| error.to_string())?;
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        import(file, length, plan, shared).map_err(|error| error.to_string())
    });
    match taken {
        Ok(imported) => {
            let import_ms = (monotonic_ns() - begin) / 1_000_000;
            tracing::debug!(event = "take-over", import_ms, program = imported.program, "read");
            Some(imported)
        }
        Err(why) => {
            let what = "the flows cannot be read; serving with an empty table, as after a crash";
            tracing::error!(event = "take-over", why, "{what}");
            None
        }
    }
}
