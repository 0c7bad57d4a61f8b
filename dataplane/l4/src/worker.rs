//! One worker: its packet memory, its queues and its share of everything else.

use crate::answer::ANSWERS_PER_MS;
use crate::attempts::Attempts;
use crate::burst::Burst;
use crate::counters::Counters;
use crate::drops::{self, Reason};
use crate::hold::Held;
use crate::ids::Identifications;
use crate::removed::Latest;
use crate::shared::Shared;
use crate::tables::{SERVICES_MAX, Tables};
use arc_swap::Cache;
use ringlead_flow::snat::SnatRandom;
use ringlead_flow::{FlowTable, Tick};
use ringlead_io::{FrameList, Frames, Port};
use ringlead_pick::Cursor;
use std::sync::Arc;

/// The most configured ports of a node.
pub const PORTS_MAX: usize = 16;

/// How one worker is set up.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Its number, 0-based; worker i owns queue i of every port.
    pub index: usize,
    /// How many workers there are.
    pub workers: usize,
    /// Random bits, other ones for each worker: nobody shall guess the source ports that it takes.
    pub seed: [u64; 4],
}

/// One queue of a configured port, and the frames that wait for room in its ring.
#[derive(Debug)]
pub(crate) struct Queue<P> {
    /// Index of the configured port.
    pub port_index: u8,
    pub port: P,
    /// Received, their headers asked for, and not yet looked at.
    pub ahead: FrameList,
    /// On their way out; what the ring does not take stays, in order.
    pub out: FrameList,
    pub frame_max: usize,
    pub partial_checksums: bool,
}

/// What the stages of one turn count, added to the shared counters by `settle`.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub received: u64,
    pub sent: u64,
    pub made: u64,
    pub dropped: u64,
    pub flows_created: u64,
    pub completed_checksums: u64,
    pub stateless: u64,
}

/// A worker. `run`, replay, tests and benchmarks all drive this one type.
#[derive(Debug)]
pub struct Worker<P> {
    pub(crate) config: WorkerConfig,
    pub(crate) frames: Frames,
    pub(crate) queues: Vec<Queue<P>>,
    /// Configured port → index in `queues`, or `u8::MAX`.
    pub(crate) egress: [u8; PORTS_MAX],
    /// Configured port → its own Ethernet address, a number of 48 bits.
    pub(crate) macs: [u64; PORTS_MAX],
    /// Configured port → the longest frame without tags that leaves by it; 0 where this worker has no queue.
    pub(crate) frame_max: [u16; PORTS_MAX],
    /// The least of those: what is not longer fits everywhere.
    pub(crate) fits: u16,
    /// Of packets with a header of ours that may be fragmented.
    pub(crate) ids: Identifications,
    /// Follows the shared pointer: one load a turn.
    pub(crate) latest: Latest,
    /// The snapshot of this turn.
    pub(crate) tables: Arc<Tables>,
    pub(crate) shared: Shared,
    pub(crate) flows: Arc<FlowTable>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) attempts: Arc<Attempts>,
    pub(crate) burst: Box<Burst>,
    pub(crate) held: Held,
    pub(crate) cursors: Box<[Cursor]>,
    pub(crate) tally: Tally,
    pub(crate) dropped: [u32; drops::COUNT],
    pub(crate) answers_left: u32,
    pub(crate) ask_drivers_ns: u64,
    pub(crate) tick: Tick,
    /// Of this turn: microseconds of the monotonic clock.
    pub(crate) now_us: u64,
    pub(crate) next_shard: usize,
    /// The pool of source ports whose quarantines were looked at last.
    pub(crate) next_pool: usize,
    pub(crate) random: SnatRandom,
}

