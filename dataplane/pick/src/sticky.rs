//! Source persistence: which server the clients of an address prefix were given, for as long as they keep coming.

mod entry;
mod key;

use std::fmt;

use ringlead_wire::Ip;

use crate::sync::{Acquire, AtomicBool, Relaxed, Release};
use entry::{Entry, Seen, since};
pub use key::StickyKey;
use key::{Keys, address_of};

/// The most entries of a table: 2 GiB.
pub const ENTRIES_MAX: usize = 1 << 26;

/// The longest timeout, in ticks: ticks further apart than this are not ordered across their wrap.
pub const TIMEOUT_TICKS_MAX: u32 = i32::MAX.cast_unsigned();

/// Entries of a set: a key can be in this many places. Two for loom, so that a model stays small.
const WAYS: usize = if cfg!(loom) { 2 } else { 8 };

/// Victims a write tries to replace; each failure means that another thread has just used or forgotten one.
const VICTIMS: usize = 4;

/// Tries to forget one entry; each failure means that it has just been used.
const FORGETS: usize = 64;

/// What a table is made from.
#[derive(Clone, Copy, Debug)]
pub struct StickySpec {
    /// Entries wanted, 1..=[`ENTRIES_MAX`]; rounded up to sets of eight. 32 bytes each.
    pub entries: usize,
    /// Leading bits of an IPv4 source that count, 1..=32.
    pub prefix_v4: u8,
    /// Leading bits of an IPv6 source that count, 1..=128.
    pub prefix_v6: u8,
    /// An entry that nobody used for so long is gone; in ticks of 250 ms, 1..=[`TIMEOUT_TICKS_MAX`].
    pub timeout_ticks: u32,
    /// Random, or clients that know it can crowd one set. Nodes need not agree on it.
    pub seed: [u8; 16],
}

/// Why a table cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StickyError {
    /// The number of entries is 0 or above [`ENTRIES_MAX`].
    Entries(usize),
    /// The IPv4 prefix length is not 1..=32.
    PrefixV4(u8),
    /// The IPv6 prefix length is not 1..=128.
    PrefixV6(u8),
    /// The timeout is 0 or above [`TIMEOUT_TICKS_MAX`].
    Timeout(u32),
}

impl fmt::Display for StickyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entries(n) => write!(f, "{n} persistence entries; it must be 1 to {ENTRIES_MAX}"),
            Self::PrefixV4(n) => write!(f, "IPv4 prefix length {n}; it must be 1 to 32"),
            Self::PrefixV6(n) => write!(f, "IPv6 prefix length {n}; it must be 1 to 128"),
            Self::Timeout(n) => {
                write!(f, "persistence timeout of {n} ticks; it must be 1 to {TIMEOUT_TICKS_MAX}")
            }
        }
    }
}

impl std::error::Error for StickyError {}

/// One entry as a listing shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StickyEntry {
    /// The clients' address; bits beyond the prefix are zero.
    pub source: Ip,
    /// The service or pool, as it was given to [`Sticky::key`].
    pub salt: u32,
    /// The server's id.
    pub server: u32,
    /// Ticks since it was last used, below the timeout.
    pub idle_ticks: u32,
}

#[repr(align(64))]
struct Set([Entry; WAYS]);

/// From a client's address prefix and a service to a server id; shared by all workers, of fixed size.
///
/// Nobody ever waits. A reader gets one entry's server or nothing, never a mixture of two entries. A set of eight has
/// one writer at a time; a write that finds another at work, or loses its victim four times over, is a lost write:
/// [`put`](Self::put) says so, and the client's next flow may write again.
///
/// Times are ticks of 250 ms that wrap; a thread whose `now` lags behind another's does no harm.
pub struct Sticky {
    sets: Box<[Set]>,
    /// Whether a writer is at work, a set. Beside the sets, so that readers' lines stay clean.
    claims: Box<[AtomicBool]>,
    keys: Keys,
    timeout_ticks: u32,
}

impl Sticky {
    /// An empty table. Allocates all it will ever use.
    ///
    /// # Errors
    /// A [`StickyError`] that names the value that is out of range.
    pub fn new(spec: &StickySpec) -> Result<Self, StickyError> {
        if !(1..=ENTRIES_MAX).contains(&spec.entries) {
            return Err(StickyError::Entries(spec.entries));
        }
        if !(1..=TIMEOUT_TICKS_MAX).contains(&spec.timeout_ticks) {
            return Err(StickyError::Timeout(spec.timeout_ticks));
        }
        let sets = spec.entries.div_ceil(WAYS);
        let keys = Keys::new(spec, sets)?;
        Ok(Self {
            sets: (0..sets).map(|_| Set(std::array::from_fn(|_| Entry::default()))).collect(),
            claims: (0..sets).map(|_| AtomicBool::new(false)).collect(),
            keys,
            timeout_ticks: spec.timeout_ticks,
        })
    }

