//! One round of one piece of work, on one worker or on several at the same time.

use crate::core::cell::Kind;
use crate::core::clock;
use crate::core::stages;
use crate::core::world::{CHUNKS, Lane, Traffic, World};
use crate::core::{cell::Cell, world::FRESH_MAX};
use core_affinity::CoreId;
use ringlead_flow::FlowTable;
use ringlead_io::MemPort;
use ringlead_io::port::BURST;
use ringlead_l4::Worker;
use ringlead_l4::tables::Mode;
use std::hint::{black_box, spin_loop};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// What is timed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Whole turns.
    Turns {
        /// Frames a queue gives at once.
        burst: usize,
        /// Each packet is its flow's first for 250 ms, so every look-up writes the flow's last-seen time. Off: none does.
        refresh: bool,
        /// Each turn is timed by itself.
        singly: bool,
    },
    /// The port alone: the same frames through `rx` and `tx`, and nothing in between.
    Floor,
    /// `wire::parse`.
    Parse,
    /// `FlowTable::lookup_burst`: hash, prefetch, compare and copy.
    Lookup,
    /// `wire::rewrite`: address, port and TTL (where the mode translates) and Ethernet addresses.
    Rewrite,
}

impl Work {
    /// Whole turns as they are when the machine is loaded: the row's own figure.
    pub const TURN: Self = Self::Turns { burst: BURST, refresh: false, singly: false };
    /// The same, each by itself.
    pub const EACH: Self = Self::Turns { burst: BURST, refresh: false, singly: true };
}

/// What a round cost.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// Thread CPU time a packet, in nanoseconds; of several workers the mean.
    pub ns: f64,
    /// Nanoseconds of each turn, where they were timed singly.
    pub turns: Vec<u64>,
    /// Whether all workers ran at the same time nearly all of the time. Always for one.
    pub side_by_side: bool,
}

/// Times `work` once for the packets of a cell.
pub fn round(world: &mut World, cell: &Cell, work: Work, clock: &Clock) -> Round {
    let now_ns = world.now_ns(matches!(work, Work::Turns { refresh: true, .. }));
    let mode = world.shape.mode;
    let table = std::sync::Arc::clone(&world.shared.flows);
    let (lanes, traffic) = world.lanes_and_traffic(cell.family);
    let task = Task { traffic, table: &table, kind: cell.kind, mode, now_ns, reading_ns: clock.reading_ns };
    let lanes = &mut lanes[..cell.workers];
    let times = together(lanes, &clock.cores, |lane, gate| task.run(lane, work, gate));
    let (ns, packets) = times.iter().fold((0, 0), |(ns, n), time| (ns + time.ns, n + time.packets));
    let windows: Vec<Window> = times.iter().map(|time| time.window).collect();
    Round {
        ns: ns as f64 / packets as f64,
        side_by_side: side_by_side(&windows),
        turns: times.into_iter().flat_map(|time| time.turns).collect(),
    }
}

/// What reading the clock costs and which cores there are.
#[derive(Clone, Debug)]
pub struct Clock {
    /// See [`clock::cores`].
    pub cores: Vec<CoreId>,
    /// See [`clock::reading_ns`].
    pub reading_ns: u64,
}

