//! What another configuration would change, in words: by key, with what Maglev tables would move.
//!
//! Both sides are compared in their effective form, so that a default that is written out is no change.

mod flows;

pub use flows::{Affected, Fate, FlowGroup};

use std::collections::BTreeSet;

use ringlead_pick::{FrontHash, Maglev, Member, default_size};
use ringlead_wire::Ip;
use serde_json::{Value, json};

use super::diagnostics::Diagnostics;
use super::model::{Addresses, Algorithm, Config, OperatorState, PoolConfig, ServerConfig};
use super::{Loaded, load_whole, parse_whole, vocabulary};

/// A configuration to compare.
pub struct Side {
    config: Config,
    effective: toml::Table,
}

impl Side {
    /// The configuration itself.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &std::path::Path) -> Result<Self, Diagnostics> {
        load_whole(path).map(Self::of)
    }

    /// A text; `name` is what messages call it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Self, Diagnostics> {
        parse_whole(name, text).map(Self::of)
    }

    /// What has been loaded.
    #[must_use]
    pub fn of(loaded: Loaded) -> Self {
        // What was written by `effective` is TOML.
        let effective = toml::from_str(&loaded.effective).unwrap_or_default();
        Self { config: loaded.config, effective }
    }
}

/// All that differs.
#[derive(Debug, Default, PartialEq)]
pub struct Diff {
    /// Table by table: `pool web`, `server web2 weight 10 -> 5`.
    pub changes: Vec<(String, String)>,
    /// Pools whose Maglev tables differ, with the share of slots that move, in percent: as if every server were up.
    pub moves: Vec<(String, f64)>,
    /// Changed settings that only a restart can apply: a reload refuses the whole file.
    pub restart: Vec<String>,
    /// Addresses that the node would get.
    pub addresses_come: Vec<String>,
    /// Addresses that it would give up.
    pub addresses_go: Vec<String>,
    /// What becomes of the flows of a daemon, or why nobody knows. `None`: no daemon was asked.
    pub flows: Option<Result<Affected, String>>,
}

impl Diff {
    /// Whether both mean the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { changes, moves, restart, addresses_come, addresses_go, flows: _ } = self;
        let lists = [restart, addresses_come, addresses_go];
        changes.is_empty() && moves.is_empty() && lists.into_iter().all(Vec::is_empty)
    }

    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let changes = self.changes.iter().map(|(table, change)| json!({ "table": table, "change": change }));
        let moves =
            self.moves.iter().map(|(pool, percent)| json!({ "pool": pool, "slots_moved_percent": percent }));
        json!({
            "same": self.is_empty(),
            "changes": changes.collect::<Vec<_>>(),
            "maglev": moves.collect::<Vec<_>>(),
            "needs_restart": self.restart,
            "addresses_added": self.addresses_come,
            "addresses_removed": self.addresses_go,
            "flows": self.counted().map(Affected::to_json),
        })
    }

    /// One line a change, and what becomes of open flows; empty when both mean the same.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.changes();
        lines.extend(self.flow_lines());
        lines
    }

    /// One line a change.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (table, change) in &self.changes {
            let alone = self.changes.iter().filter(|(other, _)| other == table).count() == 1;
            let moves = self.moves.iter().find(|(pool, _)| alone && *table == format!("pool {pool}"));
            lines.push(match moves {
                Some((pool, percent)) => format!("{table}: {change}: {}", self.moving(pool, *percent)),
                None => format!("{table}: {change}"),
            });
        }
        for (pool, percent) in &self.moves {
            if self.changes.iter().filter(|(table, _)| *table == format!("pool {pool}")).count() != 1 {
                lines.push(format!("pool {pool}: {}", self.moving(pool, *percent)));
            }
        }
        lines.extend(
            self.addresses_come.iter().map(|address| format!("address {address}: added to this node")),
        );
        lines.extend(
            self.addresses_go.iter().map(|address| format!("address {address}: removed from this node")),
        );
        lines.extend(
            self.restart.iter().map(|name| format!("{name}: needs a restart; a reload refuses the file")),
        );
        lines
    }

    fn flow_lines(&self) -> Vec<String> {
        match &self.flows {
            _ if self.is_empty() => Vec::new(),
            None => vec!["flows: without a daemon it is not known how many end or move".to_owned()],
            Some(Err(why)) => vec![format!("flows: it is not known how many end or move: {why}")],
            Some(Ok(flows)) => flows.lines(),
        }
    }

    fn counted(&self) -> Option<&Affected> {
        self.flows.as_ref()?.as_ref().ok()
    }

    /// What of a pool moves: the table's slots are for new flows.
    fn moving(&self, pool: &str, percent: f64) -> String {
        let flows = self.counted().map(|flows| format!(", {} established flows move", flows.moving(pool)));
        format!("{percent:.1} % of Maglev slots move{}", flows.unwrap_or_default())
    }
}

