//! What a worker does about every millisecond: bounded work that no packet waits for.

use crate::answer::ANSWERS_PER_MS;
use crate::burst::Egress;
use crate::drops::Reason;
use crate::emit;
use crate::ending::is_over;
use crate::removed::is_current;
use crate::settle;
use crate::worker::Worker;
use ringlead_flow::{Outcome, Tick};
use ringlead_io::Port;

/// A worker that has not beaten for this long loses its shards to the next one, in nanoseconds.
const SILENT_NS: u64 = 1_000_000_000;
/// How often the drivers are asked for their counters, in nanoseconds.
const ASK_DRIVERS_NS: u64 = 1_000_000_000;
/// Entries looked at per tick while ageing: a million flows are seen once a second.
const AGE_BUDGET: usize = 1024;

/// Ticks in which all source ports are to be gone through once, about: less than the 7.5 s from one round to the next.
const QUARANTINE_TICKS: usize = 5_000;
/// Groups of 64 source ports looked at in one tick: at least, and, because each is a few nanoseconds, at most. The most are
/// enough for 10 000 addresses a worker.
const QUARANTINE_BUDGET: (usize, usize) = (64, 4_096);

/// How many groups of a pool to look at when its turn comes, once in as many ticks as there are pools.
fn quarantine_budget(groups: usize, pools: usize) -> usize {
    let (least, most) = QUARANTINE_BUDGET;
    groups.saturating_mul(pools).div_ceil(QUARANTINE_TICKS).clamp(least, most)
}

impl<P: Port> Worker<P> {
    /// Retries held frames, ages a shard, acknowledges the snapshot. `now_ns` is monotonic time in nanoseconds.
    pub fn tick(&mut self, now_ns: u64) {
        self.tick = Tick::from_nanos(now_ns);
        self.pick_up_tables();
        self.answers_left = ANSWERS_PER_MS;
        self.retry_held(now_ns);
        self.ask_drivers(now_ns);
        self.age(now_ns);
        self.end_quarantines();
        emit::flush(self);
        settle::settle(self, now_ns, 0);
        // Last: from here on this worker uses nothing of an older snapshot.
        self.counters.epoch.publish(self.tables.epoch);
    }

    /// Once a second: what the drivers counted, for status.
    fn ask_drivers(&mut self, now_ns: u64) {
        if now_ns < self.ask_drivers_ns {
            return;
        }
        self.ask_drivers_ns = now_ns + ASK_DRIVERS_NS;
        for (index, q) in self.queues.iter().enumerate() {
            self.counters.set_port_stats(index, q.port_index, q.port.caps().queue, &q.port.stats());
        }
    }

    /// How many frames wait for a next hop or a ring.
    pub(crate) fn held_count(&self) -> u64 {
        (self.held.len() + self.queues.iter().map(|q| q.out.len()).sum::<usize>()) as u64
    }

    /// Sends the held frames whose next hop is known now; drops those that waited too long. One pass.
    fn retry_held(&mut self, now_ns: u64) {
        for _ in 0..self.held.len() {
            let Some(held) = self.held.pop() else { break };
            if let Some(egress) = Egress::to(self.shared.neighbours.hop(held.neighbour)) {
                emit::send(self, held.frame, held.l3, egress);
            } else if now_ns >= held.until_ns {
                emit::drop_frame(self, held.frame, Reason::NoNeighbour.into());
            } else if let Err(held) = self.held.push(held) {
                emit::drop_frame(self, held.frame, Reason::HoldFull.into());
            }
        }
    }

    /// Ends what is silent for too long, or of a service that was removed, or was reset for its server, in the next of the shards that are this worker's, or of a silent worker before it.
    pub(crate) fn age(&mut self, now_ns: u64) {
        let shards = self.flows.shards();
        for _ in 0..shards {
            let shard = self.next_shard % shards.max(1);
            self.next_shard = shard + 1;
            if self.ages(shard, now_ns) {
                let (counters, tables, shared) = (&self.counters, &self.tables, &self.shared);
                let (attempts, latest) = (&self.attempts, &mut self.latest);
                let now = self.tick;
                let mut gone = |server, service, state| {
                    !tables.has_service(service) && is_current(tables, latest)
                        || is_over(tables, server, state, now)
                };
                self.flows.sweep(shard, self.tick, AGE_BUDGET, &mut gone, &mut |gone| {
                    let flow = &gone.flow;
                    shared.loads.sub(flow.server_id.0);
                    shared.ends.swept(tables, gone);
                    counters.flows_ended.add(1);
                    if flow.state.ends_unanswered() {
                        attempts.note(flow.server_id, Outcome::Unanswered);
                    }
                    tables.give_port_back(flow);
                });
                break;
            }
        }
    }

    /// Frees source ports of this worker's share, some of one pool a tick.
    fn end_quarantines(&mut self) {
        let pools = self.tables.snat_pools.len();
        self.next_pool = (self.next_pool + 1).checked_rem(pools).unwrap_or(0);
        if let Some(pool) = self.tables.snat_pools.get(self.next_pool) {
            let budget = quarantine_budget(pool.groups(self.config.index), pools);
            pool.tick(self.config.index, self.tick, budget);
        }
    }

    /// Shard s belongs to worker s mod N, or, while that one is silent, to the next worker that is not.
    fn ages(&self, shard: usize, now_ns: u64) -> bool {
        let workers = self.config.workers.max(1);
        let silent = |worker: usize| {
            let beat = self.shared.counters.get(worker).map_or(0, |c| c.beat.get());
            worker != self.config.index && beat != 0 && now_ns.saturating_sub(beat) > SILENT_NS
        };
        let owner = (0..workers).map(|step| (shard + step) % workers).find(|&worker| !silent(worker));
        owner == Some(self.config.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarantines_are_gone_through_in_time_however_many_ports_there_are() {
        // Groups of a pool, which are 2016 an address and a worker, and pools.
        for (groups, pools) in [(2, 1), (2_016, 1), (2_016, 300), (16 * 2_016, 64), (4_096 * 2_016, 1)] {
            let budget = quarantine_budget(groups, pools);
            let turns = groups.div_ceil(budget);
            assert!(budget <= QUARANTINE_BUDGET.1);
            assert!(turns * pools <= 7_500, "{groups} groups in {pools} pools: {}", turns * pools);
        }
    }
}
