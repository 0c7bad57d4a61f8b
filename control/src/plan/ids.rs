//! Small numbers for big keys: dense, bounded, reused only after release.

use std::borrow::Borrow;
use std::collections::BTreeMap;

/// Gives each key a number below a limit.
#[derive(Debug, Clone)]
pub(crate) struct Ids<K> {
    by_key: BTreeMap<K, u32>,
    free: Vec<u32>,
    next: u32,
    limit: u32,
}

impl<K: Ord> Ids<K> {
    pub(crate) fn new(limit: usize) -> Self {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        Self { by_key: BTreeMap::new(), free: Vec::new(), next: 0, limit }
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        self.by_key.get(key).copied()
    }

    /// The key's number, a new one if it has none; `None` when all are taken.
    pub(crate) fn assign(&mut self, key: K) -> Option<u32> {
        if let Some(&id) = self.by_key.get(&key) {
            return Some(id);
        }
        let id = match self.free.pop() {
            Some(id) => id,
            None if self.next < self.limit => {
                self.next += 1;
                self.next - 1
            }
            None => return None,
        };
        self.by_key.insert(key, id);
        Some(id)
    }

    pub(crate) fn release(&mut self, key: &K) -> Option<u32> {
        let id = self.by_key.remove(key)?;
        self.free.push(id);
        Some(id)
    }

    /// Releases every key for which `gone` is true; returns their numbers.
    pub(crate) fn release_where(&mut self, gone: impl Fn(&K) -> bool) -> Vec<u32> {
        let mut released = Vec::new();
        self.by_key.retain(|key, id| {
            let keep = !gone(key);
            if !keep {
                released.push(*id);
            }
            keep
        });
        self.free.extend(&released);
        released
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, u32)> {
        self.by_key.iter().map(|(key, id)| (key, *id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_kept_reused_after_release_and_bounded() {
        let mut ids = Ids::new(2);
        assert_eq!((ids.assign("a"), ids.assign("b"), ids.assign("a")), (Some(0), Some(1), Some(0)));
        assert_eq!(ids.assign("c"), None);
        assert_eq!(ids.release(&"a"), Some(0));
        assert_eq!(ids.assign("c"), Some(0));
        assert_eq!(ids.release_where(|key| *key == "b"), [1]);
        assert_eq!((ids.get("b"), ids.assign("d")), (None, Some(1)));
    }
}
