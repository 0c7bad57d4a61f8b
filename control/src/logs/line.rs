//! An entry as bytes: for people, as JSON, and in the journal's own protocol.

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

/// `TIME LEVEL message field=value …`, strings in quotes. A message may have several lines; what would steer a terminal is
/// shown, not sent.
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
fn said(entry: &Entry) -> String {
    let mut said = tame(&entry.message);
    let event = entry.event.as_ref().map(|event| ("event", Value::from(event.as_str())));
    for (name, value) in event.iter().chain(&entry.fields) {
        let gap = if said.is_empty() { "" } else { " " };
        // Writing into memory does not fail.
        let _ = write!(said, "{gap}{name}={value}");
    }
    said
}

/// Control characters as escapes, but for the ends of lines and tabs.
fn tame(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !['\n', '\t'].contains(&c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A datagram of the journal's native protocol: `NAME=value`, or, where the value has several lines, the name, its length as
/// eight bytes little-endian, and the value. Fields are `RINGLEAD_SERVER=app/s1`.
pub(super) fn journal(entry: &Entry) -> Vec<u8> {
    let priority = match entry.level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    };
    let mut out = Vec::with_capacity(512);
    // People read MESSAGE alone, so it has everything.
    field(&mut out, "MESSAGE", &said(entry));
    field(&mut out, "PRIORITY", priority);
    field(&mut out, "SYSLOG_IDENTIFIER", "ringlead");
    if let Some(event) = &entry.event {
        field(&mut out, "RINGLEAD_EVENT", event);
    }
    for (name, value) in &entry.fields {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let name = format!("RINGLEAD_{}", name.to_ascii_uppercase());
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        field(&mut out, &name, &text);
    }
    out
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
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
        let said = "it\\u{1b}[2J said:\nno event=\"health\" server=\"app/s \\\"1\\\"\" up=false took_ms=7\n";
        let plain = String::from_utf8(line(&entry(), LogFormat::Text, false)).unwrap();
        assert_eq!(plain, format!("1970-01-01T00:00:01.500000Z  WARN {said}"));
        let painted = String::from_utf8(line(&entry(), LogFormat::Text, true)).unwrap();
        assert_eq!(painted, format!("1970-01-01T00:00:01.500000Z \x1b[33m WARN\x1b[0m {said}"));
    }

    #[test]
    fn json_is_one_object_a_line() {
        let said = line(&entry(), LogFormat::Json, true);
        assert_eq!(said.iter().filter(|byte| **byte == b'\n').count(), 1);
        let value: Value = serde_json::from_slice(&said).unwrap();
        let expected = serde_json::json!({
            "time": "1970-01-01T00:00:01.500000Z", "level": "warn", "event": "health",
            "message": "it\x1b[2J said:\nno",
            "fields": { "server": "app/s \"1\"", "up": false, "took_ms": 7 },
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn the_journal_gets_lengths_where_a_value_has_lines() {
        let said = journal(&entry());
        let message = "it\\u{1b}[2J said:\nno event=\"health\" server=\"app/s \\\"1\\\"\" up=false took_ms=7";
        let mut expected = b"MESSAGE\n".to_vec();
        expected.extend((message.len() as u64).to_le_bytes());
        expected.extend(message.as_bytes());
        expected.extend(
            b"\nPRIORITY=4\nSYSLOG_IDENTIFIER=ringlead\nRINGLEAD_EVENT=health\nRINGLEAD_SERVER=app/s \"1\"\n",
        );
        expected.extend(b"RINGLEAD_UP=false\nRINGLEAD_TOOK_MS=7\n");
        assert_eq!(String::from_utf8_lossy(&said), String::from_utf8_lossy(&expected));
    }
}