impl<P: Port> Worker<P> {
    /// A worker over its queues: `(index of the configured port, driver)` pairs that all use `frames`.
    ///
    /// Queues of ports beyond [`PORTS_MAX`] can receive but never send.
    #[must_use]
    pub fn new(config: WorkerConfig, frames: Frames, ports: Vec<(u8, P)>, shared: Shared) -> Self {
        let mut egress = [u8::MAX; PORTS_MAX];
        let mut macs = [0; PORTS_MAX];
        let mut longest = [0; PORTS_MAX];
        let mut queues = Vec::with_capacity(ports.len());
        for (port_index, port) in ports {
            if let (Some(place @ &mut u8::MAX), Ok(index)) =
                (egress.get_mut(usize::from(port_index)), u8::try_from(queues.len()))
            {
                *place = index;
            }
            let caps = port.caps();
            let [a, b, c, d, e, f] = caps.mac;
            if let Some(mac) = macs.get_mut(usize::from(port_index)) {
                *mac = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
            }
            let (frame_max, partial_checksums) = (caps.frame_max, caps.partial_checksums);
            if let Some(longest) = longest.get_mut(usize::from(port_index)) {
                *longest = u16::try_from(frame_max).unwrap_or(u16::MAX);
            }
            let (ahead, out) = (FrameList::new(), FrameList::new());
            queues.push(Queue { port_index, port, ahead, out, frame_max, partial_checksums });
        }
        let counters =
            shared.counters.get(config.index).cloned().unwrap_or_else(|| Arc::new(Counters::new()));
        let attempts = shared.attempts.get(config.index).cloned();
        Self {
            attempts: attempts.unwrap_or_else(|| Arc::new(Attempts::new(0))),
            egress,
            macs,
            frame_max: longest,
            fits: longest.into_iter().filter(|max| *max > 0).min().unwrap_or(0),
            ids: Identifications::new(config.index, config.workers, config.seed),
            queues,
            frames,
            latest: Cache::new(Arc::clone(&shared.tables)),
            tables: shared.tables.load_full(),
            flows: Arc::clone(&shared.flows),
            counters,
            burst: Box::new(Burst::new()),
            held: Held::new(),
            cursors: (0..SERVICES_MAX).map(|pool| Cursor::new(config.index * 7 + pool)).collect(),
            tally: Tally::default(),
            dropped: [0; drops::COUNT],
            answers_left: ANSWERS_PER_MS,
            ask_drivers_ns: 0,
            tick: Tick::from_nanos(0),
            now_us: 0,
            next_shard: config.index,
            next_pool: 0,
            random: SnatRandom::new(config.seed),
            shared,
            config,
        }
    }

    /// This worker's counters.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The packet memory: tests and benchmarks put frames in through it.
    pub fn frames(&mut self) -> &mut Frames {
        &mut self.frames
    }

    /// A queue's driver, in the order given to [`new`](Self::new).
    pub fn port(&mut self, queue: usize) -> Option<&mut P> {
        self.queues.get_mut(queue).map(|q| &mut q.port)
    }

    /// The packet memory and a queue's driver together.
    pub fn frames_and_port(&mut self, queue: usize) -> Option<(&mut Frames, &mut P)> {
        let port = &mut self.queues.get_mut(queue)?.port;
        Some((&mut self.frames, port))
    }

    /// How many queues it has.
    #[must_use]
    pub fn queues(&self) -> usize {
        self.queues.len()
    }

    /// Whether frames wait that an earlier turn took off a receive ring: they have been here since that turn began.
    #[must_use]
    pub fn has_ahead(&self) -> bool {
        self.queues.iter().any(|queue| !queue.ahead.is_empty())
    }

    /// The drivers' descriptors to poll while idle.
    pub fn poll_fds(&self) -> impl Iterator<Item = std::os::fd::BorrowedFd<'_>> {
        self.queues.iter().filter_map(|q| q.port.poll_fd())
    }

    /// Ends the worker: frames that still wait are dropped by name, the rings get what they still take.
    pub fn finish(&mut self) {
        for held in self.held.drain() {
            self.frames.free(held.frame);
            self.counters.drop_frames(drops::Drop::from(Reason::Shutdown).index(), 1);
        }
        for queue in &mut self.queues {
            for frame in queue.ahead.drain(..) {
                self.frames.free(frame);
                self.counters.received.add(1);
                self.counters.drop_frames(drops::Drop::from(Reason::Shutdown).index(), 1);
            }
            self.counters.sent.add(queue.port.tx(&mut self.frames, &mut queue.out) as u64);
            queue.port.kick();
            queue.port.reap(&mut self.frames);
            for frame in queue.out.drain(..) {
                self.frames.free(frame);
                self.counters.drop_frames(drops::Drop::from(Reason::Shutdown).index(), 1);
            }
        }
        self.counters.held.set(0);
    }
}
