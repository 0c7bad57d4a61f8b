//! Get-or-insert without a lock.
//!
//! An insert writes its flow into an entry of its own in stage *tentative*, announces the flow's keys in slots, and
//! only then looks for rivals. Of two inserts of one key at least one sees the other (both announce, then fence, then
//! look), and makes sure that not both go on: a live flow wins, and of two tentative ones one is killed, which is an
//! exchange of the victim's state word. The last step, tentative → live, is an exchange of the same word: it fails if
//! somebody killed the flow, and if it succeeds, both keys are valid at that very moment.
//!
//! Of two tentative flows the one of the higher attempt wins, of one attempt that in the lower entry. So two inserts
//! never kill each other, and nobody waits: who loses tries again, and outranks a rival that does not go on. Only the
//! last attempt kills whatever is in its way.

use std::cmp::Reverse;

use crate::entry::Entry;
use crate::flow::{EntryRef, Flow, FlowSpec, Inserted, Side};
use crate::key::Key;
use crate::processor::matches;
use crate::slot::{Slot, Spot, WIDTH};
use crate::state::{Stage, State};
use crate::step::step;
use crate::sync::{AcqRel, Acquire, AtomicU64, Relaxed, SeqCst, fence};
use crate::table::Table;
use crate::tick::Tick;

/// Attempts at an insert, at most 15.
const TRIES: u8 = if cfg!(loom) { 2 } else { 12 };
/// The bits of the first bucket's slots.
const FIRST: u32 = (1 << WIDTH) - 1;
/// Tries to settle with one rival whose state keeps changing.
const RIVAL_TRIES: usize = 4;

/// An insert in progress.
struct Plan<'a, K> {
    spec: &'a FlowSpec,
    client: K,
    server: Option<K>,
    client_spot: Spot,
    server_spot: Option<Spot>,
    now: Tick,
}

/// An entry that an insert holds.
#[derive(Clone, Copy)]
struct Held {
    index: u32,
    generation: u16,
}

/// What stands in the way of an insert.
enum Obstacle {
    /// A live flow.
    Live(Inserted),
    /// Another insert that has precedence for now.
    Rival,
}

impl<K: Key> Table<K> {
    /// See [`FlowTable::insert`](crate::FlowTable::insert). The tuples are of this family, or, in the IPv6 table, of different ones.
    pub(crate) fn insert(&self, spec: &FlowSpec, now: Tick) -> Inserted {
        let (client, server) = (K::pack(&spec.client), spec.server.as_ref().map(K::pack));
        let server_spot = server.map(|key| self.spot(key));
        let plan = Plan { spec, client, server, client_spot: self.spot(client), server_spot, now };
        (0..TRIES).find_map(|attempt| self.attempt(&plan, attempt)).unwrap_or(Inserted::Contended)
    }

    /// One try; `None` when it lost against another insert.
    fn attempt(&self, plan: &Plan<'_, K>, attempt: u8) -> Option<Inserted> {
        // The first try goes ahead: its caller has just looked the flow up in vain, and what is found in the way later counts
        // as well.
        if attempt > 0
            && let Some(Obstacle::Live(flow)) = self.survey(plan, None, attempt)
        {
            return Some(flow);
        }
        step();
        let Some(mine) = self.acquire(plan) else { return Some(self.full(plan, attempt)) };
        step();
        let (tentative, accounted) = self.draft(plan, mine, attempt);
        step();
        let Some(slots) = self.announce(plan, mine) else {
            self.withdraw(mine, tentative, [None, None]);
            return Some(self.full(plan, attempt));
        };
        // Pairs with the same fence of every other insert: of two, one sees the other's slots.
        fence(SeqCst);
        step();
        if let Some(obstacle) = self.survey(plan, Some(mine), attempt) {
            step();
            self.withdraw(mine, tentative, slots);
            return match obstacle {
                Obstacle::Live(flow) => Some(flow),
                Obstacle::Rival => None,
            };
        }
        step();
        let live = tentative.confirmed();
        let live = if accounted { live.accounted() } else { live };
        if self.entry(mine.index).change(tentative, live).is_err() {
            step();
            self.withdraw(mine, tentative, slots);
            return None;
        }
        step();
        self.shards[self.shard_of(mine.index)].flows.fetch_add(1, Relaxed);
        Some(Inserted::New(plan.flow(mine, live)))
    }

