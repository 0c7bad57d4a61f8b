//! The text that messages point into.

use std::ops::Range;

/// Bytes in the text.
pub(super) type Span = Range<usize>;

/// A text with a name, and where its lines start.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    lines: Vec<usize>,
}

impl Source {
    pub(super) fn new(name: &str, text: &str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name: name.to_owned(), text: text.to_owned(), lines }
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|&start| start <= at).max(1)
    }

    /// The column of a byte in characters, from 1.
    pub(super) fn column(&self, at: usize) -> usize {
        let start = self.lines.get(self.line(at) - 1).copied().unwrap_or(0);
        self.text.get(start..self.floor(at)).map_or(1, |before| before.chars().count() + 1)
    }

    /// The same span, cut to the text and widened to whole characters.
    pub(super) fn clamp(&self, span: &Span) -> Span {
        let start = self.floor(span.start);
        let mut end = span.end.clamp(start, self.text.len());
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        start..end
    }

    fn floor(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let source = Source::new("x", "a = 1\nä = \"ö\"\n");
        assert_eq!((source.line(0), source.column(0)), (1, 1));
        assert_eq!((source.line(5), source.column(5)), (1, 6), "the line feed belongs to its line");
        assert_eq!((source.line(11), source.column(11)), (2, 5));
        assert_eq!((source.line(99), source.column(99)), (3, 1), "behind the end");
    }

    #[test]
    fn spans_are_cut_to_whole_characters() {
        let source = Source::new("x", "aäb");
        assert_eq!(source.clamp(&(2..2)), 1..3, "inside a character: all of it");
        assert_eq!(source.clamp(&(3..99)), 3..4);
        assert_eq!(source.clamp(&Span { start: 3, end: 1 }), 3..3);
    }
}
