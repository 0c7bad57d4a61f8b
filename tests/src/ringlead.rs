//! The daemon under test as a guard.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{Lab, Node, Process, ringlead_binary, wait_until};

/// How long a start, a stop or a refusal may take, on a machine that others use too.
const LIMIT: Duration = Duration::from_secs(60);

/// How much of the log a failed test prints.
const LOG_LINES: usize = 60;

/// A `ringlead run` in a balancer's namespace. Dropping it kills it; when the test failed, the end of its log is
/// printed.
#[derive(Debug)]
pub struct Ringlead {
    process: Process,
    file: PathBuf,
}

/// How a start was refused.
#[derive(Debug)]
pub struct Refusal {
    /// Its exit status.
    pub status: ExitStatus,
    /// All that it said.
    pub said: String,
}

impl Ringlead {
    /// Starts it with this configuration and waits until it is ready: its workers run and the programs are attached.
    /// Health checks may still be on their way.
    ///
    /// # Panics
    /// When it ends or does not become ready in time; its log is in the message.
    #[must_use = "dropping the daemon kills it"]
    pub fn start(lab: &Lab, config: &str) -> Self {
        Self::try_start(lab, config)
            .unwrap_or_else(|refusal| panic!("ringlead ended ({}):\n{}", refusal.status, refusal.said))
    }

