//! Frames that are ready but for their next hop's Ethernet address: a bounded waiting room, retried in `tick`.

use crate::neighbours::NeighbourId;
use ringlead_io::Frame;
use std::collections::VecDeque;

/// The most frames a worker keeps waiting.
pub(crate) const HELD_MAX: usize = 256;
/// How long a frame waits for its next hop before it is dropped, in nanoseconds.
pub(crate) const HELD_NS: u64 = 1_000_000_000;

/// One waiting frame.
#[derive(Debug)]
pub(crate) struct HeldFrame {
    pub frame: Frame,
    /// Where its IP header starts.
    pub l3: u16,
    pub neighbour: NeighbourId,
    /// Monotonic nanoseconds after which it is dropped.
    pub until_ns: u64,
}

/// The waiting room; its memory is taken once.
#[derive(Debug)]
pub(crate) struct Held {
    frames: VecDeque<HeldFrame>,
}

impl Held {
    pub(crate) fn new() -> Self {
        Self { frames: VecDeque::with_capacity(HELD_MAX) }
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Takes a frame in, or gives it back when the room is full.
    pub(crate) fn push(&mut self, frame: HeldFrame) -> Result<(), HeldFrame> {
        if self.frames.len() >= HELD_MAX {
            return Err(frame);
        }
        self.frames.push_back(frame);
        Ok(())
    }

    /// The one that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<HeldFrame> {
        self.frames.pop_front()
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = HeldFrame> + '_ {
        self.frames.drain(..)
    }
}
