//! The whole packet path, a stage a line.

use crate::worker::Worker;
use crate::{classify, emit, lookup, parse, rewrite, schedule, settle};
use ringlead_flow::Tick;
use ringlead_io::Port;
use std::sync::Arc;

impl<P: Port> Worker<P> {
    /// Takes up to a burst from each queue through all stages; returns how many frames moved.
    ///
    /// `now_ns` is monotonic time in nanoseconds, read once by the caller. Speed and locking of the stages: nothing here
    /// allocates, locks or reads a clock, and only `reap`, `refill` and `kick` may make a system call, once a queue.
    pub fn turn(&mut self, now_ns: u64) -> usize {
        self.tick = Tick::from_nanos(now_ns);
        self.pick_up_tables();
        let mut moved = 0;
        for queue in 0..self.queues.len() {
            let received = self.rx(queue);
            if received > 0 {
                parse::parse(self);
                lookup::lookup(self);
                classify::classify(self);
                schedule::schedule(self, queue);
                rewrite::rewrite(self, queue);
                emit::emit(self, queue, now_ns);
                moved += received;
            }
        }
        emit::flush(self);
        settle::settle(self, now_ns, moved);
        moved
    }

    /// One load; on a change the old snapshot is let go, which frees nothing: control still holds it.
    #[inline]
    pub(crate) fn pick_up_tables(&mut self) {
        let latest = self.latest.load();
        if !Arc::ptr_eq(latest, &self.tables) {
            self.tables = Arc::clone(latest);
        }
    }

    /// Completed frames back, free frames in, received frames out: the ring work before the stages.
    #[inline]
    fn rx(&mut self, queue: usize) -> usize {
        self.burst.clear();
        let Some(q) = self.queues.get_mut(queue) else { return 0 };
        q.port.reap(&mut self.frames);
        q.port.refill(&mut self.frames);
        let received = q.port.rx(&mut self.frames, &mut self.burst.frames);
        self.tally.received += received as u64;
        received
    }
}
