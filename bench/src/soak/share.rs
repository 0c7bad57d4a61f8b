//! Which event lost frames, moved flows and broke frames: what came after it and before the next one.

use ringlead_traffic::{Findings, Interval};
use ringlead_witness::Kind;
use serde::Serialize;
use std::time::Duration;

/// What came after one event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Share {
    /// Frames lost, both ways.
    pub lost: u64,
    /// Changes of server by flows that had no leave to.
    pub moved: u64,
    /// Changes of server by flows that had leave to.
    pub moved_with_leave: u64,
    /// Frames with anything else wrong.
    pub broken: u64,
}

impl Share {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.moved += other.moved;
        self.moved_with_leave += other.moved_with_leave;
        self.broken += other.broken;
    }
}

/// What came after each event.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shares {
    /// Before any event; then after each, in the order given.
    pub each: Vec<Share>,
    /// What cannot be told: found beyond what the witness keeps one by one.
    pub unknown: Share,
    /// All of it.
    pub total: Share,
}

/// What became of a trial's frames.
#[derive(Clone, Copy, Debug)]
pub struct Frames<'a> {
    /// The trial in pieces.
    pub intervals: &'a [Interval],
    /// Whether frames were answered: then one is lost when its answer did not come.
    pub replies: bool,
    /// Frames lost, both ways.
    pub lost: u64,
    /// The longest that a frame that came was on its way, both ways.
    pub way: Duration,
}

/// Divides what was found by the times that events were begun, which must rise. `may_leave` tells the servers that
/// flows may leave.
///
/// Findings and moves have their own times. A loss has none; it is told by what was sent less what came, interval by
/// interval. Frames on their way look lost for a while, so what is missing for good of all that was sent up to a time
/// is the least such difference of all times since. A lost frame that was sent less than `way`, the longest time that
/// any frame took, before an event may still have been on its way then: it counts as lost after the event, as does one
/// of the interval that the event falls into.
#[must_use]
pub fn shares(
    begun: &[Duration],
    trial: &Frames<'_>,
    findings: &Findings,
    may_leave: impl Fn(&str) -> bool,
) -> Shares {
    let mut each = vec![Share::default(); begun.len() + 1];
    let mut unknown = Share::default();
    losses(begun, trial, &mut each, &mut unknown);
    moves(begun, findings, may_leave, &mut each, &mut unknown);
    broken(begun, findings, &mut each, &mut unknown);
    let mut total = unknown;
    each.iter().for_each(|share| total.add(*share));
    Shares { each, unknown, total }
}

/// The number of events begun at a time: the place of its share.
fn place(begun: &[Duration], at: Duration) -> usize {
    begun.partition_point(|begin| *begin <= at)
}

fn losses(begun: &[Duration], trial: &Frames<'_>, each: &mut [Share], unknown: &mut Share) {
    let Frames { intervals, replies, lost, way } = *trial;
    // How many frames were missing at the end of each interval.
    let mut missing = Vec::with_capacity(intervals.len());
    let (mut sent, mut came) = (0_u64, 0_u64);
    for interval in intervals {
        sent += interval.sent;
        came += if replies { interval.replies } else { interval.received };
        missing.push(sent.saturating_sub(came).min(lost));
    }
    for n in (1..missing.len()).rev() {
        missing[n - 1] = missing[n - 1].min(missing[n]);
    }
    let (mut before, mut told) = (0, 0);
    for (interval, missing) in intervals.iter().zip(missing) {
        let end = Duration::from_secs_f64((interval.at_s + interval.seconds).max(0.0));
        let share = &mut each[place(begun, end + way)];
        share.lost += missing - before;
        told += missing - before;
        before = missing;
    }
    unknown.lost += lost.saturating_sub(told);
}

fn moves(
    begun: &[Duration],
    findings: &Findings,
    may_leave: impl Fn(&str) -> bool,
    each: &mut [Share],
    unknown: &mut Share,
) {
    let count = |share: &mut Share, from: &str, moves: u64| {
        *(if may_leave(from) { &mut share.moved_with_leave } else { &mut share.moved }) += moves;
    };
    let at = |ns: u64| place(begun, Duration::from_nanos(ns));
    let mut known = 0;
    for pair in &findings.moves.pairs {
        known += pair.moves;
        if at(pair.first_ns) == at(pair.last_ns) {
            count(&mut each[at(pair.first_ns)], &pair.from, pair.moves);
            continue;
        }
        let listed = findings.moves.first.iter().filter(|one| one.from == pair.from && one.to == pair.to);
        let mut left = pair.moves;
        for one in listed {
            count(&mut each[at(one.at_ns)], &pair.from, 1);
            left = left.saturating_sub(1);
        }
        count(unknown, &pair.from, left);
    }
    // Of pairs beyond those that are kept nobody knows who left whom.
    unknown.moved += findings.moves.moves.saturating_sub(known);
}

