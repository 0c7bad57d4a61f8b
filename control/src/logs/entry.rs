//! One thing that was said, with its fields.

use serde_json::{Map, Value};
use std::fmt::{Debug, Write as _};
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// The longest message or field, in bytes; what is longer is cut.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// One `tracing` event.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When.
    pub at: SystemTime,
    /// How bad.
    pub level: Level,
    /// The field `event`: which kind of thing happened; `None`: nothing that has a name.
    pub event: Option<String>,
    /// In words; may be empty.
    pub message: String,
    /// The other fields, in their order in the code.
    pub fields: Vec<(&'static str, Value)>,
}

impl Entry {
    /// An event as it is now.
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut entry = Self {
            at: SystemTime::now(),
            level: *event.metadata().level(),
            event: None,
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut entry);
        entry
    }

    /// The level as configurations write it.
    #[must_use]
    pub fn level_name(&self) -> &'static str {
        match self.level {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        }
    }

    /// Bytes that it takes, about.
    pub(super) fn size(&self) -> usize {
        let bytes = |value: &Value| match value {
            Value::String(text) => text.len(),
            Value::Object(_) | Value::Array(_) => value.to_string().len(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        };
        let texts: usize = self.fields.iter().map(|(_, value)| bytes(value)).sum();
        size_of::<Self>() + self.message.len() + texts + self.fields.len() * size_of::<(&str, Value)>()
    }

    /// As one JSON object: `time`, `level`, `event`, `message`, `fields`.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("time".to_owned(), self.time().into());
        map.insert("level".to_owned(), self.level_name().into());
        if let Some(event) = &self.event {
            map.insert("event".to_owned(), event.as_str().into());
        }
        map.insert("message".to_owned(), self.message.as_str().into());
        let fields = self.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        map.insert("fields".to_owned(), Value::Object(fields));
        map
    }

    /// In UTC: `2026-11-21T12:04:00.123456Z`.
    #[must_use]
    pub fn time(&self) -> String {
        humantime::format_rfc3339_micros(self.at).to_string()
    }

    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            // A command's own words are JSON already; those that were cut are not any more.
            (name @ "arguments", Value::String(text)) => {
                let object: Option<Map<String, Value>> = serde_json::from_str(&text).ok();
                self.fields.push((name, object.map_or(Value::String(text), Value::Object)));
            }
            ("message", Value::String(text)) => self.message = text,
            ("event", Value::String(name)) => self.event = Some(name),
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Entry {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // Writing into memory does not fail.
        let _ = write!(text, "{value:?}");
        self.put(field, cut(text).into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, cut(value.to_owned()).into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, u64::try_from(value).map_or_else(|_| value.to_string().into(), Value::from));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, i64::try_from(value).map_or_else(|_| value.to_string().into(), Value::from));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::heard::entries;
    use serde_json::json;

    #[test]
    fn times_are_numbers_and_arguments_an_object() {
        let arguments = json!({ "pool": "web", "for_s": 60 });
        let told = entries(|| {
            let took_ms = std::time::Duration::from_millis(7).as_millis();
            tracing::info!(took_ms, huge = u128::MAX, below = -7_i128, arguments = arguments.to_string());
            tracing::info!(arguments = "{\"cut", why = "{}");
        });
        let fields = told.iter().map(|entry| Value::Object(entry.to_json())["fields"].clone());
        let huge = u128::MAX.to_string();
        let numbers = json!({ "took_ms": 7, "huge": huge, "below": -7, "arguments": arguments });
        let texts = json!({ "arguments": "{\"cut", "why": "{}" });
        assert_eq!(fields.collect::<Vec<_>>(), [numbers, texts]);
        assert!(
            told[0].size() - told[0].fields.len() * size_of::<(&str, Value)>()
                > size_of::<Entry>() + huge.len()
        );
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("short".to_owned()), "short");
        let long = cut("ä".repeat(TEXT_BYTES_MAX));
        assert_eq!(long.len(), TEXT_BYTES_MAX + '…'.len_utf8());
        assert!(long.ends_with("ä…"));
    }
}
