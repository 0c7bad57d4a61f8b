//! A port without a device: for tests, simulation and benchmarks.
//!
//! Two bounded rings of frame handles. Tests [`inject`](MemPort::inject) bytes and [`take_sent`](MemPort::take_sent)
//! them; benchmarks move handles alone with [`push_rx`](MemPort::push_rx) and [`pop_tx`](MemPort::pop_tx), which costs
//! next to nothing and lets frames rotate over the whole memory.

use crate::frames::{Frame, Frames, HEADROOM};
use crate::owners::Owner;
use crate::port::{BURST, Caps, FrameList, Port, PortStats};
use std::collections::VecDeque;

/// See the module.
#[derive(Debug)]
pub struct MemPort {
    caps: Caps,
    rx: VecDeque<Frame>,
    tx: VecDeque<Frame>,
    rx_room: usize,
    tx_room: usize,
    burst: usize,
    stats: PortStats,
}

impl MemPort {
    /// A port named `device`, with rings of `ring` frames (at least one). Frames may be as long as a 2048-byte chunk
    /// allows and their checksums are complete; [`caps_mut`](Self::caps_mut) changes that.
    #[must_use]
    pub fn new(device: &str, queue: u32, mac: [u8; 6], ring: usize) -> Self {
        let room = ring.max(1);
        Self {
            caps: Caps {
                device: device.to_owned(),
                queue,
                mac,
                frame_max: 2048 - HEADROOM,
                partial_checksums: false,
                mode: "mem".to_owned(),
            },
            rx: VecDeque::with_capacity(room),
            tx: VecDeque::with_capacity(room),
            rx_room: room,
            tx_room: room,
            burst: BURST,
            stats: PortStats::default(),
        }
    }

    /// What the port says of itself, to change before use.
    pub fn caps_mut(&mut self) -> &mut Caps {
        &mut self.caps
    }

    /// How many sent frames may wait for [`pop_tx`](Self::pop_tx) or [`take_sent`](Self::take_sent): at most the ring's
    /// size; 0 makes every `tx` find the ring full.
    pub fn set_tx_room(&mut self, frames: usize) {
        self.tx_room = frames.min(self.tx.capacity());
    }

    /// How many frames one `rx` gives at most: 1 to [`BURST`], which it is at first.
    pub fn set_burst(&mut self, frames: usize) {
        self.burst = frames.clamp(1, BURST);
    }

    /// Lets `bytes` arrive. False, counted as lost, when the ring is full, no frame is free or the packet is too long.
    pub fn inject(&mut self, frames: &mut Frames, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= self.caps.frame_max && self.rx.len() < self.rx_room;
        let Some(mut frame) = fits.then(|| frames.alloc()).flatten() else {
            self.stats.rx_lost += 1;
            return false;
        };
        if !frames.copy_in(&mut frame, bytes) {
            frames.free(frame);
            self.stats.rx_lost += 1;
            return false;
        }
        frames.hand(&frame, Owner::Worker, Owner::Rx);
        self.rx.push_back(frame);
        true
    }

    /// Everything sent since the last call, in order; frees the frames.
    pub fn take_sent(&mut self, frames: &mut Frames) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| {
            let frame = self.pop_tx(frames)?;
            let bytes = frames.bytes(&frame).to_vec();
            frames.free(frame);
            Some(bytes)
        })
        .collect()
    }

    /// Lets a prepared frame arrive.
    ///
    /// # Errors
    /// Gives the frame back when the ring is full.
    #[inline]
    pub fn push_rx(&mut self, frames: &mut Frames, frame: Frame) -> Result<(), Frame> {
        if self.rx.len() >= self.rx_room {
            return Err(frame);
        }
        frames.hand(&frame, Owner::Worker, Owner::Rx);
        self.rx.push_back(frame);
        Ok(())
    }

    /// The frame sent first of those that wait.
    #[inline]
    pub fn pop_tx(&mut self, frames: &mut Frames) -> Option<Frame> {
        let frame = self.tx.pop_front()?;
        frames.hand(&frame, Owner::Tx, Owner::Worker);
        Some(frame)
    }

    /// How many frames wait to be received.
    #[must_use]
    pub fn rx_waiting(&self) -> usize {
        self.rx.len()
    }

    /// How many sent frames wait to be taken.
    #[must_use]
    pub fn tx_waiting(&self) -> usize {
        self.tx.len()
    }
}

impl Port for MemPort {
    #[inline]
    fn rx(&mut self, frames: &mut Frames, list: &mut FrameList) -> usize {
        let count = list.remaining_capacity().min(self.burst).min(self.rx.len());
        for frame in self.rx.drain(..count) {
            frames.hand(&frame, Owner::Rx, Owner::Worker);
            list.push(frame);
        }
        self.stats.rx += count as u64;
        count
    }

    /// Frames longer than `frame_max` are taken, counted as invalid and freed, as a device would.
    #[inline]
    fn tx(&mut self, frames: &mut Frames, list: &mut FrameList) -> usize {
        let count = self.tx_room.saturating_sub(self.tx.len()).min(list.len());
        for frame in list.drain(..count) {
            if frame.len() > self.caps.frame_max {
                self.stats.tx_invalid += 1;
                frames.free(frame);
                continue;
            }
            frames.hand(&frame, Owner::Worker, Owner::Tx);
            self.tx.push_back(frame);
            self.stats.tx += 1;
        }
        count
    }