impl Clock {
    /// Of this machine, measured by this thread.
    #[must_use]
    pub fn new() -> Self {
        Self { cores: clock::cores(), reading_ns: clock::reading_ns() }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// What every worker of a round does.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub traffic: &'a Traffic,
    pub table: &'a FlowTable,
    pub kind: Kind,
    pub mode: Mode,
    pub now_ns: u64,
    pub reading_ns: u64,
}

/// What one worker needed.
struct Time {
    ns: u64,
    packets: usize,
    turns: Vec<u64>,
    window: Window,
}

impl Task<'_> {
    fn run(&self, lane: &mut Lane, work: Work, gate: &Gate) -> Time {
        match work {
            Work::Turns { burst, singly, .. } if self.kind == Kind::Existing => {
                self.existing(lane, gate, |task, worker, turns| task.turns(worker, turns, singly), burst)
            }
            Work::Floor if self.kind == Kind::Existing => {
                let routes = stages::routes(self.mode);
                self.existing(
                    lane,
                    gate,
                    |_, worker, turns| (stages::floor(worker, routes, turns), vec![]),
                    BURST,
                )
            }
            Work::Turns { singly, .. } => self.fresh(lane, gate, singly),
            Work::Floor => self.fresh_floor(lane, gate),
            Work::Parse => self.alone(lane, gate, stages::parse_alone),
            Work::Lookup => self.alone(lane, gate, stages::lookup_alone),
            Work::Rewrite => self.alone(lane, gate, stages::rewrite_alone),
        }
    }

    /// Packets of flows that are in the table.
    fn existing(
        &self,
        lane: &mut Lane,
        gate: &Gate,
        work: impl Fn(&Self, &mut Worker<MemPort>, usize) -> (u64, Vec<u64>),
        burst: usize,
    ) -> Time {
        lane.feed(self.traffic, CHUNKS, burst);
        let turns = CHUNKS / lane.turn_packets(Kind::Existing, burst);
        gate.pass();
        let window = Window::open();
        let (ns, turns) = work(self, &mut lane.worker, turns);
        let window = window.close();
        lane.collect(CHUNKS);
        Time { ns, packets: CHUNKS, turns, window }
    }

    /// First packets of flows that are not, a batch at a time; what a batch made is removed before the next.
    fn fresh(&self, lane: &mut Lane, gate: &Gate, singly: bool) -> Time {
        let batch = lane.fresh_batch();
        let mut time = Time { ns: 0, packets: 0, turns: Vec::new(), window: Window::open() };
        gate.pass();
        let window = Window::open();
        while time.packets < FRESH_MAX {
            let first = lane.feed_fresh(self.traffic, batch);
            let (ns, turns) = self.turns(&mut lane.worker, batch / BURST, singly);
            lane.collect(batch);
            lane.remove_fresh(self.traffic, self.table, first, batch);
            time.ns += ns;
            time.packets += batch;
            time.turns.extend(turns);
        }
        time.window = window.close();
        time
    }

    fn fresh_floor(&self, lane: &mut Lane, gate: &Gate) -> Time {
        lane.feed_fresh(self.traffic, FRESH_MAX);
        gate.pass();
        let window = Window::open();
        let ns = stages::floor(&mut lane.worker, stages::CLIENTS_ONLY, FRESH_MAX / BURST);
        let window = window.close();
        lane.collect(FRESH_MAX);
        Time { ns, packets: FRESH_MAX, turns: Vec::new(), window }
    }

    /// A stage by itself.
    fn alone(&self, lane: &mut Lane, gate: &Gate, stage: fn(&Self, &mut Lane) -> u64) -> Time {
        gate.pass();
        let window = Window::open();
        let ns = stage(self, lane);
        Time { ns, packets: CHUNKS, turns: Vec::new(), window: window.close() }
    }

    /// Turns, together or each by itself; the clock's own cost is taken off.
    fn turns(&self, worker: &mut Worker<MemPort>, turns: usize, singly: bool) -> (u64, Vec<u64>) {
        let mut timed = |n| {
            let ns = clock::timed(|| counted_turns(worker, self.now_ns, n));
            ns.saturating_sub(self.reading_ns)
        };
        if !singly {
            return (timed(turns), Vec::new());
        }
        let each: Vec<u64> = (0..turns).map(|_| timed(1)).collect();
        (each.iter().sum(), each)
    }
}

/// Turns, and nothing else: a name for the instruction counter to look for.
#[inline(never)]
pub fn counted_turns(worker: &mut Worker<MemPort>, now_ns: u64, turns: usize) {
    for _ in 0..turns {
        black_box(worker.turn(now_ns));
    }
}

