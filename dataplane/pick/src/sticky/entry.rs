//! One entry: four words, of which the state decides what the other three are worth.
//!
//! ```text
//!  state  { version 30 | writing 1 | live 1 | last used 32 }
//!  high   upper half of the address
//!  low    lower half
//!  ids    { salt 32 | server 32 }
//! ```
//!
//! A reader reads the state, the rest, and the state again: the same version means that all of it was of one entry.
//! The version wraps after 2^30 changes of one entry; a reader would have to stand still for all of them.

use super::StickyKey;
use crate::sync::{Acquire, AtomicU64, Relaxed, Release, fence};

const LIVE: u64 = 1 << 32;
const WRITING: u64 = 1 << 33;
/// One more version; it wraps off the top of the word.
const VERSION: u64 = 1 << 34;
const VERSIONS: u64 = !(VERSION - 1);

/// Tries to write a time; each failure means that another thread has just used the entry.
const TOUCHES: usize = 8;

#[derive(Default)]
pub(super) struct Entry {
    state: AtomicU64,
    high: AtomicU64,
    low: AtomicU64,
    ids: AtomicU64,
}

/// A live entry as it was at one moment.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    state: u64,
    pub(super) high: u64,
    pub(super) low: u64,
    ids: u64,
}

impl Entry {
    /// A quick look that spares most readings. A `true` proves nothing; a `false` was true at some moment.
    #[inline]
    pub(super) fn may_hold(&self, key: &StickyKey) -> bool {
        self.low.load(Relaxed) == key.low && self.high.load(Relaxed) == key.high
    }

    /// What is in it; `None` when it is free or just changing hands: then it is of no key that was there all the time.
    #[inline]
    pub(super) fn read(&self) -> Option<Seen> {
        // Acquire: the words of this version were written before its state.
        let before = self.state.load(Acquire);
        if before & LIVE == 0 {
            return None;
        }
        let (high, low) = (self.high.load(Relaxed), self.low.load(Relaxed));
        let ids = self.ids.load(Relaxed);
        // Pairs with the fence in `replace`: whoever saw a word of a later version sees a later state below.
        fence(Acquire);
        let state = self.state.load(Relaxed);
        let same = at(state, 0) == at(before, 0);
        same.then_some(Seen { state, high, low, ids })
    }

    /// The state alone, for [`worth`] and [`replace`](Self::replace).
    pub(super) fn state(&self) -> u64 {
        self.state.load(Relaxed)
    }

    /// Writes the time of a use, if the entry is still the same. One try: another's is as good.
    #[inline]
    pub(super) fn touch(&self, seen: &Seen, now: u32) {
        let _ = self.state.compare_exchange(seen.state, at(seen.state, now), Relaxed, Relaxed);
    }

    /// Makes it an entry of this key, if its state is still `state`. The set's one writer only.
    pub(super) fn replace(&self, state: u64, key: &StickyKey, server: u32, now: u32) -> bool {
        let version = state & VERSIONS;
        if self.state.compare_exchange(state, version | WRITING, Relaxed, Relaxed).is_err() {
            return false;
        }
        // Whoever sees one of the words below sees the state above, or a later one.
        fence(Release);
        self.high.store(key.high, Relaxed);
        self.low.store(key.low, Relaxed);
        self.ids.store(ids(key.salt, server), Relaxed);
        self.state.store(at(version.wrapping_add(VERSION) | LIVE, now), Release);
        true
    }

    /// Gives the entry's key this server, and the time. `false` when it was freed meanwhile. The set's one writer only.
    ///
    /// One word changes and the version stays, so a reader finds the old server or the new one, never nothing.
    pub(super) fn change(&self, seen: &Seen, server: u32, now: u32) -> bool {
        if seen.server() != server {
            self.ids.store(ids(seen.salt(), server), Relaxed);
        }
        for _ in 0..TOUCHES {
            let state = self.state.load(Relaxed);
            if state & LIVE == 0 {
                return false;
            }
            if since(now, used(state)) == 0
                || self.state.compare_exchange(state, at(state, now), Relaxed, Relaxed).is_ok()
            {
                return true;
            }
        }
        // Eight others used it just now.
        true
    }

    /// Frees it, if it is still as it was seen.
    pub(super) fn clear(&self, seen: &Seen) -> bool {
        let free = (seen.state & VERSIONS).wrapping_add(VERSION);
        self.state.compare_exchange(seen.state, free, Relaxed, Relaxed).is_ok()
    }
}

impl Seen {
    #[inline]
    pub(super) fn is(&self, key: &StickyKey) -> bool {
        self.low == key.low && self.high == key.high && self.salt() == key.salt
    }

    #[inline]
    pub(super) fn used(&self) -> u32 {
        used(self.state)
    }

    #[inline]
    pub(super) fn server(&self) -> u32 {
        lower(self.ids)
    }

    #[inline]
    pub(super) fn salt(&self) -> u32 {
        lower(self.ids >> 32)
    }
}

/// Ticks from `earlier` to `now`; 0 when `earlier` is the later of the two.
#[inline]
pub(super) const fn since(now: u32, earlier: u32) -> u32 {
    let ticks = now.wrapping_sub(earlier);
    if ticks > super::TIMEOUT_TICKS_MAX { 0 } else { ticks }
}

/// How much an entry deserves to stay: a free one nothing, others the more the later they were used.
pub(super) fn worth(state: u64, now: u32) -> u32 {
    if state & LIVE == 0 { 0 } else { u32::MAX - since(now, used(state)) }
}

fn ids(salt: u32, server: u32) -> u64 {
    (u64::from(salt) << 32) | u64::from(server)
}

/// The state with another time of use.
#[inline]
fn at(state: u64, now: u32) -> u64 {
    (state & !u64::from(u32::MAX)) | u64::from(now)
}

#[inline]
fn used(state: u64) -> u32 {
    lower(state)
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
const fn lower(word: u64) -> u32 {
    word as u32
}
