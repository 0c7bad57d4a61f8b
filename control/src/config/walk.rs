//! The spanned tree against the vocabulary, then table by table through serde.
//!
//! serde stops at its first complaint. So every table is read on its own, and a key of the wrong type is reported,
//! taken out and the table read again: one run finds them all.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::diagnostics::Findings;
use super::raw::{
    Dataplane, File, FlowLog, Health, Log, Named, Node, Observe, Opt, Persistence, Pool, Port, Server,
    Service, Snat, Table, Tunnel, Version,
};
use super::source::Span;
use super::strangers::keep_known;
use super::values::{a_or_an, quoted};
use super::{codes, vocabulary as words};

type Value<'i> = Spanned<DeValue<'i>>;

/// Reads the whole tree; what cannot be read is reported and left out.
pub(super) fn walk(tree: Spanned<DeTable<'_>>, findings: &mut Findings) -> File {
    let mut root = tree.into_inner();
    let mut broken = keep_known(&words::ROOT, "", &mut root, findings);
    broken.append(&mut only_tables(&mut root, findings));
    let node = single::<Node>(&words::NODE, root.remove("node"), findings);
    let dataplane = single::<Dataplane>(&words::DATAPLANE, root.remove("dataplane"), findings);
    let ports = several::<Port>(&words::PORT, "port", root.remove("port"), findings);
    let services = several::<Service>(&words::SERVICE, "service", root.remove("service"), findings);
    let pools = pools(root.remove("pool"), findings);
    let tunnels = several::<Tunnel>(&words::TUNNEL, "tunnel", root.remove("tunnel"), findings);
    let snats = several::<Snat>(&words::SNAT, "snat", root.remove("snat"), findings);
    let persistence =
        several::<Persistence>(&words::PERSISTENCE, "persistence", root.remove("persistence"), findings);
    let checks = checks(root.remove("health"), findings);
    let observe = observe(root.remove("observe"), findings);
    let version = read::<Version>(&words::ROOT, String::new(), 0..0, root, findings);
    File {
        version,
        node,
        dataplane,
        ports,
        services,
        pools,
        tunnels,
        snats,
        persistence,
        checks,
        observe,
        broken,
    }
}

/// Takes out and reports what should be a table and is none.
fn only_tables(root: &mut DeTable<'_>, findings: &mut Findings) -> BTreeSet<String> {
    let mut broken = BTreeSet::new();
    for key in words::ROOT.keys.iter().filter(|k| !words::PLAIN.contains(&k.name)) {
        let Some(value) = root.get(key.name).filter(|v| !v.get_ref().is_table()) else { continue };
        let message = format!("`{}` must be {}", key.name, key.expects);
        findings.error(codes::TYPE, value.span(), message).label(found(value.get_ref()));
        root.remove(key.name);
        broken.insert(key.name.to_owned());
    }
    broken
}

/// `[node]`.
fn single<T: DeserializeOwned + Default>(
    words: &words::Table,
    value: Option<Value<'_>>,
    findings: &mut Findings,
) -> Option<Table<T>> {
    let value = value?;
    let span = value.span();
    let table = into_table(value).ok()?;
    Some(read(words, words.header.to_owned(), span, table, findings))
}

/// `[service.NAME]`, as often as there are names, in the file's order.
fn several<T: DeserializeOwned + Default>(
    words: &words::Table,
    kind: &str,
    value: Option<Value<'_>>,
    findings: &mut Findings,
) -> Vec<Named<T>> {
    named(words, kind, value, findings)
        .into_iter()
        .map(|(name, path, span, table)| Named { name, table: read(words, path, span, table, findings) })
        .collect()
}

/// Pools, whose servers are tables of their own.
fn pools(value: Option<Value<'_>>, findings: &mut Findings) -> Vec<Named<Pool>> {
    let tables = named(&words::POOL, "pool", value, findings);
    tables
        .into_iter()
        .map(|(name, path, span, mut table)| {
            let (list, panic) = (table.remove("server"), table.remove("panic"));
            let mut table = read::<Pool>(&words::POOL, path, span, table, findings);
            if let Some(list) = list {
                table.raw.server = servers(&table.path, list, findings);
                if table.raw.server.is_none() {
                    table.broken.insert("server".to_owned());
                }
            }
            if let Some(value) = panic {
                let example = "panic = { below = 50, then = \"all\" }";
                table.raw.panic = inner(&words::PANIC, example, &table.path, value, findings);
                if table.raw.panic.as_ref().is_none_or(|panic| !panic.broken.is_empty()) {
                    table.broken.insert("panic".to_owned());
                }
            }
            Named { name, table }
        })
        .collect()
}

