//! The configuration's JSON schema (draft-07), for editors: the vocabulary's tables and keys with what `words` says of each.

mod words;

use serde_json::{Map, Value, json};

use super::vocabulary::{self as vocabulary, Table};

/// What `words` says of a key: its type, range, words, default, description. `None`: nothing.
pub(super) fn of_key(header: &str, key: &str) -> Option<Value> {
    words::of(header).into_iter().find(|(name, _)| *name == key).map(|(_, schema)| schema)
}

/// The value that a key has where the file does not name it, whatever else the file says; `None`: it has none, or one that
/// depends on others.
pub(super) fn default_of(header: &str, key: &str) -> Option<Value> {
    of_key(header, key)?.get("default").cloned()
}

/// The schema of a whole file.
///
/// It refuses what is wrong in itself: unknown keys, types, words, ranges. What keys mean to each other is for
/// [`parse`](super::parse).
#[must_use]
pub fn schema() -> Value {
    let mut root = table(&vocabulary::ROOT);
    for (kind, words) in vocabulary::TABLES_BY_KIND {
        let under = if named(words) { set_of(table(words)) } else { table(words) };
        insert(&mut root, kind, under);
    }
    if let Some(root) = root.as_object_mut() {
        root.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        root.insert("title".to_owned(), json!("ringlead.toml"));
    }
    root
}

fn named(words: &Table) -> bool {
    words.header.contains(".NAME]")
}

/// Tables under names of one's own.
fn set_of(table: Value) -> Value {
    let description = table.get("description").cloned().unwrap_or_default();
    json!({
        "type": "object",
        "description": description,
        "propertyNames": { "pattern": words::NAME },
        "additionalProperties": table,
    })
}

/// One table: every key of the vocabulary and no other.
fn table(words: &Table) -> Value {
    let mut said: Map<String, Value> =
        words::of(words.header).into_iter().map(|(key, schema)| (key.to_owned(), schema)).collect();
    let properties: Map<String, Value> = words
        .keys
        .iter()
        .map(|key| {
            let fallback = || json!({ "description": key.expects });
            (key.name.to_owned(), said.remove(key.name).unwrap_or_else(fallback))
        })
        .collect();
    let mut out = json!({
        "type": "object",
        "description": words::about(words.header),
        "properties": properties,
        "required": words::required(words.header),
        "additionalProperties": false,
    });
    if words.header == vocabulary::POOL.header {
        let server =
            json!({ "type": "array", "minItems": 1, "maxItems": 1000, "items": table(&vocabulary::SERVER) });
        insert(&mut out, "server", server);
    }
    if words.header == vocabulary::HEALTH.header {
        insert(&mut out, "expect", table(&vocabulary::EXPECT));
    }
    if words.header == vocabulary::OBSERVE.header {
        insert(&mut out, "log", table(&vocabulary::LOG));
        insert(&mut out, "flow-log", table(&vocabulary::FLOW_LOG));
    }
    if words.header == vocabulary::SERVICE.header
        && let Some(out) = out.as_object_mut()
    {
        out.insert(
            "if".to_owned(),
            json!({ "properties": { "layer": { "const": "l7" } }, "required": ["layer"] }),
        );
        out.insert("else".to_owned(), json!({ "required": ["mode", "pool"] }));
    }
    out
}

fn insert(table: &mut Value, key: &str, schema: Value) {
    if let Some(properties) = table.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(key.to_owned(), schema);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways: every key of the vocabulary is described, and nothing else is. Tables in tables are described as such.
    #[test]
    fn the_schema_has_exactly_the_vocabularys_keys() {
        let all = vocabulary::TABLES.into_iter().chain([&vocabulary::ROOT]);
        for table in all {
            let known: Vec<_> = table.keys.iter().map(|k| k.name).collect();
            let mut described: Vec<_> = words::of(table.header).into_iter().map(|(key, _)| key).collect();
            described.sort_unstable();
            let apart = if table.header.is_empty() { vocabulary::PLAIN.to_vec() } else { known };
            let mut apart: Vec<_> = apart
                .into_iter()
                .filter(|key| !["server", "expect", "log", "flow-log"].contains(key))
                .collect();
            apart.sort_unstable();
            assert_eq!(described, apart, "{}", table.header);
            assert!(!words::about(table.header).is_empty(), "{}", table.header);
        }
        let kinds: Vec<_> = vocabulary::TABLES_BY_KIND.iter().map(|(kind, _)| *kind).collect();
        let root: Vec<_> =
            vocabulary::ROOT.keys.iter().map(|k| k.name).filter(|k| !vocabulary::PLAIN.contains(k)).collect();
        assert_eq!(kinds, root);
    }
}
