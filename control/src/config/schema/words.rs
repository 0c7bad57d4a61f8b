//! What an editor says of each key: type, range, words, default, meaning. Held against the checks by a test that tries them.

mod health;
mod node;
mod observe;
mod pool;
mod service;
mod sources;

use serde_json::{Value, json};

use super::super::vocabulary as v;

/// What names are made of.
pub(super) const NAME: &str = "^[a-z0-9._-]{1,64}$";
const DURATION: &str = "^[0-9]+(ms|s|m|h)$";
const ENDPOINT: &str = "^([0-9.]+|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5}$";
const PATH: &str = "^/";
const ADDRESS: &str = "^[0-9a-fA-F.:]+$";

/// What a table is for.
pub(super) fn about(header: &str) -> &'static str {
    match header {
        "" => "A configuration of ringlead.",
        h if h == v::NODE.header => "This machine.",
        h if h == v::DATAPLANE.header => "The workers.",
        h if h == v::PORT.header => "A network interface.",
        h if h == v::SERVICE.header => "What clients connect to.",
        h if h == v::POOL.header => "Servers, and how one is chosen.",
        h if h == v::SERVER.header => "A server.",
        h if h == v::TUNNEL.header => "What stands in front of a packet on its way to a server.",
        h if h == v::SNAT.header => "Addresses and ports that servers see in place of clients'.",
        h if h == v::PERSISTENCE.header => "Who comes back to the same server.",
        h if h == v::HEALTH.header => "A health check.",
        h if h == v::EXPECT.header => "The answer that a check wants.",
        h if h == v::PASSIVE.header => "What clients' connections show of a server, besides checks.",
        h if h == v::PANIC.header => "What a pool does when most of its servers look dead.",
        h if h == v::OBSERVE.header => "What is told of what happens, and where.",
        h if h == v::LOG.header => "The daemon's own log.",
        h if h == v::FLOW_LOG.header => "A line at a flow's end.",
        _ => "",
    }
}

/// The keys that must be there.
pub(super) fn required(header: &str) -> &'static [&'static str] {
    match header {
        "" => &["version", "dataplane", "port"],
        h if h == v::DATAPLANE.header => &["cores"],
        h if h == v::FLOW_LOG.header => &["to"],
        h if h == v::PORT.header => &["device"],
        h if h == v::SERVICE.header => &["listen", "protocol"],
        h if h == v::POOL.header => &["algorithm", "server"],
        h if h == v::SERVER.header => &["name", "address"],
        h if h == v::PANIC.header => &["then"],
        h if h == v::SNAT.header => &["addresses"],
        h if [v::TUNNEL.header, v::PERSISTENCE.header, v::HEALTH.header].contains(&h) => &["type"],
        _ => &[],
    }
}

/// Every key of a table.
pub(super) fn of(header: &str) -> Vec<(&'static str, Value)> {
    match header {
        "" => vec![
            ("version", json!({ "const": 1, "description": "The format: 1, the first line." })),
            (
                "include",
                one_or_many(
                    ".",
                    1_000,
                    "Files whose tables belong here too, beside this one; * stands for any part of a name. They include no others.",
                ),
            ),
        ],
        h if h == v::NODE.header => node::node(),
        h if h == v::DATAPLANE.header => node::dataplane(),
        h if h == v::PORT.header => node::port(),
        h if h == v::SERVICE.header => service::service(),
        h if h == v::POOL.header => pool::pool(),
        h if h == v::SERVER.header => pool::server(),
        h if h == v::TUNNEL.header => sources::tunnel(),
        h if h == v::SNAT.header => sources::snat(),
        h if h == v::PERSISTENCE.header => sources::persistence(),
        h if h == v::HEALTH.header => health::health(),
        h if h == v::EXPECT.header => health::expect(),
        h if h == v::PASSIVE.header => health::passive(),
        h if h == v::PANIC.header => pool::panic(),
        h if h == v::OBSERVE.header => observe::observe(),
        h if h == v::LOG.header => observe::log(),
        h if h == v::FLOW_LOG.header => observe::flow_log(),
        _ => Vec::new(),
    }
}

/// As long as checks send or look for.
fn some_text(description: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 1_024, "description": description })
}

fn text(pattern: &str, description: &str) -> Value {
    json!({ "type": "string", "pattern": pattern, "description": description })
}

fn choice(words: &[&str], description: &str) -> Value {
    json!({ "enum": words, "description": description })
}

fn integer(min: i64, max: i64, description: &str) -> Value {
    json!({ "type": "integer", "minimum": min, "maximum": max, "description": description })
}

fn one_or_many(pattern: &str, items_max: usize, description: &str) -> Value {
    let one = json!({ "type": "string", "pattern": pattern });
    let many = json!({ "type": "array", "items": one, "minItems": 1, "maxItems": items_max });
    json!({ "anyOf": [one, many], "description": description })
}

fn with(default: impl Into<Value>, mut schema: Value) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("default".to_owned(), default.into());
    }
    schema
}
