//! The coarse clock that flows are aged by.

/// A point in time, in ticks of 250 ms, that wraps after 34 years.
///
/// Compare ticks only by [`since`](Self::since): two ticks less than 17 years apart are ordered right across the wrap.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tick(pub u32);

impl Tick {
    /// Ticks in one second.
    pub const PER_SECOND: u32 = 4;

    const NANOS: u64 = 1_000_000_000 / Self::PER_SECOND as u64;

    /// The tick of a reading of a monotonic clock, in nanoseconds.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a tick wraps by design")]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self((nanos / Self::NANOS) as u32)
    }

    /// Ticks from `earlier` to this one; 0 when `earlier` is the later of the two, as it is when another worker
    /// read the clock after this one did.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Self) -> u32 {
        let ticks = self.0.wrapping_sub(earlier.0);
        if ticks > i32::MAX as u32 { 0 } else { ticks }
    }

    /// This tick and a number of ticks more.
    #[inline]
    #[must_use]
    pub const fn plus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// This tick less a number of ticks.
    #[inline]
    #[must_use]
    pub const fn minus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_sub(ticks))
    }

    /// Whether the two are that many ticks apart, whichever is the later one: true also for a time of long ago that
    /// [`since`](Self::since) would take for one to come.
    #[inline]
    #[must_use]
    pub(crate) const fn is_apart(self, other: Self, ticks: u32) -> bool {
        let ahead = self.0.wrapping_sub(other.0);
        ahead >= ticks && ahead.wrapping_neg() >= ticks
    }

    /// The later of two ticks.
    #[inline]
    #[must_use]
    pub(crate) const fn later(self, other: Self) -> Self {
        if other.since(self) > 0 { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::Tick;

    #[test]
    fn a_tick_is_a_quarter_of_a_second() {
        assert_eq!(Tick::from_nanos(249_999_999), Tick(0));
        assert_eq!(Tick::from_nanos(250_000_000), Tick(1));
        assert_eq!(Tick::from_nanos(60_000_000_000), Tick(240));
    }

    #[test]
    fn order_survives_the_wrap_and_a_lagging_reader() {
        let before = Tick(u32::MAX - 1);
        assert_eq!(before.plus(5).since(before), 5);
        assert_eq!(before.since(before.plus(5)), 0);
        assert_eq!(before.later(before.plus(5)), before.plus(5));
        assert_eq!(before.plus(5).later(before), before.plus(5));
    }

    #[test]
    fn apart_is_either_way_round_and_across_the_wrap() {
        let before = Tick(u32::MAX - 1);
        for (other, apart) in [(before.plus(4), false), (before.plus(5), true), (before.plus(1 << 31), true)]
        {
            assert_eq!((before.is_apart(other, 5), other.is_apart(before, 5)), (apart, apart));
        }
        assert!(!before.is_apart(before, 1));
    }
}
