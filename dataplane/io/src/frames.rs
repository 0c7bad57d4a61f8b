//! One worker's packet memory: a region of equal chunks, each owned by exactly one holder at a time.

use crate::owners::{Owner, Owners};
use crate::region::Region;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use xsk_rs::Umem;
use xsk_rs::umem::frame::FrameDesc;

/// Bytes before the packet in a fresh frame, room for [`Frames::grow_head`]; the kernel's `XDP_PACKET_HEADROOM`.
pub const HEADROOM: usize = 256;

/// A chunk with a packet in it. Not `Clone`: whoever has it owns it, and gives it back with [`Frames::free`] or to a port.
///
/// It is made only by [`Frames::alloc`] and by ports, and stays inside its chunk: `offset + len <= chunk size`.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a frame that is dropped is lost to its worker: free it or send it"]
pub struct Frame {
    /// Which chunk.
    pub(crate) index: u32,
    /// Where the packet starts in the chunk.
    pub(crate) offset: u16,
    /// How long it is.
    pub(crate) len: u16,
}

impl Frame {
    /// Length of the packet in bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether the frame holds no packet yet.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How far [`Frames::grow_head`] can go, in bytes.
    #[inline]
    #[must_use]
    pub fn headroom(&self) -> usize {
        usize::from(self.offset)
    }
}

/// The packet memory of one worker.
///
/// Free frames are reused last in, first out, so that an idle worker stays in its cache.
#[derive(Debug)]
pub struct Frames {
    region: Region,
    /// Descriptors of the chunks, addresses at [`HEADROOM`]; empty where no kernel ring is involved.
    descs: Vec<FrameDesc>,
    chunk_shift: u32,
    free: Vec<u32>,
    /// How often each chunk was allocated: tells a frame from its chunk's next tenant.
    births: Vec<u32>,
    owners: Owners,
    id: u64,
}

impl Frames {
    /// Packet memory of our own, for the drivers without a kernel ring: `chunks` of `chunk_size` (2048 or 4096) bytes.
    ///
    /// # Errors
    /// `InvalidInput` for another chunk size, no chunk or more than 2²⁴; otherwise those of mmap(2).
    pub fn in_memory(chunks: u32, chunk_size: usize) -> io::Result<Self> {
        let (count, bytes) = layout(chunks, chunk_size)?;
        Ok(Self::over(Region::map(bytes)?, Vec::new(), count, chunk_size))
    }

    /// The memory of a Umem, which stays alive inside; `descs` are the descriptors that it was created with, all unused.
    ///
    /// # Errors
    /// `InvalidInput` as in [`in_memory`](Self::in_memory), and when a descriptor is not where chunk and headroom say.
    pub(crate) fn of_umem(umem: Umem, descs: Vec<FrameDesc>, chunk_size: usize) -> io::Result<Self> {
        let chunks = u32::try_from(descs.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let (count, bytes) = layout(chunks, chunk_size)?;
        let first = descs.first().ok_or(io::ErrorKind::InvalidInput)?;
        if descs.iter().enumerate().any(|(index, desc)| desc.addr() != index * chunk_size + HEADROOM) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let region = Region::of_umem(umem, first, bytes).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self::over(region, descs, count, chunk_size))
    }

