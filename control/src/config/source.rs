//! The text that messages point into: one file, or one and those that it includes, one behind the other.

use std::ops::Range;

/// Bytes in the text.
pub(super) type Span = Range<usize>;

/// Texts with their names, and where their lines start.
pub(super) struct Source {
    /// All parts, each ended by a line feed when another follows.
    pub(super) text: String,
    parts: Vec<Part>,
    lines: Vec<usize>,
    /// Whether the files that the first part includes are here. A text that came from no file cannot say what it is beside.
    pub(super) whole: bool,
}

#[derive(Debug)]
struct Part {
    name: String,
    start: usize,
}

/// Its files: the text may be long.
impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|part| &part.name)).finish()
    }
}

impl Source {
    pub(super) fn new(name: &str, text: &str) -> Self {
        let parts = vec![Part { name: name.to_owned(), start: 0 }];
        let mut source = Self { text: text.to_owned(), parts, lines: Vec::new(), whole: false };
        source.lines = source.starts(0);
        source
    }

    /// Another file, behind those that are here.
    pub(super) fn append(&mut self, name: &str, text: &str) {
        self.text.push('\n');
        let start = self.text.len();
        self.text.push_str(text);
        self.parts.push(Part { name: name.to_owned(), start });
        let more = self.starts(start);
        self.lines.extend(more);
    }

    /// Where the lines of a part start.
    fn starts(&self, part: usize) -> Vec<usize> {
        let text = self.text.get(part..).unwrap_or_default();
        std::iter::once(part).chain(text.match_indices('\n').map(|(at, _)| part + at + 1)).collect()
    }

    /// The bytes of each file in turn, without the line feed that parts it from the next one.
    pub(super) fn parts(&self) -> impl Iterator<Item = Span> {
        let ends = self.parts.iter().skip(1).map(|next| next.start - 1).chain([self.text.len()]);
        self.parts.iter().map(|part| part.start).zip(ends).map(|(start, end)| start..end)
    }

    /// How many files there are.
    pub(super) const fn files(&self) -> usize {
        self.parts.len()
    }

    /// The name of a file, by its number.
    pub(super) fn part_name(&self, part: usize) -> &str {
        self.parts.get(part).map_or("", |part| &part.name)
    }

    /// The same with another text in the place of one file's.
    pub(super) fn with_part(&self, part: usize, text: &str) -> Self {
        let mut texts = self.parts().enumerate().map(|(number, span)| {
            let own = self.text.get(span).unwrap_or_default();
            (self.part_name(number), if number == part { text } else { own })
        });
        let (name, first) = texts.next().unwrap_or_default();
        let mut source = Self::new(name, first);
        texts.for_each(|(name, text)| source.append(name, text));
        source.whole = self.whole;
        source
    }

    /// The number of the file that a byte is in.
    fn part(&self, at: usize) -> usize {
        self.parts.partition_point(|part| part.start <= at).saturating_sub(1)
    }

    /// The bytes of the file that a byte is in.
    pub(super) fn around(&self, at: usize) -> Span {
        self.parts().nth(self.part(at)).unwrap_or(0..self.text.len())
    }

    /// The name of the file that a byte is in.
    pub(super) fn name(&self, at: usize) -> &str {
        self.parts.get(self.part(at)).map_or("", |part| &part.name)
    }

    /// The line of a byte in its file, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        let before = self.lines.partition_point(|&start| start < self.around(at).start);
        self.lines.partition_point(|&start| start <= at).saturating_sub(before).max(1)
    }

    /// The column of a byte in characters, from 1.
    pub(super) fn column(&self, at: usize) -> usize {
        let start = self.lines.partition_point(|&start| start <= at).saturating_sub(1);
        let start = self.lines.get(start).copied().unwrap_or(0);
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

    #[test]
    fn each_file_has_lines_of_its_own() {
        let mut source = Source::new("x", "a = 1\nb = 2");
        source.append("empty", "");
        source.append("y", "c = 3\nd = 4\n");
        assert_eq!(source.parts().collect::<Vec<_>>(), [0..11, 12..12, 13..25]);
        let place = |at| (source.name(at), source.line(at), source.column(at));
        assert_eq!(place(6), ("x", 2, 1));
        assert_eq!(place(11), ("x", 2, 6), "behind its last character");
        assert_eq!(place(12), ("empty", 1, 1));
        assert_eq!(place(13), ("y", 1, 1));
        assert_eq!(place(19), ("y", 2, 1));
        assert_eq!(place(25), ("y", 3, 1));
        let edited = source.with_part(2, "e = 5");
        assert_eq!(edited.text, "a = 1\nb = 2\n\ne = 5");
        assert_eq!((edited.part_name(2), edited.name(13), edited.line(13)), ("y", "y", 1));
        assert_eq!(source.with_part(0, "").text, "\n\nc = 3\nd = 4\n");
    }
}
