//! Memory for millions of atomic words: mapped, zero, on huge pages where there are any, and pre-faulted, so that no
//! packet ever pays for a page fault.
// JUSTIFICATION: a `Vec` can neither be placed on huge pages nor be populated with an error instead of a fault later.
#![allow(unsafe_code, reason = "fenced here: mapping memory is a system call with raw pointers")]

#[cfg(not(loom))]
pub(crate) use mapped::Words;
#[cfg(loom)]
pub(crate) use modelled::Words;

/// A huge page, in bytes; mappings of that size and more are aligned to it.
const HUGE: usize = 2 << 20;
const PAGE: usize = 4096;

/// What [`Words::new`] takes for a number of words, in bytes.
pub(crate) const fn bytes_for(words: usize) -> usize {
    let bytes = words.saturating_mul(8);
    let unit = if bytes >= HUGE { HUGE } else { PAGE };
    bytes.div_ceil(unit).saturating_mul(unit)
}

#[cfg(not(loom))]
mod mapped {
    use std::ops::Deref;
    use std::ptr::{self, NonNull};

    use super::{HUGE, PAGE, bytes_for};
    use crate::sync::{AtomicU64, Relaxed};

    /// A fixed number of atomic words, all 0 at first, aligned to a page.
    #[derive(Debug)]
    pub(crate) struct Words {
        start: NonNull<AtomicU64>,
        len: usize,
        mapping: Mapping,
    }

    // SAFETY: the memory belongs to this value alone and is only reached as `&[AtomicU64]`, which any thread may share.
    unsafe impl Send for Words {}
    // SAFETY: as above.
    unsafe impl Sync for Words {}

    impl Words {
        /// Maps and populates `len` words.
        ///
        /// # Errors
        /// `errno`, when the system has not enough memory.
        pub(crate) fn new(len: usize) -> Result<Self, i32> {
            let bytes = bytes_for(len);
            let slack = if bytes >= HUGE { HUGE } else { 0 };
            let mapping = Mapping::new(bytes.checked_add(slack).ok_or(libc::ENOMEM)?)?;
            let skip = if slack == 0 { 0 } else { mapping.start.align_offset(HUGE) };
            // SAFETY: `skip` is at most `slack`, so the result lies in the mapping with `bytes` bytes behind it.
            let start = unsafe { mapping.start.add(skip) };
            let words = NonNull::new(start.cast::<AtomicU64>()).ok_or(libc::ENOMEM)?;
            let words = Self { start: words, len, mapping };
            words.populate(bytes)?;
            Ok(words)
        }

        /// Makes every page present; on huge pages where the system offers them.
        fn populate(&self, bytes: usize) -> Result<(), i32> {
            let start = self.start.as_ptr().cast::<libc::c_void>();
            // SAFETY: the range is mapped and ours. It is advice: without huge pages the table is only slower.
            unsafe { libc::madvise(start, bytes, libc::MADV_HUGEPAGE) };
            // SAFETY: the range is mapped and ours, and all-zero before and after.
            if unsafe { libc::madvise(start, bytes, libc::MADV_POPULATE_WRITE) } == 0 {
                return Ok(());
            }
            match errno() {
                // A kernel before 5.14: write to each page instead.
                libc::EINVAL => {
                    for word in self.iter().step_by(PAGE / 8) {
                        word.store(0, Relaxed);
                    }
                    Ok(())
                }
                other => Err(other),
            }
        }
    }

    impl Deref for Words {
        type Target = [AtomicU64];

        #[inline]
        fn deref(&self) -> &[AtomicU64] {
            debug_assert!(self.mapping.bytes >= self.len * 8);
            // SAFETY: `start` is aligned to a page and followed by `len` words of mapped memory that lives as long as
            // `self`; zeroed memory is a valid `AtomicU64`, and nobody reaches it other than through this slice.
            unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
        }
    }

    /// Anonymous memory, unmapped when dropped.
    #[derive(Debug)]
    struct Mapping {
        start: *mut u8,
        bytes: usize,
    }

    impl Mapping {
        fn new(bytes: usize) -> Result<Self, i32> {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no existing memory.
            let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
            if start == libc::MAP_FAILED { Err(errno()) } else { Ok(Self { start: start.cast(), bytes }) }
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: exactly what `mmap` returned, and no reference outlives the owner of the mapping.
            unsafe { libc::munmap(self.start.cast(), self.bytes) };
        }
    }

    fn errno() -> i32 {
        std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::ENOMEM)
    }

    #[cfg(test)]
    mod tests {
        use super::Words;
        use crate::memory::{HUGE, PAGE, bytes_for};
        use crate::sync::Relaxed;

        #[test]
        fn small_and_large_mappings_are_zero_aligned_and_writable() {
            for len in [1, 511, 3 * HUGE / 8 + 5] {
                let words = Words::new(len).unwrap();
                let align = if len * 8 >= HUGE { HUGE } else { PAGE };
                assert_eq!((words.len(), words.as_ptr() as usize % align), (len, 0));
                assert!(words.iter().all(|w| w.load(Relaxed) == 0));
                words[len - 1].store(7, Relaxed);
                assert_eq!(words[len - 1].load(Relaxed), 7);
            }
        }

        #[test]
        fn all_pages_are_present_after_new() {
            let words = Words::new(3 * HUGE / 8 + 5).unwrap();
            let pages = bytes_for(words.len()) / PAGE;
            let mut present = vec![0u8; pages];
            // SAFETY: the range is mapped, and `present` has a byte for each of its pages.
            let rc = unsafe {
                libc::mincore(words.start.as_ptr().cast(), pages * PAGE, present.as_mut_ptr().cast())
            };
            assert_eq!(rc, 0);
            assert!(present.iter().all(|p| p & 1 == 1));
        }

        #[test]
        fn impossible_sizes_are_an_error_not_a_fault() {
            assert_eq!(Words::new(usize::MAX / 16).unwrap_err(), libc::ENOMEM);
            assert_eq!(Words::new(usize::MAX).unwrap_err(), libc::ENOMEM);
        }
    }
}

#[cfg(loom)]
mod modelled {
    use std::ops::Deref;

    use crate::sync::AtomicU64;

    /// The same on loom's atomics.
    #[derive(Debug)]
    pub(crate) struct Words(Box<[AtomicU64]>);

    impl Words {
        pub(crate) fn new(len: usize) -> Result<Self, i32> {
            Ok(Self((0..len).map(|_| AtomicU64::new(0)).collect()))
        }
    }

    impl Deref for Words {
        type Target = [AtomicU64];

        fn deref(&self) -> &[AtomicU64] {
            &self.0
        }
    }
}
