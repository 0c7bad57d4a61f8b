//! What becomes of the flows that there are, when another configuration comes into force.
//!
//! The flow table keeps flows where they are, whatever a Maglev table says of new ones. Flows end with their service or the address
//! that they came to; those of a removed server, or of another mode, go on as they are.

use super::{Diff, Side};
use crate::config::model::{Algorithm, Config, Mode, OnServerDown, PoolConfig, ServiceConfig};
use ringlead_wire::{Ip, Protocol};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Open flows that a reload treats alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FlowGroup {
    /// The service; `None`: it was removed, and the flows end soon.
    pub service: Option<String>,
    /// Where the clients connected to.
    pub listen: SocketAddr,
    /// The transport's number.
    pub protocol: u8,
    /// `nat`, `snat`, `dsr` or `tunnel`: how their packets travel.
    pub mode: String,
    /// The server's pool; `None`: nobody knows the server any more.
    pub pool: Option<String>,
    /// The server's name.
    pub server: Option<String>,
    /// The server's address, as it is configured.
    pub server_address: Option<SocketAddr>,
    /// Whether the server is down, and taken for that.
    pub down: bool,
    /// How many. Those that were closed or reset and only rest are not counted.
    pub flows: u64,
}

/// Open flows before a reload, by what the reload makes of them.
#[derive(Debug, Default, PartialEq)]
pub struct Affected {
    /// All open flows.
    pub total: u64,
    /// Those that something changes for: the fate, whose flows they are and why, and how many.
    pub groups: BTreeMap<(Fate, String), u64>,
    /// By pool, how many move.
    moves: BTreeMap<String, u64>,
}

/// What becomes of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It ends, or is reset, with its next packet or soon.
    Ends,
    /// Its next packet goes to another server.
    Moves,
    /// It goes on as it is until it ends by itself.
    GoesOn,
}

impl Fate {
    /// As JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ends => "ends",
            Self::Moves => "moves",
            Self::GoesOn => "goes-on",
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Ends => "end",
            Self::Moves => "move",
            Self::GoesOn => "go on until they end",
        }
    }
}

impl Affected {
    /// Judges groups of flows of the daemon that `old` is of. A reload that is refused changes nothing for any.
    pub fn of(old: &Side, new: &Side, groups: impl IntoIterator<Item = FlowGroup>) -> Self {
        let refused = !super::needs_restart(&old.config, &new.config).is_empty();
        let judge = Judge { old: Index::of(&old.config), new: Index::of(&new.config) };
        let mut affected = Self::default();
        for group in groups {
            affected.total += group.flows;
            let Some((fate, why)) = judge.fate(&group).filter(|_| !refused) else { continue };
            if let (Fate::Moves, Some(pool)) = (fate, &group.pool) {
                *affected.moves.entry(pool.clone()).or_default() += group.flows;
            }
            *affected.groups.entry((fate, why)).or_default() += group.flows;
        }
        affected
    }

    /// How many have that fate.
    #[must_use]
    pub fn count(&self, fate: Fate) -> u64 {
        self.groups.iter().filter(|((of, _), _)| *of == fate).map(|(_, flows)| flows).sum()
    }

    /// How many of a pool move.
    #[must_use]
    pub(super) fn moving(&self, pool: &str) -> u64 {
        self.moves.get(pool).copied().unwrap_or_default()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let line = |((fate, why), flows): (&(Fate, String), &u64)| {
            let (whose, why) = why.split_once(": ").unwrap_or((why, ""));
            format!("flows: {flows} {whose} {}: {why}", fate.verb())
        };
        let mut lines: Vec<String> = self.groups.iter().map(line).collect();
        let [ends, moves, on] = [Fate::Ends, Fate::Moves, Fate::GoesOn].map(|fate| self.count(fate));
        lines.push(format!(
            "flows: of {} open ones {ends} end, {moves} move, {on} go on at what is no longer configured",
            self.total
        ));
        lines
    }

    pub(super) fn to_json(&self) -> Value {
        let groups = self
            .groups
            .iter()
            .map(|((fate, why), flows)| json!({ "fate": fate.name(), "why": why, "flows": flows }));
        json!({
            "open": self.total,
            "end": self.count(Fate::Ends),
            "move": self.count(Fate::Moves),
            "go_on": self.count(Fate::GoesOn),
            "affected": groups.collect::<Vec<_>>(),
        })
    }
}

