//! The balancer of the demo as a guard: this very program, as `ringlead run` in the lab.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::mem;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use super::helper::wait;
use super::lab::Node;
use super::scene::Scene;
use super::service::server_name;
use super::settings;
use super::stop::{During, Step, Trouble, failed};

/// How long a start, a reload and a change of health may take.
const CHANGE_MAX: Duration = Duration::from_secs(15);

/// How long a stop may take.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Lines of its log that are shown when it fails.
const LOG_LINES: usize = 15;

/// What stands above them.
const LOG_BEGINS: &str = "The end of ringlead's log:";

/// What the demo reads of `ringlead status --json`.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    /// Whether it has started completely.
    pub(super) ready: bool,
    /// The tables in force.
    pub(super) epoch: u64,
    /// The last reload.
    pub(super) reload: Reload,
    /// What clients connect to.
    pub(super) services: Vec<ServiceStatus>,
    /// Who serves.
    pub(super) pools: Vec<Pool>,
    /// How its ports are driven.
    pub(super) ports: Vec<Port>,
    /// Its workers.
    pub(super) workers: Vec<Worker>,
    /// Frames dropped, by reason.
    pub(super) drops: BTreeMap<String, u64>,
    /// What it got of its predecessor, if it had one.
    pub(super) take_over: Option<TakeOver>,
}

/// A take-over from a predecessor.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct TakeOver {
    /// Flows that came over.
    pub(super) flows: u64,
    /// Flows that did not, by reason.
    pub(super) left_out: BTreeMap<String, u64>,
    /// How long nobody forwarded, milliseconds.
    pub(super) gap_ms: f64,
}

/// The last reload.
#[derive(Debug, Deserialize)]
pub(super) struct Reload {
    /// How many there were.
    pub(super) count: u64,
    /// Whether the last one was taken over.
    pub(super) successful: bool,
    /// Why not.
    pub(super) error: Option<String>,
}

/// A service's counters.
#[derive(Debug, Deserialize)]
pub(super) struct ServiceStatus {
    /// Its name.
    pub(super) name: String,
    /// `l4` or `l7`.
    pub(super) layer: String,
    /// Frames of clients sent on.
    pub(super) packets_in: u64,
    /// Frames of servers sent on.
    pub(super) packets_out: u64,
}

/// A pool.
#[derive(Debug, Deserialize)]
pub(super) struct Pool {
    /// Its servers.
    pub(super) servers: Vec<Server>,
}

/// A server.
#[derive(Debug, Deserialize)]
pub(super) struct Server {
    /// Its name.
    pub(super) name: String,
    /// Whether it gets new flows.
    pub(super) eligible: bool,
}

/// A port.
#[derive(Debug, Deserialize)]
pub(super) struct Port {
    /// Its name.
    pub(super) name: String,
    /// Its network interface.
    pub(super) device: String,
    /// How it is driven.
    pub(super) mode: String,
    /// Its queues.
    pub(super) queues: Vec<Queue>,
}

/// A queue of a port.
#[derive(Debug, Deserialize)]
pub(super) struct Queue {
    /// Frames lost because a ring was full.
    pub(super) rx_lost: u64,
}

/// A worker.
#[derive(Debug, Deserialize)]
pub(super) struct Worker {
    /// The tables it uses.
    pub(super) epoch: u64,
}

impl Status {
    /// Whether exactly these servers get new flows, in every pool, by the tables that every worker already uses.
    fn serves(&self, wanted: &[u8]) -> bool {
        let wanted: Vec<String> = wanted.iter().copied().map(server_name).collect();
        let eligible = |pool: &Pool| {
            let servers = pool.servers.iter().filter(|server| server.eligible);
            servers.map(|server| server.name.clone()).collect::<Vec<_>>()
        };
        self.ready
            && !self.pools.is_empty()
            && self.pools.iter().all(|pool| eligible(pool) == wanted)
            && self.workers.iter().all(|worker| worker.epoch >= self.epoch)
    }
}

/// A running balancer. Dropping it stops it, and cleans up behind it when it had to be killed.
#[derive(Debug)]
pub(super) struct Daemon<'a> {
    scene: &'a Scene<'a>,
    child: Child,
    file: PathBuf,
    stopped: bool,
}

impl<'a> Daemon<'a> {
    /// Starts it with these servers and waits until they get new flows.
    ///
    /// # Errors
    /// When it ends instead, with the end of its log, or is not ready in time.
    pub(super) fn start(scene: &'a Scene<'a>, servers: &[u8]) -> Step<Self> {
        let file = scene.lab.files().join("ringlead.toml");
        fs::write(&file, settings::text(scene.lab, &scene.cores, servers))
            .during("write the configuration")?;
        let child = spawn(scene, &file, &[])?;
        let mut this = Self { scene, child, file, stopped: false };
        this.await_servers(servers)?;
        Ok(this)
    }

    /// Starts a second one beside it, which takes its place, and waits until the first has ended well and the second serves.
    ///
    /// # Errors
    /// When the second refuses or ends, the first does not end well, or the time passes.
    pub(super) fn take_over(&mut self, servers: &[u8]) -> Step<TakeOver> {
        let successor = spawn(self.scene, &self.file, &["--take-over"])?;
        let mut old = mem::replace(&mut self.child, successor);
        let ended = self.scene.stop.await_some(CHANGE_MAX, "the predecessor to end", || {
            self.check()?;
            old.try_wait().during("the predecessor")
        });
        if ended.is_err() {
            let _ = old.kill();
            let _ = old.wait();
        }
        let ended = self.with_log(ended)?;
        if !ended.success() {
            return self.with_log(failed(format!("the predecessor ended: {ended}")));
        }
        self.await_servers(servers)?;
        self.status()?.take_over.map_or_else(|| self.with_log(failed("nothing was taken over")), Ok)
    }

