//! The whole packet path, a stage a line.

use crate::worker::Worker;
use crate::{classify, emit, ending, lookup, parse, rewrite, schedule, settle};
use ringlead_flow::Tick;
use ringlead_io::Port;
use std::sync::Arc;

impl<P: Port> Worker<P> {
    /// Takes up to a burst from each queue through all stages; returns how many frames moved.
    ///
    /// `now_ns` is monotonic time in nanoseconds, read once by the caller. Speed and locking of the stages: nothing here
    /// allocates, locks or reads a clock, and only `kick` may make a system call, as a rule one a queue.
    pub fn turn(&mut self, now_ns: u64) -> usize {
        self.tick = Tick::from_nanos(now_ns);
        self.now_us = now_ns / 1_000;
        self.pick_up_tables();
        let (mut moved, queues) = (0, self.queues.len());
        for queue in 0..queues {
            let taken = self.take(queue);
            if taken > 0 {
                // The headers of the next burst come in from memory while this one is worked on.
                let next = (queue + 1) % queues;
                if P::AHEAD && !self.receive(next) && next != queue {
                    self.receive(queue);
                }
                parse::parse(self);
                lookup::lookup(self);
                ending::end(self, queue);
                classify::classify(self);
                schedule::schedule(self, queue);
                rewrite::rewrite(self, queue);
                emit::emit(self, queue, now_ns);
                moved += taken;
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

    /// Makes the queue's frames the burst, and receives them first if that has not been done ahead.
    #[inline]
    pub(crate) fn take(&mut self, queue: usize) -> usize {
        self.receive(queue);
        self.burst.clear();
        let Some(q) = self.queues.get_mut(queue) else { return 0 };
        std::mem::swap(&mut self.burst.frames, &mut q.ahead);
        let taken = self.burst.frames.len();
        self.tally.received += taken as u64;
        taken
    }

    /// Completed frames back, free frames in, received frames out and their headers asked for: all at once, so that the
    /// last ones have long arrived when their turn comes. Nothing of it while frames still wait. Whether any wait now.
    #[inline]
    fn receive(&mut self, queue: usize) -> bool {
        let Some(q) = self.queues.get_mut(queue) else { return false };
        if !q.ahead.is_empty() {
            return true;
        }
        q.port.reap(&mut self.frames);
        q.port.refill(&mut self.frames);
        q.port.rx(&mut self.frames, &mut q.ahead);
        for frame in &q.ahead {
            self.frames.prefetch_headers(frame);
        }
        if self.tables.services.packs() {
            q.ahead.iter().for_each(|frame| self.frames.prefetch_head(frame));
        }
        !q.ahead.is_empty()
    }
}
