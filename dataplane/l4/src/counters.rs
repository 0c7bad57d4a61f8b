//! Counters, one set a worker: written by that worker alone (a load, an add, a store), read by control at any time.

use crate::drops;
use crate::latency::Latency;
use crate::tables::SERVICES_MAX;
use crossbeam::utils::CachePadded;
use ringlead_io::PortStats;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds, without a locked instruction: only the owning worker writes.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Replaces the value.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Replaces the value and publishes all that its writer did before.
    #[inline]
    pub fn publish(&self, n: u64) {
        self.0.store(n, Ordering::Release);
    }

    /// The value now, with all that its writer did before [`publish`](Self::publish).
    #[inline]
    #[must_use]
    pub fn observe(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// The value now.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The most queues that one worker owns.
pub const QUEUES_MAX: usize = 64;

/// A queue's counters as its driver last told them, once a second.
#[derive(Debug, Default)]
pub struct QueueCounters {
    /// Which configured port (low 8 bits, plus one; 0 = none) and which of its queues (above).
    which: Count,
    rx: Count,
    tx: Count,
    rx_lost: Count,
    tx_invalid: Count,
}

impl QueueCounters {
    fn key(port: usize, queue: u32) -> u64 {
        u64::from(queue) << 8 | (port as u64 + 1) & 0xff
    }
}

/// One service's traffic through one worker, in frames and bytes of whole frames.
#[derive(Debug, Default)]
pub struct ServiceCounters {
    /// Client → server.
    pub packets_in: Count,
    /// Client → server.
    pub bytes_in: Count,
    /// Server → client (nat).
    pub packets_out: Count,
    /// Server → client (nat).
    pub bytes_out: Count,
    /// Flows created.
    pub flows: Count,
}

/// All that one worker counts.
#[derive(Debug)]
pub struct Counters {
    /// Monotonic nanoseconds of the last turn or tick: the heartbeat.
    pub beat: CachePadded<Count>,
    /// The epoch of the snapshot that this worker has picked up.
    pub epoch: CachePadded<Count>,
    /// Frames received.
    pub received: Count,
    /// Frames handed to a port.
    pub sent: Count,
    /// Frames that the worker made itself (resets).
    pub made: Count,
    /// Frames waiting for a next hop or a transmit ring, now.
    pub held: Count,
    /// Partial checksums completed.
    pub completed_checksums: Count,
    /// New flows forwarded without an entry because the table was full (only where the server can be computed again).
    pub stateless: Count,
    /// Flows created.
    pub flows_created: Count,
    /// Flows ended by ageing in this worker's shards.
    pub flows_ended: Count,
    /// Turns that moved at least one frame.
    pub turns_busy: Count,
    /// Nanoseconds spent in turns that moved a frame.
    pub busy_ns: Count,
    /// Nanoseconds spent idle.
    pub idle_ns: Count,
    /// How long frames took, from the start of the turn that took them off the receive ring to the end of the one that gave
    /// them to a transmit ring; written by whoever calls the worker's turns and reads the clock.
    pub latency: Box<Latency>,
    queues: Box<[QueueCounters]>,
    drops: Box<[Count]>,
    services: Box<[ServiceCounters]>,
    /// By slot, and by place in [`drops::OF_SERVICE`]: apart from what is counted for each packet that goes on.
    service_drops: Box<[[Count; drops::OF_SERVICE.len()]]>,
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

impl Counters {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            beat: CachePadded::default(),
            epoch: CachePadded::default(),
            received: Count::default(),
            sent: Count::default(),
            made: Count::default(),
            held: Count::default(),
            completed_checksums: Count::default(),
            stateless: Count::default(),
            flows_created: Count::default(),
            flows_ended: Count::default(),
            turns_busy: Count::default(),
            busy_ns: Count::default(),
            idle_ns: Count::default(),
            latency: Box::default(),
            queues: (0..QUEUES_MAX).map(|_| QueueCounters::default()).collect(),
            drops: (0..drops::COUNT).map(|_| Count::default()).collect(),
            services: (0..SERVICES_MAX).map(|_| ServiceCounters::default()).collect(),
            service_drops: (0..SERVICES_MAX).map(|_| <[Count; drops::OF_SERVICE.len()]>::default()).collect(),
        }
    }

    /// Frames dropped for a reason.
    #[inline]
    #[must_use]
    pub fn dropped(&self, reason: drops::Drop) -> u64 {
        self.drops.get(reason.index()).map_or(0, Count::get)
    }

    /// Counts dropped frames.
    #[inline]
    pub(crate) fn drop_frames(&self, reason: usize, n: u64) {
        if let Some(count) = self.drops.get(reason) {
            count.add(n);
        }
    }

    /// One service's counters, by slot.
    #[inline]
    #[must_use]
    pub fn service(&self, slot: u16) -> Option<&ServiceCounters> {
        self.services.get(usize::from(slot))
    }

    /// Frames of one service that were dropped, by slot: a count for each of [`drops::OF_SERVICE`].
    #[must_use]
    pub fn service_dropped(&self, slot: u16) -> [u64; drops::OF_SERVICE.len()] {
        let counts = self.service_drops.get(usize::from(slot));
        counts.map_or_else(Default::default, |counts| counts.each_ref().map(Count::get))
    }

    /// The same of all slots together, for whatever services they had.
    #[must_use]
    pub fn services_dropped(&self) -> [u64; drops::OF_SERVICE.len()] {
        let mut total = [0; drops::OF_SERVICE.len()];
        for of in &self.service_drops {
            total.iter_mut().zip(of).for_each(|(total, count)| *total += count.get());
        }
        total
    }

    /// Counts a dropped frame for its service; `reason` is a place in [`drops::OF_SERVICE`].
    pub(crate) fn drop_of_service(&self, slot: u16, reason: usize) {
        if let Some(count) = self.service_drops.get(usize::from(slot)).and_then(|of| of.get(reason)) {
            count.add(1);
        }
    }

    /// What a queue's driver last said; `None` when this worker has no such queue.
    #[must_use]
    pub fn port_stats(&self, port: usize, queue: u32) -> Option<PortStats> {
        let key = QueueCounters::key(port, queue);
        let q = self.queues.iter().find(|q| q.which.get() == key)?;
        let (rx, tx, rx_lost, tx_invalid) = (q.rx.get(), q.tx.get(), q.rx_lost.get(), q.tx_invalid.get());
        Some(PortStats { rx, tx, rx_lost, tx_invalid })
    }

    /// Keeps what a queue's driver says; `index` is the queue's place in its worker.
    pub(crate) fn set_port_stats(&self, index: usize, port: u8, queue: u32, stats: &PortStats) {
        let Some(q) = self.queues.get(index) else { return };
        q.rx.set(stats.rx);
        q.tx.set(stats.tx);
        q.rx_lost.set(stats.rx_lost);
        q.tx_invalid.set(stats.tx_invalid);
        q.which.set(QueueCounters::key(usize::from(port), queue));
    }
}