impl Diff {
    /// Adds what becomes of flows, counted; or why nobody knows.
    #[must_use]
    pub fn with_flows(self, flows: Result<Affected, String>) -> Self {
        Self { flows: Some(flows), ..self }
    }
}

struct Judge<'a> {
    old: Index<'a>,
    new: Index<'a>,
}

impl Judge<'_> {
    /// `None`: a reload changes nothing for it. The words begin with whose flows they are, to the first `: `.
    fn fate(&self, group: &FlowGroup) -> Option<(Fate, String)> {
        // Of a service that is gone already: nothing new.
        let service = group.service.as_deref()?;
        let Some(to) = self.new.services.get(service) else {
            return Some((Fate::Ends, format!("of service {service}: it is removed")));
        };
        let at = (Ip::from(group.listen.ip()), group.listen.port(), group.protocol);
        if !self.new.listens(at) && self.old.listens(at) {
            let (listen, protocol) = (group.listen, to.protocol);
            let why =
                format!("of service {service} to {listen}: nobody listens there by {protocol} any more");
            return Some((Fate::Ends, why));
        }
        let (Some(pool), Some(server), Some(address)) = (&group.pool, &group.server, group.server_address)
        else {
            return None;
        };
        let place = (pool.as_str(), server.as_str(), address);
        if !self.new.servers.contains(&place) {
            // One that was removed before: nothing new.
            let known = self.old.servers.contains(&place);
            return known.then(|| (Fate::GoesOn, format!("of {pool}/{server}: {address} is removed")));
        }
        if let Some(fate) = self.down(group, pool, server) {
            return Some(fate);
        }
        let (was, mode) = (self.old.services.get(service)?.mode.name(), to.mode.name());
        (was != mode && group.mode != mode).then(|| {
            (Fate::GoesOn, format!("of service {service}: by mode {}, which it no longer has", group.mode))
        })
    }

    /// Of a server that is down and stays: what its pool says of its connections now. Datagrams choose again in any case.
    fn down(&self, group: &FlowGroup, pool: &str, server: &str) -> Option<(Fate, String)> {
        if !group.down || group.protocol != Protocol::Tcp.number() {
            return None;
        }
        let service = group.service.as_deref()?;
        let [old, new] = [&self.old, &self.new].map(|side| side.when_down(service, pool));
        let fate = new.filter(|_| old != new)?;
        Some((fate, format!("of {pool}/{server}: it is down, and on-server-down says so now")))
    }
}

/// A configuration, to be looked up in.
struct Index<'a> {
    services: BTreeMap<&'a str, &'a ServiceConfig>,
    listens: BTreeSet<(Ip, u16, u8)>,
    servers: BTreeSet<(&'a str, &'a str, SocketAddr)>,
    pools: BTreeMap<&'a str, &'a PoolConfig>,
}

impl<'a> Index<'a> {
    fn of(config: &'a Config) -> Self {
        let listens = config.services.iter().flat_map(|service| &service.listen);
        let servers = config.pools.iter().flat_map(|pool| {
            pool.servers.iter().map(|server| (pool.name.as_str(), server.name.as_str(), server.address))
        });
        Self {
            services: config.services.iter().map(|service| (service.name.as_str(), service)).collect(),
            listens: listens.map(|at| (at.ip, at.port, at.protocol.number())).collect(),
            servers: servers.collect(),
            pools: config.pools.iter().map(|pool| (pool.name.as_str(), pool)).collect(),
        }
    }

    /// What becomes of a service's connections to a server that is down; `None`: they are kept. Where a server cannot be computed from
    /// a packet in their middle, they are reset instead of moved.
    fn when_down(&self, service: &str, pool: &str) -> Option<Fate> {
        let (service, pool) = (self.services.get(service)?, self.pools.get(pool)?);
        let recomputes = matches!(pool.algorithm, Algorithm::Maglev { .. })
            && !matches!(service.mode, Mode::Snat { .. })
            && service.persistence.is_none();
        match pool.on_server_down {
            OnServerDown::Keep => None,
            OnServerDown::Reselect if recomputes => Some(Fate::Moves),
            OnServerDown::Reselect | OnServerDown::Reset => Some(Fate::Ends),
        }
    }

    /// Whether a service has that place, by its port or as one of every port.
    fn listens(&self, (ip, port, protocol): (Ip, u16, u8)) -> bool {
        [port, 0].into_iter().any(|port| self.listens.contains(&(ip, port, protocol)))
    }
}
