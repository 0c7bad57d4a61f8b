//! One worker on two in-memory ports, and the frames that it is fed with.

use crate::core::cell::{Kind, replies};
use crate::core::world::{CHUNK, CHUNKS, LAN, START_NS, Segment, Shape, Traffic, WAN, traffic};
use crate::core::world::{Random, narrow};
use ringlead_flow::snat::SnatPool;
use ringlead_flow::{FlowTable, Tick};
use ringlead_io::port::BURST;
use ringlead_io::{Frame, Frames, MemPort};
use ringlead_l4::tables::Mode;
use ringlead_l4::{Shared, Worker, WorkerConfig};
use ringlead_wire::Protocol;
use std::sync::Arc;

/// New flows that a lane can tell apart before it begins again with the first, which has long been removed.
const FRESH_SPAN: usize = 1 << 22;

/// A worker with its own packet memory, ports and random numbers.
pub struct Lane {
    /// The worker whose turns are measured.
    pub worker: Worker<MemPort>,
    /// The frames outside the worker, in the order in which they are used next.
    pub idle: Vec<Frame>,
    index: usize,
    both_ways: bool,
    /// With snat: what its flows' source ports are of.
    ports: Option<Arc<SnatPool>>,
    random: Random,
    batch: usize,
    fresh: usize,
}

impl Lane {
    pub(super) fn new(shape: &Shape, shared: &Shared, index: usize) -> Self {
        let mut frames = Frames::in_memory(narrow(CHUNKS), CHUNK).expect("packet memory");
        let mut random = Random::new(0x5eed + index as u64);
        let mut idle: Vec<Frame> = std::iter::from_fn(|| frames.alloc()).collect();
        random.shuffle(&mut idle);
        let port = |name, mac| MemPort::new(name, narrow(index), mac, CHUNKS);
        let ports = vec![(0, port("wan", traffic::WAN_MAC)), (1, port("lan", traffic::LAN_MAC))];
        let config = WorkerConfig { index, workers: shape.workers, seed: [index as u64; 4] };
        let worker = Worker::new(config, frames, ports, shared.clone());
        let ports = shared.tables.load().snat_pools.first().cloned().filter(|_| shape.mode == Mode::Snat);
        Self {
            worker,
            idle,
            index,
            both_ways: replies(shape.mode),
            ports,
            random,
            batch: shape.fresh(),
            fresh: 0,
        }
    }

    /// How many packets a full turn moves when a queue gives `burst` frames at once.
    #[must_use]
    pub fn turn_packets(&self, kind: Kind, burst: usize) -> usize {
        if self.both_ways && kind == Kind::Existing { 2 * burst } else { burst }
    }

    /// How many new flows it makes at once: a multiple of 64.
    #[must_use]
    pub const fn fresh_batch(&self) -> usize {
        self.batch
    }

    /// Fills the receive rings with `count` packets of random flows of the table, half of them of servers where they
    /// answer through us, and lets a queue give `burst` frames at once.
    ///
    /// # Panics
    /// When the frames of the last round have not come back.
    pub fn feed(&mut self, traffic: &Traffic, count: usize, burst: usize) {
        let sent = self.write(traffic, count);
        self.push(sent.into_iter().map(|(segment, _)| segment), burst);
    }

    /// Fills the clients' receive ring with first packets of `count` new flows, and returns the first one's number.
    ///
    /// # Panics
    /// When the frames of the last round have not come back.
    pub fn feed_fresh(&mut self, traffic: &Traffic, count: usize) -> usize {
        if self.fresh + count > FRESH_SPAN {
            self.fresh = 0;
        }
        let first = traffic.flows() + self.index * FRESH_SPAN + self.fresh;
        self.fresh += count;
        for (n, frame) in self.idle[..count].iter_mut().enumerate() {
            traffic.write(self.worker.frames(), frame, Segment::First, first + n);
        }
        self.push(std::iter::repeat_n(Segment::First, count), BURST);
        first
    }

