//! The state word: the one word of an entry that says whether and how a flow lives.

use ringlead_wire::TcpFlags;

use crate::flow::Side;
use crate::tcp::{Phase, Seen};
use crate::tick::Tick;
use crate::timer::Profile;

/// What a flow shows of its server: whether it took the connection that its client asked for (TCP only).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// It answered; where its packets pass elsewhere, the client acknowledged or reset what it was answered.
    Answered,
    /// The client had to repeat its SYN.
    Unanswered,
    /// It sent a RST (RFC 9293 §3.10.7.1). Where its packets pass elsewhere nobody sees it: the flow ends unanswered.
    Refused,
}

/// `{generation 16, stage 3, seen 5, datagram 1, one-sided 1, attempt 4, mixed 1, profile 1, last-seen 32}`, highest bits first.
/// The attempt is that of an insert; of a live flow its lowest bit says that the server's failure to answer has been told, the
/// next two that the client and the server were reset, and the highest that its account is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State(pub(crate) u64);

/// Who may do what with an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Stage {
    /// In a free list, or in the hands of the one thread that took it out or is about to put it back.
    Free = 0,
    /// Written by an insert that may still lose: invisible to look-ups, cleaned up by its inserter only.
    Tentative = 1,
    /// A flow.
    Live = 2,
    /// A flow that expired and was displaced by an insert; the sweep reports and frees it.
    Ended = 3,
    /// Clean, but the free lists were too busy to take it back; the sweep tries again.
    Loose = 4,
}

impl State {
    const SEEN: u32 = 40;
    const STAGE: u32 = 45;
    const PROFILE: u32 = 32;
    const MIXED: u64 = 1 << 33;
    const ATTEMPT: u32 = 34;
    // Of a live flow only.
    const TOLD: u64 = 1 << Self::ATTEMPT;
    const CLIENT_RESET: u64 = 1 << (Self::ATTEMPT + 1);
    const SERVER_RESET: u64 = 1 << (Self::ATTEMPT + 2);
    const ACCOUNTED: u64 = 1 << (Self::ATTEMPT + 3);
    const ONE_SIDED: u64 = 1 << 38;
    const DATAGRAM: u64 = 1 << 39;

    /// Of an entry without a flow.
    pub(crate) const fn vacant(generation: u16, stage: Stage) -> Self {
        Self((generation as u64) << 48 | (stage as u64) << Self::STAGE)
    }

    /// Of a flow that is being inserted.
    pub(crate) fn tentative(generation: u16, profile: Profile, proto: u8, one_sided: bool) -> Self {
        let datagram = if proto == 6 { 0 } else { Self::DATAGRAM };
        let one_sided = if one_sided { Self::ONE_SIDED } else { 0 };
        let traits = u64::from(profile as u8) << Self::PROFILE | datagram | one_sided;
        Self(Self::vacant(generation, Stage::Tentative).0 | traits)
    }

    /// Of the same insert, of a flow whose two tuples are of different families.
    pub(crate) const fn mixed(self) -> Self {
        Self(self.0 | Self::MIXED)
    }

    /// Of the same insert at its attempt number `attempt`, below 16.
    pub(crate) const fn attempted(self, attempt: u8) -> Self {
        Self(self.0 | (attempt as u64) << Self::ATTEMPT)
    }

    /// The number of the attempt that a tentative flow belongs to.
    #[allow(clippy::cast_possible_truncation, reason = "fields are cut out of the word")]
    pub(crate) const fn attempt(self) -> u8 {
        (self.0 >> Self::ATTEMPT) as u8 & 15
    }

    /// The flow that a tentative one becomes.
    pub(crate) const fn confirmed(self) -> Self {
        Self(self.0 & !(15 << Self::ATTEMPT)).at(Stage::Live)
    }

    /// The same flow with an account.
    pub(crate) const fn accounted(self) -> Self {
        Self(self.0 | Self::ACCOUNTED)
    }

    /// Whether the flow's account is kept. Of a live flow, or one that has ended.
    #[inline]
    #[must_use]
    pub const fn is_accounted(self) -> bool {
        self.0 & Self::ACCOUNTED != 0
    }

    /// The same with the first packet's marks.
    pub(crate) fn started(self, first: TcpFlags, now: Tick) -> Self {
        self.with(Seen::first(first), now)
    }

    /// Where the flow stands.
    #[inline]
    #[must_use]
    pub const fn phase(self) -> Phase {
        if self.0 & Self::DATAGRAM != 0 {
            return Phase::Datagram;
        }
        self.seen().phase(self.is_one_sided())
    }

