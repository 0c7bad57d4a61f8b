//! Servers under headers `[[pool.NAME.server]]`. A new one stands behind the last one, written as that is.

use super::Swap;
use super::gap::{indent, line_end, line_start, newline, next_line};
use super::place::Block;

/// Another server behind the last one; `None`: there is none to go by.
pub(super) fn add(text: &str, blocks: &[Block], pairs: &[String]) -> Option<Vec<Swap>> {
    let last = blocks.last()?;
    let header = text.get(line_start(text, last.header.start)..last.header.end)?;
    let newline = newline(text, last.end);
    let indent = indent(text, last.keys)?;
    let mut lines = vec![header.to_owned()];
    lines.extend(pairs.iter().map(|pair| format!("{indent}{pair}")));
    if has_blank_line_before(text, last) {
        lines.insert(0, String::new());
    }
    let at = end_with_comments(text, last);
    Some(vec![(at..at, lines.iter().map(|line| format!("{newline}{line}")).collect())])
}

/// Takes out a server from its header to the line of its last value. Comments above the header stay.
pub(super) fn remove(text: &str, block: &Block) -> Swap {
    let mut cut = line_start(text, block.header.start)..next_line(text, block.end);
    let above = line_above(text, cut.start);
    let follows_blank = text.get(cut.end..line_end(text, cut.end)).is_some_and(|line| line.trim().is_empty());
    if let Some(above) = above
        && follows_blank
        && is_blank_line(text, above)
    {
        cut.start = above;
    }
    (cut, String::new())
}

/// Whether blocks are parted by a blank line; comments above a header are its own.
fn has_blank_line_before(text: &str, block: &Block) -> bool {
    let mut at = line_start(text, block.header.start);
    while let Some(above) = line_above(text, at) {
        if !is_comment_line(text, above) {
            return is_blank_line(text, above);
        }
        at = above;
    }
    false
}

/// Where the block's last line ends. Comments right below are its own, unless another table follows them at once.
fn end_with_comments(text: &str, block: &Block) -> usize {
    let own = line_end(text, block.end);
    let (mut end, mut at) = (own, next_line(text, own));
    while at < text.len() && is_comment_line(text, at) {
        end = line_end(text, at);
        at = next_line(text, end);
    }
    if at >= text.len() || is_blank_line(text, at) { end } else { own }
}

/// Where the line above begins, of a line that begins here.
fn line_above(text: &str, start: usize) -> Option<usize> {
    start.checked_sub(1).map(|feed| line_start(text, feed))
}

fn line(text: &str, start: usize) -> &str {
    text.get(start..line_end(text, start)).unwrap_or_default().trim()
}

fn is_blank_line(text: &str, start: usize) -> bool {
    line(text, start).is_empty()
}

fn is_comment_line(text: &str, start: usize) -> bool {
    line(text, start).starts_with('#')
}
