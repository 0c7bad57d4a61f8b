//! A range of ports, and how it is dealt to workers.

use std::ops::RangeInclusive;

use crate::snat::SnatError;
use crate::snat::SnatPool;
use crate::snat::group::GROUP;

/// A range of ports, cut into shares: group `g` of each address is worker `g % workers`'s.
#[derive(Debug)]
pub(crate) struct Ports {
    range: RangeInclusive<u16>,
    pub(crate) workers: u16,
}

/// One worker's groups of each address: one in so many, from the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    first: u16,
    step: u16,
    /// How many, at least 1.
    pub(crate) count: u32,
}

impl Share {
    /// Its group number `n`, below `count`.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "below 1024: there are no more groups")]
    pub(crate) const fn group(&self, n: u32) -> u16 {
        self.first + n as u16 * self.step
    }

    /// Which of its groups one is: the number that [`group`](Self::group) takes.
    pub(crate) const fn index(&self, group: u16) -> u32 {
        (group.saturating_sub(self.first) / self.step) as u32
    }
}

impl Ports {
    /// Of a range within 1 to 65535.
    ///
    /// # Errors
    /// When the range is empty or too small for that many workers.
    pub(crate) fn new(range: RangeInclusive<u16>, workers: usize) -> Result<Self, SnatError> {
        if range.is_empty() || *range.start() == 0 {
            return Err(SnatError::Ports(range));
        }
        if workers == 0 {
            return Err(SnatError::NoWorkers);
        }
        let few = u16::try_from(workers).unwrap_or(u16::MAX);
        let ports = Self { range, workers: few };
        let share = if ports.groups().len() < workers {
            0
        } else {
            (0..few).map(|worker| ports.ports_of(worker)).min().unwrap_or(0)
        };
        if share < SnatPool::SHARE_MIN {
            return Err(SnatError::TooFewPorts { ports: ports.range, workers, share });
        }
        Ok(ports)
    }

    /// A worker's groups of each address.
    pub(crate) fn share(&self, worker: u16) -> Share {
        let mut groups = self.groups_of(worker);
        let first = groups.next().unwrap_or(0);
        let count = 1 + u32::try_from(groups.count()).unwrap_or(0);
        Share { first, step: self.workers, count }
    }

    /// The ports of a group that are in the range, a bit each.
    #[inline]
    pub(crate) const fn mask(&self, group: u16) -> u64 {
        mask(&self.range, group)
    }

    /// All groups that have a port in the range.
    pub(crate) fn groups(&self) -> RangeInclusive<u16> {
        *self.range.start() / GROUP..=*self.range.end() / GROUP
    }

    /// How many ports.
    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }

    fn groups_of(&self, worker: u16) -> impl Iterator<Item = u16> {
        self.groups().filter(move |group| group % self.workers == worker)
    }

    fn ports_of(&self, worker: u16) -> u32 {
        self.groups_of(worker).map(|group| self.mask(group).count_ones()).sum()
    }
}

/// The ports of a group that are in a range, a bit each.
#[inline]
pub(crate) const fn mask(range: &RangeInclusive<u16>, group: u16) -> u64 {
    let (start, end) = (*range.start(), *range.end());
    let (first, last) = (start / GROUP, end / GROUP);
    if group < first || group > last {
        return 0;
    }
    let low = if group == first { u64::MAX << (start % GROUP) } else { u64::MAX };
    let high = if group == last { u64::MAX >> (GROUP - 1 - end % GROUP) } else { u64::MAX };
    low & high
}
