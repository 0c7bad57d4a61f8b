//! The texts of a configuration as one tree: what included files have joins the tables of the first.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostics::Findings;
use super::source::{Source, Span};
use super::{codes, vocabulary as words};

type Value<'i> = Spanned<DeValue<'i>>;

/// Reads every part; `None` after a finding that leaves nothing to go on with.
pub(super) fn read<'i>(source: &'i Source, findings: &mut Findings) -> Option<Spanned<DeTable<'i>>> {
    let mut whole: Option<Spanned<DeTable<'i>>> = None;
    let mut broken = false;
    for span in source.parts() {
        let text = source.text.get(span.clone()).unwrap_or_default();
        let (tree, errors) = DeTable::parse_recoverable(text);
        broken |= !errors.is_empty();
        syntax(findings, &errors, span.start);
        whole = Some(match whole {
            None => first(tree, source.whole, findings),
            Some(before) => join(before, moved_table(tree.into_inner(), span.start), findings),
        });
    }
    whole.filter(|_| !broken)
}

/// [`read`] of a source that was found to be right.
pub(super) fn accepted(source: &Source) -> Option<Spanned<DeTable<'_>>> {
    read(source, &mut Findings::new(Arc::new(Source::new("", ""))))
}

/// One entry a line: what a slip makes of the rest of its line is noise.
fn syntax(findings: &mut Findings, errors: &[toml::de::Error], start: usize) {
    let mut line_last = None;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let span = span.start + start..span.end + start;
        let line = findings.line(span.start);
        if line_last.replace(line) != Some(line) {
            findings.error(codes::SYNTAX, span, format!("not TOML: {}", error.message()));
        }
    }
}

/// The file that was asked for: what it includes has been followed, or cannot be.
fn first<'i>(
    mut tree: Spanned<DeTable<'i>>,
    followed: bool,
    findings: &mut Findings,
) -> Spanned<DeTable<'i>> {
    if !followed && let Some((key, _)) = tree.as_mut().remove_entry("include") {
        let message = "this text is not from a file, so it cannot include others";
        findings.error(codes::INCLUDE, key.span(), message);
    }
    tree
}

/// Adds an included file's tables. Two of one name are an error, but for the format's number, which may be in each.
fn join<'i>(
    mut whole: Spanned<DeTable<'i>>,
    more: DeTable<'i>,
    findings: &mut Findings,
) -> Spanned<DeTable<'i>> {
    for (key, value) in more {
        let kind = key.get_ref().to_string();
        if kind == "include" {
            findings
                .error(codes::INCLUDE, key.span(), "an included file cannot include others")
                .help("name all of them in the file that ringlead is given");
            continue;
        }
        let named = words::TABLES_BY_KIND
            .iter()
            .any(|(name, table)| *name == kind && table.header.contains(".NAME]"));
        match whole.as_mut().get_mut(kind.as_str()) {
            None => {
                whole.as_mut().insert(key, value);
            }
            Some(there) => match (there.as_mut(), value.into_inner()) {
                (DeValue::Table(there), DeValue::Table(more)) if named => {
                    tables(&kind, there, more, findings);
                }
                (DeValue::Integer(one), DeValue::Integer(other))
                    if kind == "version" && one.as_str() == other.as_str() => {}
                _ => twice(&format!("`{kind}`"), key.span(), &there.span(), findings),
            },
        }
    }
    whole
}

fn tables<'i>(kind: &str, there: &mut DeTable<'i>, more: DeTable<'i>, findings: &mut Findings) {
    for (name, table) in more {
        if let Some((first, _)) = there.get_key_value(name.get_ref().as_ref()) {
            let what = format!("[{kind}.{}]", name.get_ref().escape_debug());
            twice(&what, name.span(), &first.span(), findings);
        } else {
            there.insert(name, table);
        }
    }
}

fn twice(what: &str, again: Span, first: &Span, findings: &mut Findings) {
    findings
        .error(codes::TWICE, again, format!("{what} is in two files"))
        .label("again here")
        .also(first, "it is here")
        .help("take one of them out, or give it another name");
}

/// Everything with its place in the whole text, where places count from the start of its own.
fn moved_table<'i>(table: DeTable<'i>, by: usize) -> DeTable<'i> {
    let entries = table.into_iter();
    entries
        .map(|(key, value)| (Spanned::new(moved(&key.span(), by), key.into_inner()), value_moved(value, by)))
        .collect()
}

fn value_moved(value: Value<'_>, by: usize) -> Value<'_> {
    let span = moved(&value.span(), by);
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(moved_table(table, by)),
        DeValue::Array(list) => DeValue::Array(list.into_iter().map(|item| value_moved(item, by)).collect()),
        plain @ (DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)) => plain,
    };
    Spanned::new(span, value)
}

const fn moved(span: &Span, by: usize) -> Span {
    span.start + by..span.end + by
}
