//! A configuration written down again: in one order, with or without the values that it does not name.
//!
//! What keys have where they are absent is read from the [`schema`](super::schema), but for what depends on other keys.

use std::fmt::Write as _;

use ringlead_pick::default_size;
use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use super::diagnostics::Diagnostics;
use super::schema::default_of;
use super::source::Source;
use super::values::in_words;
use super::vocabulary::{self as words, Table};
use super::{parse, tree, values};

/// The file in the vocabulary's order, without comments.
///
/// # Errors
/// Everything that is wrong with it.
pub fn shown(name: &str, text: &str) -> Result<String, Diagnostics> {
    parse(name, text)?;
    Ok(write_accepted(&Source::new(name, text), false))
}

/// The file with every value that it does not name and that does not depend on the machine. It means the same, and its own
/// effective form is itself.
///
/// # Errors
/// Everything that is wrong with it.
pub fn effective(name: &str, text: &str) -> Result<String, Diagnostics> {
    parse(name, text)?;
    Ok(write_accepted(&Source::new(name, text), true))
}

/// A source that was found to be right, as one text.
pub(super) fn write_accepted(source: &Source, defaults: bool) -> String {
    tree::accepted(source).map_or_else(String::new, |tree| write(tree.get_ref(), defaults))
}

fn write(root: &DeTable<'_>, defaults: bool) -> String {
    let mut out = "version = 1\n".to_owned();
    let scene = Scene { snats: names(root, "snat"), defaults };
    for (kind, words) in words::TABLES_BY_KIND {
        let none = DeTable::new();
        let table = root.get(kind).and_then(|value| value.get_ref().as_table());
        if words.header == format!("[{kind}]") {
            if table.is_some() || defaults {
                out.push_str(&format!("\n[{kind}]\n"));
                scene.table(words, table.unwrap_or(&none), &mut out);
            }
            continue;
        }
        for (name, table) in named(table) {
            let _ = write!(out, "\n[{kind}.{}]\n", key(name));
            scene.table(words, table, &mut out);
        }
    }
    out
}

/// The tables below a kind in the file's order.
fn named<'a>(kind: Option<&'a DeTable<'_>>) -> Vec<(&'a str, &'a DeTable<'a>)> {
    let mut all: Vec<_> = kind
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| {
            Some((name.span().start, name.get_ref().as_ref(), value.get_ref().as_table()?))
        })
        .collect();
    all.sort_by_key(|(at, ..)| *at);
    all.into_iter().map(|(_, name, table)| (name, table)).collect()
}

fn names(root: &DeTable<'_>, kind: &str) -> Vec<String> {
    let table = root.get(kind).and_then(|value| value.get_ref().as_table());
    named(table).into_iter().map(|(name, _)| name.to_owned()).collect()
}

/// What a table's defaults may depend on.
struct Scene {
    snats: Vec<String>,
    /// Whether absent values are written.
    defaults: bool,
}

impl Scene {
    fn table(&self, words: &Table, table: &DeTable<'_>, out: &mut String) {
        for (name, value) in self.pairs(words, table) {
            let _ = writeln!(out, "{name} = {value}");
        }
    }

