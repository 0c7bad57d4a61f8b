//! Least flows: the member with the fewest live flows for its weight, looked up in the whole pool.

use crate::Cursor;
use crate::loads::less;

/// The most members that are looked at; further ones are never picked.
pub const MEMBERS_MAX: usize = 65_536;

/// The weights of a pool, immutable; loads are the caller's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeastFlows {
    weights: Box<[u16]>,
}

impl LeastFlows {
    /// From each member's weight; 0 = never picked.
    #[must_use]
    pub fn new(weights: &[u16]) -> Self {
        Self { weights: weights.iter().copied().take(MEMBERS_MAX).collect() }
    }

    /// The index of the member with the least (load + 1) / weight, of those that have weight and `may` take a flow;
    /// `None` when there is none.
    ///
    /// Of equals it takes the first after the member that this cursor picked last, so equal members take turns and
    /// workers, whose cursors start apart, do not herd. Every member is looked at once: O(members), no allocation.
    /// `may` is asked only about members that would be better than the best so far.
    #[inline]
    #[must_use]
    pub fn pick(
        &self,
        load: impl Fn(usize) -> u32,
        may: impl Fn(usize) -> bool,
        turn: &mut Cursor,
    ) -> Option<usize> {
        // The pool may have shrunk since the last turn.
        let start = turn.turn.checked_rem(self.weights.len())?;
        let (before, after) = self.weights.split_at(start);
        let members = (start..).zip(after).chain((0..).zip(before));
        let mut best: Option<(usize, (u32, u16))> = None;
        // Not `for`: of two chained halves, for_each makes two tight loops.
        members.filter(|(_, weight)| **weight > 0).for_each(|(member, &weight)| {
            let loaded = (load(member), weight);
            if best.is_none_or(|(_, least)| less(loaded, least)) && may(member) {
                best = Some((member, loaded));
            }
        });
        let (member, _) = best?;
        turn.turn = member + 1;
        Some(member)
    }

    /// Every member that [`pick`](Self::pick) may name as things are: the equals of which it takes one. For control.
    #[must_use]
    pub fn equals(&self, load: impl Fn(usize) -> u32, may: impl Fn(usize) -> bool) -> Vec<usize> {
        let members = self.weights.iter().enumerate().filter(|(member, weight)| **weight > 0 && may(*member));
        let loaded: Vec<(usize, (u32, u16))> =
            members.map(|(member, &weight)| (member, (load(member), weight))).collect();
        let least = loaded.iter().map(|(_, loaded)| *loaded).reduce(|a, b| if less(b, a) { b } else { a });
        let equal = |loaded: &(u32, u16)| least.is_some_and(|least| !less(least, *loaded));
        loaded.iter().filter(|(_, loaded)| equal(loaded)).map(|(member, _)| *member).collect()
    }

    /// Each member's weight.
    #[must_use]
    pub fn weights(&self) -> &[u16] {
        &self.weights
    }
}