    /// Nothing: sent frames wait for the test to look at them.
    #[inline]
    fn reap(&mut self, _frames: &mut Frames) {}

    #[inline]
    fn refill(&mut self, _frames: &mut Frames) {}

    #[inline]
    fn kick(&mut self) {}

    fn stats(&self) -> PortStats {
        self.stats
    }

    #[inline]
    fn caps(&self) -> &Caps {
        &self.caps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn port(ring: usize) -> MemPort {
        MemPort::new("mem0", 0, [2, 0, 0, 0, 0, 1], ring)
    }

    #[test]
    fn what_is_injected_comes_out_in_order() {
        let mut frames = Frames::in_memory(256, 2048).unwrap();
        let mut port = port(128);
        for n in 0..100u8 {
            assert!(port.inject(&mut frames, &[n; 60]));
        }
        let mut list = FrameList::new();
        assert_eq!(port.rx(&mut frames, &mut list), BURST);
        assert_eq!(port.tx(&mut frames, &mut list), BURST);
        assert_eq!(port.rx(&mut frames, &mut list), 36);
        assert_eq!(port.tx(&mut frames, &mut list), 36);
        let sent = port.take_sent(&mut frames);
        assert_eq!(sent, (0..100u8).map(|n| vec![n; 60]).collect::<Vec<_>>());
        assert_eq!(frames.free_count(), 256);
        assert_eq!(port.stats(), PortStats { rx: 100, tx: 100, ..PortStats::default() });
    }

    #[test]
    fn a_full_tx_ring_leaves_the_rest_in_the_list() {
        let mut frames = Frames::in_memory(16, 2048).unwrap();
        let mut port = port(8);
        (0..5u8).for_each(|n| assert!(port.inject(&mut frames, &[n])));
        port.set_tx_room(3);
        let mut list = FrameList::new();
        port.rx(&mut frames, &mut list);
        assert_eq!(port.tx(&mut frames, &mut list), 3);
        assert_eq!(list.iter().map(|frame| frames.bytes(frame)[0]).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(port.tx(&mut frames, &mut list), 0);
        assert_eq!(port.take_sent(&mut frames), [[0], [1], [2]]);
        assert_eq!(port.tx(&mut frames, &mut list), 2);
    }

    #[test]
    fn a_smaller_burst_leaves_the_rest_in_the_ring() {
        let mut frames = Frames::in_memory(16, 2048).unwrap();
        let mut port = port(16);
        (0..10u8).for_each(|n| assert!(port.inject(&mut frames, &[n])));
        let mut list = FrameList::new();
        port.set_burst(4);
        assert_eq!((port.rx(&mut frames, &mut list), port.rx_waiting()), (4, 6));
        port.set_burst(0);
        assert_eq!((port.rx(&mut frames, &mut list), port.rx_waiting()), (1, 5), "never none at all");
        assert_eq!(list.iter().map(|frame| frames.bytes(frame)[0]).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn losses_are_counted() {
        let mut frames = Frames::in_memory(2, 2048).unwrap();
        let mut port = port(8);
        assert!(!port.inject(&mut frames, &[0; 1793]), "longer than the chunk leaves");
        assert!(port.inject(&mut frames, &[0; 1792]));
        assert!(port.inject(&mut frames, &[0]));
        assert!(!port.inject(&mut frames, &[0]), "no frame left");
        assert_eq!(port.stats().rx_lost, 2);
        port.caps_mut().frame_max = 100;
        let mut list = FrameList::new();
        port.rx(&mut frames, &mut list);
        assert_eq!(port.tx(&mut frames, &mut list), 2);
        assert_eq!((port.stats().tx, port.stats().tx_invalid), (1, 1));
        assert_eq!((frames.free_count(), port.tx_waiting()), (1, 1), "the refused frame is free");
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "goes from Worker to Tx but its owner is Some(Tx)")]
    fn sending_a_frame_twice_panics_in_debug() {
        let mut frames = Frames::in_memory(2, 2048).unwrap();
        let mut port = port(8);
        let frame = frames.alloc().unwrap();
        let twin = Frame { index: frame.index, offset: frame.offset, len: frame.len };
        let mut list = FrameList::new();
        list.push(frame);
        list.push(twin);
        port.tx(&mut frames, &mut list);
    }

    proptest! {
        /// Whatever the order of calls, every frame is free, in a ring or in the list.
        #[test]
        fn frames_are_conserved(steps in prop::collection::vec(0u8..6, 1..200)) {
            let mut frames = Frames::in_memory(24, 2048).unwrap();
            let mut port = port(10);
            let mut list = FrameList::new();
            for step in steps {
                match step {
                    0 => { port.inject(&mut frames, &[step; 64]); }
                    1 => { port.rx(&mut frames, &mut list); }
                    2 => { port.tx(&mut frames, &mut list); }
                    3 => { port.take_sent(&mut frames); }
                    4 => if let Some(frame) = port.pop_tx(&mut frames)
                        && let Err(frame) = port.push_rx(&mut frames, frame) {
                        frames.free(frame);
                    },
                    _ => if let Some(frame) = list.pop() { frames.free(frame) },
                }
                let rings = port.rx_waiting() + port.tx_waiting();
                prop_assert_eq!(frames.free_count() + rings + list.len(), 24);
                prop_assert!(frames.held().is_none_or(|held| held == list.len()));
            }
        }
    }
}
