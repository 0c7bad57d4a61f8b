//! A server in or out of a configuration's text: of the file that has its pool, and of nothing else in it. Every other byte stays,
//! line endings, comments and order among them.
//!
//! What comes out is read again: it must mean what the old text meant and the one change besides, and be accepted as a
//! whole, before anybody writes it.

mod blocks;
mod gap;
mod list;
mod place;
mod shown;
mod write;

pub use shown::text_diff;
pub use write::{EDIT_WAIT, EditLock, replace};

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use place::Place;
use toml::Value;

use super::values::{near, quoted};
use super::{Config, Diagnostics, Loaded, OperatorState, PoolConfig, files, whole};

/// A server that is to be. What is wrong with it is found when the text is checked.
#[derive(Clone, Default, Debug)]
pub struct NewServer {
    /// Its name.
    pub name: String,
    /// `ADDRESS:PORT`, as it shall be written.
    pub address: String,
    /// `weight`, if it shall be written.
    pub weight: Option<u16>,
    /// `max-flows`, if it shall be written.
    pub flows_max: Option<u32>,
    /// `state`, if it shall be written.
    pub state: Option<OperatorState>,
    /// Whether `backup = true` shall be written.
    pub backup: bool,
}

/// What is to be done to a pool.
#[derive(Clone, Debug)]
pub enum Change {
    /// Another server, behind those that it has.
    Add(NewServer),
    /// Without the server of this name.
    Remove(String),
}

/// Why there is no other text.
#[derive(Debug)]
pub enum EditError {
    /// The configuration as it is cannot be used.
    Unusable(Diagnostics),
    /// It cannot be done.
    Refused(String),
    /// The configuration could not be used any more.
    Wrong(Diagnostics),
}

/// A text that may be replaced by another one.
#[derive(Clone, Debug)]
pub struct Edit {
    /// The file that has the pool: the one that was given, or one that it includes.
    pub file: PathBuf,
    /// Its text as it is.
    pub old: String,
    /// Its text as it would be.
    pub new: String,
    /// The whole configuration as it is.
    pub before: Loaded,
    /// The whole configuration as it would be.
    pub after: Loaded,
}

/// Bytes of a text, and what shall be in their place.
type Swap = (Range<usize>, String);

impl Edit {
    /// Reads a configuration and makes a change, in memory only.
    ///
    /// # Errors
    /// A configuration that cannot be used as it is, or would be none afterwards; an unknown pool or server.
    pub fn of(path: &Path, pool: &str, change: &Change) -> Result<Self, EditError> {
        let source = Arc::new(files::read(path).map_err(EditError::Unusable)?);
        let before = whole(&source).map_err(EditError::Unusable)?;
        known(&before.config, pool, change).map_err(EditError::Refused)?;
        let (part, place) = source
            .parts()
            .enumerate()
            .find_map(|(part, span)| Some((part, Place::find(source.text.get(span)?, pool)?)))
            .ok_or_else(|| EditError::Refused(by_hand(pool)))?;
        let old = source.parts().nth(part).and_then(|span| source.text.get(span)).unwrap_or_default();
        let new = changed(old, &place, pool, change).map_err(EditError::Refused)?;
        let file = PathBuf::from(source.part_name(part));
        let (old, edited) = (old.to_owned(), Arc::new(source.with_part(part, &new)));
        let after = whole(&edited).map_err(EditError::Wrong)?;
        Ok(Self { file, old, new, before, after })
    }
}

/// Whether there is what is to be changed.
fn known(config: &Config, pool: &str, change: &Change) -> Result<(), String> {
    let similar =
        |near: Option<&str>| near.map_or_else(String::new, |near| format!("; there is {}", quoted(near)));
    let found: &PoolConfig = config.pools.iter().find(|found| found.name == pool).ok_or_else(|| {
        let near = near(pool, config.pools.iter().map(|pool| pool.name.as_str()));
        format!("there is no pool {}{}", quoted(pool), similar(near))
    })?;
    let names = || found.servers.iter().map(|server| server.name.as_str());
    match change {
        Change::Remove(name) if !names().any(|known| known == name) => Err(format!(
            "pool {} has no server {}{}",
            quoted(pool),
            quoted(name),
            similar(near(name, names()))
        )),
        Change::Remove(_) | Change::Add(_) => Ok(()),
    }
}

/// The text with the change, if that is all that the new one says.
fn changed(old: &str, place: &Place, pool: &str, change: &Change) -> Result<String, String> {
    let swaps = match (place, change) {
        (Place::List(list), Change::Add(server)) => list::add(old, list, &server.pairs()),
        (Place::List(list), Change::Remove(name)) => list.index(name).map(|at| list::remove(old, list, at)),
        (Place::Blocks(all), Change::Add(server)) => blocks::add(old, all, &server.pairs()),
        (Place::Blocks(all), Change::Remove(name)) => all
            .iter()
            .find(|block| block.name.as_deref() == Some(name))
            .map(|block| vec![blocks::remove(old, block)]),
    };
    let new = swaps.map(|swaps| swapped(old, swaps)).ok_or_else(|| by_hand(pool))?;
    if is_meant(old, &new, pool, change) == Some(true) { Ok(new) } else { Err(by_hand(pool)) }
}

/// No text that a configuration can have ends here; if one does, it is left alone.
fn by_hand(pool: &str) -> String {
    format!("the servers of pool {} are written in a way that only an editor can change", quoted(pool))
}

fn swapped(text: &str, mut swaps: Vec<Swap>) -> String {
    let mut text = text.to_owned();
    swaps.sort_by_key(|(span, _)| std::cmp::Reverse((span.start, span.end)));
    for (span, new) in swaps {
        if text.is_char_boundary(span.start) && text.is_char_boundary(span.end) {
            text.replace_range(span, &new);
        }
    }
    text
}

/// Whether the new text is the old one but for the change; `None`: one of them is no TOML, or has no such pool.
fn is_meant(old: &str, new: &str, name: &str, change: &Change) -> Option<bool> {
    let (mut wanted, found): (toml::Table, toml::Table) =
        (toml::from_str(old).ok()?, toml::from_str(new).ok()?);
    let pool = wanted.get_mut("pool")?.get_mut(name)?.as_table_mut()?;
    let servers = pool.get_mut("server")?.as_array_mut()?;
    match change {
        Change::Add(server) => servers.push(server.table().into()),
        Change::Remove(name) => {
            servers.retain(|server| server.get("name").and_then(Value::as_str) != Some(name));
        }
    }
    // Without its last block a pool has no list at all; that it needs one is for the check to say.
    let is_gone = found.get("pool").and_then(|all| all.get(name)?.get("server")).is_none();
    if servers.is_empty() && is_gone {
        pool.remove("server");
    }
    Some(wanted == found)
}

impl NewServer {
    /// Its keys, in the order to write them.
    fn keys(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let text = |text: &str| Some(Value::String(text.to_owned()));
        let keys = [
            ("name", text(&self.name)),
            ("address", text(&self.address)),
            ("weight", self.weight.map(|weight| Value::Integer(weight.into()))),
            ("max-flows", self.flows_max.map(|max| Value::Integer(max.into()))),
            ("state", self.state.and_then(|state| text(state.name()))),
            ("backup", self.backup.then_some(Value::Boolean(true))),
        ];
        keys.into_iter().filter_map(|(key, value)| Some((key, value?)))
    }

    fn table(&self) -> toml::Table {
        self.keys().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// `key = value`, a key each.
    fn pairs(&self) -> Vec<String> {
        self.keys().map(|(key, value)| format!("{key} = {value}")).collect()
    }
}

#[cfg(test)]
mod tests;