    /// The flow's set of timers.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "fields are cut out of the word")]
    pub const fn profile(self) -> Profile {
        Profile::from_bits((self.0 >> Self::PROFILE) as u8 & 1)
    }

    /// When its last packet came.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the tick is the low half")]
    pub const fn last_seen(self) -> Tick {
        Tick(self.0 as u32)
    }

    /// What the flow's TCP segments have shown so far, as a number for [`FlowTable::restore`](crate::FlowTable::restore): the
    /// client sent an ACK (1), the server did (2), the client sent a FIN (4), the server did (8), the last segment was a RST
    /// (16). Of no worth for other transports.
    #[inline]
    #[must_use]
    pub const fn marks(self) -> u8 {
        self.seen().0
    }

    /// The same with other marks, of which unknown bits are left out, and another time of the last packet.
    pub(crate) const fn restored(self, marks: u8, last_seen: Tick) -> Self {
        self.with(Seen(marks & Seen::MASK), last_seen)
    }

    /// The idle timer that runs, in ticks.
    #[inline]
    #[must_use]
    pub const fn timer(self) -> u32 {
        self.profile().timer(self.phase())
    }

    /// Whether the flow was silent for longer than its timer.
    #[inline]
    #[must_use]
    pub const fn is_expired(self, now: Tick) -> bool {
        let idle = now.since(self.last_seen());
        idle > Profile::TIMER_MIN && self.is_outlived(idle)
    }

    /// Out of the way, because hardly a packet comes to a flow that was silent for that long.
    #[inline(never)]
    const fn is_outlived(self, idle: u32) -> bool {
        idle > self.timer()
    }

    /// The state after one more packet.
    #[inline]
    pub(crate) const fn after(self, side: Side, flags: TcpFlags, now: Tick) -> Self {
        let seen = if self.0 & Self::DATAGRAM == 0 {
            self.seen().next(side, flags, self.is_one_sided())
        } else {
            self.seen()
        };
        let next = self.with(seen, self.last_seen().later(now));
        if flags.0 & (TcpFlags::SYN | TcpFlags::RST) == 0 { next } else { self.judged(next, side, flags) }
    }

    /// `next` with the note that the server failed, where this packet shows it: the client repeats its SYN, or the server refuses
    /// it.
    #[inline(never)]
    const fn judged(self, next: Self, side: Side, flags: TcpFlags) -> Self {
        if !self.is_unanswered() {
            // A client that opens anew on the ports of an ended connection makes another attempt, of which nobody was told
            // anything.
            let of_the_last = Self::TOLD | Self::CLIENT_RESET | Self::SERVER_RESET;
            return if next.is_unanswered() { Self(next.0 & !of_the_last) } else { next };
        }
        let shows = match side {
            Side::Client => flags.is_syn(),
            Side::Server => flags.is_rst(),
        };
        if shows { Self(next.0 | Self::TOLD) } else { next }
    }

    /// The state after a packet of that end was answered with a reset.
    pub(crate) const fn reset(self, side: Side, now: Tick) -> Self {
        let mark = match side {
            Side::Client => Self::CLIENT_RESET,
            Side::Server => Self::SERVER_RESET,
        };
        let after = self.after(side, TcpFlags(TcpFlags::RST), now);
        Self(after.0 | mark)
    }

    /// Whether every end whose packets pass here was answered with a reset ([`FlowTable::reset`](crate::FlowTable::reset)), some
    /// time: also if the flow has gone on since.
    #[inline]
    #[must_use]
    pub const fn is_reset_to_all(self) -> bool {
        let server = if self.is_one_sided() { 0 } else { Self::SERVER_RESET };
        let all = Self::CLIENT_RESET | server;
        self.0 & all == all
    }

    /// Whether this is a TCP flow whose client asked for a connection, and of whose server nothing but a RST was seen: nor,
    /// where the server's packets pass elsewhere, an ACK or a RST of the client's.
    #[inline]
    pub(crate) const fn is_unanswered(self) -> bool {
        self.0 & Self::DATAGRAM == 0 && !self.seen().is_answered(self.is_one_sided())
    }

    /// What the change from this state to `next` says of the server.
    #[inline]
    pub(crate) const fn outcome(self, next: Self) -> Option<Outcome> {
        if (self.0 ^ next.0) >> Self::ATTEMPT == 0 { None } else { self.outcome_of_change(next) }
    }

