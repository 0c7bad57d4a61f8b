//! One worker's thread: pinned, turning, ticking every millisecond, idling by the configured way.

use super::clock::monotonic_ns;
use arrayvec::ArrayVec;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ringlead_control::config::Idle;
use ringlead_io::Port;
use ringlead_l4::Worker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Nanoseconds between ticks.
const TICK_NS: u64 = 1_000_000;
/// Empty turns after which an adaptive worker waits in poll(2): some tens of microseconds.
const EMPTY_TURNS_MAX: u32 = 500;
/// The longest wait in poll(2), so that ticks go on.
const POLL_MS: u8 = 1;
/// The most queues that are waited on at once; the others are looked at every millisecond.
const POLLED_MAX: usize = 64;

/// A running worker.
#[derive(Debug)]
pub(crate) struct WorkerThread {
    core: usize,
    handle: JoinHandle<()>,
}

impl WorkerThread {
    /// Starts a worker on a core; it ends when `stop` is set.
    pub(crate) fn start<P: Port + Send + 'static>(
        mut worker: Worker<P>,
        core: usize,
        idle: Idle,
        stop: Arc<AtomicBool>,
    ) -> std::io::Result<Self> {
        let body = move || {
            if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
                tracing::warn!(core, "the worker could not be pinned to its core");
            }
            turn_until(&mut worker, idle, &stop);
            worker.finish();
        };
        let handle = std::thread::Builder::new().name(format!("worker-{core}")).spawn(body)?;
        Ok(Self { core, handle })
    }

    /// Waits for the thread's end, after its stop flag was set.
    pub(crate) fn join(self) {
        if self.handle.join().is_err() {
            tracing::error!(core = self.core, "the worker's thread had panicked");
        }
    }
}

fn turn_until<P: Port>(worker: &mut Worker<P>, idle: Idle, stop: &AtomicBool) {
    let counters = Arc::clone(worker.counters());
    let (mut next_tick, mut empty) = (0, 0_u32);
    let mut now = monotonic_ns();
    let mut before = now;
    while !stop.load(Ordering::Relaxed) {
        // What was received ahead came while the last turn lasted.
        let taken = if worker.has_ahead() { before } else { now };
        let moved = worker.turn(now);
        let mut flushed = None;
        if now >= next_tick {
            // A tick is no part of what frames wait for, and comes once in a millisecond.
            flushed = (moved > 0).then(monotonic_ns);
            worker.tick(now);
            next_tick = now + TICK_NS;
        }
        if moved == 0 {
            empty = empty.saturating_add(1);
            wait(worker, idle, empty);
        } else {
            empty = 0;
        }
        before = std::mem::replace(&mut now, monotonic_ns());
        let spent = now.saturating_sub(before);
        if moved > 0 {
            counters.busy_ns.add(spent);
            counters.latency.record(flushed.unwrap_or(now).saturating_sub(taken), moved as u64);
        } else {
            counters.idle_ns.add(spent);
        }
    }
}

fn wait<P: Port>(worker: &Worker<P>, idle: Idle, empty_turns: u32) {
    match idle {
        Idle::Busy => std::hint::spin_loop(),
        Idle::Adaptive if empty_turns < EMPTY_TURNS_MAX => std::hint::spin_loop(),
        Idle::Adaptive | Idle::Sleep => {
            let waiting = worker.poll_fds().take(POLLED_MAX).map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let mut waiting: ArrayVec<PollFd<'_>, POLLED_MAX> = waiting.collect();
            // A wait that was interrupted or failed is as good as one that ended: the next turn looks anyway.
            let _ = poll(&mut waiting, PollTimeout::from(POLL_MS));
        }
    }
}
