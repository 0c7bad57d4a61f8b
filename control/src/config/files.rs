//! From disk: a configuration, and the files that it includes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glob::{MatchOptions, Pattern};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::codes;
use super::diagnostics::{Diagnostics, Findings};
use super::source::{Source, Span};

/// The most bytes that a configuration has, its included files counted: several times what 65 535 servers need.
pub const FILE_BYTES_MAX: u64 = 32 << 20;

/// The most files that one may include.
pub const INCLUDES_MAX: usize = 1_000;

/// A file and all that it includes, in the order of its list and, under a pattern, of their names.
///
/// # Errors
/// A file that cannot be read or found, is no text, is too large or is named twice.
pub(super) fn read(path: &Path) -> Result<Source, Diagnostics> {
    let (source, found) = gather(path, false)?;
    if found.has_errors() { Err(found) } else { Ok(source) }
}

/// A file and as much of what it includes as can be read, with what cannot; `lenient`: also where the file itself is not TOML.
///
/// # Errors
/// The file cannot be read, or is no text.
pub(super) fn gather(path: &Path, lenient: bool) -> Result<(Source, Diagnostics), Diagnostics> {
    let name = path.display().to_string();
    let mut left = FILE_BYTES_MAX;
    let text = text(path, &mut left).map_err(|unreadable| unreadable.alone(&name))?;
    let mut source = Source::new(&name, &text);
    source.whole = true;
    let wanted = includes(&text, lenient);
    let mut findings = Findings::new(Arc::new(Source::new(&name, &text)));
    let mut seen = BTreeSet::from([same(path)]);
    for (pattern, span) in wanted {
        follow(path, &pattern, &span, &mut seen, &mut left, &mut source, &mut findings);
    }
    Ok((source, findings.into_diagnostics()))
}

/// What `include` names, and where. Of anything else than text, the walk says what it should be.
fn includes(text: &str, lenient: bool) -> Vec<(String, Span)> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    let said = |value: &Spanned<DeValue<'_>>| Some((value.get_ref().as_str()?.to_owned(), value.span()));
    match tree.get_ref().get("include") {
        Some(value) if lenient || errors.is_empty() => match value.get_ref().as_array() {
            Some(list) => list.iter().filter_map(said).collect(),
            None => said(value).into_iter().collect(),
        },
        _ => Vec::new(),
    }
}

/// Adds what one entry of `include` means.
fn follow(
    from: &Path,
    pattern: &str,
    span: &Span,
    seen: &mut BTreeSet<PathBuf>,
    left: &mut u64,
    source: &mut Source,
    findings: &mut Findings,
) {
    let mut wrong = |message: String| {
        findings.error(codes::INCLUDE, span.clone(), message);
    };
    let (paths, many) = match paths(from, pattern) {
        Ok(paths) => paths,
        Err(why) => return wrong(why),
    };
    for path in paths {
        if !seen.insert(same(&path)) {
            if !many {
                wrong(format!("{} is included already", path.display()));
            }
            continue;
        }
        if source.files() > INCLUDES_MAX {
            return wrong(format!("more than {INCLUDES_MAX} files are included"));
        }
        match text(&path, left) {
            Ok(text) => source.append(&path.display().to_string(), &text),
            Err(unreadable) => wrong(format!("cannot include {}: {}", path.display(), unreadable.why)),
        }
    }
}

/// The files that a path or pattern means, beside the file that includes them, and whether it is a pattern.
fn paths(from: &Path, pattern: &str) -> Result<(Vec<PathBuf>, bool), String> {
    let folder = from.parent().unwrap_or(Path::new(""));
    if !pattern.contains(['*', '?', '[']) {
        return Ok((vec![folder.join(pattern)], false));
    }
    let folder = folder.to_str().ok_or("a pattern needs a folder whose name is UTF-8")?;
    let below = Path::new(&Pattern::escape(folder)).join(pattern);
    // An editor's lock and swap files are no configuration.
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    let found =
        glob::glob_with(&below.to_string_lossy(), options).map_err(|e| format!("not a pattern: {e}"))?;
    let found: Result<Vec<_>, _> = found.take(INCLUDES_MAX + 1).collect();
    found.map(|paths| (paths, true)).map_err(|e| format!("cannot look for files: {e}"))
}

/// One name for each file.
fn same(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Why a file is no part of a configuration.
struct Unreadable {
    why: String,
    /// The text as far as it can be shown and the first byte that is none.
    bad: Option<(String, usize)>,
}

impl Unreadable {
    /// The findings when this file is the first.
    fn alone(self, name: &str) -> Diagnostics {
        let (shown, at) = self.bad.unwrap_or_default();
        let mut findings = Findings::new(Arc::new(Source::new(name, &shown)));
        if shown.is_empty() {
            let message = format!("cannot read the configuration: {}", self.why);
            findings.error(codes::UNREADABLE, 0..0, message);
        } else {
            findings
                .error(codes::UNREADABLE, at..at + 1, format!("the configuration {}", self.why))
                .label("the first byte that is not")
                .help("TOML files are UTF-8; save it again as that");
        }
        findings.into_diagnostics()
    }
}

/// A file's text, which may have so many bytes.
fn text(path: &Path, left: &mut u64) -> Result<String, Unreadable> {
    let bytes = bytes(path, *left).map_err(|e| Unreadable { why: e.to_string(), bad: None })?;
    *left = left.saturating_sub(bytes.len() as u64);
    String::from_utf8(bytes).map_err(|e| Unreadable {
        why: "is not UTF-8 text".to_owned(),
        bad: Some((String::from_utf8_lossy(e.as_bytes()).into_owned(), e.utf8_error().valid_up_to())),
    })
}

fn bytes(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let what = if max == FILE_BYTES_MAX { "it is" } else { "all files together are" };
        return Err(io::Error::other(format!("{what} larger than {} MiB", FILE_BYTES_MAX >> 20)));
    }
    Ok(bytes)
}