/// What `new` changes of `old`.
#[must_use]
pub fn diff(old: &Side, new: &Side) -> Diff {
    let mut changes = Vec::new();
    for (kind, words) in vocabulary::TABLES_BY_KIND {
        let sides = [old, new].map(|side| side.effective.get(kind).and_then(toml::Value::as_table));
        if words.header == format!("[{kind}]") {
            keys(kind, sides, &mut changes);
        } else {
            tables(kind, sides, &mut changes);
        }
    }
    let [before, after] = [old, new].map(|side| addresses(&side.config));
    Diff {
        changes,
        moves: moves(&old.config, &new.config),
        restart: needs_restart(&old.config, &new.config),
        addresses_come: after.difference(&before).map(ToString::to_string).collect(),
        addresses_go: before.difference(&after).map(ToString::to_string).collect(),
        flows: None,
    }
}

type Sides<'a> = [Option<&'a toml::Table>; 2];
type Changes = Vec<(String, String)>;

/// Tables under names.
fn tables(kind: &str, sides: Sides<'_>, changes: &mut Changes) {
    for name in both(sides) {
        let tables = sides.map(|side| side.and_then(|side| side.get(name)).and_then(toml::Value::as_table));
        let table = format!("{kind} {name}");
        match tables {
            [None, Some(_)] => changes.push((table, "added".to_owned())),
            [Some(_), None] => changes.push((table, "removed".to_owned())),
            _ => {
                keys(&table, tables, changes);
                servers(&table, tables, changes);
            }
        }
    }
}

/// The names of both, each once, in order.
fn both<'a>(sides: Sides<'a>) -> BTreeSet<&'a String> {
    sides.into_iter().flatten().flat_map(|side| side.keys()).collect()
}

/// The keys of a table but its servers.
fn keys(table: &str, sides: Sides<'_>, changes: &mut Changes) {
    for key in both(sides).into_iter().filter(|key| *key != "server") {
        changes.extend(changed(key, sides).map(|change| (table.to_owned(), change)));
    }
}