    /// Starts it, expecting that it refuses.
    ///
    /// # Panics
    /// When it becomes ready, or does not end in time.
    #[must_use]
    pub fn refused(lab: &Lab, config: &str) -> Refusal {
        match Self::try_start(lab, config) {
            Ok(running) => panic!("ringlead should have refused to start, and runs:\n{}", running.log()),
            Err(refusal) => refusal,
        }
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it ends instead.
    ///
    /// # Panics
    /// When neither happens in time.
    pub fn try_start(lab: &Lab, config: &str) -> Result<Self, Refusal> {
        Self::launch(lab, Node::Balancer, "ringlead.toml", config, &[])
    }

    /// Starts the second node's in a lab that has two, and waits until it is ready.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use = "dropping the daemon kills it"]
    pub fn start_second(lab: &Lab, config: &str) -> Self {
        Self::launch(lab, Node::Second, "second.toml", config, &[])
            .unwrap_or_else(|refusal| panic!("ringlead ended ({}):\n{}", refusal.status, refusal.said))
    }

    /// Starts another one to take over with this configuration, in a file of its own, and waits until it is ready. Whoever
    /// served until then keeps its guard: [`ended`](Self::ended) tells how it went.
    ///
    /// # Errors
    /// When it ends instead.
    ///
    /// # Panics
    /// When neither happens in time.
    pub fn take_over(lab: &Lab, config: &str) -> Result<Self, Refusal> {
        Self::take_over_from(lab, "next.toml", config)
    }

    /// The same with a file of this name, for several at one time.
    ///
    /// # Errors
    /// When it ends instead.
    ///
    /// # Panics
    /// When neither happens in time.
    pub fn take_over_from(lab: &Lab, file: &str, config: &str) -> Result<Self, Refusal> {
        Self::launch(lab, Node::Balancer, file, config, &["--take-over"])
    }

    fn launch(lab: &Lab, node: Node, file: &str, config: &str, more: &[&str]) -> Result<Self, Refusal> {
        let file = lab.files().join(file);
        fs::write(&file, config).expect("write the configuration");
        let binary = ringlead_binary().expect("a ringlead binary");
        let path = file.display().to_string();
        let arguments = [&["run", "-c", &path], more].concat();
        let mut this = Self { process: lab.spawn(node, binary, &arguments), file };
        let begin = Instant::now();
        loop {
            if let Some(status) = this.process.ended() {
                return Err(Refusal { status, said: this.log() });
            }
            if this.is_ready() {
                return Ok(this);
            }
            assert!(begin.elapsed() < LIMIT, "ringlead is not ready after {LIMIT:?}:\n{}", this.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn ended(mut self) -> ExitStatus {
        self.process.wait(LIMIT).unwrap_or_else(|| panic!("ringlead did not end:\n{}", self.log()))
    }

    /// A line of the log that says `ready` as a word, by the process that this is.
    fn is_ready(&self) -> bool {
        self.log().lines().any(|line| line.split(|c: char| !c.is_alphanumeric()).any(|word| word == "ready"))
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The configuration file it was started with.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// All that it logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Writes a new configuration, sends SIGHUP and waits until the log says that it is in force or that it is refused.
    /// Returns what was logged meanwhile, warnings about the file among it.
    ///
    /// # Panics
    /// When nothing is logged in time, or the daemon ended.
    pub fn reload(&mut self, config: &str) -> String {
        let before = self.log().len();
        fs::write(&self.file, config).expect("write the configuration");
        self.process.signal(Signal::SIGHUP);
        wait_until(LIMIT, "the reload's end in the log", || {
            let log = self.log();
            let ends = ["the new configuration is in force", "refused, the old configuration stays"];
            log[before..].lines().any(|line| ends.iter().any(|end| line.contains(end)))
        });
        assert!(self.process.ended().is_none(), "ringlead ended at the reload:\n{}", self.log());
        self.log()[before..].to_owned()
    }

    /// Puts a new configuration in the old one's place and sends SIGHUP, without waiting for what comes of it.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn hang_up(&self, config: &str) {
        let new = self.file.with_extension("new");
        fs::write(&new, config).expect("write the configuration");
        fs::rename(&new, &self.file).expect("put the configuration in place");
        self.process.signal(Signal::SIGHUP);
    }

    /// Sends SIGTERM and waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(mut self) -> ExitStatus {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(LIMIT).unwrap_or_else(|| panic!("ringlead did not stop:\n{}", self.log()))
    }

    /// Sends SIGKILL and waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn kill(mut self) {
        self.process.signal(Signal::SIGKILL);
        assert!(self.process.wait(LIMIT).is_some(), "a killed process stays");
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// What `ringlead status --json` says.
    ///
    /// # Panics
    /// When that is not JSON.
    #[must_use]
    pub fn status(&self) -> Value {
        let file = self.file.display().to_string();
        let output = Command::new(ringlead_binary().expect("a ringlead binary"))
            .args(["status", "--json", "-c", &file])
            .output()
            .expect("run ringlead status");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("status is no JSON ({e}):\n{out}\n{err}"))
    }

    /// Exit status and output, of both kinds, of another command.
    ///
    /// # Panics
    /// When it cannot be run, or is killed.
    #[must_use]
    pub fn ask(&self, command: &[&str]) -> (i32, String) {
        let mut ringlead = Command::new(ringlead_binary().expect("a ringlead binary"));
        let output = ringlead.args(command).output().expect("run ringlead");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().expect("an exit status"), String::from_utf8_lossy(&said).into_owned())
    }

    /// Its threads: id and name.
    ///
    /// # Panics
    /// When it ended.
    #[must_use]
    pub fn threads(&self) -> Vec<(u32, String)> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.id())).expect("threads of a running process");
        let mut threads: Vec<(u32, String)> = tasks
            .flatten()
            .filter_map(|task| {
                let name = fs::read_to_string(task.path().join("comm")).ok()?;
                Some((task.file_name().to_str()?.parse().ok()?, name.trim().to_owned()))
            })
            .collect();
        threads.sort();
        threads
    }

    /// The inodes of its sockets, AF_XDP's among them.
    ///
    /// # Panics
    /// When it ended.
    #[must_use]
    pub fn sockets(&self) -> Vec<String> {
        let files = fs::read_dir(format!("/proc/{}/fd", self.id())).expect("files of a running process");
        let mut sockets: Vec<String> = files
            .flatten()
            .filter_map(|file| Some(fs::read_link(file.path()).ok()?.to_str()?.to_owned()))
            .filter(|link| link.starts_with("socket:"))
            .collect();
        sockets.sort();
        sockets
    }
}

impl Drop for Ringlead {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines.len().saturating_sub(LOG_LINES);
            eprintln!("--- the end of ringlead's log:\n{}\n---", lines[tail..].join("\n"));
        }
    }
}