    fn over(region: Region, descs: Vec<FrameDesc>, count: usize, chunk_size: usize) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Self {
            region,
            descs,
            chunk_shift: chunk_size.trailing_zeros(),
            // Downwards, so that the first frames out are the first in memory.
            free: (0..u32::try_from(count).unwrap_or(u32::MAX)).rev().collect(),
            births: vec![0; count],
            owners: Owners::new(count),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The packet.
    #[inline]
    #[must_use]
    pub fn bytes(&self, frame: &Frame) -> &[u8] {
        self.region.slice(self.start(frame), frame.len())
    }

    /// The packet, to rewrite it.
    #[inline]
    #[must_use]
    pub fn bytes_mut(&mut self, frame: &mut Frame) -> &mut [u8] {
        self.region.slice_mut(self.start(frame), frame.len())
    }

    /// An empty frame with [`HEADROOM`] before it; `None` when all are in use.
    #[inline]
    #[must_use]
    pub fn alloc(&mut self) -> Option<Frame> {
        let index = self.take_free(Owner::Worker)?;
        if let Some(births) = self.births.get_mut(index as usize) {
            *births = births.wrapping_add(1);
        }
        #[allow(clippy::cast_possible_truncation, reason = "256")]
        Some(Frame { index, offset: HEADROOM as u16, len: 0 })
    }

    /// Gives a frame back.
    #[inline]
    pub fn free(&mut self, frame: Frame) {
        self.put_free(frame.index, Owner::Worker);
    }

    /// Moves the packet's start `n` bytes towards the chunk's start; the bytes gained are whatever was there. False, and
    /// nothing done, when there is no such room.
    #[inline]
    #[must_use]
    pub fn grow_head(&self, frame: &mut Frame, n: usize) -> bool {
        match u16::try_from(n) {
            Ok(n) if n <= frame.offset => {
                frame.offset -= n;
                frame.len += n;
                true
            }
            _ => false,
        }
    }

    /// Cuts `n` bytes off the packet's front. False, and nothing done, when the packet is shorter.
    #[inline]
    #[must_use]
    pub fn shrink_head(&self, frame: &mut Frame, n: usize) -> bool {
        match u16::try_from(n) {
            Ok(n) if n <= frame.len => {
                frame.offset += n;
                frame.len -= n;
                true
            }
            _ => false,
        }
    }

    /// Sets the packet's length; bytes gained at its end are whatever was there. False, and nothing done, when the chunk
    /// ends before.
    #[inline]
    #[must_use]
    pub fn set_len(&self, frame: &mut Frame, n: usize) -> bool {
        match u16::try_from(n) {
            Ok(len) if usize::from(frame.offset) + n <= self.chunk_size() => {
                frame.len = len;
                true
            }
            _ => false,
        }
    }

    /// Makes `bytes` the packet, at the frame's present start. False, and nothing done, when the chunk ends before.
    #[inline]
    #[must_use]
    pub fn copy_in(&mut self, frame: &mut Frame, bytes: &[u8]) -> bool {
        if !self.set_len(frame, bytes.len()) {
            return false;
        }
        let packet = self.bytes_mut(frame);
        if packet.len() == bytes.len() {
            packet.copy_from_slice(bytes);
        }
        true
    }

    /// Asks the processor for the packet's first cache line, to be at hand a few packets later.
    ///
    /// A few: chunks are so far apart that their headers share a few places in the first cache, and push each other out.
    #[inline]
    pub fn prefetch(&self, frame: &Frame) {
        self.region.prefetch(self.start(frame));
    }

    /// Asks the processor for all of the packet's headers, to come in from memory during a burst's work: the second line of
    /// a packet that has one, and of a short one the first again, which costs no branch and no transfer.
    #[inline]
    pub fn prefetch_headers(&self, frame: &Frame) {
        let start = self.start(frame);
        self.region.prefetch(start);
        self.region.prefetch(start + frame.len().saturating_sub(1).min(64));
    }

    /// Asks the processor for the line in front of the packet, where outer headers will be written.
    #[inline]
    pub fn prefetch_head(&self, frame: &Frame) {
        self.region.prefetch(self.start(frame).saturating_sub(1));
    }

    /// How many frames there are.
    #[inline]
    #[must_use]
    pub fn count(&self) -> usize {
        self.births.len()
    }

    /// How many are free.
    #[inline]
    #[must_use]
    pub fn free_count(&self) -> usize {
        self.free.len()
    }

    /// How many are neither free nor with a port: those that the worker holds. Known in debug builds only.
    #[inline]
    #[must_use]
    pub fn held(&self) -> Option<usize> {
        self.owners.held()
    }

    /// Size of a chunk in bytes; a packet can be [`HEADROOM`] less.
    #[inline]
    #[must_use]
    pub fn chunk_size(&self) -> usize {
        1 << self.chunk_shift
    }

    #[inline]
    fn start(&self, frame: &Frame) -> usize {
        ((frame.index as usize) << self.chunk_shift) + usize::from(frame.offset)
    }
}

/// What drivers need besides.
impl Frames {
    /// Takes a chunk off the free list for `owner`.
    #[inline]
    pub(crate) fn take_free(&mut self, owner: Owner) -> Option<u32> {
        let index = self.free.pop()?;
        self.owners.hand(index, Owner::Free, owner);
        Some(index)
    }

