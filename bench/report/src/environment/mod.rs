//! Where a run took place: whatever may explain why its figures differ from another run's.

mod built;
mod host;
mod port;

pub use port::PortFacts;

use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// Where a run took place. What could not be read is `None` or empty, never guessed.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// When the run began, UTC, RFC 3339.
    pub time: String,
    /// The command line, program first.
    pub command: Vec<String>,
    /// ringlead's version.
    pub ringlead: String,
    /// The commit that this program was built from; `+changes`: from a checkout with changes on top.
    pub commit: Option<String>,
    /// The compiler's optimisation level: `0` is a debug build, whose timings say nothing.
    pub opt_level: String,
    /// The compiler.
    pub rustc: String,
    /// The target triple.
    pub target: String,
    /// The processor that the compiler was told to build for; `generic` when it was told none.
    pub target_cpu: String,
    /// The kernel's release and version.
    pub kernel: String,
    /// The processor's model.
    pub cpu_model: Option<String>,
    /// Processors that this process may run on.
    pub cpus: usize,
    /// Processors that are online.
    pub cpus_online: usize,
    /// Whether two processors may share one core (SMT).
    pub smt: Option<bool>,
    /// The frequency governor, all of them when processors differ.
    pub governor: Option<String>,
    /// Whether the processor may run faster than its nominal clock.
    pub turbo: Option<bool>,
    /// The processors that the kernel keeps other work off (`isolcpus`).
    pub isolated_cpus: Option<String>,
    /// Whether this is a virtual machine.
    pub virtual_machine: Option<bool>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// The load average over one minute as the run began: other work on this machine.
    pub load_average: Option<f64>,
    /// The network interfaces that took part.
    pub ports: Vec<PortFacts>,
}

impl Environment {
    /// What this process can see, without ports: add those with [`PortFacts::gather`].
    #[must_use]
    pub fn gather() -> Self {
        let command = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let built = Self { time, command, ..built::facts() };
        host::fill(built)
    }

    /// Whether figures of this build are worth nothing: it is not optimised.
    #[must_use]
    pub fn is_debug(&self) -> bool {
        self.opt_level == "0"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_described() {
        let here = Environment::gather();
        assert!(here.time.ends_with('Z') && here.time.len() == "2026-01-01T00:00:00Z".len(), "{}", here.time);
        assert_eq!(here.ringlead, env!("CARGO_PKG_VERSION"));
        assert!(here.rustc.starts_with("rustc 1."), "{}", here.rustc);
        assert!(here.kernel.starts_with("Linux "), "{}", here.kernel);
        assert!(here.cpus >= 1 && here.cpus <= here.cpus_online, "{here:?}");
        assert!(here.memory_bytes.is_some_and(|bytes| bytes > 1 << 20), "{here:?}");
        assert!(here.load_average.is_some_and(|load| load >= 0.0), "{here:?}");
        assert!(!here.command.is_empty() && !here.target.is_empty() && !here.target_cpu.is_empty());
    }

    #[test]
    fn it_is_written_and_read() {
        let here = Environment::gather();
        let text = serde_json::to_string(&here).unwrap();
        assert_eq!(serde_json::from_str::<Environment>(&text).unwrap(), here);
        let sparse: Environment =
            serde_json::from_str(r#"{"kernel":"Linux 7","from_the_future":[1]}"#).unwrap();
        assert_eq!(sparse.kernel, "Linux 7");
    }
}
