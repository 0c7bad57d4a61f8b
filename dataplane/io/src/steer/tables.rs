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

/// The contents of all sets, in the order of [`SETS`].
type Contents = [BTreeSet<Key>; SETS.len()];

/// All maps that rules decide; the sets in the order of [`SETS`].
#[derive(Debug)]
pub(super) struct Tables {
    sets: [Set; SETS.len()],
    /// Entries each can hold.
    max: [usize; SETS.len()],
    /// What the kernel's sets hold. Nobody else changes them while this process has the pin directory's lock, so they are
    /// read once, and again only after the kernel refused something.
    present: Option<Contents>,
    l7: NodeMaps,
}

impl Tables {
    /// Sets with the number of entries that each can hold.
    pub(super) fn new(sets: [Set; SETS.len()], max: [usize; SETS.len()], l7: NodeMaps) -> Self {
        Self { sets, max, present: None, l7 }
    }

    /// Makes the kernel's maps those wanted, or does one half of it. Nothing changes when they would not fit.
    pub(super) fn change(&mut self, wanted: &Wanted, step: Step) -> Result<Changes, SteerError> {
        if step != Step::Remove {
            self.has_room(wanted, step)?;
        }
        // An error leaves nothing known: the next change reads.
        let mut present = self.take_present()?;
        let changes = self.apply(&mut present, wanted, step)?;
        self.present = Some(present);
        Ok(changes)
    }

    /// Whether what is wanted has room beside what is there.
    pub(super) fn fits(&mut self, wanted: &Wanted) -> Result<(), SteerError> {
        self.has_room(wanted, Step::Insert)?;
        self.l7.plan(&self.l7.read()?, &wanted.l7, true).map(drop)
    }

    fn has_room(&mut self, wanted: &Wanted, step: Step) -> Result<(), SteerError> {
        let present = self.take_present()?;
        let room = self.check_room(&present, &wanted.sets, step);
        self.present = Some(present);
        room
    }

    /// Has the next change read the kernel's sets again.
    pub(super) fn distrust(&mut self) {
        self.present = None;
    }

    /// What the kernel's sets hold, read when that is not known.
    fn take_present(&mut self) -> Result<Contents, SteerError> {
        if let Some(present) = self.present.take() {
            return Ok(present);
        }
        let mut present = Contents::default();
        for (i, (set, keys)) in self.sets.iter().zip(&mut present).enumerate() {
            *keys = set.keys().map_err(|e| refused("read", i, &e))?;
        }
        Ok(present)
    }

    fn apply(&mut self, present: &mut Contents, wanted: &Wanted, step: Step) -> Result<Changes, SteerError> {
        let l7 = self.l7.read()?;
        let mut insertion = Insertion::default();
        if step != Step::Remove {
            insertion = self.l7.plan(&l7, &wanted.l7, step == Step::Insert)?;
            self.l7.put_tables(&insertion)?;
        }
        let mut changes = Changes::default();
        // Removing first, or a full map could not be exchanged; in the opposite order of growing.
        if step != Step::Insert {
            for (i, has) in present.iter_mut().enumerate().rev() {
                let gone: Vec<Key> = has.difference(&wanted.sets[i]).copied().collect();
                for key in gone {
                    self.sets[i].remove(&key).map_err(|e| refused("remove from", i, &e))?;
                    has.remove(&key);
                    changes.removed += 1;
                }
            }
            changes.removed += self.l7.remove(&l7, &wanted.l7)?;
        }
        if step != Step::Remove {
            // Before an L4 service on any port of the same address.
            changes.added += self.l7.put_services(&insertion)?;
            for (i, has) in present.iter_mut().enumerate() {
                let new: Vec<Key> = wanted.sets[i].difference(has).copied().collect();
                for key in &new {
                    self.sets[i].insert(key).map_err(|e| refused("insert into", i, &e))?;
                }
                changes.added += new.len();
                has.extend(new);
            }
        }
        Ok(changes)
    }

    fn check_room(&self, present: &Contents, all: &Contents, step: Step) -> Result<(), SteerError> {
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
