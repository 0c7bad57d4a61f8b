//! raw -> model: everything that has to be true of a configuration, one section a file.

mod algorithm;
mod dataplane;
mod health;
mod listener;
mod node;
mod observe;
mod passive;
mod path;
mod persistence;
mod pool;
mod port;
mod probe;
mod service;
mod snat;
mod together;
mod tunnel;

use std::collections::BTreeMap;

use toml::Spanned;

use super::diagnostics::Findings;
use super::model::Config;
use super::raw::{File, Table};
use super::source::Span;
use super::{codes, values};

/// The configuration format that this version reads.
const VERSION: i64 = 1;

/// Checks everything; `None` only when something was reported.
pub(super) fn check(file: &File, findings: &mut Findings) -> Option<Config> {
    version(file, findings);
    let node = node::check(file.node.as_ref(), findings);
    let dataplane = dataplane::check(file, findings);
    let ports = port::check(file, findings);
    let checks = health::check(&file.checks, findings);
    let pools = pool::check(&file.pools, &file.checks, &checks, findings);
    let tunnels = tunnel::check(&file.tunnels, findings);
    let persistence = persistence::check(&file.persistence, findings);
    let workers = dataplane.as_ref().map(|d| d.cores.len());
    let snats = snat::check(file, workers, findings);
    let services = service::check(file, &pools, findings);
    together::check(file, &services, &pools, findings);
    path::together(file, &checks, &services, &pools, findings);
    passive::together(file, &checks, &services, &pools, findings);
    let observe = observe::check(file.observe.as_ref(), &services, findings);
    snat::together(file, &snats, &services, &pools, findings);
    let (mut forwarded, mut local) = (Vec::new(), Vec::new());
    for model in services.into_iter().map(|s| s.model).collect::<Option<Vec<_>>>()? {
        match model {
            service::Model::Forwarded(service) => forwarded.push(service),
            service::Model::Local(service) => local.push(service),
        }
    }
    Some(Config {
        node: node?,
        dataplane: dataplane?,
        ports: ports.into_iter().collect::<Option<_>>()?,
        services: forwarded,
        local,
        pools: pools.into_iter().map(|p| p.model).collect::<Option<_>>()?,
        tunnels: tunnel::built_in().map(Some).chain(tunnels).collect::<Option<_>>()?,
        persistence: persistence.into_iter().collect::<Option<_>>()?,
        snats: snats.into_iter().map(|s| s.model).collect::<Option<_>>()?,
        checks: checks.into_iter().collect::<Option<_>>()?,
        observe: observe?,
    })
}

fn version(file: &File, findings: &mut Findings) {
    match &file.version.raw.version {
        Some(v) if *v.get_ref() == VERSION => {}
        Some(v) => {
            findings
                .error(codes::RANGE, v.span(), format!("version {} of the format is not known", v.get_ref()))
                .label("this ringlead reads version 1");
        }
        None if file.version.lacks("version") => {
            findings
                .error(codes::MISSING, 0..0, "`version` is missing")
                .help("write `version = 1` as the first line");
        }
        None => {}
    }
}

/// A key that must be there: reports it when it is not.
fn required<'v, T, V>(
    table: &Table<T>,
    key: &str,
    value: &'v Option<Spanned<V>>,
    example: &str,
    findings: &mut Findings,
) -> Option<&'v Spanned<V>> {
    if value.is_none() && table.lacks(key) {
        findings
            .error(codes::MISSING, table.span.clone(), format!("`{key}` is missing in {}", table.path))
            .help(format!("add, for example, {key} = {example}"));
    }
    value.as_ref()
}

/// A value that may be absent; `Err` when it is there and wrong, which was reported.
fn optional<V, T>(
    value: Option<&Spanned<V>>,
    read: impl FnOnce(&Spanned<V>) -> Option<T>,
) -> Result<Option<T>, ()> {
    value.map(|v| read(v).ok_or(())).transpose()
}

/// Reports the first name beyond a limit.
fn at_most<'n>(
    what: &str,
    count_max: usize,
    mut names: impl Iterator<Item = &'n Spanned<String>>,
    findings: &mut Findings,
) {
    if let Some(name) = names.nth(count_max) {
        findings.error(codes::TOO_MANY, name.span(), format!("more than {count_max} {what}"));
    }
}

/// Where things of one kind were first seen, to report the second.
struct Once<K> {
    seen: BTreeMap<K, Span>,
}

impl<K: Ord> Once<K> {
    fn new() -> Self {
        Self { seen: BTreeMap::new() }
    }

    /// The first place of `key`, when this is not it.
    fn first(&mut self, key: K, span: &Span) -> Option<Span> {
        match self.seen.entry(key) {
            std::collections::btree_map::Entry::Occupied(first) => Some(first.get().clone()),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(span.clone());
                None
            }
        }
    }
}