    /// Kills it, as a crash would, and starts another one over what it left.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(super) fn kill_and_start(&mut self, servers: &[u8]) -> Step<()> {
        self.child.kill().during("kill ringlead")?;
        self.child.wait().during("ringlead's end")?;
        self.child = spawn(self.scene, &self.file, &[])?;
        self.await_servers(servers)
    }

    /// Waits until exactly these servers get new flows.
    ///
    /// # Errors
    /// When the daemon ends or the time passes.
    pub(super) fn await_servers(&mut self, servers: &[u8]) -> Step<()> {
        let what = format!("ringlead to send new flows to servers {servers:?} and no other");
        let stop = self.scene.stop;
        let waited = stop.await_true(CHANGE_MAX, &what, || {
            self.check()?;
            Ok(self.try_status().is_some_and(|status| status.serves(servers)))
        });
        self.with_log(waited)
    }

    /// Trouble when it no longer runs.
    ///
    /// # Errors
    /// How it ended, with the end of its log.
    pub(super) fn check(&mut self) -> Step<()> {
        let Some(status) = self.child.try_wait().during("ringlead")? else { return Ok(()) };
        self.with_log(failed(format!("ringlead ended: {status}")))
    }

    /// Writes a configuration with these servers, sends SIGHUP, and waits until they get new flows.
    ///
    /// # Errors
    /// When the reload is refused or the time passes.
    pub(super) fn reload(&mut self, servers: &[u8]) -> Step<()> {
        let before = self.status()?.reload.count;
        fs::write(&self.file, settings::text(self.scene.lab, &self.scene.cores, servers))
            .during("write the configuration")?;
        self.signal(Signal::SIGHUP)?;
        let stop = self.scene.stop;
        let reloaded = stop.await_some(CHANGE_MAX, "ringlead to reload", || {
            Ok(self.try_status().map(|status| status.reload).filter(|reload| reload.count > before))
        });
        let reload = self.with_log(reloaded)?;
        if !reload.successful {
            return failed(format!("the reload was refused: {}", reload.error.unwrap_or_default()));
        }
        self.await_servers(servers)
    }

    /// What `ringlead status --json` says.
    ///
    /// # Errors
    /// When it says nothing.
    pub(super) fn status(&self) -> Step<Status> {
        let status = self.scene.stop.await_some(CHANGE_MAX, "ringlead status", || Ok(self.try_status()));
        self.with_log(status)
    }

    /// Sends SIGTERM, waits for its end and looks whether its programs are gone.
    ///
    /// # Errors
    /// When it does not end well, or leaves pinned programs.
    pub(super) fn stop(mut self) -> Step<()> {
        self.signal(Signal::SIGTERM)?;
        let ended = match wait(&mut self.child, STOP_MAX) {
            None => return failed(format!("ringlead does not stop within {} s", STOP_MAX.as_secs())),
            Some(status) if !status.success() => failed(format!("ringlead ended with {status}")),
            Some(_) if has_files(&self.scene.lab.bpf_dir()) => failed("ringlead left pinned programs"),
            Some(_) => Ok(()),
        };
        self.stopped = ended.is_ok();
        self.with_log(ended)
    }

    fn try_status(&self) -> Option<Status> {
        let mut command = Command::new(&self.scene.program);
        command.args(["status", "--json", "-c"]).arg(&self.file).stdin(Stdio::null());
        serde_json::from_slice(&command.output().ok()?.stdout).ok()
    }

    fn signal(&self, signal: Signal) -> Step<()> {
        let id = i32::try_from(self.child.id()).during("ringlead's process id")?;
        kill(Pid::from_raw(id), signal).during(&format!("send {signal} to ringlead"))
    }

    /// Adds the end of the log to what failed.
    fn with_log<T>(&self, step: Step<T>) -> Step<T> {
        let Err(Trouble::Failed(text)) = step else { return step };
        if text.contains(LOG_BEGINS) {
            return failed(text);
        }
        let log = fs::read_to_string(self.scene.lab.files().join("ringlead.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.len().saturating_sub(LOG_LINES);
        failed(format!("{text}\n{LOG_BEGINS}\n{}", lines[tail..].join("\n")))
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if self.stopped {
            return;
        }
        let _ = self.signal(Signal::SIGTERM);
        if wait(&mut self.child, STOP_MAX).is_some() && !has_files(&self.scene.lab.bpf_dir()) {
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let mut cleanup = self.scene.lab.command(Node::Balancer, &self.scene.program);
        let _ = cleanup.args(["cleanup", "-c"]).arg(&self.file).output();
    }
}

/// Starts the daemon, whose log goes to the end of the one before.
fn spawn(scene: &Scene<'_>, file: &Path, more: &[&str]) -> Step<Child> {
    let mut log = OpenOptions::new();
    let log = log.create(true).append(true).open(scene.lab.files().join("ringlead.log"));
    let log = log.during("open the log")?;
    let mut command = scene.lab.command(Node::Balancer, &scene.program);
    command.args(["run", "-c"]).arg(file).args(more).env("NO_COLOR", "1");
    command.stdout(log.try_clone().during("open the log")?).stderr(log);
    command.spawn().during("start ringlead")
}

/// Whether there is anything in a folder, which need not be there.
fn has_files(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| !entry.path().is_dir() || has_files(&entry.path()))
    })
}
