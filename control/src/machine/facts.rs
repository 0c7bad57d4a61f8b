//! What this machine is asked, once.

use super::memory::{Memory, memory, memory_free};
use crate::config::Config;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use ringlead_io::device::{DeviceFacts, device_facts};
use std::ops::RangeInclusive;

/// Where the kernel says which ports its own sockets take.
pub(super) const EPHEMERAL: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// This machine, as far as a configuration depends on it before anything is opened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Machine {
    /// Each port's device, in the configuration's order; or what the kernel says instead.
    pub devices: Vec<Result<DeviceFacts, String>>,
    /// What there is for flow tables; `None`: the kernel does not say.
    pub memory: Option<Memory>,
    /// The configured workers' cores that no thread can be put on.
    pub cores_missing: Vec<usize>,
}

impl Machine {
    /// Asks about what a configuration names. `beside`: a daemon that runs keeps its memory meanwhile.
    #[must_use]
    pub fn ask(config: &Config, beside: bool) -> Self {
        let devices = config.ports.iter();
        Self {
            devices: devices.map(|port| device_facts(&port.device).map_err(|e| e.to_string())).collect(),
            memory: if beside { memory_free() } else { memory() },
            cores_missing: missing(&config.dataplane.cores),
        }
    }

    /// The devices, where there are all of them.
    #[must_use]
    pub fn devices(&self) -> Option<Vec<DeviceFacts>> {
        self.devices.iter().map(|device| device.clone().ok()).collect()
    }
}

/// The ports that this machine's own sockets take, of connections that they open. The kernel makes it up on the spot: reading
/// does not wait for a disk.
#[must_use]
pub fn ephemeral() -> Option<RangeInclusive<u16>> {
    range(&std::fs::read_to_string(EPHEMERAL).ok()?)
}

/// Two numbers, as the kernel writes them.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse::<u16>);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(first..=last)
}

/// The cores that a thread of this process cannot be put on. Tried by a thread of its own: a service manager may keep the process
/// on other cores than those that its threads may choose.
fn missing(cores: &[usize]) -> Vec<usize> {
    let cores = cores.to_vec();
    let tried = std::thread::Builder::new().name("cores".to_owned()).spawn(move || {
        let refuses = |core: &usize| {
            let mut set = CpuSet::new();
            set.set(*core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).is_err()
        };
        cores.into_iter().filter(refuses).collect()
    });
    // Where no thread can be had, workers will say so.
    tried.ok().and_then(|thread| thread.join().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{missing, range};

    #[test]
    fn the_kernels_range_is_read() {
        assert_eq!(range("32768\t60999\n"), Some(32_768..=60_999));
        assert_eq!(range("32768"), None);
        assert_eq!(range(""), None);
    }

    #[test]
    fn a_core_that_no_machine_has_is_missing_and_this_threads_own_is_not() {
        let before = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
        let own = (0..nix::sched::CpuSet::count()).find(|core| before.is_set(*core).unwrap()).unwrap();
        assert_eq!(missing(&[own, 1023, 100_000]), [1023, 100_000]);
        let after = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
        assert_eq!(after, before, "this thread is where it was");
    }
}
