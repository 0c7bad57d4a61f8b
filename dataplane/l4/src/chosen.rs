//! How a flow came to its server: what its account remembers of that, in a byte.

use crate::tables::{Chooser, Pool, Standing};

/// What named the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum By {
    /// Consistent hashing.
    Maglev = 0,
    /// Weighted turns.
    RoundRobin = 1,
    /// The fewest flows for its weight.
    LeastFlows = 2,
    /// The one of two random members that has fewer flows for its weight.
    RandomTwo = 3,
    /// Its client was known to come back to it.
    Sticky = 4,
}

impl By {
    const ALL: [(&str, Self); 5] = [
        ("maglev", Self::Maglev),
        ("round-robin", Self::RoundRobin),
        ("least-flows", Self::LeastFlows),
        ("random-2", Self::RandomTwo),
        ("sticky", Self::Sticky),
    ];

    /// Its name in files, that of the algorithm where it is one.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, by)| *by == self).map_or("", |(name, _)| name)
    }
}

/// Of which servers one was chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Among {
    /// The pool's own.
    Pool = 0,
    /// The pool's own and its backups.
    Backups = 1,
    /// Those that the pool's panic sends to.
    Panic = 2,
    /// Those of the sorry pool.
    Sorry = 3,
}

impl Among {
    const ALL: [(&str, Self); 4] = [
        ("pool", Self::Pool),
        ("backups", Self::Backups),
        ("panic", Self::Panic),
        ("sorry-pool", Self::Sorry),
    ];

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, among)| *among == self).map_or("", |(name, _)| name)
    }
}

/// How a flow came to its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// What named it.
    pub by: By,
    /// Of which servers.
    pub among: Among,
    /// Servers that were tried in vain before, up to 3: they had no room, or the reply's ports were another flow's.
    pub tried: u8,
    /// Whether a packet in the middle of a connection made the flow: of another node's, or of one that had been forgotten.
    pub midway: bool,
}

impl Chosen {
    /// Of a pool by its algorithm, or by its clients' memory.
    pub(crate) fn of(pool: &Pool, is_sorry: bool, is_known: bool, tried: usize, midway: bool) -> Self {
        let by = match &pool.chooser {
            _ if is_known => By::Sticky,
            Chooser::Maglev { .. } => By::Maglev,
            Chooser::RoundRobin(_) => By::RoundRobin,
            Chooser::LeastFlows(_) => By::LeastFlows,
            Chooser::RandomTwo(_) => By::RandomTwo,
        };
        let among = match pool.standing {
            _ if is_sorry => Among::Sorry,
            Standing::Whole => Among::Pool,
            Standing::Backups => Among::Backups,
            Standing::Panic => Among::Panic,
        };
        Self { by, among, tried: u8::try_from(tried).unwrap_or(3).min(3), midway }
    }

    /// As a byte.
    #[must_use]
    pub const fn to_mark(self) -> u8 {
        self.by as u8 | (self.tried & 3) << 3 | (self.among as u8) << 5 | (self.midway as u8) << 7
    }

    /// From [`to_mark`](Self::to_mark); `None` when it is not from there.
    #[must_use]
    pub fn from_mark(mark: u8) -> Option<Self> {
        let (_, by) = By::ALL.get(usize::from(mark & 7))?;
        let (_, among) = Among::ALL.get(usize::from(mark >> 5 & 3))?;
        Some(Self { by: *by, among: *among, tried: mark >> 3 & 3, midway: mark & 1 << 7 != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_says_what_it_was_made_from_and_others_say_nothing() {
        let known = (0..=u8::MAX).filter_map(|mark| Some((mark, Chosen::from_mark(mark)?)));
        let known: Vec<_> = known.inspect(|(mark, chosen)| assert_eq!(chosen.to_mark(), *mark)).collect();
        assert_eq!(known.len(), By::ALL.len() * Among::ALL.len() * 4 * 2);
        let names = known.iter().map(|(_, chosen)| (chosen.by.name(), chosen.among.name()));
        assert_eq!(names.collect::<std::collections::BTreeSet<_>>().len(), By::ALL.len() * Among::ALL.len());
    }
}