    /// Puts a chunk of `owner` on the free list.
    #[inline]
    pub(crate) fn put_free(&mut self, index: u32, owner: Owner) {
        self.owners.hand(index, owner, Owner::Free);
        // Never beyond the capacity: a full list means a chunk freed twice, and must not make the path allocate.
        if self.free.len() < self.free.capacity() {
            self.free.push(index);
        }
    }

    /// Notes that a frame changes hands.
    #[inline]
    pub(crate) fn hand(&mut self, frame: &Frame, from: Owner, to: Owner) {
        self.owners.hand(frame.index, from, to);
    }

    /// The frame that a ring's `address` and `len` mean, taken over from the receive ring; `None` when that is no place
    /// in this memory.
    #[inline]
    pub(crate) fn adopt(&mut self, address: usize, len: usize) -> Option<Frame> {
        let offset = address & (self.chunk_size() - 1);
        let index = address >> self.chunk_shift;
        if index >= self.count() || offset + len > self.chunk_size() {
            return None;
        }
        let frame = Frame {
            index: u32::try_from(index).ok()?,
            offset: u16::try_from(offset).ok()?,
            len: u16::try_from(len).ok()?,
        };
        self.owners.hand(frame.index, Owner::Rx, Owner::Worker);
        Some(frame)
    }

    /// Moves the packet so that it starts at [`HEADROOM`], where the chunk's descriptor points. False when the chunk
    /// ends before.
    #[inline]
    pub(crate) fn settle(&mut self, frame: &mut Frame) -> bool {
        if usize::from(frame.offset) == HEADROOM {
            return true;
        }
        if HEADROOM + frame.len() > self.chunk_size() {
            return false;
        }
        let chunk = self.region.slice_mut((frame.index as usize) << self.chunk_shift, self.chunk_size());
        let from = usize::from(frame.offset);
        if chunk.len() >= from + frame.len() {
            chunk.copy_within(from..from + frame.len(), HEADROOM);
        }
        #[allow(clippy::cast_possible_truncation, reason = "256")]
        {
            frame.offset = HEADROOM as u16;
        }
        true
    }

    /// The descriptor of a chunk; `None` where no kernel ring is involved.
    #[inline]
    pub(crate) fn desc(&self, index: u32) -> Option<FrameDesc> {
        self.descs.get(index as usize).copied()
    }

    /// The Umem, where a kernel ring is involved.
    #[inline]
    pub(crate) fn umem(&self) -> Option<&Umem> {
        self.region.umem()
    }

    /// Which allocation of its chunk a frame is.
    pub(crate) fn birth(&self, frame: &Frame) -> u32 {
        self.births.get(frame.index as usize).copied().unwrap_or(0)
    }

