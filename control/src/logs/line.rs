//! An entry as a line: for people, or as JSON.

use super::entry::Entry;
use crate::config::LogFormat;
use serde_json::Value;
use std::fmt::Write as _;
use tracing::Level;

/// One line with its newline.
pub(super) fn line(entry: &Entry, format: LogFormat, colour: bool) -> Vec<u8> {
    let mut line = match format {
        LogFormat::Text => text(entry, colour),
        LogFormat::Json => Value::Object(entry.to_json()).to_string(),
    };
    line.push('\n');
    line.into_bytes()
}

/// `TIME LEVEL message field=value …`, strings in quotes. A message may have several lines, of which only the first begins at the
/// margin; what would steer a terminal is shown, not sent.
fn text(entry: &Entry, colour: bool) -> String {
    let level = entry.level.as_str();
    let mut line = entry.time();
    let painted = colour.then_some(match entry.level {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        Level::DEBUG => "34",
        Level::TRACE => "35",
    });
    // Writing into memory does not fail.
    let _ = match painted {
        Some(code) => write!(line, " \x1b[{code}m{level:>5}\x1b[0m"),
        None => write!(line, " {level:>5}"),
    };
    line.push(' ');
    line.push_str(&said(entry));
    line
}

/// `message field=value …`.
pub(super) fn said(entry: &Entry) -> String {
    let mut said = tame(&entry.message);
    let event = entry.event.as_ref().map(|event| ("event", Value::from(event.as_str())));
    for (name, value) in event.iter().chain(&entry.fields) {
        let gap = if said.is_empty() { "" } else { " " };
        // JSON escapes the ends of lines, but not all that steers a terminal. Writing into memory does not fail.
        let _ = write!(said, "{gap}{name}={}", tame(&value.to_string()));
    }
    said
}

/// The words of others, for a terminal or a line of the log: control characters and what changes the direction of writing as escapes; a
/// further line is set in, so that it cannot be taken for another entry.
#[must_use]
pub fn tame(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\n    "),
            '\t' => out.push(c),
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.extend(c.escape_unicode()),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn entry() -> Entry {
        Entry {
            at: UNIX_EPOCH + Duration::from_millis(1_500),
            level: Level::WARN,
            event: Some("health".to_owned()),
            message: "it\x1b[2J said:\nno".to_owned(),
            fields: vec![("server", "app/s \"1\"".into()), ("up", false.into()), ("took_ms", 7.into())],
        }
    }

    #[test]
    fn text_has_message_and_fields_and_no_control_characters() {
        let said =
            "it\\u{1b}[2J said:\n    no event=\"health\" server=\"app/s \\\"1\\\"\" up=false took_ms=7\n";
        let plain = String::from_utf8(line(&entry(), LogFormat::Text, false)).unwrap();
        assert_eq!(plain, format!("1970-01-01T00:00:01.500000Z  WARN {said}"));
        let painted = String::from_utf8(line(&entry(), LogFormat::Text, true)).unwrap();
        assert_eq!(painted, format!("1970-01-01T00:00:01.500000Z \x1b[33m WARN\x1b[0m {said}"));
    }

    /// What a server could say to be taken for us, or to steer the terminal of who reads: every control character, of C1 too, and
    /// what turns the direction of writing.
    fn hostile() -> Entry {
        let controls: String = (0..0x20).chain(0x7f..0xa0).filter_map(char::from_u32).collect();
        let words =
            format!("500 {controls}\u{2028}\u{202e}\u{2066}\n1970-01-01T00:00:02.000000Z  INFO all is well");
        let fields = vec![("why", words.as_str().into()), ("status", words.as_str().into())];
        Entry { message: words, fields, ..entry() }
    }

    #[test]
    fn the_words_of_others_forge_no_line_and_steer_no_terminal() {
        let text = String::from_utf8(line(&hostile(), LogFormat::Text, false)).unwrap();
        let steers = |c: char| {
            c.is_control() && !['\n', '\t'].contains(&c) || ['\u{2028}', '\u{202e}', '\u{2066}'].contains(&c)
        };
        assert!(!text.contains(steers), "{text:?}");
        let margin = text.lines().filter(|line| !line.starts_with("    ")).count();
        assert_eq!(margin, 1, "{text}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        for entry in [entry(), hostile()] {
            let said = line(&entry, LogFormat::Json, true);
            assert!(said.ends_with(b"\n"));
            let controls = said.iter().filter(|byte| byte.is_ascii_control() && **byte != 0x7f).count();
            assert_eq!(controls, 1, "the end of the line alone");
            let value: Value = serde_json::from_slice(&said).unwrap();
            assert_eq!(
                (&value["time"], &value["level"]),
                (&"1970-01-01T00:00:01.500000Z".into(), &"warn".into())
            );
            assert_eq!(
                (&value["event"], &value["message"]),
                (&"health".into(), &entry.message.as_str().into())
            );
            let fields: serde_json::Map<_, _> =
                entry.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            assert_eq!(value["fields"], Value::Object(fields));
        }
    }
}
