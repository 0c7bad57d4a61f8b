//! What the program counts, summed over the cores.

use super::rules::Rule;

/// `struct counters` in `bpf/maps.h`: passed, redirected, unowned, kept, then one a rule, that of no rule first.
pub(super) type Counts = [u64; 12];

/// What the program counted since its maps were made, over restarts of the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Frames left to the kernel.
    pub passed: u64,
    /// Frames given to a socket (whose ring may still have been full: the socket's own counters say).
    pub redirected: u64,
    /// Frames that are ours and came to a queue without a socket: dropped.
    pub unowned: u64,
    /// Of the passed frames, those of l7 flows that a worker would get if this node's kernel did not have their connection.
    pub kept: u64,
    /// Frames that are ours, by rule, in the order of [`Rule::ALL`].
    pub rules: [u64; Rule::ALL.len()],
}

impl Counters {
    /// Frames that one rule made ours.
    #[must_use]
    pub fn of(&self, rule: Rule) -> u64 {
        self.rules[rule as usize - 1]
    }

    pub(super) fn sum(cores: &[Counts]) -> Self {
        let sum = |i: usize| cores.iter().map(|core| core[i]).sum();
        Self {
            passed: sum(0),
            redirected: sum(1),
            unowned: sum(2),
            kept: sum(3),
            rules: Rule::ALL.map(|rule| sum(4 + usize::from(rule as u8))),
        }
    }
}
