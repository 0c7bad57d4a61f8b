//! The table of one family: look-ups, refreshing and removing. Inserting and ageing have files of their own.

use std::marker::PhantomData;
use std::sync::OnceLock;

use ahash::RandomState;
use crossbeam::utils::CachePadded;
use ringlead_wire::TcpFlags;

use crate::account::{self, Account, Line};
use crate::entry::Entry;
use crate::flow::{EntryRef, Flow, Gone, Side};
use crate::hit::Hit;
use crate::key::Key;
use crate::link::Link;
use crate::memory::{self, Words};
use crate::packed::Packed;
use crate::processor::{matches, prefetch};
use crate::shard::Shard;
use crate::slot::{Slot, Spot, WIDTH};
use crate::state::{Outcome, Stage, State};
use crate::step::step;
use crate::sync::{AcqRel, Acquire, AtomicU64, Relaxed};
use crate::tick::Tick;
use crate::tuple::Tuple;

/// Most tuples that are looked up side by side.
pub(crate) const BURST: usize = 64;
/// Tries to change a state word that others keep changing.
const TRIES: usize = 8;

/// The flows of one family.
#[derive(Debug)]
pub(crate) struct Table<K> {
    pub(crate) slots: Words,
    pub(crate) entries: Words,
    /// What flows have carried, by entry, once somebody wants to know.
    pub(crate) accounts: OnceLock<Words>,
    pub(crate) shards: Box<[CachePadded<Shard>]>,
    pub(crate) buckets: u32,
    /// Entries in all.
    pub(crate) size: u32,
    /// Entries a shard; the last one may have fewer.
    pub(crate) per_shard: u32,
    pub(crate) hasher: RandomState,
    key: PhantomData<K>,
}

/// Slots that may be a key's.
#[derive(Clone, Copy)]
pub(crate) struct Candidates {
    /// The first one, as it was read; empty when there is none any more.
    first: Slot,
    /// Where the others are, a bit each.
    others: u16,
}

impl Candidates {
    pub(crate) const NONE: Self = Self { first: Slot::EMPTY, others: 0 };
}

impl<K: Key> Table<K> {
    /// Maps a table of `size` entries in `shards` shards, all free.
    ///
    /// # Errors
    /// The number of bytes that the system did not give, and its error number.
    pub(crate) fn new(size: u32, shards: u32, hasher: RandomState) -> Result<Self, (usize, i32)> {
        let buckets = buckets_for(size);
        let map = |words: usize| Words::new(words).map_err(|errno| (memory::bytes_for(words), errno));
        let per_shard = size.div_ceil(shards);
        let first = |shard: u32| Some(shard * per_shard).filter(|first| *first < size);
        let table = Self {
            slots: map(buckets as usize * WIDTH)?,
            entries: map(size as usize * K::ENTRY)?,
            accounts: OnceLock::new(),
            shards: (0..shards).map(|s| CachePadded::new(Shard::new(first(s)))).collect(),
            buckets,
            size,
            per_shard,
            hasher,
            key: PhantomData,
        };
        for index in 0..size {
            let next = index + 1;
            let last = next == size || next % per_shard == 0;
            table.entry(index).set_next_free((!last).then_some(next));
        }
        Ok(table)
    }

    /// Bytes that a table of that size takes.
    pub(crate) const fn bytes_for(size: u32) -> usize {
        let slots = memory::bytes_for(buckets_for(size) as usize * WIDTH);
        slots + memory::bytes_for(size as usize * K::ENTRY)
    }

    /// See [`FlowTable::keep_accounts`](crate::FlowTable::keep_accounts).
    ///
    /// # Errors
    /// The number of bytes that the system did not give, and its error number.
    pub(crate) fn keep_accounts(&self) -> Result<(), (usize, i32)> {
        if self.accounts.get().is_none() {
            let words = self.size as usize * account::WORDS;
            let mapped = Words::new(words).map_err(|errno| (memory::bytes_for(words), errno))?;
            // Should another thread have been quicker, its words will do.
            let _ = self.accounts.set(mapped);
        }
        Ok(())
    }

    /// Bytes that the accounts of a table of that size take.
    pub(crate) const fn account_bytes_for(size: u32) -> usize {
        memory::bytes_for(size as usize * account::WORDS)
    }

