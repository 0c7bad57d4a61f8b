//! Keys that the vocabulary does not have where they stand: of a later version, of another table, or of none.

use std::collections::BTreeSet;

use toml::de::DeTable;

use super::diagnostics::Findings;
use super::source::Span;
use super::values::quoted;
use super::{codes, vocabulary as words};

/// Takes out and reports what the vocabulary does not have here, and returns the keys that were probably meant:
/// they are not missing as well.
pub(super) fn keep_known(
    words: &words::Table,
    path: &str,
    table: &mut DeTable<'_>,
    findings: &mut Findings,
) -> BTreeSet<String> {
    let mut strangers: Vec<_> = table
        .iter()
        .filter(|(key, _)| words.key(key.get_ref()).is_none())
        .map(|(key, value)| (key.span(), key.get_ref().to_string(), value.get_ref().is_table()))
        .collect();
    strangers.sort_by_key(|(span, ..)| span.start);
    let mut meant = BTreeSet::new();
    for (span, key, is_table) in strangers {
        table.remove(key.as_str());
        meant.extend(stranger(words, path, &key, is_table, span, findings).map(str::to_owned));
    }
    meant
}

/// One key that does not belong: of a later version, of another table, or of none. Returns what was meant.
fn stranger(
    words: &words::Table,
    path: &str,
    key: &str,
    is_table: bool,
    span: Span,
    findings: &mut Findings,
) -> Option<&'static str> {
    let shown = if path.is_empty() && is_table { format!("[{}]", key.escape_debug()) } else { quoted(key) };
    let inside = if path.is_empty() { String::new() } else { format!(" in {path}") };
    if words.later.contains(&key) {
        findings
            .error(codes::LATER, span, format!("{shown}{inside} is not in this version"))
            .label("not in this version")
            .help("take it out: nothing is accepted and then ignored");
        None
    } else if let Some(home) = home(words, key, is_table) {
        let place = if path.is_empty() { "at the top of the file".to_owned() } else { format!("in {path}") };
        let entry = findings.error(codes::MISPLACED, span, format!("{shown} does not belong {place}"));
        entry.label(format!("its place is {home}"));
        entry.help(
            "in TOML a key belongs to the last [table] header above it: move the line, or add its header",
        );
        None
    } else {
        let what = if path.is_empty() && is_table { "table" } else { "key" };
        let near = findings.near(key, words.keys.iter().map(|k| k.name));
        let label =
            if path.is_empty() { "not known at the top of the file" } else { "not a key of this table" };
        let entry = findings.error(codes::UNKNOWN_KEY, span, format!("unknown {what} {shown}{inside}"));
        entry.label(label);
        if let Some(near) = near {
            entry.help(format!("a {what} with a similar name exists: `{near}`"));
        }
        near
    }
}

/// Where a key would stand that does not belong here.
fn home(here: &words::Table, key: &str, is_table: bool) -> Option<String> {
    let at_top = words::ROOT.key(key).is_some() || words::ROOT.later.contains(&key);
    if !here.header.is_empty() && at_top && (is_table || words::PLAIN.contains(&key)) {
        return Some("at the top of the file, above the first [table] header".to_owned());
    }
    let homes: Vec<_> = words::TABLES
        .iter()
        .filter(|t| t.header != here.header && (t.key(key).is_some() || t.later.contains(&key)))
        .map(|t| t.header)
        .collect();
    if homes.is_empty() { None } else { Some(format!("in {}", homes.join(" or "))) }
}
