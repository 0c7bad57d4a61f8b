//! After the trial: which packets never came, each way.

use crate::findings::Missing;
use crate::gaps::{Gap, Gaps};
use crate::kind::Kind;
use crate::record::{Record, Who};
use crate::stamp::Stamp;
use crate::track::Track;

/// What is missing of both directions.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    pub(crate) forward: u64,
    pub(crate) reply: u64,
    pub(crate) missing: Missing,
}

/// Counts what is missing, forward and then in replies, and records it. Flows from `may_vanish_from` on miss nothing.
pub(crate) fn account(
    tracks: &[Vec<Track>; 2],
    gaps: &[Gaps; 2],
    may_vanish_from: u32,
    sent: &mut impl FnMut(u32) -> u64,
    record: &mut Record,
) -> Lost {
    let [forward, replies] = tracks;
    let mut all = gaps.clone();
    all.iter_mut().for_each(|gaps| gaps.forget_from(may_vanish_from));
    let mut lost = Lost::default();
    for (flow, track) in (0_u32..).zip(forward) {
        let all_sent = sent(flow);
        let count = low(all_sent);
        let reply = usize::try_from(flow).ok().and_then(|flow| replies.get(flow));
        let (absent, beyond) = track.account(count);
        if flow >= may_vanish_from {
            never_sent(record, flow, count, beyond);
            reply.iter().for_each(|reply| never_sent(record, flow, count, reply.account(count).1));
            continue;
        }
        // Packets beyond the last one sent leave gaps before them: no more can be lost than was sent.
        let absent = absent.min(all_sent);
        track.missing_at_end(flow, count, &mut all[0]);
        lost.forward += absent;
        lost.missing.forward_flows += u64::from(absent > 0);
        never_sent(record, flow, count, beyond);
        if let Some(reply) = reply {
            let (unanswered, beyond) = reply.account(count);
            reply.missing_at_end(flow, count, &mut all[1]);
            let unanswered = unanswered.min(all_sent).saturating_sub(absent);
            lost.reply += unanswered;
            lost.missing.reply_flows += u64::from(unanswered > 0);
            never_sent(record, flow, count, beyond);
        }
    }
    let [forward, replies] = all;
    lost.missing.complete = forward.is_complete() && replies.is_complete();
    lost.missing.forward = forward.sorted();
    lost.missing.reply = without(&replies.sorted(), &lost.missing.forward);
    tell(record, &lost);
    lost
}

/// Puts the losses among the findings.
fn tell(record: &mut Record, lost: &Lost) {
    let ways = [
        (lost.forward, &lost.missing.forward, "a server"),
        (lost.reply, &lost.missing.reply, "the client, in a reply"),
    ];
    for (total, gaps, whom) in ways {
        let mut rest = total;
        for gap in gaps {
            let count = u64::from(gap.count).min(rest);
            rest -= count;
            let stamp = Stamp { flow: gap.flow, seq: gap.first, ..Stamp::default() };
            let who = Who { stamp: Some(stamp), at_ns: 0 };
            let got = format_args!("nothing, for {} packets from here on", gap.count);
            record.find_many(Kind::Lost, count, who, format_args!("at {whom}"), got);
        }
        if rest > 0 {
            let who = Who { stamp: None, at_ns: 0 };
            let got = format_args!("nothing, for {rest} packets that are not listed");
            record.find_many(Kind::Lost, rest, who, format_args!("at {whom}"), got);
        }
    }
}

fn never_sent(record: &mut Record, flow: u32, sent: u32, beyond: u32) {
    if beyond > 0 {
        let stamp = Stamp { flow, seq: sent, ..Stamp::default() };
        let who = Who { stamp: Some(stamp), at_ns: 0 };
        let expected = format_args!("{sent} packets, as sent");
        let got = format_args!("packet {}", sent.wrapping_add(beyond - 1));
        record.find(Kind::Unknown, who, expected, got);
    }
}

/// `gaps` less those packets that are in `others` too; both are sorted, and neither has overlaps.
fn without(gaps: &[Gap], others: &[Gap]) -> Vec<Gap> {
    let mut left = Vec::new();
    let mut others = others.iter().copied().peekable();
    for gap in gaps {
        let (mut first, end) = (u64::from(gap.first), u64::from(gap.first) + u64::from(gap.count));
        while let Some(other) = others.peek() {
            let (from, to) = (u64::from(other.first), u64::from(other.first) + u64::from(other.count));
            if other.flow < gap.flow || (other.flow == gap.flow && to <= first) {
                others.next();
                continue;
            }
            if other.flow > gap.flow || from >= end {
                break;
            }
            push(&mut left, gap.flow, first, from);
            first = first.max(to);
            if to >= end {
                break;
            }
        }
        push(&mut left, gap.flow, first, end);
    }
    left
}

fn push(into: &mut Vec<Gap>, flow: u32, first: u64, end: u64) {
    if first < end {
        into.push(Gap { flow, first: low(first), count: low(end - first) });
    }
}

/// Sequence numbers wrap at 32 bits.
#[allow(clippy::cast_possible_truncation, reason = "they wrap")]
const fn low(count: u64) -> u32 {
    count as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn gaps(packets: &BTreeSet<(u32, u32)>) -> Vec<Gap> {
        let mut gaps = Gaps::new(1000);
        packets.iter().for_each(|(flow, seq)| gaps.add(*flow, *seq, 1));
        gaps.sorted()
    }

    proptest! {
        #[test]
        fn without_agrees_with_sets(
            a in prop::collection::btree_set((0..3_u32, 0..30_u32), 0..60),
            b in prop::collection::btree_set((0..3_u32, 0..30_u32), 0..60),
        ) {
            let expected: BTreeSet<_> = a.difference(&b).copied().collect();
            let mut got = BTreeSet::new();
            for gap in without(&gaps(&a), &gaps(&b)) {
                (gap.first..gap.first + gap.count).for_each(|seq| { got.insert((gap.flow, seq)); });
            }
            prop_assert_eq!(got, expected);
        }
    }
}