    /// The entries that fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// The key of a client for this table: its address, cut to the prefix, and a service's or pool's number.
    #[inline]
    #[must_use]
    pub fn key(&self, source: Ip, salt: u32) -> StickyKey {
        self.keys.key(source, salt)
    }

    /// The server that these clients were given, unless that is too long ago. Counts as a use.
    ///
    /// Whether the server may still take them is the caller's to check. The time is written only when it changed, so
    /// within a tick the clients of one prefix share their entry's cache line.
    #[inline]
    #[must_use]
    pub fn get(&self, key: &StickyKey, now: u32) -> Option<u32> {
        let set = self.sets.get(key.set)?;
        let (entry, seen) = find(set, key)?;
        let idle = since(now, seen.used());
        if idle >= self.timeout_ticks {
            return None;
        }
        if idle > 0 {
            entry.touch(&seen, now);
        }
        Some(seen.server())
    }

    /// As [`get`](Self::get), without counting as a use: the server, and the ticks since the last use.
    #[must_use]
    pub fn peek(&self, key: &StickyKey, now: u32) -> Option<(u32, u32)> {
        let (_, seen) = find(self.sets.get(key.set)?, key)?;
        let idle = since(now, seen.used());
        (idle < self.timeout_ticks).then(|| (seen.server(), idle))
    }

    /// Gives these clients a server, in the place of the set's least recently used entry when it has no free one;
    /// expired entries are the least recently used of all.
    ///
    /// `false`: another thread got in the way and nothing, or not this, is remembered.
    pub fn put(&self, key: &StickyKey, server: u32, now: u32) -> bool {
        let Some((set, claim)) = self.sets.get(key.set).zip(self.claims.get(key.set)) else { return false };
        if claim.compare_exchange(false, true, Acquire, Relaxed).is_err() {
            return false;
        }
        let written = match find(set, key) {
            Some((entry, seen)) => entry.change(&seen, server, now),
            None => (0..VICTIMS).any(|_| {
                let (entry, state) = victim(set, now);
                entry.replace(state, key, server, now)
            }),
        };
        claim.store(false, Release);
        written
    }

    /// Forgets all clients of a server; how many there were. A walk through the whole table, for control.
    ///
    /// A worker that still picks this server may write while the walk passes: call this once they have stopped. Clients
    /// that are given another server at the very moment that the walk passes them may be forgotten too.
    pub fn forget_server(&self, server: u32) -> usize {
        let entries = self.sets.iter().flat_map(|set| &set.0);
        entries.filter(|entry| forget(entry, server)).count()
    }

    /// Entries in use. A walk through the whole table, for control.
    #[must_use]
    pub fn len(&self, now: u32) -> usize {
        let mut entries = 0;
        self.visit(0, self.sets.len(), now, |_| entries += 1);
        entries
    }

    /// Whether no entry is in use. A walk, as [`len`](Self::len).
    #[must_use]
    pub fn is_empty(&self, now: u32) -> bool {
        self.len(now) == 0
    }

    /// Shows the entries in use of at most `sets` sets (of eight) from set `from` on; the set to go on from, or `None`
    /// after the last. Entries that come, go or move meanwhile may or may not be shown.
    pub fn visit(
        &self,
        from: usize,
        sets: usize,
        now: u32,
        mut see: impl FnMut(StickyEntry),
    ) -> Option<usize> {
        let to = from.saturating_add(sets).min(self.sets.len());
        let slice = self.sets.get(from..to)?;
        for seen in slice.iter().flat_map(|set| &set.0).filter_map(Entry::read) {
            let idle_ticks = since(now, seen.used());
            if idle_ticks < self.timeout_ticks {
                let source = address_of(seen.high, seen.low);
                see(StickyEntry { source, salt: seen.salt(), server: seen.server(), idle_ticks });
            }
        }
        (to < self.sets.len()).then_some(to)
    }
}

impl fmt::Debug for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sticky({} entries)", self.capacity())
    }
}

/// The key's entry. There is at most one: only a set's one writer adds keys, and only those that it did not find.
#[inline]
fn find<'a>(set: &'a Set, key: &StickyKey) -> Option<(&'a Entry, Seen)> {
    let candidates = set.0.iter().filter(|entry| entry.may_hold(key));
    candidates.filter_map(|entry| Some((entry, entry.read()?))).find(|(_, seen)| seen.is(key))
}

/// An entry that is free, or else the one that was used longest ago, and the state that it was seen in.
fn victim(set: &Set, now: u32) -> (&Entry, u64) {
    let mut oldest = (&set.0[0], set.0[0].state());
    for entry in &set.0[1..] {
        let state = entry.state();
        if entry::worth(state, now) < entry::worth(oldest.1, now) {
            oldest = (entry, state);
        }
    }
    oldest
}

/// Frees the entry if it is the server's.
fn forget(entry: &Entry, server: u32) -> bool {
    for _ in 0..FORGETS {
        match entry.read() {
            Some(seen) if seen.server() == server => {
                if entry.clear(&seen) {
                    return true;
                }
            }
            _ => return false,
        }
    }
    false
}