    /// There is no room for the flow, unless it is there already.
    #[cold]
    fn full(&self, plan: &Plan<'_, K>, attempt: u8) -> Inserted {
        match self.survey(plan, None, attempt) {
            Some(Obstacle::Live(flow)) => flow,
            Some(Obstacle::Rival) | None => Inserted::Full,
        }
    }

    /// Takes a free entry, from a shard that the key chooses or the next that has one.
    fn acquire(&self, plan: &Plan<'_, K>) -> Option<Held> {
        let home = plan.client_spot.buckets[0] as usize % self.shards.len();
        let index = self.shards_from(home).find_map(|shard| shard.pop(|index| self.entry(index)))?;
        Some(Held { index, generation: self.entry(index).state().generation() })
    }

    /// Writes the flow into its entry and returns its state, and whether it has an account.
    fn draft(&self, plan: &Plan<'_, K>, mine: Held, attempt: u8) -> (State, bool) {
        let entry = self.entry(mine.index);
        entry.write(plan.spec, plan.client, plan.server);
        let line = plan.spec.account.as_ref().and_then(|account| Some((account, self.account(mine.index)?)));
        if let Some((account, line)) = line {
            line.open(mine.generation, account);
        }
        step();
        let one_sided = plan.server.is_none();
        let state = State::tentative(mine.generation, plan.spec.profile, plan.spec.client.proto, one_sided)
            .attempted(attempt)
            .started(plan.spec.first, plan.now);
        let state = if !K::V4 && plan.spec.is_mixed() { state.mixed() } else { state };
        entry.set_state(state);
        (state, line.is_some())
    }

    /// Publishes the flow's keys and returns their slots; `None` when there is no room for one, and none is published.
    fn announce(&self, plan: &Plan<'_, K>, mine: Held) -> Option<[Option<(&AtomicU64, Slot)>; 2]> {
        let client = self.publish(plan.client_spot, mine, Side::Client)?;
        step();
        let Some(spot) = plan.server_spot else { return Some([Some(client), None]) };
        let server = self.publish(spot, mine, Side::Server);
        if server.is_none() {
            retract(client);
        }
        Some([Some(client), Some(server?)])
    }

