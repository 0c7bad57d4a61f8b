//! Collects findings while frames come: a counter a kind, and the first of each in words.

use crate::findings::{Example, Findings, Move, Pair};
use crate::kind::Kind;
use crate::stamp::Stamp;
use std::collections::BTreeMap;
use std::fmt::Arguments;

/// Most pairs of servers that moves are counted by.
const PAIRS_MAX: usize = 1024;

/// Which frame a finding is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) stamp: Option<Stamp>,
    pub(crate) at_ns: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    counts: [u64; Kind::ALL.len()],
    /// Examples kept, by kind.
    kept: [usize; Kind::ALL.len()],
    examples: Vec<Example>,
    examples_max: usize,
    moved_flows: u64,
    moves: u64,
    first_moves: Vec<Move>,
    first_moves_max: usize,
    pairs: BTreeMap<(u16, u16), Pair>,
}

impl Record {
    /// Keeps `examples_max` examples a kind and `first_moves_max` moves.
    pub(crate) fn new(examples_max: usize, first_moves_max: usize) -> Self {
        Self {
            counts: [0; Kind::ALL.len()],
            kept: [0; Kind::ALL.len()],
            examples: Vec::new(),
            examples_max,
            moved_flows: 0,
            moves: 0,
            first_moves: Vec::new(),
            first_moves_max,
            pairs: BTreeMap::new(),
        }
    }

    /// Counts a finding, and keeps the first of its kind in words: only these are ever formatted.
    #[cold]
    pub(crate) fn find(&mut self, kind: Kind, who: Who, expected: Arguments<'_>, got: Arguments<'_>) {
        self.find_many(kind, 1, who, expected, got);
    }

    /// As [`find`](Self::find), for `count` frames of which one is shown.
    pub(crate) fn find_many(
        &mut self,
        kind: Kind,
        count: u64,
        who: Who,
        expected: Arguments<'_>,
        got: Arguments<'_>,
    ) {
        self.counts[kind as usize] += count;
        let kept = &mut self.kept[kind as usize];
        if *kept < self.examples_max {
            *kept += 1;
            self.examples.push(Example {
                kind,
                flow: who.stamp.map(|stamp| stamp.flow),
                seq: who.stamp.map(|stamp| stamp.seq),
                at_ns: who.at_ns,
                expected: expected.to_string(),
                got: got.to_string(),
            });
        }
    }

    /// Notes that a flow went from one server to another.
    #[cold]
    pub(crate) fn moved(&mut self, who: Who, first_time: bool, from: (u16, &str), to: (u16, &str)) {
        self.moves += 1;
        self.moved_flows += u64::from(first_time);
        let (flow, seq) = who.stamp.map_or((0, 0), |stamp| (stamp.flow, stamp.seq));
        let at_ns = who.at_ns;
        if self.first_moves.len() < self.first_moves_max {
            self.first_moves.push(Move { flow, seq, at_ns, from: from.1.to_owned(), to: to.1.to_owned() });
        }
        let known = self.pairs.contains_key(&(from.0, to.0));
        if known || self.pairs.len() < PAIRS_MAX {
            let pair = self.pairs.entry((from.0, to.0)).or_insert_with(|| Pair {
                from: from.1.to_owned(),
                to: to.1.to_owned(),
                moves: 0,
                first_ns: at_ns,
                last_ns: at_ns,
            });
            pair.moves += 1;
            pair.last_ns = at_ns;
        }
    }

    /// Everything recorded so far.
    pub(crate) fn put_into(&self, findings: &mut Findings) {
        let found = Kind::ALL.into_iter().zip(self.counts).filter(|(_, count)| *count > 0);
        findings.counts = found.collect();
        findings.examples.clone_from(&self.examples);
        findings.moves.flows = self.moved_flows;
        findings.moves.moves = self.moves;
        findings.moves.first.clone_from(&self.first_moves);
        findings.moves.pairs = self.pairs.values().cloned().collect();
        findings.moves.pairs.sort_by(|a, b| b.moves.cmp(&a.moves).then(a.first_ns.cmp(&b.first_ns)));
    }
}
