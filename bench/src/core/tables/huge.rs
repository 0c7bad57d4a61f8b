//! Huge pages for every table, so that none is slow only for its small pages.
// JUSTIFICATION: the flow table asks for huge pages itself; maps that take their memory from the allocator, and DPDK's
// without reserved pages, cannot. A comparison without this would be one of page tables.
#![allow(unsafe_code, reason = "fenced here: advice about mappings is a system call with raw addresses")]

/// A mapping is worth it from here on.
const WORTH: usize = 4 << 20;

/// Moves the process's large data mappings to huge pages as far as the system can, and returns their bytes.
pub(super) fn everywhere() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(mapping).filter(|&(start, len)| advise(start, len)).map(|(_, len)| len).sum()
}

/// The start and length of a line's mapping, if it is large, writable and of no file.
fn mapping(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let writable = fields.next()?.starts_with("rw");
    let path = fields.nth(3).unwrap_or("");
    let data = path.is_empty() || path == "[heap]" || path.starts_with("/memfd:");
    let address = |hex| usize::from_str_radix(hex, 16).ok();
    let (start, end) = (address(start)?, address(end)?);
    let len = end.checked_sub(start)?;
    (writable && data && len >= WORTH).then_some((start, len))
}

/// Whether the system took the advice.
fn advise(start: usize, len: usize) -> bool {
    let start = std::ptr::with_exposed_provenance_mut::<libc::c_void>(start);
    // SAFETY: advice about how to back a range; it changes no contents, and a range that is gone by now gives an error.
    let wanted = unsafe { libc::madvise(start, len, libc::MADV_HUGEPAGE) } == 0;
    // SAFETY: as above; a kernel before 6.1 does not know it and leaves the pages as they are.
    wanted && unsafe { libc::madvise(start, len, libc::MADV_COLLAPSE) } == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_writable_data_is_a_mapping_to_move() {
        let large = "7f0000000000-7f0001000000";
        assert_eq!(mapping(&format!("{large} rw-p 00000000 00:00 0 ")), Some((0x7f00_0000_0000, 16 << 20)));
        assert!(mapping(&format!("{large} rw-s 00000000 00:01 2053 /memfd:nohuge (deleted)")).is_some());
        assert!(mapping(&format!("{large} rw-p 00000000 00:00 0 [heap]")).is_some());
        for other in
            ["r--p 00000000 00:00 0 ", "rw-p 00000000 00:00 0 [stack]", "rw-p 0 08:01 9 /usr/lib/x.so"]
        {
            assert_eq!(mapping(&format!("{large} {other}")), None, "{other}");
        }
        assert_eq!(mapping("7f0000000000-7f0000100000 rw-p 00000000 00:00 0 "), None, "small");
    }

    #[test]
    fn contents_stay_what_they_are() {
        let data: Vec<usize> = (0..2 << 20).collect();
        everywhere();
        assert!(data.iter().enumerate().all(|(n, value)| n == *value));
    }
}
