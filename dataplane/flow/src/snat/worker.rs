//! What a pool notes for each worker.

use crate::snat::group::Group;
use crate::sync::{AtomicU32, Relaxed};
use crate::tick::Tick;

/// One worker's place in its sweep, and what it knows about how full its share is. Only hints: the groups decide.
#[derive(Debug)]
pub(crate) struct Worker {
    /// The next place to sweep; past the last one between two rounds.
    pub(crate) cursor: AtomicU32,
    /// The tick when the round began.
    began: AtomicU32,
    /// For each transport and family.
    pub(crate) notes: [Note; 4],
}

/// What is known about a worker's ports of one transport and family.
#[derive(Debug)]
pub(crate) struct Note {
    /// Free ports, once searches found none anywhere; [`Note::MANY`] until then, and again from the next round on.
    spare: AtomicU32,
    /// Places that were searched one after the other since a free port was last seen.
    vain: AtomicU32,
    /// The place where a free port was last seen, or where the next search starts.
    pub(crate) lead: AtomicU32,
}

impl Worker {
    /// Ticks from one round to the next, at least.
    const ROUND: u32 = Group::QUARANTINE / 8;

    pub(crate) fn new() -> Self {
        let note =
            || Note { spare: AtomicU32::new(Note::MANY), vain: AtomicU32::new(0), lead: AtomicU32::new(0) };
        Self {
            cursor: AtomicU32::new(u32::MAX),
            began: AtomicU32::new(0),
            notes: [note(), note(), note(), note()],
        }
    }

    /// Where to sweep now, if anywhere: below `places`.
    pub(crate) fn place(&self, places: u32, now: Tick) -> Option<u32> {
        let at = self.cursor.load(Relaxed);
        if at < places {
            return Some(at);
        }
        if !now.is_apart(Tick(self.began.load(Relaxed)), Self::ROUND) {
            return None;
        }
        self.began.store(now.0, Relaxed);
        for note in &self.notes {
            // Another pool may have swept ports that are this one's too: now and then a search looks for itself.
            note.spare.store(Note::MANY, Relaxed);
            note.vain.store(0, Relaxed);
        }
        Some(0)
    }
}

impl Note {
    const MANY: u32 = u32::MAX;

    /// Whether a search is known to find nothing.
    #[inline]
    pub(crate) fn is_dry(&self) -> bool {
        self.spare.load(Relaxed) == 0
    }

    /// Counts a port that was taken.
    #[inline]
    pub(crate) fn count_taken(&self) {
        self.see_free();
        let spare = self.spare.load(Relaxed);
        if spare != Self::MANY {
            self.set(spare, spare.saturating_sub(1));
        }
    }

    /// Counts places, of `all`, that were searched in vain; the next search starts at `next`.
    pub(crate) fn count_in_vain(&self, places: u32, all: u32, next: u32) {
        self.lead.store(next, Relaxed);
        let vain = self.vain.load(Relaxed).saturating_add(places);
        self.vain.store(vain, Relaxed);
        if vain >= all {
            self.vain.store(0, Relaxed);
            self.spare.store(0, Relaxed);
        }
    }

    /// Counts ports that became free at a place.
    pub(crate) fn count_freed(&self, ports: u32, place: u32) {
        self.see_free();
        self.lead.store(place, Relaxed);
        let spare = self.spare.load(Relaxed);
        if spare != Self::MANY {
            self.set(spare, spare.saturating_add(ports));
        }
    }

    #[inline]
    fn see_free(&self) {
        if self.vain.load(Relaxed) != 0 {
            self.vain.store(0, Relaxed);
        }
    }

    /// Lost when another worker counts at the same moment: then the count is wrong until the next round.
    fn set(&self, from: u32, to: u32) {
        let _ = self.spare.compare_exchange(from, to, Relaxed, Relaxed);
    }
}