/// Runs a job on every lane at the same time, each on a core of its own; on this thread where it is only one.
fn together(
    lanes: &mut [Lane],
    cores: &[CoreId],
    job: impl Fn(&mut Lane, &Gate) -> Time + Sync,
) -> Vec<Time> {
    let gate = &Gate::new(lanes.len());
    if let [lane] = lanes {
        return vec![job(lane, gate)];
    }
    let job = &job;
    std::thread::scope(|scope| {
        let start = |(place, lane)| {
            scope.spawn(move || {
                let _ = clock::pin(cores, place);
                job(lane, gate)
            })
        };
        let threads: Vec<_> = lanes.iter_mut().enumerate().map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("a worker's thread ended well")).collect()
    })
}

/// Lets all workers go on at the same moment.
struct Gate {
    barrier: Barrier,
    arrived: AtomicUsize,
    all: usize,
}

impl Gate {
    /// How long one that is early waits for the others after they have been woken, in looks.
    const LOOKS: usize = 1 << 16;

    fn new(all: usize) -> Self {
        Self { barrier: Barrier::new(all), arrived: AtomicUsize::new(0), all }
    }

    fn pass(&self) {
        if self.all == 1 {
            return;
        }
        // The barrier wakes them one after the other; the looks take the rest of the difference away.
        self.barrier.wait();
        self.arrived.fetch_add(1, Ordering::AcqRel);
        for _ in 0..Self::LOOKS {
            if self.arrived.load(Ordering::Acquire) == self.all {
                break;
            }
            spin_loop();
        }
    }
}

/// When a worker ran, by the wall clock, and how much of that it really had its core.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    start: Instant,
    end: Instant,
    cpu_ns: u64,
}

impl Window {
    fn open() -> Self {
        let start = Instant::now();
        Self { start, end: start, cpu_ns: clock::thread_ns() }
    }

    fn close(self) -> Self {
        Self { end: Instant::now(), cpu_ns: clock::thread_ns() - self.cpu_ns, ..self }
    }
}

/// Whether each of them had its core for at least four fifths of its time, and that time was the others' too.
///
/// On a busy machine one of two workers may run alone while the other waits for its core: its packets are then cheap,
/// and say nothing about two workers.
fn side_by_side(windows: &[Window]) -> bool {
    const LEAST: f64 = 0.8;
    if windows.len() < 2 {
        return true;
    }
    let start = windows.iter().map(|w| w.start).max();
    let end = windows.iter().map(|w| w.end).min();
    let (Some(start), Some(end)) = (start, end) else { return true };
    let shared = end.saturating_duration_since(start).as_secs_f64();
    windows.iter().all(|w| {
        let wall = w.end.saturating_duration_since(w.start).as_secs_f64();
        shared >= LEAST * wall && w.cpu_ns as f64 >= LEAST * wall * 1e9
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn window(start_ms: u64, end_ms: u64, cpu_ms: u64) -> Window {
        let zero = *ZERO.get_or_init(Instant::now);
        let at = |ms| zero + Duration::from_millis(ms);
        Window { start: at(start_ms), end: at(end_ms), cpu_ns: cpu_ms * 1_000_000 }
    }

    static ZERO: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();

    #[test]
    fn only_workers_that_ran_together_count() {
        assert!(side_by_side(&[window(0, 100, 0)]), "one is never alone beside others");
        assert!(side_by_side(&[window(0, 100, 100), window(5, 95, 90)]));
        assert!(!side_by_side(&[window(0, 100, 100), window(50, 150, 100)]), "half of the time");
        assert!(!side_by_side(&[window(0, 100, 100), window(0, 100, 60)]), "it waited for its core");
        assert!(!side_by_side(&[window(0, 100, 100), window(200, 300, 100)]), "one after the other");
    }
}