    /// Tells these frames from every other `Frames` of the process.
    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

/// Number of chunks and of bytes, once they are within bounds.
fn layout(chunks: u32, chunk_size: usize) -> io::Result<(usize, usize)> {
    let count = usize::try_from(chunks).map_err(|_| io::ErrorKind::InvalidInput)?;
    if !matches!(chunk_size, 2048 | 4096) || count == 0 || count > 1 << 24 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{chunks} chunks of {chunk_size} bytes: want 1 to 16777216 of 2048 or 4096"),
        ));
    }
    Ok((count, count * chunk_size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(count: u32) -> Frames {
        Frames::in_memory(count, 2048).unwrap()
    }

    #[test]
    fn every_chunk_comes_once_and_comes_back() {
        let mut frames = frames(8);
        let mut out: Vec<Frame> = std::iter::from_fn(|| frames.alloc()).collect();
        let mut seen: Vec<u32> = out.iter().map(|frame| frame.index).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..8).collect::<Vec<_>>());
        assert_eq!((frames.free_count(), frames.held().unwrap_or(8)), (0, 8));
        out.drain(..).for_each(|frame| frames.free(frame));
        assert_eq!((frames.free_count(), frames.held().unwrap_or(0)), (8, 0));
    }

    #[test]
    fn neighbouring_chunks_do_not_touch() {
        let mut frames = frames(3);
        let mut all: Vec<Frame> = std::iter::from_fn(|| frames.alloc()).collect();
        for (frame, fill) in all.iter_mut().zip(1u8..) {
            assert!(frames.grow_head(frame, HEADROOM));
            assert!(frames.set_len(frame, 2048));
            frames.bytes_mut(frame).fill(fill);
        }
        for (frame, fill) in all.iter().zip(1u8..) {
            assert_eq!(frames.bytes(frame), vec![fill; 2048]);
        }
    }

    #[test]
    fn the_head_grows_and_shrinks_within_the_chunk() {
        let mut frames = frames(1);
        let mut frame = frames.alloc().unwrap();
        assert!(frames.copy_in(&mut frame, b"payload"));
        assert!(frames.grow_head(&mut frame, 20));
        assert_eq!(&frames.bytes(&frame)[20..], b"payload");
        assert!(!frames.grow_head(&mut frame, HEADROOM - 19));
        assert!(frames.shrink_head(&mut frame, 23));
        assert_eq!(frames.bytes(&frame), b"load");
        assert!(!frames.shrink_head(&mut frame, 5));
        assert!(!frames.set_len(&mut frame, 2048 - HEADROOM - 2));
        assert!(!frames.copy_in(&mut frame, &[0; 2048]));
        assert_eq!(frames.bytes(&frame), b"load", "a refusal changes nothing");
    }

    #[test]
    fn a_frame_of_larger_memory_reads_as_nothing() {
        let mut large = frames(4);
        let small = frames(1);
        let mut all: Vec<Frame> = std::iter::from_fn(|| large.alloc()).collect();
        let mut last = all.pop().unwrap();
        assert!(large.copy_in(&mut last, &[1; 64]));
        assert_eq!(small.bytes(&last), b"");
        small.prefetch(&last);
    }

    #[test]
    fn odd_layouts_are_refused() {
        for (chunks, size) in [(0, 2048), (1, 1024), (1, 3000), (1, 8192), ((1 << 24) + 1, 2048)] {
            assert_eq!(Frames::in_memory(chunks, size).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "but its owner is Some(Free)")]
    fn a_double_free_panics_in_debug() {
        let mut frames = frames(2);
        let frame = frames.alloc().unwrap();
        let twin = Frame { index: frame.index, offset: frame.offset, len: frame.len };
        frames.free(frame);
        frames.free(twin);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "but its owner is Some(Worker)")]
    fn receiving_a_chunk_that_the_worker_holds_panics_in_debug() {
        let mut frames = frames(2);
        let frame = frames.alloc().unwrap();
        let _ = frames.adopt((frame.index as usize) * 2048 + HEADROOM, 60);
    }

    #[test]
    fn ring_addresses_outside_the_memory_are_no_frame() {
        let mut frames = frames(2);
        while frames.take_free(Owner::Rx).is_some() {}
        assert_eq!(frames.adopt(2 * 2048 + HEADROOM, 60), None);
        assert_eq!(frames.adopt(HEADROOM, 2048 - HEADROOM + 1), None);
        let frame = frames.adopt(2048 + 100, 60).unwrap();
        assert_eq!((frame.index, frame.offset, frame.len), (1, 100, 60));
    }

    proptest! {
        #[test]
        fn settling_keeps_the_packet(grow in 0usize..=HEADROOM, shrink in 0usize..200, len in 200usize..1700) {
            let mut frames = frames(1);
            let mut frame = frames.alloc().unwrap();
            let bytes: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
            prop_assert!(frames.copy_in(&mut frame, &bytes));
            prop_assert!(frames.grow_head(&mut frame, grow));
            prop_assert!(frames.shrink_head(&mut frame, shrink));
            let before = frames.bytes(&frame).to_vec();
            let fits = HEADROOM + before.len() <= 2048;
            prop_assert_eq!(frames.settle(&mut frame), fits);
            prop_assert_eq!(frames.bytes(&frame), &before[..]);
            prop_assert!(!fits || usize::from(frame.offset) == HEADROOM);
        }
    }
}