    /// Writes packets of random flows into the next `count` idle frames and returns what each is, and its flow.
    pub fn write(&mut self, traffic: &Traffic, count: usize) -> Vec<(Segment, usize)> {
        let mut sent = Vec::with_capacity(count);
        for (n, frame) in self.idle[..count].iter_mut().enumerate() {
            let flow = self.random.below(traffic.flows());
            let segment = if self.both_ways && n % 2 == 1 { Segment::Answer } else { Segment::Ask };
            traffic.write(self.worker.frames(), frame, segment, flow);
            sent.push((segment, flow));
        }
        sent
    }

    /// Takes the sent frames back.
    ///
    /// # Panics
    /// When it is not `count` of them: then something was not measured.
    pub fn collect(&mut self, count: usize) {
        let before = self.idle.len();
        for queue in [WAN, LAN] {
            let (frames, port) = self.worker.frames_and_port(queue).expect("both ports are there");
            self.idle.extend(std::iter::from_fn(|| port.pop_tx(frames)));
        }
        assert_eq!(self.idle.len() - before, count, "packets were lost: {:?}", self.drops());
    }

    /// Ends the new flows that [`feed_fresh`](Self::feed_fresh) began.
    ///
    /// # Panics
    /// When one of them is not in the table: then its packet was not what was meant.
    pub fn remove_fresh(&self, traffic: &Traffic, table: &FlowTable, first: usize, count: usize) {
        for flow in first..first + count {
            let found = table.lookup(&traffic.tuple(flow), Tick::from_nanos(START_NS));
            let ended = found.is_some_and(|found| {
                // Time stands still here, so a port in quarantine would never be free again.
                if let (Some(ports), Some(answers)) = (self.ports.as_ref(), &found.server) {
                    ports.never_used(answers.dst, answers.dport, Protocol::Tcp);
                }
                table.remove(&found).is_some()
            });
            assert!(ended, "a new flow was not made: {:?}", self.drops());
        }
    }

    /// Makes the flows of a family and learns which server each one got. Where only a first packet makes a flow, a second
    /// one establishes it.
    pub(super) fn populate(&mut self, traffic: &mut Traffic) {
        if self.ports.is_some() {
            self.send_all(traffic, Segment::First);
        }
        self.send_all(traffic, Segment::Ask);
    }

    /// A packet of each flow, of all in order.
    fn send_all(&mut self, traffic: &mut Traffic, segment: Segment) {
        let flows = traffic.flows();
        for first in (0..flows).step_by(CHUNKS) {
            let count = CHUNKS.min(flows - first);
            for (n, frame) in self.idle[..count].iter_mut().enumerate() {
                traffic.write(self.worker.frames(), frame, segment, first + n);
            }
            self.push(std::iter::repeat_n(segment, count), BURST);
            for _ in 0..count.div_ceil(BURST) {
                self.worker.turn(START_NS);
            }
            self.collect(count);
            // Frames came back in the order in which they were fed, at the end of the list.
            let start = self.idle.len() - count;
            for (n, frame) in self.idle[start..].iter().enumerate() {
                traffic.learn(first + n, self.worker.frames().bytes(frame));
            }
        }
    }

    /// Lets the next idle frames arrive, each where its sender is.
    fn push(&mut self, segments: impl ExactSizeIterator<Item = Segment>, burst: usize) {
        let count = segments.len();
        for (segment, frame) in segments.zip(self.idle.drain(..count)) {
            let queue = if segment == Segment::Answer { LAN } else { WAN };
            let (frames, port) = self.worker.frames_and_port(queue).expect("both ports are there");
            port.set_burst(burst);
            port.push_rx(frames, frame).expect("the ring has room for every chunk");
        }
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        let counters = self.worker.counters();
        ringlead_l4::drops::Drop::all()
            .map(|reason| (reason.name(), counters.dropped(reason)))
            .filter(|(_, n)| *n > 0)
            .collect()
    }
}
