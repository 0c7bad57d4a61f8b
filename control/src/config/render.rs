//! Findings as text and as JSON.

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use super::diagnostics::{Diagnostic, Mark, Severity};

/// rustc's form: the message, the place, the excerpt with its marks, the help.
pub(super) fn text(entry: &Diagnostic, colour: bool) -> String {
    let level = match entry.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(entry.message.as_str()).id(entry.code);
    let group = if entry.source.text.is_empty() {
        title.element(Origin::path(entry.file()).line(1).char_column(1))
    } else {
        let marks = std::iter::once((AnnotationKind::Primary, &entry.primary))
            .chain(entry.related.iter().map(|mark| (AnnotationKind::Context, mark)))
            .map(|(kind, mark)| kind.span(mark.span.clone()).label(label(mark)));
        title.element(Snippet::source(entry.source.text.as_str()).path(entry.file()).annotations(marks))
    };
    let group = group.elements(entry.help.iter().map(|help| Level::HELP.message(help.as_str())));
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group])
}

/// Places as line and column from 1, the end behind the last character.
pub(super) fn json(entry: &Diagnostic) -> Value {
    let severity = match entry.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "code": entry.code,
        "severity": severity,
        "message": entry.message,
        "file": entry.file(),
        "place": place(entry, &entry.primary),
        "related": entry.related.iter().map(|mark| place(entry, mark)).collect::<Vec<_>>(),
        "help": entry.help,
    })
}

fn place(entry: &Diagnostic, mark: &Mark) -> Value {
    let source = &entry.source;
    json!({
        "line": source.line(mark.span.start),
        "column": source.column(mark.span.start),
        "line_end": source.line(mark.span.end),
        "column_end": source.column(mark.span.end),
        "label": mark.label,
    })
}

fn label(mark: &Mark) -> Option<&str> {
    Some(mark.label.as_str()).filter(|label| !label.is_empty())
}
