//! Live flows of each server, counted by all workers.

use std::fmt;

use crate::sync::{AtomicU32, Relaxed};

/// How many live flows each server has, by server id. Shared by all workers; a change is one locked instruction for a
/// new or ended flow, never for a packet.
///
/// Counts are packed, sixteen to a cache line: a look at a whole pool reads them far more often than flows change
/// them. They are exact once workers stand still; while they run, a choice may miss what another worker is doing.
pub struct Loads {
    flows: Box<[AtomicU32]>,
}

impl Loads {
    /// Zeroes for server ids 0..`capacity`. Ids beyond it are not counted: changes do nothing and the count is 0.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { flows: (0..capacity).map(|_| AtomicU32::new(0)).collect() }
    }

    /// The server ids that are counted: 0..`capacity`.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.flows.len()
    }

    /// The server's live flows.
    #[inline]
    #[must_use]
    pub fn get(&self, server: u32) -> u32 {
        self.of(server).map_or(0, |flows| flows.load(Relaxed))
    }

    /// One flow more; a full count stays full.
    #[inline]
    pub fn add(&self, server: u32) {
        self.add_below(server, u32::MAX);
    }

    /// One flow more, if there are fewer than `limit`. Two workers that both see the last free place do not both get
    /// it, which a look at [`get`](Self::get) alone cannot promise. `false`: nothing was counted, also because the
    /// id is beyond the capacity.
    #[inline]
    pub fn add_below(&self, server: u32, limit: u32) -> bool {
        let more = |flows: u32| if flows < limit { flows.checked_add(1) } else { None };
        self.of(server).is_some_and(|flows| flows.fetch_update(Relaxed, Relaxed, more).is_ok())
    }

    /// Counts a flow while `make` tries to make it, and takes it off again when `make` says that it did not. `None`, and
    /// `make` is not called, where a limit leaves no room for it.
    ///
    /// The flow is counted before anybody can see it. Were it counted after, another worker could end it in between, find
    /// none to take off, and leave it counted for ever.
    #[inline]
    pub fn count<T>(&self, server: u32, limit: Option<u32>, make: impl FnOnce() -> (bool, T)) -> Option<T> {
        let counted = self.add_below(server, limit.unwrap_or(u32::MAX));
        if !counted && limit.is_some() {
            return None;
        }
        let (made, what) = make();
        if counted && !made {
            self.sub(server);
        }
        Some(what)
    }

    /// One flow less; none stays none.
    #[inline]
    pub fn sub(&self, server: u32) {
        if let Some(flows) = self.of(server) {
            // An exchange that fails found the count changed by another worker; nothing is left to do at zero.
            let _ = flows.fetch_update(Relaxed, Relaxed, |flows| flows.checked_sub(1));
        }
    }

    /// Sets the count: for control, when an id goes to another server, or after a recount.
    pub fn set(&self, server: u32, flows: u32) {
        if let Some(count) = self.of(server) {
            count.store(flows, Relaxed);
        }
    }

    #[inline]
    fn of(&self, server: u32) -> Option<&AtomicU32> {
        self.flows.get(usize::try_from(server).ok()?)
    }
}

impl fmt::Debug for Loads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loads({} servers)", self.flows.len())
    }
}

/// Whether `a` is the better choice: its (flows + 1) / weight is less than `b`'s. Each is (live flows, weight).
///
/// Counting the flow that is about to come keeps an idle heavy server ahead of an idle light one. The products are
/// at most 2^32 x 65 535, exact in 64 bits.
#[inline]
pub(crate) fn less(a: (u32, u16), b: (u32, u16)) -> bool {
    (u64::from(a.0) + 1) * u64::from(b.1) < (u64::from(b.0) + 1) * u64::from(a.1)
}
