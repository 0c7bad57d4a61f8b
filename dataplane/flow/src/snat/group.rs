//! 64 ports of one address and transport: a bit a port in three words.

use crate::sync::{AcqRel, Acquire, AtomicU32, AtomicU64, Relaxed, Release};
use crate::tick::Tick;

/// Ports in a group.
pub(crate) const GROUP: u16 = 64;

/// The state of 64 ports. Free: no bit. Held by a flow: *busy* alone. Given back: *busy* and *fresh*, then, from a turn of
/// the group on, *busy* and *aged*; a later turn, [`Group::QUARANTINE`] or more after that one, makes it free.
#[derive(Debug, Default)]
pub(crate) struct Group {
    busy: AtomicU64,
    fresh: AtomicU64,
    aged: AtomicU64,
    /// The tick of the last turn that made ports aged.
    turned: AtomicU32,
}

/// How many ports of a group are not free.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Filling {
    pub(crate) held: u32,
    pub(crate) quarantined: u32,
}

impl Group {
    /// Ticks for which a port is aged, at least.
    pub(crate) const QUARANTINE: u32 = 60 * Tick::PER_SECOND;

    /// Takes one of the ports in `mask`: `first` (below 64) or else the next one that is free.
    #[inline]
    pub(crate) fn take(&self, mask: u64, first: u32) -> Option<u32> {
        let mut busy = self.busy.load(Relaxed);
        // Pools that share an address may be at the same group; each lost race is a port that another one got.
        for _ in 0..GROUP {
            let free = mask & !busy;
            if free == 0 {
                return None;
            }
            let at = (free.rotate_right(first).trailing_zeros() + first) & 63;
            // Acquire: what the port's last flow did comes before what the next one does.
            busy = self.busy.fetch_or(1 << at, AcqRel);
            if busy >> at & 1 == 0 {
                return Some(at);
            }
        }
        None
    }

    /// Puts a held port into quarantine; a port that is not held is left alone.
    pub(crate) fn give_back(&self, at: u32) {
        if self.is_held(at) {
            self.fresh.fetch_or(1 << at, Release);
        }
    }

    /// Frees a held port at once and says so; a port that is not held is left alone.
    pub(crate) fn never_used(&self, at: u32) -> bool {
        let held = self.is_held(at);
        if held {
            self.busy.fetch_and(!(1 << at), Release);
        }
        held
    }

    /// Takes that one port (below 64), if it is free.
    pub(crate) fn claim(&self, at: u32) -> bool {
        self.busy.fetch_or(1 << at, AcqRel) >> at & 1 == 0
    }

    /// The ports in quarantine, a bit each.
    pub(crate) fn resting(&self) -> u64 {
        (self.fresh.load(Relaxed) | self.aged.load(Relaxed)) & self.busy.load(Relaxed)
    }

    /// Puts those of the ports in `mask` that are free into quarantine, as if they had just been given back.
    pub(crate) fn rest(&self, mask: u64) {
        let free = mask & !self.busy.fetch_or(mask, AcqRel);
        self.fresh.fetch_or(free, Release);
    }

    fn is_held(&self, at: u32) -> bool {
        let cooling = self.fresh.load(Relaxed) | self.aged.load(Relaxed);
        (self.busy.load(Relaxed) & !cooling) >> at & 1 != 0
    }

    /// The group's turn in the sweep: what is aged becomes free, and what is fresh aged. Nothing happens while the last
    /// such turn is less than the quarantine ago, if it left something that ages: so a port is aged for that long, whoever
    /// sweeps and however often. Returns the ports that became free.
    pub(crate) fn turn(&self, now: Tick) -> u64 {
        let aged = self.aged.load(Acquire);
        if self.fresh.load(Relaxed) | aged == 0 {
            return 0;
        }
        let turned = Tick(self.turned.load(Relaxed));
        if aged != 0 && !now.is_apart(turned, Self::QUARANTINE) {
            return 0;
        }
        // Not back to the time of a worker that read the clock before the last one did.
        let stamp = if (1..Self::QUARANTINE).contains(&turned.since(now)) { turned } else { now };
        if self.turned.compare_exchange(turned.0, stamp.0, AcqRel, Relaxed).is_err() {
            return 0;
        }
        // Whoever comes from here on finds nothing aged, and then frees nothing; or what ages from now.
        let ripe = if aged == 0 { 0 } else { self.aged.swap(0, AcqRel) };
        let fresh = self.fresh.swap(0, AcqRel);
        self.aged.fetch_or(fresh, Release);
        self.busy.fetch_and(!ripe, AcqRel);
        ripe
    }

    /// Whether one of the ports in `mask` is free.
    pub(crate) fn has_free(&self, mask: u64) -> bool {
        mask & !self.busy.load(Acquire) != 0
    }

    /// Counts the ports in `mask`.
    pub(crate) fn filling(&self, mask: u64) -> Filling {
        let busy = self.busy.load(Acquire) & mask;
        let cooling = (self.fresh.load(Relaxed) | self.aged.load(Relaxed)) & busy;
        Filling { held: (busy & !cooling).count_ones(), quarantined: cooling.count_ones() }
    }
}
