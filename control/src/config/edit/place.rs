//! Where the servers of a pool are written: a list in brackets, or a header `[[pool.NAME.server]]` each.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where they are, in one file's text.
pub(super) enum Place {
    /// `server = [ { … }, { … } ]`, wherever TOML lets that be written.
    List(List),
    /// `[[pool.NAME.server]]`, in the file's order; other tables may stand between them.
    Blocks(Vec<Block>),
}

/// A list in brackets.
pub(super) struct List {
    /// With its brackets.
    pub(super) span: Range<usize>,
    /// The servers, braces included.
    pub(super) items: Vec<Range<usize>>,
    names: Vec<Option<String>>,
}

/// A server under a header of its own.
pub(super) struct Block {
    /// From `[[` to `]]`.
    pub(super) header: Range<usize>,
    /// Where its first key begins.
    pub(super) keys: usize,
    /// Where its last value ends.
    pub(super) end: usize,
    pub(super) name: Option<String>,
}

impl List {
    /// Which of them has this name.
    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known.as_deref() == Some(name))
    }
}

impl Place {
    /// Finds the servers of a pool; `None`: this text has none.
    pub(super) fn find(text: &str, pool: &str) -> Option<Self> {
        let tree = DeTable::parse(text).ok()?;
        let list = tree
            .get_ref()
            .get("pool")?
            .get_ref()
            .as_table()?
            .get(pool)?
            .get_ref()
            .as_table()?
            .get("server")?;
        let servers = list.get_ref().as_array()?;
        let tables: Option<Vec<_>> =
            servers.iter().map(|server| Some((server.span(), server.get_ref().as_table()?))).collect();
        let tables = tables?;
        let is_header =
            |span: &Range<usize>| text.get(span.clone()).is_some_and(|first| first.starts_with('['));
        if tables.first().is_some_and(|(span, _)| is_header(span)) {
            tables
                .into_iter()
                .map(|(header, table)| block(header, table))
                .collect::<Option<_>>()
                .map(Self::Blocks)
        } else {
            let (items, names) = tables.into_iter().map(|(span, table)| (span, name(table))).unzip();
            Some(Self::List(List { span: list.span(), items, names }))
        }
    }
}

fn block(header: Range<usize>, table: &DeTable<'_>) -> Option<Block> {
    let keys = table.iter().map(|(key, _)| key.span().start).min()?;
    let end = table.iter().map(|(_, value)| value.span().end).max()?;
    Some(Block { header, keys, end, name: name(table) })
}

fn name(table: &DeTable<'_>) -> Option<String> {
    let value: &Spanned<DeValue<'_>> = table.get("name")?;
    value.get_ref().as_str().map(str::to_owned)
}