    /// The account of an entry, if there are accounts.
    pub(crate) fn account(&self, index: u32) -> Option<Line<'_>> {
        let start = index as usize * account::WORDS;
        Some(Line::new(&self.accounts.get()?[start..start + account::WORDS]))
    }

    /// Flows in the table, roughly.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.flows.load(Relaxed)).sum()
    }

    /// Where a tuple's key may be.
    #[inline]
    pub(crate) fn spot(&self, key: K) -> Spot {
        Spot::new(key.hash(&self.hasher), self.buckets)
    }

    /// Where a tuple may be; asks for the two buckets.
    #[inline]
    pub(crate) fn aim(&self, packed: &Packed) -> Spot {
        let spot = self.spot(K::of(packed));
        for bucket in spot.buckets {
            prefetch(&self.bucket(bucket)[0]);
        }
        spot
    }

    /// The slots with a spot's tag; asks for their entries.
    #[inline]
    pub(crate) fn candidates(&self, spot: &Spot) -> Candidates {
        let [first, second] = spot.buckets.map(|bucket| self.bucket(bucket));
        let mut others = matches(first, second, spot.tag);
        step();
        let first = self.next_slot(spot, &mut others).unwrap_or(Slot::EMPTY);
        self.entry(first.index()).prefetch();
        if others != 0 {
            self.prefetch_among(spot, others);
        }
        Candidates { first, others }
    }

    #[cold]
    fn prefetch_among(&self, spot: &Spot, mut others: u16) {
        while let Some(slot) = self.next_slot(spot, &mut others) {
            self.entry(slot.index()).prefetch();
        }
    }

    /// The first of those slots, which is taken off. It may have been emptied or reused meanwhile.
    #[inline]
    fn next_slot(&self, spot: &Spot, slots: &mut u16) -> Option<Slot> {
        if *slots == 0 {
            return None;
        }
        let at = slots.trailing_zeros() as usize;
        *slots &= *slots - 1;
        Some(Slot(self.bucket(spot.buckets[at / WIDTH])[at % WIDTH].load(Acquire)))
    }

    /// Puts the flow of a key among those candidates into `hit`; `false`, and anything at all in `hit`, if there is none.
    #[inline]
    pub(crate) fn settle(
        &self,
        key: K,
        spot: &Spot,
        candidates: &Candidates,
        now: Tick,
        hit: &mut Hit,
    ) -> bool {
        let &Candidates { first, others } = candidates;
        if first != Slot::EMPTY && self.entry(first.index()).read(first, key, now, hit) {
            return true;
        }
        others != 0 && self.settle_among(key, spot, others, now, hit)
    }

    /// As [`settle`](Self::settle), for the keys of which another has the tag: one of some thousands.
    #[cold]
    fn settle_among(&self, key: K, spot: &Spot, mut others: u16, now: Tick, hit: &mut Hit) -> bool {
        while let Some(slot) = self.next_slot(spot, &mut others) {
            if slot != Slot::EMPTY && self.entry(slot.index()).read(slot, key, now, hit) {
                return true;
            }
        }
        false
    }

    /// See [`FlowTable::lookup`](crate::FlowTable::lookup).
    pub(crate) fn lookup(&self, tuple: &Tuple, now: Tick) -> Option<Flow> {
        let key = K::pack(tuple);
        let (spot, mut hit) = (self.spot(key), Hit::NONE);
        self.settle(key, &spot, &self.candidates(&spot), now, &mut hit).then(|| hit.flow())
    }

    /// See [`FlowTable::touch`](crate::FlowTable::touch).
    pub(crate) fn touch(
        &self,
        at: EntryRef,
        side: Side,
        flags: TcpFlags,
        now: Tick,
    ) -> (bool, Option<Outcome>) {
        let entry = self.entry(at.index);
        let mut state = entry.state();
        for _ in 0..TRIES {
            if !state.is_live(at.generation) {
                return (false, None);
            }
            let next = state.after(side, flags, now);
            if next == state {
                return (true, None);
            }
            match entry.change(state, next) {
                Ok(()) => return (true, state.outcome(next)),
                Err(found) => state = found,
            }
        }
        // Eight others refreshed it meanwhile.
        (true, None)
    }

    /// See [`FlowTable::reset`](crate::FlowTable::reset).
    pub(crate) fn reset(&self, at: EntryRef, side: Side, now: Tick) {
        let entry = self.entry(at.index);
        let mut state = entry.state();
        for _ in 0..TRIES {
            if !state.is_live(at.generation) {
                return;
            }
            match entry.change(state, state.reset(side, now)) {
                Ok(()) => return,
                Err(found) => state = found,
            }
        }
    }

    /// See [`FlowTable::tell_failure`](crate::FlowTable::tell_failure).
    pub(crate) fn tell_failure(&self, at: EntryRef) -> bool {
        let entry = self.entry(at.index);
        let mut state = entry.state();
        for _ in 0..TRIES {
            let told = if state.is_live(at.generation) { state.told() } else { None };
            let Some(told) = told else { return false };
            match entry.change(state, told) {
                Ok(()) => return true,
                Err(found) => state = found,
            }
        }
        false
    }

    /// Gives a flow the marks and the time of its last packet that it had elsewhere.
    pub(crate) fn restore(&self, at: EntryRef, marks: u8, last_seen: Tick) {
        let entry = self.entry(at.index);
        let mut state = entry.state();
        for _ in 0..TRIES {
            if !state.is_live(at.generation) {
                return;
            }
            match entry.change(state, state.restored(marks, last_seen)) {
                Ok(()) => return,
                Err(found) => state = found,
            }
        }
        // Eight packets of it came meanwhile, and know better.
    }

    /// See [`FlowTable::set_link`](crate::FlowTable::set_link).
    pub(crate) fn set_link(&self, at: EntryRef, link: Link) {
        self.entry(at.index).set_link(at.generation, link);
    }

    /// See [`FlowTable::remove`](crate::FlowTable::remove).
    pub(crate) fn remove(&self, at: EntryRef) -> Option<Gone> {
        let entry = self.entry(at.index);
        let mut state = entry.state();
        for _ in 0..TRIES {
            if !state.is_live(at.generation) {
                return None;
            }
            step();
            match entry.change(state, state.at(Stage::Free)) {
                Ok(()) => return Some(self.bury(at.index, at.generation)),
                Err(found) => state = found,
            }
        }
        None
    }

    /// Clears the slots of a flow that ended and frees its entry. The caller ended it, so it owns the entry.
    pub(crate) fn bury(&self, index: u32, generation: u16) -> Gone {
        let entry = self.entry(index);
        let flow = entry.copy(generation, Side::Client);
        for side in [Side::Client, Side::Server] {
            if matches!(side, Side::Server) && flow.server.is_none() {
                break;
            }
            let spot = self.spot(entry.key(side));
            let slot = Slot::new(spot.tag, generation, side, index);
            for bucket in spot.buckets {
                step();
                self.clear(bucket, slot);
            }
        }
        self.shards[self.shard_of(index)].flows.fetch_sub(1, Relaxed);
        let account = self.account_of(index, &flow);
        step();
        self.free(index, generation);
        Gone { flow, account }
    }

    /// What a flow has carried, if its account is kept.
    pub(crate) fn account_of(&self, index: u32, flow: &Flow) -> Option<Account> {
        if !flow.state.is_accounted() {
            return None;
        }
        self.account(index)?.read(flow.entry.generation)
    }

    /// Gives an entry without slots back, as another generation.
    pub(crate) fn free(&self, index: u32, generation: u16) {
        let entry = self.entry(index);
        let generation = generation.wrapping_add(1);
        entry.set_state(State::vacant(generation, Stage::Free));
        step();
        let home = self.shard_of(index);
        if !self.shards_from(home).any(|shard| shard.push(index, entry)) {
            // Every list was busy, eight times each. The sweep comes by again.
            entry.set_state(State::vacant(generation, Stage::Loose));
        }
    }

    /// Empties the slot that holds exactly that word, if there is one.
    fn clear(&self, bucket: u32, slot: Slot) {
        for word in self.bucket(bucket) {
            if word.load(Relaxed) == slot.0 {
                let _ = word.compare_exchange(slot.0, Slot::EMPTY.0, AcqRel, Relaxed);
            }
        }
    }

    #[inline]
    pub(crate) fn bucket(&self, bucket: u32) -> &[AtomicU64; WIDTH] {
        &self.slots.as_chunks().0[bucket as usize]
    }

    #[inline]
    pub(crate) fn entry(&self, index: u32) -> Entry<'_, K> {
        let start = index as usize * K::ENTRY;
        Entry::new(&self.entries[start..start + K::ENTRY], index)
    }

    /// Shards, beginning with one of them.
    pub(crate) fn shards_from(&self, home: usize) -> impl Iterator<Item = &Shard> {
        let (before, after) = self.shards.split_at(home);
        after.iter().chain(before).map(|shard| &**shard)
    }

    pub(crate) const fn shard_of(&self, index: u32) -> usize {
        (index / self.per_shard) as usize
    }
}

/// Two keys a flow fill nine slots in sixteen.
const fn buckets_for(size: u32) -> u32 {
    #[allow(clippy::cast_possible_truncation, reason = "fewer than entries")]
    let buckets = (size as u64 * 2 * 16).div_ceil(9 * 8) as u32;
    if buckets < 2 || cfg!(loom) { 2 } else { buckets }
}
