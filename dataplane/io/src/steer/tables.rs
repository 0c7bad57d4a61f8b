//! The sets that the program asks, brought from what the kernel holds to what is wanted.

use std::collections::BTreeSet;

use aya::maps::lpm_trie::{Key as TrieKey, LpmTrie};
use aya::maps::{HashMap as KernelMap, MapData, MapError};

use super::error::SteerError;
use super::keys::{BITS, Bytes, Key, SETS};

/// What a change did to the kernel's maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Entries inserted, in all maps together.
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

/// All sets, in the order of [`SETS`].
#[derive(Debug)]
pub(super) struct Tables {
    sets: [Set; SETS.len()],
    /// Entries each can hold.
    max: [usize; SETS.len()],
    /// What the kernel's sets hold. Nobody else changes them while this process has the pin directory's lock, so they are
    /// read once, and again only after the kernel refused something.
    present: Option<Contents>,
}

impl Tables {
    /// Sets with the number of entries that each can hold.
    pub(super) fn new(sets: [Set; SETS.len()], max: [usize; SETS.len()]) -> Self {
        Self { sets, max, present: None }
    }

    /// Makes the kernel's sets those wanted, or does one half of it. Nothing changes when they would not fit.
    pub(super) fn change(&mut self, wanted: &Contents, step: Step) -> Result<Changes, SteerError> {
        let mut present = self.take_present()?;
        if step != Step::Remove
            && let Err(full) = self.check_room(&present, wanted, step)
        {
            self.present = Some(present);
            return Err(full);
        }
        // An error leaves nothing known: the next change reads.
        let changes = self.apply(&mut present, wanted, step)?;
        self.present = Some(present);
        Ok(changes)
    }

    /// Whether what is wanted has room beside what is there.
    pub(super) fn fits(&mut self, wanted: &Contents) -> Result<(), SteerError> {
        let present = self.take_present()?;
        let fits = self.check_room(&present, wanted, Step::Insert);
        self.present = Some(present);
        fits
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

    fn apply(
        &mut self,
        present: &mut Contents,
        wanted: &Contents,
        step: Step,
    ) -> Result<Changes, SteerError> {
        let mut changes = Changes::default();
        // Removing first, or a full map could not be exchanged; in the opposite order of growing.
        if step != Step::Insert {
            for i in (0..SETS.len()).rev() {
                let gone: Vec<Key> = present[i].difference(&wanted[i]).copied().collect();
                for key in gone {
                    self.sets[i].remove(&key).map_err(|e| refused("remove from", i, &e))?;
                    present[i].remove(&key);
                    changes.removed += 1;
                }
            }
        }
        if step != Step::Remove {
            for i in 0..SETS.len() {
                let new: Vec<Key> = wanted[i].difference(&present[i]).copied().collect();
                for key in &new {
                    self.sets[i].insert(key).map_err(|e| refused("insert into", i, &e))?;
                }
                changes.added += new.len();
                present[i].extend(new);
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
