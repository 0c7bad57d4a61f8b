//! A shard: a range of entries with its own free list, count and sweep position.

use crate::entry::Entry;
use crate::key::Key;
use crate::sync::{AcqRel, Acquire, AtomicU32, AtomicU64, AtomicUsize, Relaxed};

/// Tries at one free list before going on to the next shard's.
const TRIES: usize = 8;

/// What a shard keeps besides its entries.
#[derive(Debug)]
pub(crate) struct Shard {
    /// A stack of free entries: `{changes 32, index + 1 of the first or 0}`. The count of changes makes an exchange
    /// fail that was prepared before the list changed, even if it has the same first entry again.
    head: AtomicU64,
    /// Flows that live in the shard's entries.
    pub(crate) flows: AtomicUsize,
    /// Where the next sweep starts, from the shard's first entry.
    pub(crate) cursor: AtomicU32,
}

impl Shard {
    /// With a list that starts at `first`.
    pub(crate) fn new(first: Option<u32>) -> Self {
        Self { head: AtomicU64::new(pack(0, first)), flows: AtomicUsize::new(0), cursor: AtomicU32::new(0) }
    }

    /// Whether it has no free entry just now.
    pub(crate) fn is_full(&self) -> bool {
        first(self.head.load(Relaxed)).is_none()
    }

    /// Takes an entry out of the list and asks for the memory of the next one; `None` when it is empty or too busy.
    pub(crate) fn pop<'a, K: Key>(&self, entry: impl Fn(u32) -> Entry<'a, K>) -> Option<u32> {
        let mut head = self.head.load(Acquire);
        for _ in 0..TRIES {
            let first = first(head)?;
            let second = entry(first).next_free();
            let next = pack(changes(head) + 1, second);
            match self.head.compare_exchange(head, next, AcqRel, Acquire) {
                Ok(_) => {
                    // Whatever that word was, it was the list's: the exchange says so.
                    second.map(&entry).inspect(Entry::prefetch);
                    return Some(first);
                }
                Err(found) => head = found,
            }
        }
        None
    }

    /// Puts an entry that the caller owns into the list; `false` when it is too busy.
    #[must_use]
    pub(crate) fn push<K: Key>(&self, index: u32, entry: Entry<'_, K>) -> bool {
        let mut head = self.head.load(Relaxed);
        for _ in 0..TRIES {
            entry.set_next_free(first(head));
            match self.head.compare_exchange(head, pack(changes(head) + 1, Some(index)), AcqRel, Relaxed) {
                Ok(_) => return true,
                Err(found) => head = found,
            }
        }
        false
    }
}

fn pack(changes: u64, first: Option<u32>) -> u64 {
    changes << 32 | first.map_or(0, |index| u64::from(index) + 1)
}

const fn changes(head: u64) -> u64 {
    head >> 32
}

fn first(head: u64) -> Option<u32> {
    #[allow(clippy::cast_possible_truncation, reason = "the index is the low half")]
    let low = head as u32;
    low.checked_sub(1)
}
