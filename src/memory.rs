//! Whether this machine has huge pages.

/// Where the kernel says how much memory there is.
const MEMINFO: &str = "/proc/meminfo";

/// Whether huge pages are reserved on this machine (`vm.nr_hugepages`), free or in use.
pub(crate) fn has_huge_pages() -> bool {
    std::fs::read_to_string(MEMINFO).is_ok_and(|meminfo| reserved(&meminfo))
}

fn reserved(meminfo: &str) -> bool {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("HugePages_Total:"));
    total.is_some_and(|total| total.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::reserved;

    #[test]
    fn reserved_huge_pages_are_seen() {
        assert!(reserved("HugePages_Total:      16\nHugePages_Free:        0\n"));
        assert!(!reserved("HugePages_Total:       0\n"));
        assert!(!reserved("MemFree: 1 kB\n"));
    }
}
