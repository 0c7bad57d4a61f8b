//! The sets that the program asks, brought from what the kernel holds to what is wanted.

use std::collections::BTreeSet;

use aya::maps::lpm_trie::{Key as TrieKey, LpmTrie};
use aya::maps::{HashMap as KernelMap, MapData, MapError};

use super::error::SteerError;
use super::keys::{BITS, Bytes, Key, SETS, Wanted};
use super::node_maps::{Insertion, NodeMaps};

/// What a change did to the kernel's maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Entries inserted, in all maps together; an l7 service whose table changed is one.
    pub added: usize,
    /// Entries removed.
    pub removed: usize,
}

/// Which half of a change is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Insert,
    Remove,
    Both,
}

/// One set in the kernel.
#[derive(Debug)]
pub(super) enum Set {
    Hash(KernelMap<MapData, Bytes, u8>),
    Trie(LpmTrie<MapData, Bytes, u8>),
}

/// All maps that rules decide; the sets in the order of [`SETS`].
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) sets: [Set; SETS.len()],
    /// Entries each can hold.
    pub(super) max: [usize; SETS.len()],
    pub(super) l7: NodeMaps,
}

impl Tables {
    /// Makes the kernel's maps those wanted, or does one half of it. Nothing changes when they would not fit.
    pub(super) fn change(&mut self, wanted: &Wanted, step: Step) -> Result<Changes, SteerError> {
        let (present, l7) = (self.read()?, self.l7.read()?);
        let mut insertion = Insertion::default();
        if step != Step::Remove {
            self.check_room(&present, &wanted.sets, step)?;
            insertion = self.l7.plan(&l7, &wanted.l7, step == Step::Insert)?;
            self.l7.put_tables(&insertion)?;
        }
        let mut changes = Changes::default();
        // Removing first, or a full map could not be exchanged; in the opposite order of growing.
        if step != Step::Insert {
            for i in (0..SETS.len()).rev() {
                for key in present[i].difference(&wanted.sets[i]) {
                    self.sets[i].remove(key).map_err(|e| refused("remove from", i, &e))?;
                    changes.removed += 1;
                }
            }
            changes.removed += self.l7.remove(&l7, &wanted.l7)?;
        }
        if step != Step::Remove {
            // Before an L4 service on any port of the same address.
            changes.added += self.l7.put_services(&insertion)?;
            for (i, had) in present.iter().enumerate() {
                for key in wanted.sets[i].difference(had) {
                    self.sets[i].insert(key).map_err(|e| refused("insert into", i, &e))?;
                    changes.added += 1;
                }
            }
        }
        Ok(changes)
    }

    /// Whether what is wanted has room beside what is there.
    pub(super) fn fits(&self, wanted: &Wanted) -> Result<(), SteerError> {
        self.check_room(&self.read()?, &wanted.sets, Step::Insert)?;
        self.l7.plan(&self.l7.read()?, &wanted.l7, true).map(drop)
    }

    fn read(&self) -> Result<Vec<BTreeSet<Key>>, SteerError> {
        self.sets.iter().enumerate().map(|(i, set)| set.keys().map_err(|e| refused("read", i, &e))).collect()
    }

    fn check_room(
        &self,
        present: &[BTreeSet<Key>],
        all: &[BTreeSet<Key>],
        step: Step,
    ) -> Result<(), SteerError> {
        for (i, set) in all.iter().enumerate() {
            let kept = if step == Step::Both { 0 } else { present[i].difference(set).count() };
            let wanted = set.len() + kept;
            if wanted > self.max[i] {
                return Err(SteerError::Full { map: SETS[i], wanted, max: self.max[i] });
            }
        }
        Ok(())
    }
}

impl Set {
    fn keys(&self) -> Result<BTreeSet<Key>, MapError> {
        match self {
            Self::Hash(map) => map.keys().map(|k| k.map(|bytes| Key { bits: BITS, bytes })).collect(),
            Self::Trie(map) => {
                map.keys().map(|k| k.map(|k| Key { bits: k.prefix_len(), bytes: k.data() })).collect()
            }
        }
    }

    fn insert(&mut self, key: &Key) -> Result<(), MapError> {
        match self {
            Self::Hash(map) => map.insert(key.bytes, 1, 0),
            Self::Trie(map) => map.insert(&TrieKey::new(key.bits, key.bytes), 1_u8, 0),
        }
    }

    fn remove(&mut self, key: &Key) -> Result<(), MapError> {
        match self {
            Self::Hash(map) => map.remove(&key.bytes),
            Self::Trie(map) => map.remove(&TrieKey::new(key.bits, key.bytes)),
        }
    }
}

fn refused(what: &str, set: usize, error: &MapError) -> SteerError {
    SteerError::kernel(format!("{what} the steering map {}", SETS[set]), error)
}
