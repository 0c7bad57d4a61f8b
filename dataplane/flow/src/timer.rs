//! How long a silent flow lives.

use crate::tcp::Phase;
use crate::tick::Tick;

/// A set of idle timers, chosen by the service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Profile {
    /// Short timers of a load balancer: a flow that was lost too early is computed again.
    #[default]
    Lb = 0,
    /// The minima that RFC 5382 REQ-5 and RFC 4787 REQ-5 demand of a NAT.
    Rfc5382 = 1,
}

/// Idle timers in ticks. A flow expires when it was silent for *more* than its timer, so a timer is never cut short
/// by the coarseness of the clock.
struct Timers {
    opening: u32,
    established: u32,
    closed: u32,
    reset: u32,
    datagram: u32,
}

const LB: Timers = Timers {
    opening: secs(5),
    established: secs(300),
    closed: secs(30),
    reset: secs(30),
    datagram: secs(300),
};

/// RFC 5382 REQ-5: transitory 4 minutes, established 2 hours 4 minutes. RFC 4787 REQ-5: 5 minutes recommended.
const RFC5382: Timers = Timers {
    opening: secs(240),
    established: secs(7440),
    closed: secs(240),
    reset: secs(240),
    datagram: secs(300),
};

impl Profile {
    /// No timer is shorter, in ticks: who was seen within it needs no further look.
    pub(crate) const TIMER_MIN: u32 = LB.opening;

    /// The idle timer of a phase, in ticks.
    #[inline]
    #[must_use]
    pub const fn timer(self, phase: Phase) -> u32 {
        let timers = match self {
            Self::Lb => &LB,
            Self::Rfc5382 => &RFC5382,
        };
        match phase {
            Phase::Opening => timers.opening,
            Phase::Established | Phase::HalfClosed => timers.established,
            Phase::Closed => timers.closed,
            Phase::Reset => timers.reset,
            Phase::Datagram => timers.datagram,
        }
    }

    /// From the number that [`Profile`] is as a `u8`; an unknown number is [`Profile::Lb`].
    #[inline]
    #[must_use]
    pub(crate) const fn from_bits(bits: u8) -> Self {
        if bits == Self::Rfc5382 as u8 { Self::Rfc5382 } else { Self::Lb }
    }
}

const fn secs(seconds: u32) -> u32 {
    seconds * Tick::PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::{Phase, Profile};

    #[test]
    fn no_timer_is_below_the_minimum_and_rfc5382_holds() {
        use Phase::{Closed, Datagram, Established, HalfClosed, Opening, Reset};
        for phase in [Opening, Established, HalfClosed, Closed, Reset, Datagram] {
            for profile in [Profile::Lb, Profile::Rfc5382] {
                assert!(profile.timer(phase) >= Profile::TIMER_MIN);
            }
            let seconds = match phase {
                Established | HalfClosed => 7440,
                Opening | Closed | Reset => 240,
                Datagram => 120,
            };
            assert!(Profile::Rfc5382.timer(phase) >= seconds * 4, "{phase:?}");
        }
    }
}
