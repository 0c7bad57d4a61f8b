//! Whether the flow tables fit into this machine's memory: they are taken whole at start.

use super::Judge;
use crate::config::codes;
use ringlead_flow::FlowTable;

/// Where the kernel says how much memory there is.
const MEMINFO: &str = "/proc/meminfo";
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
pub(crate) fn memory_free() -> Option<Memory> {
    asked("MemAvailable:").map(|bytes| Memory { bytes, beside: true })
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
        let all = self.config.observe.counts_all();
        if bytes(flows_max, all) <= memory.bytes {
            return;
        }
        let (takes, there) = (bytes(flows_max, all) >> 20, memory.bytes >> 20);
        let free = if memory.beside { " free beside the daemon that runs" } else { "" };
        let message = format!(
            "max-flows = {flows_max}: the flow tables take {takes} MiB, this machine has {there} MiB{free}"
        );
        let entry = self.error(codes::MEMORY, &["dataplane", "max-flows"], message);
        entry.label("taken whole at start");
        entry.help(match most(memory.bytes, all) {
            Some(most) => format!("set max-flows in [dataplane] well below {most}, or use a larger machine"),
            None => "use a larger machine: even the least max-flows takes more".to_owned(),
        });
        if all {
            entry.help("or leave out count = \"all\" in flow-log, which takes 64 bytes a flow");
        }
    }

    /// C205 of what a reload adds beside tables that are there.
    pub(crate) fn accounts(&mut self, free: Option<Memory>) {
        let (Some(free), true) = (free, self.config.observe.counts_all()) else { return };
        let takes = FlowTable::account_bytes_for(self.config.dataplane.flows_max);
        if u64::try_from(takes).is_ok_and(|takes| takes <= free.bytes) {
            return;
        }
        let (takes, there) = (takes >> 20, free.bytes >> 20);
        let message = format!("count = \"all\" takes {takes} MiB, {there} MiB are free");
        let entry = self.error(codes::MEMORY, &["observe", "flow-log", "count"], message);
        entry.help("count = \"sampled\" takes memory for the flows of the sample only");
    }
}

/// What the flow tables take, and what they carried, if that is counted of all flows.
fn bytes(flows_max: usize, counts_all: bool) -> u64 {
    let accounts = if counts_all { FlowTable::account_bytes_for(flows_max) } else { 0 };
    u64::try_from(FlowTable::bytes_for(flows_max).saturating_add(accounts)).unwrap_or(u64::MAX)
}

/// The most flows whose tables so many bytes hold, in two digits.
fn most(held: u64, counts_all: bool) -> Option<usize> {
    let (mut fits, mut beyond) = (FLOWS_MIN, 100_000_001);
    if bytes(fits, counts_all) > held {
        return None;
    }
    while beyond - fits > 1 {
        let middle = fits.midpoint(beyond);
        if bytes(middle, counts_all) <= held { fits = middle } else { beyond = middle }
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
    fn the_most_that_fits_does() {
        for held in [64 << 20, 1 << 30, 24 << 30] {
            for all in [false, true] {
                let most = most(held, all).unwrap();
                assert!(bytes(most, all) <= held && bytes(most + most / 5, all) > held, "{held}: {most}");
            }
        }
        assert_eq!(most(1024, false), None);
    }
}