    /// Puts a key into the emptier of its buckets, or else into the other.
    fn publish(&self, spot: Spot, mine: Held, side: Side) -> Option<(&AtomicU64, Slot)> {
        let slot = Slot::new(spot.tag, mine.generation, side, mine.index);
        let [first, second] = spot.buckets.map(|bucket| self.bucket(bucket));
        // A bit for each empty slot, and the emptier bucket's first.
        let empty = u32::from(matches(first, second, Slot::EMPTY.tag()));
        let [of_first, of_second] = [empty & FIRST, empty >> WIDTH];
        let [emptier, other] =
            if of_second.count_ones() > of_first.count_ones() { [second, first] } else { [first, second] };
        let mut left = if std::ptr::eq(emptier, first) { empty } else { of_second | of_first << WIDTH };
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            left &= left - 1;
            let word = if at < WIDTH { &emptier[at] } else { &other[at - WIDTH] };
            if word.compare_exchange(Slot::EMPTY.0, slot.0, AcqRel, Relaxed).is_ok() {
                return Some((word, slot));
            }
        }
        None
    }

    /// Looks for other flows with this insert's keys. Without an entry of its own (`mine`) an insert only looks for
    /// live ones; with one it settles with its rivals.
    #[inline]
    fn survey(&self, plan: &Plan<'_, K>, mine: Option<Held>, attempt: u8) -> Option<Obstacle> {
        self.survey_key(plan, mine, (Side::Client, plan.client, plan.client_spot), attempt).or_else(|| {
            let (server, spot) = plan.server.zip(plan.server_spot)?;
            self.survey_key(plan, mine, (Side::Server, server, spot), attempt)
        })
    }

    #[inline]
    fn survey_key(
        &self,
        plan: &Plan<'_, K>,
        mine: Option<Held>,
        (side, key, spot): (Side, K, Spot),
        attempt: u8,
    ) -> Option<Obstacle> {
        let buckets = spot.buckets.map(|bucket| self.bucket(bucket));
        let mut tagged = matches(buckets[0], buckets[1], spot.tag);
        while tagged != 0 {
            let at = tagged.trailing_zeros() as usize;
            tagged &= tagged - 1;
            let word = &buckets[at / WIDTH][at % WIDTH];
            let slot = Slot(word.load(Acquire));
            let own = mine.is_some_and(|m| m.index == slot.index() && m.generation == slot.generation());
            let same = || slot.tag() == spot.tag && self.entry(slot.index()).key(slot.side()).is(key);
            if !own
                && same()
                && let Some(obstacle) = self.confront(plan, mine, side, (word, slot), attempt)
            {
                return Some(obstacle);
            }
        }
        None
    }

    /// Settles with the flow of a slot that holds one of this insert's keys.
    #[cold]
    fn confront(
        &self,
        plan: &Plan<'_, K>,
        mine: Option<Held>,
        side: Side,
        (word, slot): (&AtomicU64, Slot),
        attempt: u8,
    ) -> Option<Obstacle> {
        let entry = self.entry(slot.index());
        for _ in 0..RIVAL_TRIES {
            let flow = entry.copy(slot.generation(), slot.side());
            let state = flow.state;
            if state.generation() != slot.generation() {
                return None;
            }
            step();
            match state.stage() {
                Stage::Free | Stage::Ended | Stage::Loose => return None,
                Stage::Live if state.is_expired(plan.now) => {
                    if displace(entry, state, (word, slot)) {
                        return None;
                    }
                }
                Stage::Live => return Some(Obstacle::Live(plan.verdict(side, flow))),
                Stage::Tentative => {
                    // Without an entry there is nothing to lose against it yet.
                    let mine = mine?;
                    let their = (state.attempt(), Reverse(slot.index()));
                    if their > (attempt, Reverse(mine.index)) && attempt + 1 < TRIES {
                        return Some(Obstacle::Rival);
                    }
                    // Its owner finds out when it tries to make it live, and cleans up.
                    if entry.change(state, state.at(Stage::Free)).is_ok() {
                        return None;
                    }
                }
            }
        }
        Some(Obstacle::Rival)
    }

    /// Takes back what an insert has done. Only the insert itself does so, also when it was killed.
    fn withdraw(&self, mine: Held, tentative: State, slots: [Option<(&AtomicU64, Slot)>; 2]) {
        // An exchange and no store, because a rival may be killing the flow right now; if so, that will do.
        let _ = self.entry(mine.index).change(tentative, tentative.at(Stage::Free));
        for slot in slots.into_iter().flatten() {
            step();
            retract(slot);
        }
        step();
        self.free(mine.index, mine.generation);
    }
}

impl<K: Key> Plan<'_, K> {
    /// What a live flow with one of this insert's keys means for it.
    fn verdict(&self, side: Side, flow: Flow) -> Inserted {
        match side {
            Side::Client => Inserted::Existing(flow),
            // Another worker inserted this very client between the look at its key and the look at the server's.
            Side::Server if flow.client == self.spec.client => {
                Inserted::Existing(Flow { side: Side::Client, ..flow })
            }
            Side::Server => Inserted::TupleTaken,
        }
    }

    fn flow(&self, mine: Held, state: State) -> Flow {
        Flow {
            entry: EntryRef { index: mine.index, generation: mine.generation, v4: K::V4 },
            side: Side::Client,
            client: self.spec.client,
            server: self.spec.server,
            server_id: self.spec.server_id,
            service: self.spec.service,
            link: self.spec.link,
            state,
        }
    }
}

/// Ends an expired flow that the sweep has not come to. The sweep reports it and frees its entry.
fn displace<K: Key>(entry: Entry<'_, K>, state: State, slot: (&AtomicU64, Slot)) -> bool {
    let ended = entry.change(state, state.at(Stage::Ended)).is_ok();
    if ended {
        retract(slot);
    }
    ended
}

/// Empties a slot, if it still holds that word.
fn retract((word, slot): (&AtomicU64, Slot)) {
    let _ = word.compare_exchange(slot.0, Slot::EMPTY.0, AcqRel, Relaxed);
}
