//! Findings: collected while checking, handed out together.

use std::fmt;
use std::sync::Arc;

use super::source::{Source, Span};
use super::{render, values::near};

/// The most findings that are kept; the rest are counted.
pub const FINDINGS_MAX: usize = 100;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is accepted.
    Warning,
}

/// A place in the file and what there is to say about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Bytes in the file.
    pub span: Span,
    /// May be empty.
    pub label: String,
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// One of [`codes`](super::codes).
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// One line.
    pub message: String,
    /// Where it is.
    pub primary: Mark,
    /// Other places that have to do with it.
    pub related: Vec<Mark>,
    /// What to do, one line each.
    pub help: Vec<String>,
    pub(super) source: Arc<Source>,
}

/// A finding of [`Severity::Warning`].
pub type Warning = Diagnostic;

impl Diagnostic {
    /// The name of the file that the primary place is in.
    #[must_use]
    pub fn file(&self) -> &str {
        self.source.name(self.primary.span.start)
    }

    /// The line of the primary place in its file, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.source.line(self.primary.span.start)
    }

    /// The column of the primary place in characters, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.source.column(self.primary.span.start)
    }

    /// As rustc would print it, without a final line feed.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        render::text(self, colour)
    }

    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        render::json(self)
    }

    pub(crate) fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.primary.label = label.into();
        self
    }

    pub(crate) fn also(&mut self, span: &Span, label: impl Into<String>) -> &mut Self {
        self.related.push(Mark { span: self.source.clamp(span), label: label.into() });
        self
    }

    pub(crate) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help.push(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// All that was found in one file.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    entries: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Diagnostics {
    /// The findings, at most [`FINDINGS_MAX`], in the order of their places.
    #[must_use]
    pub fn entries(&self) -> &[Diagnostic] {
        &self.entries
    }

    /// Whether the file is refused.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// All entries and a line that counts them, as rustc would print them.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let mut text: Vec<String> = self.entries.iter().map(|e| e.render(colour)).collect();
        text.push(self.summary());
        text.join("\n\n")
    }

    /// `{"errors": n, "warnings": n, "entries": [...]}`; the counts include entries that were left out.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "errors": self.errors,
            "warnings": self.warnings,
            "entries": self.entries.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
        })
    }

    pub(super) fn into_entries(self) -> Vec<Diagnostic> {
        self.entries
    }

    /// Warnings that were kept from before, as findings.
    #[must_use]
    pub fn of_warnings(warnings: Vec<Warning>) -> Self {
        Self { errors: 0, warnings: warnings.len(), entries: warnings }
    }

    /// These and others of the same file.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.errors += others.errors;
        self.warnings += others.warnings;
        self.entries.extend(others.entries);
        self.entries.sort_by_key(|entry| entry.primary.span.start);
        self.entries.truncate(FINDINGS_MAX);
        self
    }

    /// How many there are beside the entries.
    #[must_use]
    pub fn not_shown(&self) -> usize {
        self.errors + self.warnings - self.entries.len()
    }

    /// `FILE: 1 error, 2 warnings`.
    #[must_use]
    pub fn summary(&self) -> String {
        let counted = |n, what| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        // The file that was asked for, whichever it includes.
        let file = self.entries.first().map_or("", |entry| entry.source.name(0));
        let mut line = format!("{file}: {}", counted(self.errors, "error"));
        if self.warnings > 0 {
            line = format!("{line}, {}", counted(self.warnings, "warning"));
        }
        match self.not_shown() {
            0 => line,
            more => format!("{line}; {more} of them not shown"),
        }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// Collects findings while a file is checked.
pub(crate) struct Findings {
    source: Arc<Source>,
    entries: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
    /// Where a finding goes that is not kept.
    spill: Diagnostic,
}

impl Findings {
    pub(super) fn new(source: Arc<Source>) -> Self {
        let spill = entry(&source, "", Severity::Warning, &(0..0), String::new());
        Self { source, entries: Vec::new(), errors: 0, warnings: 0, spill }
    }

    pub(crate) fn error(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.errors += 1;
        self.push(code, Severity::Error, &span, message.into())
    }

    pub(crate) fn warning(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.warnings += 1;
        self.push(code, Severity::Warning, &span, message.into())
    }

    /// The best of `names` for what was probably meant; nothing once findings are only counted, because
    /// thousands of bad references times thousands of names would take minutes.
    pub(super) fn near<'a>(
        &self,
        written: &str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'a str> {
        if self.entries.len() >= FINDINGS_MAX { None } else { near(written, names) }
    }

    pub(super) fn line(&self, at: usize) -> usize {
        self.source.line(at)
    }

    pub(crate) fn into_diagnostics(mut self) -> Diagnostics {
        self.entries.sort_by_key(|e| e.primary.span.start);
        Diagnostics { entries: self.entries, errors: self.errors, warnings: self.warnings }
    }

    fn push(
        &mut self,
        code: &'static str,
        severity: Severity,
        span: &Span,
        message: String,
    ) -> &mut Diagnostic {
        let new = entry(&self.source, code, severity, span, message);
        if self.entries.len() < FINDINGS_MAX {
            self.entries.push(new);
            self.entries.last_mut().unwrap_or(&mut self.spill)
        } else {
            self.spill = new;
            &mut self.spill
        }
    }
}

fn entry(
    source: &Arc<Source>,
    code: &'static str,
    severity: Severity,
    span: &Span,
    message: String,
) -> Diagnostic {
    Diagnostic {
        code,
        severity,
        message,
        primary: Mark { span: source.clamp(span), label: String::new() },
        related: Vec::new(),
        help: Vec::new(),
        source: Arc::clone(source),
    }
}