    /// Every key with its value, as TOML.
    fn pairs(&self, words: &Table, table: &DeTable<'_>) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        for known in words.keys {
            let written = table.get(known.name).map(|value| value.get_ref());
            let value = match written {
                Some(DeValue::Array(list))
                    if words.header == words::POOL.header && known.name == "server" =>
                {
                    let servers = list.iter().filter_map(|server| server.get_ref().as_table());
                    let lines = servers.map(|s| format!("  {},\n", self.inline(&words::SERVER, s)));
                    Some(format!("[\n{}]", lines.collect::<String>()))
                }
                expect if words.header == words::HEALTH.header && known.name == "expect" => {
                    self.expect(table, expect)
                }
                log if words.header == words::OBSERVE.header && known.name == "log" => {
                    self.log(&words::LOG, log)
                }
                Some(log) if words.header == words::OBSERVE.header && known.name == "flow-log" => {
                    self.log(&words::FLOW_LOG, Some(log))
                }
                Some(value) => Some(written_as(value)),
                None if self.defaults => self.absent(words.header, known.name, table).map(|v| as_toml(&v)),
                None => None,
            };
            pairs.extend(value.map(|value| (known.name, value)));
        }
        pairs
    }

    fn inline(&self, words: &Table, table: &DeTable<'_>) -> String {
        let pairs = self.pairs(words, table).into_iter().map(|(name, value)| format!("{name} = {value}"));
        format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
    }

    /// A log of `[observe]`; `None`: not written, and no default wanted.
    fn log(&self, words: &Table, written: Option<&DeValue<'_>>) -> Option<String> {
        let none = DeTable::new();
        let table = written.and_then(DeValue::as_table);
        (table.is_some() || self.defaults).then(|| self.inline(words, table.unwrap_or(&none)))
    }

    /// The answer that a check wants; `None`: any.
    fn expect(&self, check: &DeTable<'_>, written: Option<&DeValue<'_>>) -> Option<String> {
        let none = DeTable::new();
        let written = written.and_then(DeValue::as_table).unwrap_or(&none);
        let pairs: Vec<_> = words::EXPECT
            .keys
            .iter()
            .filter_map(|known| {
                let absent = || self.defaults.then(|| of_check(check, known.name)).flatten();
                let written = written.get(known.name).map(|value| written_as(value.get_ref()));
                let value = written.or_else(|| absent().map(|value| as_toml(&value)))?;
                Some(format!("{} = {value}", known.name))
            })
            .collect();
        (!pairs.is_empty()).then(|| format!("{{ {} }}", pairs.join(", ")))
    }

    /// What an absent key means; `None`: nothing that could be written, or it may not be there.
    fn absent(&self, header: &str, key: &str, table: &DeTable<'_>) -> Option<Value> {
        let default = || default_of(header, key);
        if header == words::SERVICE.header {
            return self.of_service(key, table);
        }
        if header == words::POOL.header && ["hash", "table-size"].contains(&key) {
            let size = table.get("server")?.get_ref().as_array()?.iter().count();
            let value = if key == "hash" { json!("5-tuple") } else { json!(default_size(size)) };
            return (text(table, "algorithm") == Some("maglev")).then_some(value);
        }
        if header == words::TUNNEL.header && text(table, "type") == Some("gue") {
            return match key {
                "variant" => Some(json!(1)),
                "port" => Some(json!(6080)),
                _ => default(),
            };
        }
        let is_log = [words::LOG.header, words::FLOW_LOG.header].contains(&header);
        if is_log && key == "format" && text(table, "to") == Some("journal") {
            return None;
        }
        if header == words::HEALTH.header {
            // Agents neither pass nor fail.
            let kind = text(table, "type");
            let judges =
                ["rise", "fall", "flaps", "flap-window", "flap-hold", "flap-hold-max"].contains(&key);
            if kind == Some("agent") && judges || key == "via" && kind != Some("tcp") {
                return None;
            }
            return of_check(table, key).or_else(default);
        }
        default()
    }

    fn of_service(&self, key: &str, table: &DeTable<'_>) -> Option<Value> {
        let default = default_of(words::SERVICE.header, key);
        let l7 = text(table, "layer") == Some("l7");
        let nodes = table.contains_key("nodes");
        let forward = if l7 { "hand-off" } else { "mode" };
        let tunnels = text(table, forward) == Some("tunnel");
        match key {
            "timeouts" if l7 && !nodes => None,
            "hand-off" if l7 && nodes => Some(json!("dsr")),
            "tunnel" if tunnels => Some(json!("gue")),
            "snat" if text(table, "mode") == Some("snat") => self.snats.first().map(|name| json!(name)),
            "on-no-server" if !l7 => {
                Some(json!(if text(table, "protocol") == Some("udp") { "drop" } else { "reset" }))
            }
            _ => default,
        }
    }
}

/// What depends on a check's type or interval.
fn of_check(check: &DeTable<'_>, key: &str) -> Option<Value> {
    match (key, text(check, "type")) {
        ("timeout", _) => Some(json!(timeout(check))),
        ("request", Some("http" | "https")) => Some(json!("GET /")),
        ("status", Some("http" | "https")) => Some(json!("200-299")),
        ("rcode", Some("dns")) => Some(json!("NOERROR")),
        _ => None,
    }
}

/// A short interval alone shortens the timeout with it.
fn timeout(check: &DeTable<'_>) -> String {
    const DEFAULT: std::time::Duration = std::time::Duration::from_secs(1);
    let interval = text(check, "interval").and_then(values::parse_duration);
    in_words(interval.map_or(DEFAULT, |interval| interval.min(DEFAULT)))
}

fn text<'a>(table: &'a DeTable<'_>, key: &str) -> Option<&'a str> {
    table.get(key)?.get_ref().as_str()
}

/// A value of an accepted file, in the one form that this module writes.
fn written_as(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => as_toml(&json!(text)),
        DeValue::Integer(number) => i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
            .map_or_else(|_| number.to_string(), |number| number.to_string()),
        DeValue::Array(list) => {
            let items: Vec<_> = list.iter().map(|item| written_as(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Boolean(yes) => yes.to_string(),
        // No key of this version takes one but `expect` and logs, which are written by their own vocabulary.
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => String::new(),
    }
}

fn as_toml(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| String::new(), |value| value.to_string())
}

/// Names that were accepted need quotes only for their dots.
fn key(name: &str) -> String {
    if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() }
}
