//! A worker on two in-memory ports, a full flow table, and frames of those flows to feed it with.

use ringlead_flow::{FlowTable, Sizes};
use ringlead_io::port::BURST;
use ringlead_io::{Frame, Frames, MemPort};
use ringlead_l4::neighbours::{NeighbourId, NextHop};
use ringlead_l4::tables::Mode;
use ringlead_l4::{Shared, Worker, WorkerConfig};
use std::sync::Arc;

mod random;
mod tables;
mod traffic;

pub use random::Random;
pub use traffic::{Side, Traffic};

/// The port towards clients.
pub const WAN: usize = 0;
/// The port towards servers.
pub const LAN: usize = 1;
/// Chunks of packet memory, all in use.
pub const CHUNKS: usize = 16_384;
/// Bytes of a chunk.
const CHUNK: usize = 2048;
/// Servers of the pool.
pub const SERVERS: usize = 16;
/// The time at which all flows were made, in nanoseconds.
const START_NS: u64 = 1_000_000_000_000;
/// Last-seen times are kept in steps of 250 ms.
const TICK_NS: u64 = 250_000_000;

/// One mode's worker with flows of both families.
pub struct World {
    /// The worker whose turns are measured.
    pub worker: Worker<MemPort>,
    /// The table, the snapshot and the counters that it uses.
    pub shared: Shared,
    /// Its mode.
    pub mode: Mode,
    /// The frames outside the worker, in the order in which they are used next.
    pub idle: Vec<Frame>,
    families: [Traffic; 2],
    random: Random,
    ticks: u64,
}

impl World {
    /// A worker with `flows` flows of each family in a table with room for a quarter more.
    ///
    /// The flows are made by the worker itself, from first packets of their clients.
    ///
    /// # Panics
    /// When there is not enough memory or the worker does not forward every packet.
    #[must_use]
    pub fn new(mode: Mode, flows: usize) -> Self {
        let sizes = Sizes { flows_max: flows + flows / 4 + 64, workers: 1, seed: [1, 2, 3, 4] };
        let table = Arc::new(FlowTable::new(&sizes).expect("memory for the flow table"));
        let shared = Shared::new(tables::tables(mode), table, 2 * SERVERS, 2 * SERVERS, 1);
        for id in 0..2 * SERVERS {
            let hop = NextHop { port: u8::try_from(LAN).unwrap_or(0), mac: traffic::server_mac(id / 2) };
            shared.neighbours.set(NeighbourId(narrow(id)), Some(hop));
        }
        let mut frames = Frames::in_memory(narrow(CHUNKS), CHUNK).expect("packet memory");
        let mut random = Random::new(0x5eed);
        let mut idle: Vec<Frame> = std::iter::from_fn(|| frames.alloc()).collect();
        random.shuffle(&mut idle);
        let port = |name, mac| MemPort::new(name, 0, mac, CHUNKS);
        let ports = vec![(0, port("wan", traffic::WAN_MAC)), (1, port("lan", traffic::LAN_MAC))];
        let worker = Worker::new(WorkerConfig { index: 0, workers: 1 }, frames, ports, shared.clone());
        let families = [false, true].map(|v6| Traffic::new(mode, v6, flows));
        let mut world = Self { worker, shared, mode, idle, families, random, ticks: 0 };
        for v6 in [false, true] {
            world.populate(v6);
        }
        world
    }

    /// How many packets a full turn moves when a queue gives `burst` frames at once.
    #[must_use]
    pub fn turn_packets(&self, burst: usize) -> usize {
        self.queues() * burst
    }

    /// Fills the receive rings with `count` packets of random flows, half of them of servers where they answer through
    /// us, and lets a queue give `burst` frames at once.
    ///
    /// # Panics
    /// When the frames of the last round have not come back.
    pub fn feed(&mut self, v6: bool, count: usize, burst: usize) {
        self.write(v6, count);
        for (n, frame) in self.idle.drain(..count).enumerate() {
            // As `write` made them: of servers every other one.
            let queue = if self.mode == Mode::Nat && n % 2 == 1 { LAN } else { WAN };
            let (frames, port) = self.worker.frames_and_port(queue).expect("both ports are there");
            port.set_burst(burst);
            port.push_rx(frames, frame).expect("the ring has room for every chunk");
        }
    }

    /// Writes packets of random flows into the next `count` idle frames and returns who sent each, and its flow.
    pub fn write(&mut self, v6: bool, count: usize) -> Vec<(Side, usize)> {
        let traffic = &self.families[usize::from(v6)];
        let mut sent = Vec::with_capacity(count);
        for (n, frame) in self.idle[..count].iter_mut().enumerate() {
            let flow = self.random.below(traffic.flows());
            let side = if self.mode == Mode::Nat && n % 2 == 1 { Side::Server } else { Side::Client };
            traffic.write(self.worker.frames(), frame, side, flow);
            sent.push((side, flow));
        }
        sent
    }

    /// A family's flows.
    #[must_use]
    pub fn traffic(&self, v6: bool) -> &Traffic {
        &self.families[usize::from(v6)]
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

    /// The time to give to the turns of a round. With `refresh` all flows were last seen in an earlier tick, without it
    /// none. Flows that are never used expire after 1200 rounds with `refresh`, 300 s.
    pub fn now_ns(&mut self, refresh: bool) -> u64 {
        if !refresh {
            // A flow that was last seen later than now is neither refreshed nor expired.
            return START_NS;
        }
        self.ticks += 1;
        START_NS + self.ticks * TICK_NS
    }

    /// Makes the flows of a family and learns which server each one got.
    fn populate(&mut self, v6: bool) {
        let flows = self.families[usize::from(v6)].flows();
        for first in (0..flows).step_by(CHUNKS) {
            let count = CHUNKS.min(flows - first);
            for (n, mut frame) in self.idle.drain(..count).enumerate() {
                let (frames, port) = self.worker.frames_and_port(WAN).expect("the wan port is there");
                self.families[usize::from(v6)].write(frames, &mut frame, Side::Client, first + n);
                port.push_rx(frames, frame).expect("the ring has room for every chunk");
            }
            for _ in 0..count.div_ceil(BURST) {
                self.worker.turn(START_NS);
            }
            self.collect(count);
            // Frames came back in the order in which they were fed, at the end of the list.
            let frames = self.idle.len() - count..;
            for (n, frame) in self.idle[frames].iter().enumerate() {
                let sent = self.worker.frames().bytes(frame);
                self.families[usize::from(v6)].learn(first + n, sent);
            }
        }
        let counted = self.shared.flows.count();
        assert_eq!(if v6 { counted.v6 } else { counted.v4 }, flows, "flows that are no flows");
    }

    /// Queues on which packets arrive.
    fn queues(&self) -> usize {
        if self.mode == Mode::Nat { 2 } else { 1 }
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        let counters = self.worker.counters();
        ringlead_l4::drops::Drop::all()
            .map(|reason| (reason.name(), counters.dropped(reason)))
            .filter(|(_, n)| *n > 0)
            .collect()
    }
}

/// A small number in the width that ids and counts of chunks have.
fn narrow(n: usize) -> u32 {
    u32::try_from(n).expect("a small number")
}
