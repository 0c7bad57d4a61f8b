//! Whether the flow tables fit into this machine's memory: they are taken whole at start.

use super::Judge;
use crate::config::codes;
use ringlead_flow::FlowTable;
use std::path::Path;

/// Where the kernel says how much memory there is.
const MEMINFO: &str = "/proc/meminfo";
/// Where cgroups are.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Bytes that a daemon that serves leaves free.
const RESERVE: u64 = 256 << 20;
/// The least that `max-flows` may be.
const FLOWS_MIN: usize = 1024;

/// What there is for flow tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// In bytes.
    pub bytes: u64,
    /// Whether another daemon has its own beside it.
    pub beside: bool,
}

/// All that this machine has.
pub(super) fn memory() -> Option<Memory> {
    asked("MemTotal:").map(|bytes| Memory { bytes, beside: false })
}

/// What is free beside a daemon that runs.
pub(super) fn memory_free() -> Option<Memory> {
    asked("MemAvailable:").map(|bytes| Memory { bytes, beside: true })
}

/// What this process may still take: of the machine's memory, and of what its control groups are allowed.
pub(crate) fn memory_left() -> Option<Memory> {
    let machine = asked("MemAvailable:");
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let of = |group: &Path| allowed(&Path::new(CGROUPS).join(group));
    let groups = Path::new(own).ancestors().filter_map(of);
    machine.into_iter().chain(groups).min().map(|bytes| Memory { bytes, beside: true })
}

/// What a control group leaves; `None` where it has no limit.
fn allowed(group: &Path) -> Option<u64> {
    let read = |name| std::fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    Some(read("memory.max")?.saturating_sub(read("memory.current")?))
}

fn asked(name: &str) -> Option<u64> {
    field(&std::fs::read_to_string(MEMINFO).ok()?, name)
}

/// A figure of the kernel's in bytes.
fn field(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

impl Judge<'_> {
    /// C205.
    pub(super) fn memory(&mut self, memory: Option<Memory>) {
        let (flows_max, Some(memory)) = (self.config.dataplane.flows_max, memory) else { return };
        let counts = self.config.observe.keeps_accounts();
        if bytes(flows_max, counts) <= memory.bytes {
            return;
        }
        let (takes, there) = (bytes(flows_max, counts) >> 20, memory.bytes >> 20);
        let free = if memory.beside { " free beside the daemon that runs" } else { "" };
        let message = format!(
            "max-flows = {flows_max}: the flow tables take {takes} MiB, this machine has {there} MiB{free}"
        );
        let entry = self.error(codes::MEMORY, &["dataplane", "max-flows"], message);
        entry.label("taken whole at start");
        entry.help(match most(memory.bytes, counts) {
            Some(most) => format!("set max-flows in [dataplane] well below {most}, or use a larger machine"),
            None => "use a larger machine: even the least max-flows takes more".to_owned(),
        });
        if counts {
            entry.help("or leave out flow-log, whose counts take 64 bytes a flow");
        }
    }

    /// C205 of what a reload adds beside tables that are there. It is taken at once by the process that serves, so some must be left.
    pub(crate) fn accounts(&mut self, free: Option<Memory>) {
        let (Some(free), true) = (free, self.config.observe.keeps_accounts()) else { return };
        let takes = FlowTable::account_bytes_for(self.config.dataplane.flows_max);
        let takes = u64::try_from(takes).unwrap_or(u64::MAX);
        if takes.saturating_add(takes / 8).saturating_add(RESERVE) <= free.bytes {
            return;
        }
        let (takes, there, reserve) = (takes >> 20, free.bytes >> 20, RESERVE >> 20);
        let message = format!("flow-log: what flows carry takes {takes} MiB to count, {there} MiB are free");
        let entry = self.error(codes::MEMORY, &["observe", "flow-log"], message);
        entry.help(format!(
            "an eighth more and {reserve} MiB must be free beside it, so that nothing that runs is lost"
        ));
    }
}

/// What the flow tables take, with the counts of what flows carry or without.
fn bytes(flows_max: usize, counts: bool) -> u64 {
    let accounts = if counts { FlowTable::account_bytes_for(flows_max) } else { 0 };
    u64::try_from(FlowTable::bytes_for(flows_max).saturating_add(accounts)).unwrap_or(u64::MAX)
}

/// The most flows whose tables so many bytes hold, in two digits.
fn most(held: u64, counts: bool) -> Option<usize> {
    let (mut fits, mut beyond) = (FLOWS_MIN, 100_000_001);
    if bytes(fits, counts) > held {
        return None;
    }
    while beyond - fits > 1 {
        let middle = fits.midpoint(beyond);
        if bytes(middle, counts) <= held { fits = middle } else { beyond = middle }
    }
    let unit = 10_usize.pow(fits.ilog10().saturating_sub(1));
    Some(fits / unit * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figure_is_read() {
        let text = "MemTotal:       24614300 kB\nMemAvailable: 1 kB\n";
        assert_eq!(field(text, "MemTotal:"), Some(24_614_300 * 1024));
        assert_eq!(field(text, "MemAvailable:"), Some(1024));
        assert_eq!(field("MemFree: 1 kB\n", "MemTotal:"), None);
        assert_eq!(field("MemTotal: much\n", "MemTotal:"), None);
    }

    #[test]
    fn a_groups_limit_is_read_where_it_has_one() {
        let group = tempfile::tempdir().unwrap();
        let set = |max: &str, current: &str| {
            std::fs::write(group.path().join("memory.max"), max).unwrap();
            std::fs::write(group.path().join("memory.current"), current).unwrap();
            allowed(group.path())
        };
        assert_eq!(set("1000\n", "400\n"), Some(600));
        assert_eq!(set("1000\n", "1400\n"), Some(0));
        assert_eq!(set("max\n", "400\n"), None);
        assert!(memory_left().is_some_and(|left| left.bytes <= memory().unwrap().bytes));
    }

    #[test]
    fn the_most_that_fits_does() {
        for held in [64 << 20, 1 << 30, 24 << 30] {
            for counts in [false, true] {
                let most = most(held, counts).unwrap();
                assert!(
                    bytes(most, counts) <= held && bytes(most + most / 5, counts) > held,
                    "{held}: {most}"
                );
            }
        }
        assert_eq!(most(1024, false), None);
    }
}