    #[inline(never)]
    const fn outcome_of_change(self, next: Self) -> Option<Outcome> {
        if self.is_unanswered() && !next.is_unanswered() {
            Some(Outcome::Answered)
        } else if next.0 & !self.0 & Self::TOLD == 0 {
            None
        } else if next.seen().is_reset() {
            Some(Outcome::Refused)
        } else {
            Some(Outcome::Unanswered)
        }
    }

    /// The same with the note that the server's failure was told; `None` where there is none to tell, or no more.
    pub(crate) const fn told(self) -> Option<Self> {
        if self.is_unanswered() && self.0 & Self::TOLD == 0 { Some(Self(self.0 | Self::TOLD)) } else { None }
    }

    /// Whether a flow that ends in this state was never answered, and nobody has been told. A client that took its SYN back
    /// did not wait for the answer.
    #[inline]
    #[must_use]
    pub const fn ends_unanswered(self) -> bool {
        self.told().is_some() && !self.seen().is_reset()
    }

    /// Whether one more packet certainly leaves the state as it is: data or a bare ACK of an end that has acknowledged
    /// before, or any datagram, within the tick of the last packet. Most packets; [`after`](Self::after) knows the rest.
    #[inline]
    pub(crate) const fn is_settled(self, side: Side, flags: TcpFlags, now: Tick) -> bool {
        let transport =
            self.0 & Self::DATAGRAM != 0 || flags.is_plain_ack() && self.seen().is_acknowledged(side);
        transport && now.since(self.last_seen()) == 0
    }

    /// The same flow in another stage.
    #[inline]
    pub(crate) const fn at(self, stage: Stage) -> Self {
        Self(self.0 & !(7 << Self::STAGE) | (stage as u64) << Self::STAGE)
    }

    #[inline]
    pub(crate) const fn generation(self) -> u16 {
        (self.0 >> 48) as u16
    }

    #[inline]
    pub(crate) const fn stage(self) -> Stage {
        match self.0 >> Self::STAGE & 7 {
            1 => Stage::Tentative,
            2 => Stage::Live,
            3 => Stage::Ended,
            4 => Stage::Loose,
            _ => Stage::Free,
        }
    }

    /// Whether this is a flow of that generation.
    #[inline]
    pub(crate) const fn is_live(self, generation: u16) -> bool {
        self.0 >> Self::STAGE == (generation as u64) << 3 | Stage::Live as u64
    }

    #[inline]
    pub(crate) const fn is_one_sided(self) -> bool {
        self.0 & Self::ONE_SIDED != 0
    }

    #[inline]
    pub(crate) const fn is_mixed(self) -> bool {
        self.0 & Self::MIXED != 0
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "fields are cut out of the word")]
    const fn seen(self) -> Seen {
        Seen((self.0 >> Self::SEEN) as u8 & Seen::MASK)
    }

    /// Whether the packets seen so far mean the same to both.
    #[inline]
    pub(crate) const fn is_seen_as(self, other: Self) -> bool {
        (self.0 ^ other.0) >> 32 == 0
    }

    const fn with(self, seen: Seen, tick: Tick) -> Self {
        let kept = self.0 & !((Seen::MASK as u64) << Self::SEEN | u32::MAX as u64);
        Self(kept | (seen.0 as u64) << Self::SEEN | tick.0 as u64)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{State, Tick};
    use crate::flow::Side;
    use crate::timer::Profile;
    use ringlead_wire::TcpFlags;

    /// All flags, both ends, every mark, now and later: what is called settled stays as it is.
    #[test]
    fn a_settled_state_is_one_that_a_packet_leaves_as_it_is() {
        let mut settled = 0;
        for (proto, one_sided) in [(6, false), (6, true), (17, false)] {
            let first = State::tentative(7, Profile::Lb, proto, one_sided).confirmed();
            for marks in 0..32_u64 {
                let state = State(first.0 | marks << State::SEEN | 1000);
                for (flags, side, now) in (0..=255).flat_map(|flags| {
                    [Side::Client, Side::Server].into_iter().flat_map(move |side| {
                        [999, 1000, 1001].map(move |now| (TcpFlags(flags), side, Tick(now)))
                    })
                }) {
                    if state.is_settled(side, flags, now) {
                        assert_eq!(
                            state.after(side, flags, now),
                            state,
                            "{state:?} {flags:?} {side:?} {now:?}"
                        );
                        settled += 1;
                    }
                }
            }
        }
        assert!(settled > 10_000, "{settled}");
    }
}