/// `weight 10 -> 5`; `None`: it is the same. The key of the hash is a secret, and headers may hold one.
fn changed(key: &str, sides: Sides<'_>) -> Option<String> {
    let [old, new] = sides.map(|side| side.and_then(|side| side.get(key)));
    if old == new {
        return None;
    }
    if ["hash-key", "headers"].contains(&key) {
        return Some(format!("{key} changed"));
    }
    let [old, new] = [old, new].map(|value| match value {
        None => "none".to_owned(),
        Some(toml::Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    });
    Some(format!("{key} {old} -> {new}"))
}

/// The servers of a pool, by name.
fn servers(table: &str, pools: Sides<'_>, changes: &mut Changes) {
    let lists = pools.map(|pool| pool.map(by_name).unwrap_or_default());
    let sides = [Some(&lists[0]), Some(&lists[1])];
    for name in both(sides) {
        let servers = sides.map(|side| side.and_then(|side| side.get(name)).and_then(toml::Value::as_table));
        let mut push = |change: String| changes.push((table.to_owned(), format!("server {name} {change}")));
        match servers {
            [None, Some(new)] => {
                push(format!("added: {}, weight {}", shown(new, "address"), shown(new, "weight")))
            }
            [Some(_), None] => push("removed, its flows go on".to_owned()),
            _ => both(servers).into_iter().filter_map(|key| changed(key, servers)).for_each(push),
        }
    }
}

fn by_name(pool: &toml::Table) -> toml::Table {
    let list = pool.get("server").and_then(toml::Value::as_array).into_iter().flatten();
    list.filter_map(|server| Some((server.get("name")?.as_str()?.to_owned(), server.clone()))).collect()
}

fn shown(table: &toml::Table, key: &str) -> String {
    match table.get(key) {
        Some(toml::Value::String(text)) => text.clone(),
        value => value.map(ToString::to_string).unwrap_or_default(),
    }
}

/// What ringlead puts on the node: addresses of services, and those that servers see.
fn addresses(config: &Config) -> BTreeSet<Ip> {
    let forwarded = config.services.iter().map(|s| (s.addresses, &s.listen));
    let local = config.local.iter().map(|s| (s.addresses, &s.listen));
    let managed = forwarded.chain(local).filter(|(who, _)| *who == Addresses::Manage);
    let listened = managed.flat_map(|(_, listen)| listen.iter().map(|at| at.ip));
    listened.chain(config.snats.iter().flat_map(|snat| snat.addresses.iter().copied())).collect()
}

/// Of pools that both have, with maglev: how much moves.
fn moves(old: &Config, new: &Config) -> Vec<(String, f64)> {
    let hashes = [old, new].map(|config| FrontHash::new(config.dataplane.hash_key));
    let table = |side: usize, pool: &PoolConfig| hashes.get(side).and_then(|hash| slots(hash, pool));
    new.pools
        .iter()
        .filter_map(|pool| {
            let before = table(0, old.pools.iter().find(|other| other.name == pool.name)?)?;
            let percent = 100.0 * moved(&before, &table(1, pool)?);
            (percent > 0.0).then(|| (pool.name.clone(), percent))
        })
        .collect()
}

/// The address of each slot's server, if all are up; `None`: no Maglev table.
fn slots(hash: &FrontHash, pool: &PoolConfig) -> Option<Vec<std::net::SocketAddr>> {
    let Algorithm::Maglev { size, .. } = pool.algorithm else { return None };
    let ready = |server: &&ServerConfig| server.state == OperatorState::Ready;
    let first: Vec<_> = pool.servers.iter().filter(ready).filter(|server| !server.backup).collect();
    let servers =
        if first.len() < pool.servers_min { pool.servers.iter().filter(ready).collect() } else { first };
    let members: Vec<_> = servers
        .iter()
        .map(|s| Member {
            identity: hash.server(Ip::from(s.address.ip()), s.address.port()),
            weight: s.weight,
        })
        .collect();
    let table = Maglev::build(&members, size.unwrap_or_else(|| default_size(pool.servers.len())));
    Some(table.slots().iter().filter_map(|&slot| Some(servers.get(usize::from(slot))?.address)).collect())
}

/// The share of all hashes that two tables send to different servers: tables of different sizes cut the hashes differently, so
/// both are gone through together, in units of which each slot of one is as many as the other has slots.
fn moved<T: PartialEq>(old: &[T], new: &[T]) -> f64 {
    if old.is_empty() || new.is_empty() {
        return if old.is_empty() && new.is_empty() { 0.0 } else { 1.0 };
    }
    let (mut at, mut moved, whole) = (0, 0, old.len() * new.len());
    while at < whole {
        let (a, b) = (at / new.len(), at / old.len());
        let end = ((a + 1) * new.len()).min((b + 1) * old.len());
        if old.get(a) != new.get(b) {
            moved += end - at;
        }
        at = end;
    }
    share(moved, whole)
}

#[allow(clippy::cast_precision_loss, reason = "both are below 2^53")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

/// The names of changed settings that only a restart can apply.
#[must_use]
pub fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let mut names = Vec::new();
    let mut compare = |name: &str, same: bool| {
        if !same {
            names.push(name.to_owned());
        }
    };
    let (a, b) = (&old.node, &new.node);
    compare("node.name", a.name == b.name);
    compare("node.state-dir", a.state_dir == b.state_dir);
    compare("node.control", a.control == b.control);
    compare("node.bpf-dir", a.bpf_dir == b.bpf_dir);
    let (a, b) = (&old.dataplane, &new.dataplane);
    compare("dataplane.cores", a.cores == b.cores);
    compare("dataplane.control-core", a.control_core == b.control_core);
    compare("dataplane.idle", a.idle == b.idle);
    compare("dataplane.max-flows", a.flows_max == b.flows_max);
    compare("dataplane.hash-key", a.hash_key == b.hash_key);
    compare("dataplane.frames", a.frames == b.frames);
    compare("the ports", old.ports == new.ports);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp, reason = "these shares are exact")]
    fn tables_of_any_sizes_are_compared_over_all_hashes() {
        assert_eq!(moved(&['a', 'b'], &['a', 'b']), 0.0);
        assert_eq!(moved(&['a', 'b'], &['a', 'c']), 0.5);
        assert_eq!(moved(&['a', 'b'], &['a', 'a', 'b', 'b']), 0.0);
        assert_eq!(moved(&['a', 'b'], &['a', 'b', 'b']), 1.0 / 6.0);
        assert_eq!(moved(&['a'], &[]), 1.0);
    }
}
