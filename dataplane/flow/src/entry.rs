//! One entry: the words of a flow, and how they are read while others may write them.
//!
//! A writer owns an entry while its stage is free: the generation moved on first, so whoever still reads the old flow
//! finds another generation in the state word *after* reading, and throws away what it read.

use std::marker::PhantomData;

use crate::flow::{EntryRef, Flow, FlowSpec, ServerId, Side};
use crate::hit::Hit;
use crate::key::Key;
use crate::link::{Link, Pair};
use crate::processor::prefetch;
use crate::slot::Slot;
use crate::state::State;
use crate::sync::{AcqRel, Acquire, AtomicU64, Relaxed, Release, fence};
use crate::tick::Tick;

const STATE: usize = 0;
/// `{server id 32, service 32}`; in a free list: the index of the next free entry.
const IDS: usize = 1;
const TAGS: usize = 2;
const MAC: usize = 3;
const CLIENT: usize = 4;

/// The words of one entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a, K> {
    words: &'a [AtomicU64],
    index: u32,
    key: PhantomData<K>,
}

impl<'a, K: Key> Entry<'a, K> {
    /// Views the words of the entry at `index`; there are [`Key::ENTRY`] of them.
    #[inline]
    pub(crate) const fn new(words: &'a [AtomicU64], index: u32) -> Self {
        Self { words, index, key: PhantomData }
    }

    /// Puts the flow that `slot` announced into `hit`, if it lives and `key` is its key of that side. Returns `false` and
    /// leaves anything at all there if not.
    #[inline]
    pub(crate) fn read(self, slot: Slot, key: K, now: Tick, hit: &mut Hit) -> bool {
        let side = slot.side();
        // By the side's number, because a branch on the side is one that the processor cannot foresee.
        let start = CLIENT + K::WORDS * side as usize;
        if !K::load(&self.words[start..start + K::WORDS]).is(key) {
            return false;
        }
        self.read_as(slot.generation(), side, hit);
        hit.state.is_live(slot.generation()) && !hit.state.is_expired(now)
    }

    /// Copies the entry as a flow of `generation`, whose state says what the copy is worth: if it is of that generation,
    /// then so is all of it.
    pub(crate) fn copy(self, generation: u16, side: Side) -> Flow {
        let mut hit = Hit::NONE;
        self.read_as(generation, side, &mut hit);
        hit.flow()
    }

    /// Reads all words, and the state last.
    #[inline]
    fn read_as(self, generation: u16, side: Side, hit: &mut Hit) {
        for (word, from) in hit.keys.iter_mut().zip(&self.words[CLIENT..CLIENT + 2 * K::WORDS]) {
            *word = from.load(Relaxed);
        }
        hit.pair = self.pair();
        hit.ids = self.words[IDS].load(Relaxed);
        hit.side = side;
        hit.entry = EntryRef { index: self.index, generation, v4: K::V4 };
        hit.state = self.state_after_reads();
    }

    /// Writes all of a flow but its state. The caller owns the entry.
    pub(crate) fn write(self, spec: &FlowSpec, client: K, server: Option<K>) {
        // Whoever reads one of the words below then sees the generation that this entry got when it was freed.
        fence(Release);
        client.store(&self.words[CLIENT..]);
        if let Some(server) = server {
            server.store(&self.words[CLIENT + K::WORDS..]);
        }
        let pair = Pair::after(self.words[TAGS].load(Relaxed), spec.link);
        // Swaps, because a late `set_link` for the entry's last flow may be at the same words: it comes before, or fails.
        self.words[TAGS].swap(pair.tags, Relaxed);
        self.words[MAC].swap(pair.mac, Relaxed);
        let ids = u64::from(spec.server_id.0) << 32 | u64::from(spec.service);
        self.words[IDS].store(ids, Relaxed);
    }

    /// Replaces the link, if the flow of `generation` lives and nobody else is replacing it.
    pub(crate) fn set_link(self, generation: u16, link: Link) {
        let old = self.pair();
        if !self.state_after_reads().is_live(generation) || old.link() == link {
            return;
        }
        let new = Pair::after(old.tags, link);
        // The tags' count is long enough to make this fail whenever the words changed in between, be it for another
        // flow. Losing the second exchange leaves words that do not belong together, which read as `Link::NONE`
        // until the next change.
        if self.words[TAGS].compare_exchange(old.tags, new.tags, Relaxed, Relaxed).is_ok() {
            let _ = self.words[MAC].compare_exchange(old.mac, new.mac, Relaxed, Relaxed);
        }
    }

    /// Asks for the entry's memory.
    #[inline]
    pub(crate) fn prefetch(&self) {
        for line in self.words.chunks(8) {
            prefetch(&line[0]);
        }
    }

    /// One of the two keys, whatever it is at the time.
    #[inline]
    pub(crate) fn key(self, side: Side) -> K {
        match side {
            Side::Client => K::load(&self.words[CLIENT..CLIENT + K::WORDS]),
            Side::Server => K::load(&self.words[CLIENT + K::WORDS..CLIENT + 2 * K::WORDS]),
        }
    }

    /// The flow's server and service, in the cache line of the state.
    #[inline]
    pub(crate) fn ids(self) -> (ServerId, u32) {
        let (server, service) = split(self.words[IDS].load(Relaxed));
        (ServerId(server), service)
    }

    /// The state, for deciding what to do with the entry.
    #[inline]
    pub(crate) fn state(self) -> State {
        State(self.words[STATE].load(Acquire))
    }

    /// The state as it is after the words that were read before.
    #[inline]
    pub(crate) fn state_after_reads(self) -> State {
        fence(Acquire);
        State(self.words[STATE].load(Relaxed))
    }

    /// Sets the state of an entry that the caller owns.
    pub(crate) fn set_state(self, state: State) {
        self.words[STATE].store(state.0, Release);
    }

    /// Changes the state from one to another.
    ///
    /// # Errors
    /// The state that it had instead.
    #[inline]
    pub(crate) fn change(self, from: State, to: State) -> Result<(), State> {
        match self.words[STATE].compare_exchange(from.0, to.0, AcqRel, Acquire) {
            Ok(_) => Ok(()),
            Err(found) => Err(State(found)),
        }
    }

    /// Which free entry follows, by index; `None` at the end of a list. Anything at all when the entry is not free.
    pub(crate) fn next_free(self) -> Option<u32> {
        split(self.words[IDS].load(Relaxed)).1.checked_sub(1)
    }

    /// Links a free entry to the next one. The caller owns the entry.
    pub(crate) fn set_next_free(self, next: Option<u32>) {
        let next = next.map_or(0, |index| u64::from(index) + 1);
        // As in `write`: a reader of this word finds the new generation.
        fence(Release);
        self.words[IDS].store(next, Relaxed);
    }

    fn pair(self) -> Pair {
        Pair { tags: self.words[TAGS].load(Relaxed), mac: self.words[MAC].load(Relaxed) }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a word is cut into halves")]
const fn split(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}
