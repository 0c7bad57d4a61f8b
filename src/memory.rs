//! What this machine has, against what the flow tables take; and whether it has huge pages.

use ringlead_flow::FlowTable;

/// Where the kernel says how much memory there is.
const MEMINFO: &str = "/proc/meminfo";

/// What is wrong with `max-flows` on this machine, if anything: its tables are pre-allocated, and would take more than all the
/// memory there is. Silent where the kernel does not say.
pub(crate) fn beyond(flows_max: usize) -> Option<String> {
    let bytes = field(&std::fs::read_to_string(MEMINFO).ok()?, "MemTotal:")?;
    says(flows_max, bytes, "has")
}

/// The same for tables beside those of a daemon that runs: they must have room in what is free.
pub(crate) fn beyond_free(flows_max: usize) -> Option<String> {
    let bytes = field(&std::fs::read_to_string(MEMINFO).ok()?, "MemAvailable:")?;
    says(flows_max, bytes, "beside the running daemon has")
}

/// Whether huge pages are reserved on this machine (`vm.nr_hugepages`), free or in use.
pub(crate) fn has_huge_pages() -> bool {
    std::fs::read_to_string(MEMINFO).is_ok_and(|meminfo| reserved(&meminfo))
}

fn reserved(meminfo: &str) -> bool {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("HugePages_Total:"));
    total.is_some_and(|total| total.trim() != "0")
}

fn says(flows_max: usize, bytes: u64, has: &str) -> Option<String> {
    let wanted = u64::try_from(FlowTable::bytes_for(flows_max)).unwrap_or(u64::MAX);
    (wanted > bytes).then(|| {
        format!(
            "max-flows = {flows_max}: the flow tables take {} MiB, and this machine {has} {} MiB; lower it in [dataplane]",
            wanted >> 20,
            bytes >> 20
        )
    })
}

/// A figure of the kernel's in bytes.
fn field(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::{field, reserved, says};
    use ringlead_flow::FlowTable;

    #[test]
    fn the_kernels_figure_is_read() {
        let text = "MemTotal:       24614300 kB\nMemAvailable: 1 kB\n";
        assert_eq!(field(text, "MemTotal:"), Some(24_614_300 * 1024));
        assert_eq!(field(text, "MemAvailable:"), Some(1024));
        assert_eq!(field("MemFree: 1 kB\n", "MemTotal:"), None);
        assert_eq!(field("MemTotal: much\n", "MemTotal:"), None);
    }

    #[test]
    fn reserved_huge_pages_are_seen() {
        assert!(reserved("HugePages_Total:      16\nHugePages_Free:        0\n"));
        assert!(!reserved("HugePages_Total:       0\n"));
        assert!(!reserved("MemFree: 1 kB\n"));
    }

    #[test]
    fn more_than_there_is_is_named() {
        let takes = FlowTable::bytes_for(1_000_000) as u64;
        assert_eq!(says(1_000_000, takes, "has"), None);
        let said = says(1_000_000, takes - 1, "has").unwrap();
        assert!(said.contains("max-flows = 1000000") && said.contains("[dataplane]"), "{said}");
    }
}
