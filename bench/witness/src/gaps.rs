//! A bounded list of packets that did not come: runs of sequence numbers.

use serde::{Deserialize, Serialize};

/// A run of packets of one flow that did not come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Gap {
    /// The flow.
    pub flow: u32,
    /// The first packet of the run.
    pub first: u32,
    /// How many; the sequence number may wrap in between.
    pub count: u32,
}

/// The list. Taking one out searches it all: rare, and bounded by its capacity.
#[derive(Clone, Debug)]
pub(crate) struct Gaps {
    list: Vec<Gap>,
    capacity: usize,
    overflowed: bool,
}

impl Gaps {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { list: Vec::with_capacity(capacity), capacity, overflowed: false }
    }

    /// Adds a run; one that follows the last of the same flow makes that longer.
    pub(crate) fn add(&mut self, flow: u32, first: u32, count: u32) {
        if count == 0 {
            return;
        }
        if let Some(last) = self.list.last_mut()
            && last.flow == flow
            && last.first.wrapping_add(last.count) == first
            && let Some(longer) = last.count.checked_add(count)
        {
            last.count = longer;
        } else if self.list.len() < self.capacity {
            self.list.push(Gap { flow, first, count });
        } else {
            self.overflowed = true;
        }
    }

    /// Takes one packet out, if it is there. A run that is cut in two needs a second place, or its rest is forgotten.
    pub(crate) fn take(&mut self, flow: u32, seq: u32) -> bool {
        let holds = |gap: &Gap| gap.flow == flow && seq.wrapping_sub(gap.first) < gap.count;
        let Some(at) = self.list.iter().position(holds) else { return false };
        let gap = self.list[at];
        let before = seq.wrapping_sub(gap.first);
        let after = gap.count - before - 1;
        match (before, after) {
            (0, 0) => {
                self.list.swap_remove(at);
            }
            (0, _) => self.list[at] = Gap { first: seq.wrapping_add(1), count: after, ..gap },
            _ => {
                self.list[at].count = before;
                self.add(flow, seq.wrapping_add(1), after);
            }
        }
        true
    }

    /// Takes out the runs of this flow and of all behind it.
    pub(crate) fn forget_from(&mut self, flow: u32) {
        self.list.retain(|gap| gap.flow < flow);
    }

    /// Whether every run that was added is here.
    pub(crate) const fn is_complete(&self) -> bool {
        !self.overflowed
    }

    /// All runs by flow and number, neighbours joined.
    pub(crate) fn sorted(&self) -> Vec<Gap> {
        let mut sorted = self.list.clone();
        sorted.sort_unstable();
        sorted.dedup_by(|next, kept| {
            let joins = kept.flow == next.flow && kept.first.wrapping_add(kept.count) == next.first;
            if joins {
                kept.count += next.count;
            }
            joins
        });
        sorted
    }
}