/// Health checks, whose wanted answer is a table of its own.
fn checks(value: Option<Value<'_>>, findings: &mut Findings) -> Vec<Named<Health>> {
    let tables = named(&words::HEALTH, "health", value, findings);
    tables
        .into_iter()
        .map(|(name, path, span, mut table)| {
            let (expect, passive) = (table.remove("expect"), table.remove("passive"));
            let mut table = read::<Health>(&words::HEALTH, path, span, table, findings);
            table.raw.expect = expect.and_then(|value| {
                inner(&words::EXPECT, "expect = { status = \"200-299\" }", &table.path, value, findings)
            });
            if table.raw.expect.as_ref().is_some_and(|expect| !expect.broken.is_empty()) {
                table.broken.insert("expect".to_owned());
            }
            if let Some(value) = passive {
                let example = "passive = { errors = 10, window = \"10s\" }";
                table.raw.passive = inner(&words::PASSIVE, example, &table.path, value, findings);
                if table.raw.passive.as_ref().is_none_or(|passive| !passive.broken.is_empty()) {
                    table.broken.insert("passive".to_owned());
                }
            }
            Named { name, table }
        })
        .collect()
}

/// `[observe]`, whose logs are tables of their own.
fn observe(value: Option<Value<'_>>, findings: &mut Findings) -> Option<Table<Observe>> {
    let value = value?;
    let span = value.span();
    let mut table = into_table(value).ok()?;
    let (log, flow_log) = (table.remove("log"), table.remove("flow-log"));
    let mut table = read::<Observe>(&words::OBSERVE, words::OBSERVE.header.to_owned(), span, table, findings);
    if let Some(log) = log {
        table.raw.log = inner::<Log>(&words::LOG, "log = { to = \"journal\" }", &table.path, log, findings);
        if table.raw.log.as_ref().is_none_or(|log| !log.broken.is_empty()) {
            table.broken.insert("log".to_owned());
        }
    }
    if let Some(log) = flow_log {
        let example = "flow-log = { to = \"journal\", sample = \"1/1000\" }";
        table.raw.flow_log = inner::<FlowLog>(&words::FLOW_LOG, example, &table.path, log, findings);
        if table.raw.flow_log.as_ref().is_none_or(|log| !log.broken.is_empty()) {
            table.broken.insert("flow-log".to_owned());
        }
    }
    Some(table)
}

/// A table that is a key of another: `expect` of `[health.NAME]`. The example begins with the key.
fn inner<T: DeserializeOwned + Default>(
    words: &words::Table,
    example: &str,
    outer: &str,
    value: Value<'_>,
    findings: &mut Findings,
) -> Option<Table<T>> {
    let key = example.split(' ').next().unwrap_or_default();
    let path = format!("{}.{key}]", outer.trim_end_matches(']'));
    let span = value.span();
    match into_table(value) {
        Ok(table) => Some(read(words, path, span, table, findings)),
        Err(found) => {
            findings
                .error(codes::TYPE, span, format!("{path} must be a table"))
                .label(found)
                .help(format!("write {example}"));
            None
        }
    }
}

fn servers(pool: &str, list: Value<'_>, findings: &mut Findings) -> Opt<Vec<Table<Server>>> {
    let span = list.span();
    let label = found(list.get_ref());
    let DeValue::Array(list) = list.into_inner() else {
        findings
            .error(codes::TYPE, span, format!("`server` in {pool} must be a list of tables"))
            .label(label)
            .help("write server = [ { name = \"s1\", address = \"10.0.0.1:80\" } ]");
        return None;
    };
    let mut servers = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        let path = format!("{}.server[{index}]]", pool.trim_end_matches(']'));
        let span = value.span();
        match into_table(value) {
            Ok(table) => servers.push(read(&words::SERVER, path, span, table, findings)),
            Err(found) => {
                findings
                    .error(codes::TYPE, span, format!("{path} must be a table"))
                    .label(found)
                    .help("write { name = \"s1\", address = \"10.0.0.1:80\" }");
            }
        }
    }
    Some(Spanned::new(span, servers))
}

