//! Stage: the turn's counts go to the shared counters, and no frame may be missing.

use crate::worker::Worker;
use ringlead_io::Port;

/// Adds up the turn. in + held before + made = sent + dropped + held after, asserted in debug builds.
#[inline]
pub(crate) fn settle<P: Port>(worker: &mut Worker<P>, now_ns: u64, moved: usize) {
    worker.counters.beat.set(now_ns);
    let tally = std::mem::take(&mut worker.tally);
    let held = worker.held_count();
    if tally.received + tally.made + tally.sent + tally.dropped > 0 {
        let c = &worker.counters;
        debug_assert_eq!(
            tally.received + c.held.get() + tally.made,
            tally.sent + tally.dropped + held,
            "frames are not conserved: {tally:?}"
        );
        c.received.add(tally.received);
        c.sent.add(tally.sent);
        c.made.add(tally.made);
        c.flows_created.add(tally.flows_created);
        c.completed_checksums.add(tally.completed_checksums);
        c.stateless.add(tally.stateless);
        c.held.set(held);
        if moved > 0 {
            c.turns_busy.add(1);
        }
        if tally.dropped > 0 {
            for (reason, count) in worker.dropped.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
                c.drop_frames(reason, u64::from(*count));
                *count = 0;
            }
        }
    }
}
