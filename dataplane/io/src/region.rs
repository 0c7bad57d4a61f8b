//! Packet memory as bytes: the one place that turns chunk numbers into pointers.
//!
//! JUSTIFICATION: the kernel writes received packets into this memory and reads sent ones from it, so it cannot be a
//! `Vec` that Rust owns alone; and a bounds check that can panic has no place on the path. Every range is checked
//! here all the same (one predicted branch); a range outside gives an empty slice.
#![allow(unsafe_code, reason = "memory shared with the kernel; see the module's justification")]

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use xsk_rs::Umem;
use xsk_rs::umem::frame::FrameDesc;

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
    /// Our own mapping.
    Mapping,
    /// The driver's: sockets that still live hold a handle as well.
    Umem(Umem),
}

// SAFETY: the region is reached only through `&self` for reading and `&mut self` for writing, and the mapping (or the
// Umem, itself Send) has no tie to the thread that made it.
unsafe impl Send for Region {}

impl Region {
    /// Maps `bytes` of zeroed memory, pre-faulted so that no packet pays for a page fault.
    ///
    /// # Errors
    /// Those of mmap(2); `InvalidInput` for 0 bytes.
    pub(crate) fn map(bytes: usize) -> io::Result<Self> {
        let length = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_POPULATE;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new anonymous mapping at an address that the kernel chooses overlaps nothing.
        let base = unsafe { mmap_anonymous(None, length, prot, flags) }?;
        Ok(Self { base: base.cast(), bytes, keep: Keep::Mapping })
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
            Keep::Mapping => None,
        }
    }

    /// `len` bytes from `start`; empty when that is not inside the region.
    #[inline]
    pub(crate) fn slice(&self, start: usize, len: usize) -> &[u8] {
        if !self.holds(start, len) {
            return &[];
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
            return &mut [];
        }
        // SAFETY: `start <= bytes`, checked above.
        let pointer = unsafe { self.base.add(start) };
        // SAFETY: as in `slice`, and `&mut self` excludes every other slice of the region.
        unsafe { std::slice::from_raw_parts_mut(pointer.as_ptr(), len) }
    }

    /// Asks the processor for the cache line at `start`; no effect outside the region.
    #[inline]
    pub(crate) fn prefetch(&self, start: usize) {
        #[cfg(target_arch = "x86_64")]
        if start < self.bytes {
            // SAFETY: `start < bytes`, checked above.
            let pointer = unsafe { self.base.add(start) };
            // SAFETY: a prefetch reads nothing that the program can see and never faults; SSE is part of x86_64.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                _mm_prefetch::<_MM_HINT_T0>(pointer.as_ptr().cast_const().cast());
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = start;
    }

    fn holds(&self, start: usize, len: usize) -> bool {
        start.checked_add(len).is_some_and(|end| end <= self.bytes)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if matches!(self.keep, Keep::Mapping) {
            // SAFETY: this is the mapping that `map` made, whole, and no slice of it outlives `self`.
            let unmapped = unsafe { munmap(self.base.cast(), self.bytes) };
            debug_assert!(unmapped.is_ok(), "munmap of packet memory: {unmapped:?}");
        }
    }
}
