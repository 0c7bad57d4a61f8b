//! The sweep: frees flows that were silent for too long or whose service or server is gone, and shows flows to whoever asks.

use crate::flow::{Flow, Gone, ServerId, Side};
use crate::key::Key;
use crate::state::{Stage, State};
use crate::step::step;
use crate::sync::Relaxed;
use crate::table::Table;
use crate::tick::Tick;

impl<K: Key> Table<K> {
    /// See [`FlowTable::sweep`](crate::FlowTable::sweep).
    pub(crate) fn sweep(
        &self,
        shard: usize,
        now: Tick,
        budget: usize,
        gone: &mut dyn FnMut(ServerId, u32, State) -> bool,
        ended: &mut dyn FnMut(&Gone),
    ) {
        let Some(this) = self.shards.get(shard) else { return };
        let range = self.range(shard);
        let size = range.end - range.start;
        let budget = u32::try_from(budget).unwrap_or(u32::MAX).min(size);
        // A worker that takes over while the old one still sweeps does no harm: both may come by the same entry, but
        // only one ends it.
        let mut at = this.cursor.load(Relaxed);
        for _ in 0..budget {
            at = if at < size { at } else { 0 };
            self.look_after(range.start + at, now, gone, ended);
            at += 1;
        }
        this.cursor.store(at, Relaxed);
    }

    /// See [`FlowTable::visit`](crate::FlowTable::visit).
    pub(crate) fn visit(&self, from: usize, budget: usize, now: Tick, show: &mut dyn FnMut(&Flow)) -> usize {
        let size = self.size as usize;
        let end = from.saturating_add(budget).min(size);
        for index in from..end {
            let Ok(index) = u32::try_from(index) else { break };
            let generation = self.entry(index).state().generation();
            let flow = self.entry(index).copy(generation, Side::Client);
            if flow.state.is_live(generation) && !flow.state.is_expired(now) {
                show(&flow);
            }
        }
        end
    }

    /// Looks after one entry.
    fn look_after(
        &self,
        index: u32,
        now: Tick,
        gone: &mut dyn FnMut(ServerId, u32, State) -> bool,
        ended: &mut dyn FnMut(&Gone),
    ) {
        let entry = self.entry(index);
        let state = entry.state();
        let generation = state.generation();
        let over = match state.stage() {
            Stage::Free | Stage::Tentative => false,
            // The ids may be a later flow's: then the state is no longer this one, and the exchange below fails.
            Stage::Live => {
                state.is_expired(now) || {
                    let (server, service) = entry.ids();
                    gone(server, service, state)
                }
            }
            Stage::Ended | Stage::Loose => true,
        };
        if !over {
            return;
        }
        step();
        // From here on the entry is this sweep's, unless a packet refreshed the flow in the last moment.
        if entry.change(state, state.at(Stage::Free)).is_err() {
            return;
        }
        step();
        if matches!(state.stage(), Stage::Loose) {
            self.free(index, generation);
        } else {
            ended(&self.bury(index, generation));
        }
    }

    /// The entries of a shard.
    fn range(&self, shard: usize) -> std::ops::Range<u32> {
        let shard = u32::try_from(shard).unwrap_or(u32::MAX);
        let end = |shard: u32| shard.saturating_mul(self.per_shard).min(self.size);
        end(shard)..end(shard.saturating_add(1))
    }
}