fn broken(begun: &[Duration], findings: &Findings, each: &mut [Share], unknown: &mut Share) {
    // Counted already, each in its own way.
    let elsewhere = |kind: &Kind| matches!(kind, Kind::Lost | Kind::WrongServer);
    for (kind, count) in findings.counts.iter().filter(|(kind, _)| !elsewhere(kind)) {
        let mut left = *count;
        for example in findings.examples.iter().filter(|example| example.kind == *kind) {
            each[place(begun, Duration::from_nanos(example.at_ns))].broken += 1;
            left = left.saturating_sub(1);
        }
        unknown.broken += left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringlead_witness::{Example, Move, Moves, Pair};

    const MS: u64 = 1_000_000;

    fn at(ms: &[u64]) -> Vec<Duration> {
        ms.iter().copied().map(Duration::from_millis).collect()
    }

    /// Intervals of 100 ms.
    fn intervals(sent_and_received: &[(u64, u64)]) -> Vec<Interval> {
        let one = |(n, (sent, received)): (u32, &(u64, u64))| Interval {
            at_s: f64::from(n) * 0.1,
            seconds: 0.1,
            sent: *sent,
            received: *received,
            replies: received / 2,
            ..Interval::default()
        };
        (0..).zip(sent_and_received).map(one).collect()
    }

    fn divide(begun: &[u64], intervals: &[Interval], replies: bool, lost: u64, way_ms: u64) -> Shares {
        let trial = Frames { intervals, replies, lost, way: Duration::from_millis(way_ms) };
        shares(&at(begun), &trial, &Findings::default(), |_| false)
    }

    fn judged(begun: &[u64], findings: &Findings, may_leave: &str) -> Shares {
        let nothing = Frames { intervals: &[], replies: false, lost: 0, way: Duration::ZERO };
        shares(&at(begun), &nothing, findings, |from| from == may_leave)
    }

    fn lost(begun: &[u64], pieces: &[(u64, u64)], lost: u64) -> Vec<u64> {
        let all = divide(begun, &intervals(pieces), false, lost, 0);
        assert_eq!(all.total.lost, lost);
        assert_eq!(all.each.iter().map(|share| share.lost).sum::<u64>() + all.unknown.lost, lost);
        all.each.iter().map(|share| share.lost).collect()
    }

    #[test]
    fn frames_on_their_way_are_not_lost() {
        let pieces = [(100, 90), (100, 105), (100, 97), (100, 108)];
        assert_eq!(lost(&[50, 250], &pieces, 0), [0, 0, 0]);
    }

    #[test]
    fn a_loss_belongs_to_the_event_before_it() {
        let pieces = [(100, 98), (100, 102), (100, 60), (100, 95), (100, 105), (100, 100)];
        assert_eq!(lost(&[250, 450], &pieces, 40), [0, 40, 0]);
        assert_eq!(lost(&[450], &pieces, 40), [40, 0], "before the event");
        assert_eq!(lost(&[250, 260], &pieces, 40), [0, 0, 40], "two events in the interval: the later one");
        assert_eq!(lost(&[], &pieces, 40), [40]);
    }

    /// Of what was sent in the second interval, 40 are still on their way when the event ends them.
    #[test]
    fn a_frame_on_its_way_at_an_event_is_lost_by_it() {
        let pieces = intervals(&[(100, 100), (100, 60), (100, 0)]);
        let of = |way_ms| {
            divide(&[220], &pieces, false, 140, way_ms).each.iter().map(|s| s.lost).collect::<Vec<_>>()
        };
        assert_eq!((of(0), of(50)), (vec![40, 100], vec![0, 140]));
    }

    #[test]
    fn loss_that_no_interval_shows_is_unknown() {
        // Two duplicates hide two losses.
        let all = divide(&[50], &intervals(&[(10, 10), (10, 10)]), false, 2, 0);
        assert_eq!((all.unknown.lost, all.total.lost), (2, 2));
    }

    #[test]
    fn replies_are_counted_to_their_end() {
        // Half of what arrives is answered: the other half is lost on the way back.
        let all = divide(&[150], &intervals(&[(0, 0), (8, 8)]), true, 4, 0);
        assert_eq!((all.each[0].lost, all.each[1].lost), (0, 4));
    }

    fn moved(pairs: &[(&str, u64, u64, u64)], first: &[(&str, u64)], all: u64) -> Findings {
        let pair = |(from, moves, first, last): &(&str, u64, u64, u64)| Pair {
            from: (*from).to_owned(),
            to: "x".to_owned(),
            moves: *moves,
            first_ns: first * MS,
            last_ns: last * MS,
        };
        let one = |(from, ms): &(&str, u64)| Move {
            flow: 0,
            seq: 0,
            at_ns: ms * MS,
            from: (*from).to_owned(),
            to: "x".to_owned(),
        };
        let (pairs, first) = (pairs.iter().map(pair).collect(), first.iter().map(one).collect());
        Findings { moves: Moves { flows: all, moves: all, first, pairs }, ..Findings::default() }
    }

    #[test]
    fn moves_are_told_by_their_time_and_by_whom_they_leave() {
        let findings = moved(&[("a", 7, 210, 290), ("b", 3, 110, 350)], &[("b", 110), ("b", 350)], 11);
        let all = judged(&[100, 200, 300], &findings, "a");
        let of = |n: usize| (all.each[n].moved, all.each[n].moved_with_leave);
        assert_eq!([of(0), of(1), of(2), of(3)], [(0, 0), (1, 0), (0, 7), (1, 0)]);
        assert_eq!(all.unknown.moved, 2, "one of b that is not listed, one of no known pair");
        assert_eq!((all.total.moved, all.total.moved_with_leave), (4, 7));
    }

    #[test]
    fn broken_frames_are_told_by_their_examples() {
        let example = |kind: Kind, ms: u64| Example {
            kind,
            flow: None,
            seq: None,
            at_ns: ms * MS,
            expected: String::new(),
            got: String::new(),
        };
        let counts = [(Kind::BadPayload, 3), (Kind::Lost, 9), (Kind::WrongServer, 5), (Kind::Duplicate, 1)];
        let findings = Findings {
            counts: counts.into_iter().collect(),
            examples: vec![
                example(Kind::BadPayload, 50),
                example(Kind::BadPayload, 150),
                example(Kind::Duplicate, 160),
                example(Kind::WrongServer, 160),
            ],
            ..Findings::default()
        };
        let all = judged(&[100], &findings, "");
        assert_eq!((all.each[0].broken, all.each[1].broken, all.unknown.broken), (1, 2, 1));
        assert_eq!(all.total, Share { broken: 4, ..Share::default() });
    }
}
