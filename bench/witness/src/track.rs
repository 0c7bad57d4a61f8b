//! What came of one flow: a sliding window over the last 64 packets, as of RFC 4303 §3.4.3, and how many left it unseen.

use crate::gaps::Gaps;

/// How far back a late packet and a duplicate are told apart without a list.
const WINDOW: u32 = 64;

/// One direction of one flow; 24 bytes, all zero when nothing came yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Track {
    /// Bit i: packet `next` − 1 − i has not come. What was before packet 0 counts as come.
    absent: u64,
    /// One more than the highest packet that came, in serial arithmetic (RFC 1982).
    next: u32,
    /// Packets that left the window without having come.
    missing: u32,
    /// The server that the flow went to last, plus 1.
    server: u16,
    /// Whether the flow ever changed its server.
    moved: bool,
}

/// How a packet stands to those before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// The next, or a later one: those between may still come.
    Ahead,
    /// After a later one.
    Late,
    /// It came before.
    Duplicate,
    /// Late or a duplicate: beyond the window, and the list of gaps has overflowed.
    Stale,
}

impl Track {
    /// Notes that packet `seq` of `flow` came.
    #[inline]
    pub(crate) fn note(&mut self, flow: u32, seq: u32, gaps: &mut Gaps) -> Order {
        let ahead = seq.wrapping_sub(self.next);
        if ahead == 0 && self.absent == 0 {
            self.next = seq.wrapping_add(1);
            return Order::Ahead;
        }
        if ahead < 1 << 31 {
            self.advance(flow, ahead, gaps);
            return Order::Ahead;
        }
        let back = self.next.wrapping_sub(1).wrapping_sub(seq);
        if back >= WINDOW {
            return self.beyond(flow, seq, gaps);
        }
        let bit = 1 << back;
        if self.absent & bit == 0 {
            return Order::Duplicate;
        }
        self.absent &= !bit;
        Order::Late
    }

    /// Moves the window so that packet `next` + `ahead` is its newest.
    fn advance(&mut self, flow: u32, ahead: u32, gaps: &mut Gaps) {
        let by = ahead.saturating_add(1);
        let (leaving, kept) = if by >= WINDOW {
            (self.absent, 0)
        } else {
            (self.absent >> (WINDOW - by) << (WINDOW - by), self.absent << by)
        };
        let mut left = leaving;
        while left != 0 {
            let oldest = WINDOW - 1 - left.leading_zeros();
            self.leave(flow, self.next.wrapping_sub(1 + oldest), 1, gaps);
            left &= !(1 << oldest);
        }
        let inside = ahead.min(WINDOW - 1);
        if ahead > inside {
            self.leave(flow, self.next, ahead - inside, gaps);
        }
        // Bit 0 is the packet itself; the `inside` ones above it were skipped.
        let skipped = if inside == WINDOW - 1 { !1 } else { ((1 << (inside + 1)) - 1) & !1 };
        self.absent = kept | skipped;
        self.next = self.next.wrapping_add(by);
    }

    fn leave(&mut self, flow: u32, first: u32, count: u32, gaps: &mut Gaps) {
        self.missing = self.missing.saturating_add(count);
        gaps.add(flow, first, count);
    }

    #[cold]
    fn beyond(&mut self, flow: u32, seq: u32, gaps: &mut Gaps) -> Order {
        if gaps.take(flow, seq) {
            self.missing = self.missing.saturating_sub(1);
            Order::Late
        } else if gaps.is_complete() {
            Order::Duplicate
        } else {
            Order::Stale
        }
    }

    /// Notes where the flow went, and returns where it went before, when that is another server.
    #[inline]
    pub(crate) fn went_to(&mut self, server: u16) -> Option<(u16, bool)> {
        let last = self.server;
        self.server = server + 1;
        if last == 0 || last == server + 1 {
            return None;
        }
        let first_time = !self.moved;
        self.moved = true;
        Some((last - 1, first_time))
    }

    /// The server that the flow went to last.
    #[inline]
    pub(crate) const fn server(&self) -> Option<u16> {
        self.server.checked_sub(1)
    }

    /// How many of `sent` packets did not come, and how many came that are beyond them.
    pub(crate) const fn account(&self, sent: u32) -> (u64, u32) {
        let tail = sent.wrapping_sub(self.next);
        let held = self.missing as u64 + self.absent.count_ones() as u64;
        if tail < 1 << 31 { (held + tail as u64, 0) } else { (held, self.next.wrapping_sub(sent)) }
    }

    /// Adds the packets that are missing in the window and behind it, in order. Those that left are in the gaps.
    pub(crate) fn missing_at_end(&self, flow: u32, sent: u32, into: &mut Gaps) {
        let mut left = self.absent;
        while left != 0 {
            let oldest = WINDOW - 1 - left.leading_zeros();
            into.add(flow, self.next.wrapping_sub(1 + oldest), 1);
            left &= !(1 << oldest);
        }
        let tail = sent.wrapping_sub(self.next);
        if tail < 1 << 31 {
            into.add(flow, self.next, tail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn ten_million_flows_fit() {
        assert!(size_of::<Track>() <= 24);
    }

    #[test]
    fn sequence_numbers_wrap() {
        let (mut track, mut gaps) = (Track { next: u32::MAX - 1, ..Track::default() }, Gaps::new(8));
        for seq in [u32::MAX - 1, 0, 1] {
            assert_eq!(track.note(0, seq, &mut gaps), Order::Ahead);
        }
        assert_eq!(track.note(0, u32::MAX, &mut gaps), Order::Late);
        assert_eq!(track.note(0, u32::MAX, &mut gaps), Order::Duplicate);
        assert_eq!(track.account(2), (0, 0));
        assert_eq!(track.account(1), (0, 1));
    }

    #[test]
    fn what_cannot_be_told_is_stale() {
        let (mut track, mut gaps) = (Track::default(), Gaps::new(1));
        for seq in [2, 100, 200, 300] {
            track.note(0, seq, &mut gaps);
        }
        assert_eq!(track.note(0, 150, &mut gaps), Order::Stale);
        assert_eq!(track.note(0, 1, &mut gaps), Order::Late);
    }

    proptest! {
        /// Against a set of all that came: any order, jumps, repeats.
        #[test]
        fn it_agrees_with_a_set(steps in prop::collection::vec((0..3_u8, 0..200_u32), 1..300)) {
            let (mut track, mut gaps) = (Track::default(), Gaps::new(10_000));
            let (mut came, mut high) = (BTreeSet::new(), 0);
            for (what, by) in steps {
                let seq = match what { 0 => high, 1 => high + by, _ => high.saturating_sub(by) };
                let expected = match (seq >= high, came.insert(seq)) {
                    (true, _) => Order::Ahead,
                    (false, true) => Order::Late,
                    (false, false) => Order::Duplicate,
                };
                high = high.max(seq + 1);
                prop_assert_eq!(track.note(7, seq, &mut gaps), expected, "packet {}", seq);
            }
            let sent = high + 5;
            let absent: Vec<u32> = (0..sent).filter(|seq| !came.contains(seq)).collect();
            prop_assert_eq!(track.account(sent), (absent.len() as u64, 0));
            track.missing_at_end(7, sent, &mut gaps);
            let listed: Vec<u32> = gaps.sorted().iter().flat_map(|gap| gap.first..gap.first + gap.count).collect();
            prop_assert_eq!(listed, absent);
        }
    }
}
