//! Findings as text and as JSON.

use annotate_snippets::{Annotation, AnnotationKind, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use super::diagnostics::{Diagnostic, Mark, Severity};
use super::source::Span;

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
        title.elements(snippets(entry))
    };
    let group = group.elements(entry.help.iter().map(|help| Level::HELP.message(help.as_str())));
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group])
}

/// An excerpt of each file that is spoken of, that of the primary place first.
fn snippets(entry: &Diagnostic) -> Vec<Snippet<'_, Annotation<'_>>> {
    let mut files: Vec<(Span, Vec<(AnnotationKind, &Mark)>)> = Vec::new();
    let marks = std::iter::once((AnnotationKind::Primary, &entry.primary))
        .chain(entry.related.iter().map(|mark| (AnnotationKind::Context, mark)));
    for (kind, mark) in marks {
        let around = entry.source.around(mark.span.start);
        match files.iter_mut().find(|(file, _)| *file == around) {
            Some((_, marks)) => marks.push((kind, mark)),
            None => files.push((around, vec![(kind, mark)])),
        }
    }
    files.into_iter().map(|(file, marks)| snippet(entry, &file, marks)).collect()
}

fn snippet<'a>(
    entry: &'a Diagnostic,
    file: &Span,
    marks: Vec<(AnnotationKind, &'a Mark)>,
) -> Snippet<'a, Annotation<'a>> {
    let within = |mark: &Mark| {
        let end = mark.span.end.clamp(file.start, file.end);
        mark.span.start.min(end) - file.start..end - file.start
    };
    let marks = marks.into_iter().map(|(kind, mark)| kind.span(within(mark)).label(label(mark)));
    let text = entry.source.text.get(file.clone()).unwrap_or_default();
    Snippet::source(text).path(entry.source.name(file.start)).annotations(marks)
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
        "file": source.name(mark.span.start),
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
