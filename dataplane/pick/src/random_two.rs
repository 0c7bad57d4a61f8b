//! The power of two choices (Mitzenmacher, 2001), weighted: two members at random, of which the less loaded serves.

use crate::Cursor;
use crate::loads::less;

/// The most members that can be drawn; further ones are never picked.
pub const MEMBERS_MAX: usize = 65_536;

/// Draws of one choice before the pool is searched for a member that may take a flow.
const DRAWS: usize = 4;

/// An immutable pool to draw from; loads are the caller's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RandomTwo {
    /// Each member's weight and those before it, summed: at most 65 536 x 65 535, below 2^32.
    ends: Box<[u32]>,
}

impl RandomTwo {
    /// From each member's weight; 0 = never picked.
    #[must_use]
    pub fn new(weights: &[u16]) -> Self {
        let mut sum = 0;
        let ends = weights.iter().take(MEMBERS_MAX).map(|&weight| {
            sum += u32::from(weight);
            sum
        });
        Self { ends: ends.collect() }
    }

    /// The index of the better of two different members, each drawn in proportion to weight: the one with the less
    /// (load + 1) / weight, of equals the first drawn. `None` when no member with weight `may` take a flow.
    ///
    /// A member that may not is drawn again, a few times; then the pool is searched from the last one drawn. So a
    /// second choice is made whenever two members may serve, and a choice whenever one may. O(log members), or
    /// O(members) when most are full.
    #[inline]
    #[must_use]
    pub fn pick(
        &self,
        load: impl Fn(usize) -> u32,
        may: impl Fn(usize) -> bool,
        turn: &mut Cursor,
    ) -> Option<usize> {
        let first = self.choose(None, &may, turn)?;
        let Some(second) = self.choose(Some(first), &may, turn) else { return Some(first) };
        let loaded = |member: usize| (load(member), self.weight(member));
        Some(if less(loaded(second), loaded(first)) { second } else { first })
    }

    /// Every member that [`pick`](Self::pick) may name as things are: all that may take a flow but one that is worse than each
    /// of the others, which loses against whomever it is drawn with. For control.
    #[must_use]
    pub fn candidates(&self, load: impl Fn(usize) -> u32, may: impl Fn(usize) -> bool) -> Vec<usize> {
        let able = (0..self.ends.len()).filter(|member| self.weight(*member) > 0 && may(*member));
        let able: Vec<(usize, (u32, u16))> =
            able.map(|member| (member, (load(member), self.weight(member)))).collect();
        // Only the worst can lose against everybody, and only if no other one is as bad.
        let worst = able.iter().map(|(_, loaded)| *loaded).reduce(|a, b| if less(a, b) { b } else { a });
        let is_worst = |loaded: (u32, u16)| worst.is_some_and(|worst| !less(loaded, worst));
        let alone = able.len() > 1 && able.iter().filter(|(_, loaded)| is_worst(*loaded)).count() == 1;
        able.into_iter()
            .filter(|(_, loaded)| !(alone && is_worst(*loaded)))
            .map(|(member, _)| member)
            .collect()
    }

    /// A member that may take a flow, drawn in proportion to weight from all but `taken`.
    #[inline]
    fn choose(&self, taken: Option<usize>, may: &impl Fn(usize) -> bool, turn: &mut Cursor) -> Option<usize> {
        let mut drawn = 0;
        for _ in 0..DRAWS {
            drawn = self.draw(taken, turn)?;
            if may(drawn) {
                return Some(drawn);
            }
        }
        self.search(drawn, taken, may)
    }

    /// Any member in proportion to weight but `taken`; `None` when nobody else has weight.
    ///
    /// The ticket is drawn from all weights but the taken member's, and tickets behind it move up by its weight: one
    /// draw, exact, however large the taken member's share is.
    #[inline]
    fn draw(&self, taken: Option<usize>, turn: &mut Cursor) -> Option<usize> {
        let sum = *self.ends.last()?;
        let (start, weight) = taken.map_or((sum, 0), |member| {
            let weight = u32::from(self.weight(member));
            (self.ends.get(member).map_or(sum, |end| end - weight), weight)
        });
        let left = sum - weight;
        if left == 0 {
            return None;
        }
        let ticket = turn.below(left);
        let ticket = if ticket < start { ticket } else { ticket + weight };
        Some(self.ends.partition_point(|&end| end <= ticket))
    }

    /// The first member after `from` that has weight, is not `taken`, and may.
    #[cold]
    fn search(&self, from: usize, taken: Option<usize>, may: &impl Fn(usize) -> bool) -> Option<usize> {
        let serves = |member: &usize| self.weight(*member) > 0 && Some(*member) != taken && may(*member);
        (from..self.ends.len()).chain(0..from).find(serves)
    }

    /// A member's weight; 0 beyond the pool.
    #[inline]
    fn weight(&self, member: usize) -> u16 {
        let Some(end) = self.ends.get(member) else { return 0 };
        let start = member.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        u16::try_from(end - start).unwrap_or(u16::MAX)
    }
}
