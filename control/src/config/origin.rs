//! What a configuration was read from, for what is found out about it later: on this machine, or while it is in force.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostics::Findings;
use super::source::{Source, Span};
use super::tree;

/// The text of an accepted configuration, with those of the files that it includes. Clones share it.
#[derive(Clone, Debug)]
pub struct Origin(Arc<Source>);

impl Origin {
    pub(super) fn new(source: &Arc<Source>) -> Self {
        Self(Arc::clone(source))
    }

    /// For findings about this text.
    pub(crate) fn findings(&self) -> Findings {
        Findings::new(Arc::clone(&self.0))
    }

    /// Reads the text again, for where its values are; takes as long as it is.
    pub(crate) fn places(&self) -> Places<'_> {
        Places(tree::accepted(&self.0))
    }
}

/// Where the values of a configuration are.
#[derive(Debug)]
pub(crate) struct Places<'o>(Option<Spanned<DeTable<'o>>>);

impl Places<'_> {
    /// The place of a value, by keys and by numbers in lists: `["pool", "web", "server", "0", "address"]`. Of one that is not
    /// written, that of the last table or list on the way to it; a value alone is a list of one.
    pub(crate) fn of(&self, path: &[&str]) -> Span {
        let Some(root) = &self.0 else { return 0..0 };
        let mut keys = path.iter();
        let Some(mut at) = keys.next().and_then(|key| root.get_ref().get(*key)) else { return 0..0 };
        for key in keys {
            let next = match at.get_ref() {
                DeValue::Table(table) => table.get(*key),
                DeValue::Array(list) => key.parse::<usize>().ok().and_then(|index| list.get(index)),
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_) => None,
            };
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        at.span()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_by_keys_and_numbers_or_by_what_is_around() {
        let text = "a = 1\n[dataplane]\ncores = [1, 22]\n[pool.x]\nserver = [ { name = \"s1\" } ]\n";
        let origin = Origin(Arc::new(Source::new("x", text)));
        let places = origin.places();
        let at = |path: &[&str]| &text[places.of(path)];
        assert_eq!(at(&["dataplane", "cores"]), "[1, 22]");
        assert_eq!(at(&["dataplane", "cores", "1"]), "22");
        assert_eq!(at(&["dataplane", "max-flows"]), "[dataplane]");
        assert_eq!(at(&["pool", "x", "server", "0", "name"]), "\"s1\"");
        assert_eq!(at(&["pool", "x", "server", "0", "address"]), "{ name = \"s1\" }");
        assert_eq!(at(&["a", "0"]), "1");
        assert_eq!(at(&["nothing", "at", "all"]), "");
    }
}
