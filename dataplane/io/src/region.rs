//! Packet memory as bytes: the one place that turns chunk numbers into pointers.
//!
//! JUSTIFICATION: the kernel writes received packets into this memory and reads sent ones from it, so it cannot be a
//! `Vec` that Rust owns alone; and a bounds check that can panic has no place on the path. Every range is checked
//! here all the same (one predicted branch); a range outside gives an empty slice.
#![allow(unsafe_code, reason = "memory shared with the kernel; see the module's justification")]

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use xsk_rs::Umem;
use xsk_rs::umem::frame::FrameDesc;

/// A huge page, in bytes.
const HUGE: usize = 2 << 20;

/// A mapping, and whoever keeps it mapped.
#[derive(Debug)]
pub(crate) struct Region {
    base: NonNull<u8>,
    bytes: usize,
    keep: Keep,
}

/// What unmaps the memory when the region goes.
#[derive(Debug)]
enum Keep {
    /// Our own mapping, as large as it was made.
    Mapping(NonNull<c_void>, usize),
    /// The driver's: sockets that still live hold a handle as well.
    Umem(Umem),
}

// SAFETY: the region is reached only through `&self` for reading and `&mut self` for writing, and the mapping (or the
// Umem, itself Send) has no tie to the thread that made it.
unsafe impl Send for Region {}

impl Region {
    /// Maps `bytes` of zeroed memory, pre-faulted so that no packet pays for a page fault, and on huge pages where the
    /// system offers them: tens of megabytes of packets in pages of 4 KiB are more than the processor keeps addresses for.
    ///
    /// # Errors
    /// Those of mmap(2); `InvalidInput` for 0 bytes.
    pub(crate) fn map(bytes: usize) -> io::Result<Self> {
        if bytes == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Room for the start to be moved to a huge page's.
        let mapped = bytes.checked_add(HUGE).ok_or(io::ErrorKind::InvalidInput)?;
        let length = NonZeroUsize::new(mapped).ok_or(io::ErrorKind::InvalidInput)?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new anonymous mapping at an address that the kernel chooses overlaps nothing.
        let mapping = unsafe { mmap_anonymous(None, length, prot, MapFlags::MAP_PRIVATE) }?;
        let skip = mapping.cast::<u8>().as_ptr().align_offset(HUGE);
        // SAFETY: `skip` is below HUGE, so the result lies in the mapping with `bytes` bytes behind it.
        let base = unsafe { mapping.cast::<u8>().add(skip) };
        let region = Self { base, bytes, keep: Keep::Mapping(mapping, mapped) };
        region.populate()?;
        Ok(region)
    }

    /// Makes every page present.
    fn populate(&self) -> io::Result<()> {
        // SAFETY: the range is mapped and ours. It is advice: without huge pages the memory is only slower.
        let _ = unsafe { madvise(self.base.cast(), self.bytes, MmapAdvise::MADV_HUGEPAGE) };
        // SAFETY: the range is mapped and ours, and all-zero before and after.
        match unsafe { madvise(self.base.cast(), self.bytes, MmapAdvise::MADV_POPULATE_WRITE) } {
            // A kernel before 5.14 faults the pages in as they are used.
            Ok(()) | Err(Errno::EINVAL) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The memory of a Umem of `bytes`, whose first chunk `first` describes. `None` if the descriptor says otherwise.
    pub(crate) fn of_umem(umem: Umem, first: &FrameDesc, bytes: usize) -> Option<Self> {
        // SAFETY: the descriptor came from this Umem, and no queue exists yet, so nobody else touches the memory.
        let data = unsafe { umem.data(first) };
        // The mapping came from mmap(2) and was handed to libxdp and the kernel, foreign code that may expose it, so a
        // pointer to the whole of it may be made from an address inside it.
        let start = data.contents().as_ptr().expose_provenance().checked_sub(first.addr())?;
        let base = NonNull::new(std::ptr::with_exposed_provenance_mut::<u8>(start))?;
        Some(Self { base, bytes, keep: Keep::Umem(umem) })
    }

    /// The Umem behind the region, if there is one.
    pub(crate) fn umem(&self) -> Option<&Umem> {
        match &self.keep {
            Keep::Umem(umem) => Some(umem),
            Keep::Mapping(..) => None,
        }
    }

    /// `len` bytes from `start`; empty when that is not inside the region.
    #[inline]
    pub(crate) fn slice(&self, start: usize, len: usize) -> &[u8] {
        if !self.holds(start, len) {
            return outside();
        }
        // SAFETY: `start <= bytes`, checked above.
        let pointer = unsafe { self.base.add(start) };
        // SAFETY: the range is inside a mapping that lives as long as `self`, holds initialised bytes, and the caller
        // owns the chunk (frames.rs), so neither the kernel nor a `&mut` writes it meanwhile.
        unsafe { std::slice::from_raw_parts(pointer.as_ptr(), len) }
    }

    /// As [`slice`](Self::slice), to write.
    #[inline]
    pub(crate) fn slice_mut(&mut self, start: usize, len: usize) -> &mut [u8] {
        if !self.holds(start, len) {
            return outside_mut();
        }
        // SAFETY: `start <= bytes`, checked above.
        let pointer = unsafe { self.base.add(start) };
        // SAFETY: as in `slice`, and `&mut self` excludes every other slice of the region.
        unsafe { std::slice::from_raw_parts_mut(pointer.as_ptr(), len) }
    }

    /// Asks the processor for the cache line at `start`; harmless, but for nothing, outside the region.
    #[inline]
    pub(crate) fn prefetch(&self, start: usize) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads nothing that the program can see and never faults; SSE is part of x86_64.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(self.base.as_ptr().wrapping_add(start).cast_const().cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = start;
    }

    #[inline]
    fn holds(&self, start: usize, len: usize) -> bool {
        start.checked_add(len).is_some_and(|end| end <= self.bytes)
    }
}

/// Out of line, so that the good case is a branch that the processor foresees and no choice between two pointers.
#[cold]
const fn outside<'a>() -> &'a [u8] {
    &[]
}

#[cold]
const fn outside_mut<'a>() -> &'a mut [u8] {
    &mut []
}

impl Drop for Region {
    fn drop(&mut self) {
        if let Keep::Mapping(mapping, bytes) = self.keep {
            // SAFETY: this is the mapping that `map` made, whole, and no slice of it outlives `self`.
            let unmapped = unsafe { munmap(mapping, bytes) };
            debug_assert!(unmapped.is_ok(), "munmap of packet memory: {unmapped:?}");
        }
    }
}
