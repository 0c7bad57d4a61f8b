//! Maps of Rust's ecosystem: a packed key of 16 bytes, a value of 32.

use crate::core::clock;
use crate::core::tables::keys::{BULK, Key, Op, Value, capacity, key, sum, value};
use crate::core::tables::{Peer, Refused};
use ahash::RandomState;
use std::collections::HashMap;
use std::hint::black_box;

/// The same hash for all of them, and in every run.
const HASH: RandomState = RandomState::with_seeds(1, 2, 3, 4);

/// What a map must be able to do, one key at a time.
pub(super) trait Map {
    const NAME: &'static str;
    const NOTE: &'static str;
    fn with_room(flows: usize) -> Self;
    /// Looks a few keys up, and adds up the values' first words.
    fn find(&self, keys: &[Key]) -> u64;
    /// Inserts a few new keys; how many were new.
    fn put(&mut self, keys: &[(Key, Value)]) -> usize;
    /// Removes a few keys; how many were there.
    fn take(&mut self, keys: &[Key]) -> usize;
}

/// A map as a peer.
pub(super) struct MapPeer<M>(M);

impl<M: Map> MapPeer<M> {
    pub(super) fn new(flows: usize) -> Self {
        let mut map = M::with_room(capacity(flows));
        let all: Vec<(Key, Value)> = (0..u32::try_from(flows).unwrap_or(u32::MAX)).map(pair).collect();
        assert_eq!(map.put(&all), flows, "{} took all keys", M::NAME);
        Self(map)
    }
}

fn pair(n: u32) -> (Key, Value) {
    (key(n), value(n))
}

impl<M: Map> Peer for MapPeer<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn note(&self) -> String {
        M::NOTE.to_owned()
    }

    fn run(&mut self, op: Op, numbers: &[u32]) -> Result<u64, Refused> {
        let keys: Vec<Key> = numbers.iter().map(|&n| key(n)).collect();
        let (mut sum_found, mut count) = (0u64, 0usize);
        let ns = match op {
            Op::LookupBulk => return Err(Refused::Never),
            // In bursts, as a worker's packets come: what a map does once for several look-ups is done once a burst.
            Op::Lookup => clock::timed(|| {
                sum_found += keys.chunks(BULK).map(|part| self.0.find(part)).sum::<u64>();
            }),
            Op::Insert => {
                let pairs: Vec<(Key, Value)> = numbers.iter().map(|&n| pair(n)).collect();
                clock::timed(|| count = pairs.chunks(BULK).map(|part| self.0.put(part)).sum())
            }
            Op::Delete => clock::timed(|| count = keys.chunks(BULK).map(|part| self.0.take(part)).sum()),
        };
        let right = if op == Op::Lookup { sum_found == sum(numbers) } else { count == numbers.len() };
        Refused::unless(right, ns)
    }
}

impl Map for HashMap<Key, Value, RandomState> {
    const NAME: &'static str = "std HashMap + ahash";
    const NOTE: &'static str = "one thread alone; key of 16, value of 32 bytes";

    fn with_room(flows: usize) -> Self {
        Self::with_capacity_and_hasher(flows, HASH)
    }

    fn find(&self, keys: &[Key]) -> u64 {
        keys.iter().filter_map(|key| black_box(self.get(key).copied())).map(|value| value[0]).sum()
    }

    fn put(&mut self, keys: &[(Key, Value)]) -> usize {
        keys.iter().filter(|(key, value)| self.insert(*key, *value).is_none()).count()
    }

    fn take(&mut self, keys: &[Key]) -> usize {
        keys.iter().filter(|key| self.remove(*key).is_some()).count()
    }
}

impl Map for dashmap::DashMap<Key, Value, RandomState> {
    const NAME: &'static str = "DashMap";
    const NOTE: &'static str = "locks a shard; key of 16, value of 32 bytes";

    fn with_room(flows: usize) -> Self {
        Self::with_capacity_and_hasher(flows, HASH)
    }

    fn find(&self, keys: &[Key]) -> u64 {
        keys.iter().filter_map(|key| black_box(self.get(key).map(|found| *found))).map(|value| value[0]).sum()
    }

    fn put(&mut self, keys: &[(Key, Value)]) -> usize {
        keys.iter().filter(|(key, value)| self.insert(*key, *value).is_none()).count()
    }

    fn take(&mut self, keys: &[Key]) -> usize {
        keys.iter().filter(|key| self.remove(*key).is_some()).count()
    }
}

impl Map for papaya::HashMap<Key, Value, RandomState> {
    const NAME: &'static str = "papaya";
    const NOTE: &'static str = "lock-free, pinned once a burst; key of 16, value of 32 bytes";

    fn with_room(flows: usize) -> Self {
        Self::with_capacity_and_hasher(flows, HASH)
    }

    fn find(&self, keys: &[Key]) -> u64 {
        let map = self.pin();
        keys.iter().filter_map(|key| black_box(map.get(key).copied())).map(|value| value[0]).sum()
    }

    fn put(&mut self, keys: &[(Key, Value)]) -> usize {
        let map = self.pin();
        keys.iter().filter(|(key, value)| map.insert(*key, *value).is_none()).count()
    }

    fn take(&mut self, keys: &[Key]) -> usize {
        let map = self.pin();
        keys.iter().filter(|key| map.remove(*key).is_some()).count()
    }
}
