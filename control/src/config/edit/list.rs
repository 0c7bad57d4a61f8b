//! Servers in a list in brackets. A new one stands as the last one does: on a line of its own, or beside it; with a comma behind
//! it, or without.

use super::Swap;
use super::gap::{
    comma, indent, is_space, line_end, newline, next_line, nothing_follows, spaces_before, spaces_behind,
};
use super::place::List;

/// Another server behind the last one; `None`: there is none to go by.
pub(super) fn add(text: &str, list: &List, pairs: &[String]) -> Option<Vec<Swap>> {
    let last = list.items.last()?;
    let brackets_end = list.span.end.checked_sub(1)?;
    let comma = comma(text, last.end..brackets_end);
    let behind = comma.map_or(last.end, |comma| comma + 1);
    let is_wide = text.get(last.start + 1..)?.starts_with(char::is_whitespace);
    let pad = if is_wide { " " } else { "" };
    let mut entry = format!("{{{pad}{}{pad}}}", pairs.join(", "));
    if comma.is_some() {
        entry.push(',');
    }
    let Some(indent) = indent(text, last.start) else {
        let before = if comma.is_some() { " " } else { ", " };
        return Some(vec![(behind..behind, format!("{before}{entry}"))]);
    };
    // The last one's comment stays on its line.
    let at = nothing_follows(text, behind).filter(|end| *end < brackets_end).unwrap_or(behind);
    let mut swaps = vec![(at..at, format!("{}{indent}{entry}", newline(text, last.end)))];
    if comma.is_none() {
        // Before the new line where both are at one place.
        match swaps.first_mut() {
            Some((span, line)) if span.start == last.end => line.insert(0, ','),
            _ => swaps.push((last.end..last.end, ",".to_owned())),
        }
    }
    Some(swaps)
}

/// Takes out a server: its whole line, where it has one of its own, and with it the comment on that line.
pub(super) fn remove(text: &str, list: &List, index: usize) -> Vec<Swap> {
    let (Some(item), brackets_end) = (list.items.get(index), list.span.end - 1) else { return Vec::new() };
    let next = list.items.get(index + 1).map_or(brackets_end, |next| next.start);
    let before = index.checked_sub(1).and_then(|index| list.items.get(index));
    let comma_before = before.and_then(|before| comma(text, before.end..item.start));
    let (mut cut, mut swaps) = (item.clone(), Vec::new());
    let mut left_over = None;
    match comma(text, item.end..next) {
        Some(own) if spaces_behind(text, item.end) == own - item.end => cut.end = own + 1,
        Some(own) => swaps.push((own..own + 1, String::new())),
        // The last one, without a comma: the one before shall have none either.
        None => left_over = comma_before,
    }
    let line = nothing_follows(text, cut.end).filter(|end| *end < brackets_end);
    match (indent(text, cut.start), line) {
        (Some(indent), Some(_)) => cut = cut.start - indent.len()..next_line(text, cut.end),
        _ => match left_over.take_if(|comma| is_blank(text, *comma + 1, item.start)) {
            Some(comma) => cut.start = comma,
            None => widen(text, &mut cut, before.is_none()),
        },
    }
    swaps.extend(left_over.map(|comma| (comma..comma + 1, String::new())));
    swaps.push((cut, String::new()));
    swaps
}

/// Takes the white space along that parted what is cut from its neighbours.
fn widen(text: &str, cut: &mut std::ops::Range<usize>, is_first: bool) {
    if is_first {
        let rest = text.get(cut.end..).unwrap_or_default();
        let blank = rest.len() - rest.trim_start().len();
        // A comment behind it stays where it is.
        let is_comment = rest.trim_start().starts_with('#');
        cut.end += if is_comment { spaces_behind(text, cut.end) } else { blank };
    } else if indent(text, cut.start).is_some() && cut.end < line_end(text, cut.end) {
        cut.end += spaces_behind(text, cut.end);
    } else {
        cut.start -= spaces_before(text, cut.start);
    }
}

/// Whether nothing but white space is between two places.
fn is_blank(text: &str, from: usize, to: usize) -> bool {
    text.get(from..to)
        .is_some_and(|gap| gap.bytes().all(|byte| is_space(byte) || byte == b'\n' || byte == b'\r'))
}
