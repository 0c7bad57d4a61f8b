//! The keys and values that every table holds, and the orders in which they are asked for: the same for all.

use crate::core::world::Random;
use ringlead_flow::Tuple;
use ringlead_wire::Ip;

/// What is timed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Look-ups of 64 keys at a time, where a table can.
    LookupBulk,
    /// Look-ups one by one.
    Lookup,
    /// New keys.
    Insert,
    /// Removal of keys by key.
    Delete,
}

impl Op {
    /// All, in the order of a round: what was inserted is deleted again.
    pub const ALL: [Self; 4] = [Self::LookupBulk, Self::Lookup, Self::Insert, Self::Delete];

    /// As results and the child's protocol write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LookupBulk => "lookup_bulk",
            Self::Lookup => "lookup",
            Self::Insert => "insert",
            Self::Delete => "delete",
        }
    }

    /// The keys of this piece of work in a round, as numbers: look-ups go to all flows in random order; what is
    /// inserted and deleted comes on top of them and is another in each of many rounds.
    #[must_use]
    pub fn keys(self, flows: usize, round: usize) -> Vec<u32> {
        match self {
            Self::LookupBulk | Self::Lookup => {
                let mut random = Random::new(round as u64 * 2 + u64::from(self == Self::Lookup) + 1);
                (0..LOOKUPS).map(|_| number(random.below(flows))).collect()
            }
            Self::Insert | Self::Delete => {
                let batch = (flows / 8).clamp(1, INSERTS);
                let first = flows + round % SPANS * INSERTS;
                (first..first + batch).map(number).collect()
            }
        }
    }
}

/// Look-ups of a round.
const LOOKUPS: usize = 16_384;
/// Most inserts of a round.
const INSERTS: usize = 4096;
/// Rounds after which inserted keys come again.
const SPANS: usize = 512;

/// Keys that are looked up at once: what DPDK's bulk look-up takes, and a burst.
pub(super) const BULK: usize = 64;

/// A packed IPv4 tuple, as a table of one's own would hold it.
pub(super) type Key = [u64; 2];
/// What a flow needs: addresses, timers, counters.
pub(super) type Value = [u64; 4];

/// Flows that a table is made for, when it holds `flows`: it is two thirds full.
#[must_use]
pub(super) const fn capacity(flows: usize) -> usize {
    flows + flows / 2 + 64
}

/// The flow of a number, as its client sends it.
pub(super) fn tuple(n: u32) -> Tuple {
    let [a, b, c, d] = (n >> 6).to_be_bytes();
    let sport = u16::try_from(1024 + (n & 63) * 997).unwrap_or(0);
    Tuple {
        src: Ip::from_v4([11 + a, b, c, d]),
        dst: Ip::from_v4([198, 18, 0, 1]),
        sport,
        dport: 80,
        proto: 6,
    }
}

/// The same, packed.
pub(super) fn key(n: u32) -> Key {
    let t = tuple(n);
    let ip = |ip: Ip| u64::from(u32::from_be_bytes(ip.last4()));
    [ip(t.src) << 32 | ip(t.dst), u64::from(t.sport) << 32 | u64::from(t.dport) << 16 | u64::from(t.proto)]
}

/// The value of a number.
pub(super) fn value(n: u32) -> Value {
    [n.into(), 1, 2, 3]
}

/// The sum of the numbers, which a table's answers must give too.
pub(super) fn sum(keys: &[u32]) -> u64 {
    keys.iter().map(|&n| u64::from(n)).sum()
}

fn number(n: usize) -> u32 {
    u32::try_from(n).expect("keys are numbered by 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_have_keys_of_their_own() {
        let keys: HashSet<Key> = (0..200_000).map(key).collect();
        assert_eq!(keys.len(), 200_000);
        let tuples: HashSet<Tuple> = (0..200_000).map(tuple).collect();
        assert_eq!(tuples.len(), 200_000);
    }

    #[test]
    fn look_ups_stay_in_the_table_and_inserts_out_of_it() {
        for round in [0, 1, 600] {
            for op in [Op::Lookup, Op::LookupBulk] {
                assert!(op.keys(5000, round).iter().all(|n| *n < 5000));
            }
            let new = Op::Insert.keys(5000, round);
            assert_eq!(new.len(), 625);
            assert!(new.iter().all(|n| *n >= 5000));
            assert_eq!(new, Op::Delete.keys(5000, round));
        }
        assert_ne!(Op::Lookup.keys(5000, 0), Op::Lookup.keys(5000, 1), "each round asks for others");
        assert!(Op::Insert.keys(5000, 0).iter().all(|n| !Op::Insert.keys(5000, 1).contains(n)));
    }
}