/// The tables under `[kind]` with their names, paths and places, unknown keys taken out.
fn named<'i>(
    words: &words::Table,
    kind: &str,
    value: Option<Value<'i>>,
    findings: &mut Findings,
) -> Vec<(Spanned<String>, String, Span, DeTable<'i>)> {
    let Some(Ok(tables)) = value.map(into_table) else { return Vec::new() };
    let mut entries: Vec<_> = tables.into_iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    let mut out = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let name = Spanned::new(name.span(), name.into_inner().into_owned());
        let span = value.span();
        match into_table(value) {
            Ok(table) => {
                let path = format!("[{kind}.{}]", name.get_ref().escape_debug());
                out.push((name, path, span, table));
            }
            Err(_) if words.key(name.get_ref()).is_some() => {
                findings
                    .error(
                        codes::MISPLACED,
                        name.span(),
                        format!("{} stands outside of any {}", quoted(name.get_ref()), words.header),
                    )
                    .help(format!("each has a name: write a header {}", words.header));
            }
            Err(found) => {
                let message = format!("[{kind}.{}] must be a table", name.get_ref().escape_debug());
                findings.error(codes::TYPE, span, message).label(found);
            }
        }
    }
    out
}

/// One table: unknown keys out, then through serde as often as it has keys of the wrong type.
fn read<T: DeserializeOwned + Default>(
    words: &words::Table,
    path: String,
    span: Span,
    mut table: DeTable<'_>,
    findings: &mut Findings,
) -> Table<T> {
    let mut broken = keep_known(words, &path, &mut table, findings);
    loop {
        let error = match T::deserialize(Deserializer::from(Spanned::new(span.clone(), table.clone()))) {
            Ok(raw) => return Table { path, span, broken, raw },
            Err(error) => error,
        };
        let at = error.span().unwrap_or_else(|| span.clone());
        let Some(key) = key_at(&table, &at) else {
            // No key to blame, so nothing to take out and try again.
            findings.error(codes::TYPE, at, error.message());
            return Table { path, span, broken, raw: T::default() };
        };
        if let Some(value) = table.remove(key.as_str()) {
            wrong_type(words, &path, &key, &value, at, findings);
        }
        broken.insert(key);
    }
}

/// The key whose value covers a place.
fn key_at(table: &DeTable<'_>, at: &Span) -> Option<String> {
    let covers = |value: &Value<'_>| value.span().start <= at.start && at.end <= value.span().end;
    table.iter().find(|(_, value)| covers(value)).map(|(key, _)| key.get_ref().to_string())
}

fn wrong_type(
    words: &words::Table,
    path: &str,
    key: &str,
    value: &Value<'_>,
    at: Span,
    findings: &mut Findings,
) {
    let inside = if path.is_empty() { String::new() } else { format!(" in {path}") };
    let known = words.key(key);
    let later = known.is_some_and(|k| k.types_later.contains(&value.get_ref().type_str()));
    if later {
        let written = a_or_an(value.get_ref().type_str());
        findings
            .error(codes::LATER, at, format!("{written} as `{key}`{inside} is not in this version"))
            .label("not in this version");
        return;
    }
    let expects = known.map_or("something else", |k| k.expects);
    let label = innermost(value, &at).map(found);
    let entry = findings.error(codes::TYPE, at, format!("`{key}`{inside} must be {expects}"));
    if let Some(label) = label {
        entry.label(label);
    }
}

/// The value at exactly this place.
fn innermost<'v, 'i>(value: &'v Value<'i>, at: &Span) -> Option<&'v DeValue<'i>> {
    if value.span() == *at {
        return Some(value.get_ref());
    }
    value.get_ref().as_array()?.iter().find_map(|v| innermost(v, at))
}

/// The table, or what it is instead.
fn into_table(value: Value<'_>) -> Result<DeTable<'_>, String> {
    let label = found(value.get_ref());
    if let DeValue::Table(table) = value.into_inner() { Ok(table) } else { Err(label) }
}

fn found(value: &DeValue<'_>) -> String {
    format!("this is {}", a_or_an(value.type_str()))
}
