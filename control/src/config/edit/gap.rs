//! What stands between values: white space, comments, commas, the ends of lines.

use std::ops::Range;

/// The comma of a gap; those in comments are none.
pub(super) fn comma(text: &str, gap: Range<usize>) -> Option<usize> {
    let mut is_comment = false;
    let found = text.get(gap.clone())?.bytes().position(|byte| {
        is_comment = (is_comment || byte == b'#') && byte != b'\n';
        byte == b',' && !is_comment
    });
    found.map(|at| gap.start + at)
}

/// Where the line of a byte begins.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |feed| feed + 1)
}

/// Where the line of a byte ends: before its line ending, or with the text.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let end = rest.find('\n').unwrap_or(rest.len());
    let is_crlf = end < rest.len() && rest.get(..end).is_some_and(|line| line.ends_with('\r'));
    at + end - usize::from(is_crlf)
}

/// The white space before a byte on its line, if nothing else is there.
pub(super) fn indent(text: &str, at: usize) -> Option<&str> {
    text.get(line_start(text, at)..at).filter(|before| before.bytes().all(is_space))
}

/// Where the line ends, if nothing but a comment follows.
pub(super) fn nothing_follows(text: &str, at: usize) -> Option<usize> {
    let end = line_end(text, at);
    let rest = text.get(at..end)?.trim_start_matches([' ', '\t']);
    (rest.is_empty() || rest.starts_with('#')).then_some(end)
}

/// The first byte behind a line ending; the end of the text where there is none.
pub(super) fn next_line(text: &str, at: usize) -> usize {
    let end = line_end(text, at);
    let rest = text.get(end..).unwrap_or_default();
    end + if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) }
}

/// How lines end around a byte.
pub(super) fn newline(text: &str, at: usize) -> &'static str {
    let is_crlf = |end: usize| text.get(end..).is_some_and(|rest| rest.starts_with("\r\n"));
    // The last line of a text may have no ending of its own.
    let before = line_start(text, at).checked_sub(2);
    let is_last = line_end(text, at) == text.len();
    if is_crlf(line_end(text, at)) || (is_last && before.is_some_and(is_crlf)) { "\r\n" } else { "\n" }
}

/// The spaces and tabs that end before a byte.
pub(super) fn spaces_before(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    before.len() - before.trim_end_matches([' ', '\t']).len()
}

/// The spaces and tabs that begin with a byte.
pub(super) fn spaces_behind(text: &str, at: usize) -> usize {
    let behind = text.get(at..).unwrap_or_default();
    behind.len() - behind.trim_start_matches([' ', '\t']).len()
}

pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
