//! `[pool.NAME]` and its servers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use toml::Spanned;

use super::super::model::{CheckConfig, OnServerDown, OperatorState, PoolConfig, ServerConfig};
use super::super::raw::{Health, Named, Pool, Server, Table};
use super::super::source::Span;
use super::super::values::{address, choice, number, quoted};
use crate::health::Probe;

use super::{Findings, Once, algorithm, codes, optional, required, values};

const SERVERS_MAX: usize = 65_535;
const POOL_SERVERS_MAX: usize = 1_000;
/// As many as a node can have.
const FLOWS_MAX: i64 = 100_000_000;

const STATES: [(&str, OperatorState); 3] =
    [("ready", OperatorState::Ready), ("drain", OperatorState::Drain), ("offline", OperatorState::Offline)];

const ON_SERVER_DOWN: [(&str, OnServerDown); 3] =
    [("keep", OnServerDown::Keep), ("reset", OnServerDown::Reset), ("reselect", OnServerDown::Reselect)];

/// A pool with what later checks point at.
pub(super) struct Checked {
    /// `None` where something was wrong.
    pub(super) model: Option<PoolConfig>,
    pub(super) name: Spanned<String>,
    /// Of the servers that have a usable address, even when the rest of the pool is wrong.
    pub(super) addresses: Vec<Address>,
}

/// A server's address with its name.
pub(super) struct Address {
    pub(super) server: String,
    pub(super) address: SocketAddr,
    pub(super) span: Span,
}

/// One entry a table.
pub(super) fn check(
    tables: &[Named<Pool>],
    health: &[Named<Health>],
    checks: &[Option<CheckConfig>],
    findings: &mut Findings,
) -> Vec<Checked> {
    let all = tables.iter().flat_map(|t| t.table.raw.server.iter().flat_map(Spanned::get_ref));
    if let Some(server) = all.clone().nth(SERVERS_MAX) {
        findings.error(codes::TOO_MANY, server.span.clone(), format!("more than {SERVERS_MAX} servers"));
    }
    let index: BTreeMap<&str, usize> =
        health.iter().enumerate().map(|(i, h)| (h.name.get_ref().as_str(), i)).collect();
    tables.iter().map(|named| pool(named, &index, checks, findings)).collect()
}

fn pool(
    named: &Named<Pool>,
    health: &BTreeMap<&str, usize>,
    checks: &[Option<CheckConfig>],
    findings: &mut Findings,
) -> Checked {
    let raw = &named.table.raw;
    let named_well = values::name("pool", &named.name, findings);
    let choosing = algorithm::check(&named.table, findings);
    let on_server_down = optional(raw.on_server_down.as_ref(), |v| {
        choice("on-server-down", v, &ON_SERVER_DOWN, &[], findings)
    });
    let check = optional(raw.health.as_ref(), |v| find_check(v, health, findings));
    let agent = optional(raw.agent.as_ref(), |v| find_check(v, health, findings));
    let fits = role("health", raw.health.as_ref(), check, checks, findings)
        & role("agent", raw.agent.as_ref(), agent, checks, findings);
    let (servers, addresses) = servers(&named.table, findings);
    one_family(&addresses, findings);
    for (check, reference) in [(check, &raw.health), (agent, &raw.agent)] {
        if let (Ok(Some(check)), Some(reference)) = (check, reference)
            && let Some(Some(model)) = checks.get(check)
        {
            check_port(model, reference, &addresses, findings);
        }
    }
    let build = || {
        (named_well && fits).then_some(())?;
        let choosing = choosing?;
        Some(PoolConfig {
            name: named.name.get_ref().clone(),
            algorithm: choosing.algorithm,
            slow_start: choosing.slow_start,
            servers_min: choosing.servers_min,
            on_server_down: on_server_down.ok()?.unwrap_or_default(),
            health: check.ok()?,
            agent: agent.ok()?,
            servers: servers?,
        })
    };
    Checked { model: build(), name: named.name.clone(), addresses }
}

fn find_check(
    reference: &Spanned<String>,
    health: &BTreeMap<&str, usize>,
    findings: &mut Findings,
) -> Option<usize> {
    let name = reference.get_ref();
    let found = health.get(name.as_str()).copied();
    if found.is_none() {
        let near = findings.near(name, health.keys().copied());
        let message = format!("there is no health check {}", quoted(name));
        findings.error(codes::UNKNOWN_CHECK, reference.span(), message).help(match near {
            Some(near) => format!("a health check with a similar name exists: {}", quoted(near)),
            None => "add a table [health.NAME] of that name; without checks servers are up".to_owned(),
        });
    }
    found
}

/// Whether a check is of the sort that a key takes: agents neither pass nor fail, and only they have wishes.
fn role(
    key: &str,
    reference: Option<&Spanned<String>>,
    found: Result<Option<usize>, ()>,
    checks: &[Option<CheckConfig>],
    findings: &mut Findings,
) -> bool {
    let (Some(reference), Ok(Some(index))) = (reference, found) else { return true };
    let Some(Some(check)) = checks.get(index) else { return true };
    let is_agent = matches!(*check.probe, Probe::Agent(_));
    if is_agent == (key == "agent") {
        return true;
    }
    let name = check.name.escape_debug();
    let (kind, other) = (check.probe.name(), if is_agent { "agent" } else { "health" });
    findings
        .error(codes::CHECK_ROLE, reference.span(), format!("[health.{}] is of type {kind}", check.name))
        .help(match is_agent {
            true => format!("write {other} = \"{name}\": agents neither pass nor fail"),
            false => format!("write {other} = \"{name}\": `agent` takes checks of type agent"),
        });
    false
}

/// The servers, `None` when one is wrong, and the addresses of those that have one.
fn servers(table: &Table<Pool>, findings: &mut Findings) -> (Option<Vec<ServerConfig>>, Vec<Address>) {
    let mut addresses = Vec::new();
    let example = "[ { name = \"s1\", address = \"10.0.0.1:80\" } ]";
    let list = match &table.raw.server {
        Some(list) => list,
        None => {
            if table.lacks("server") {
                findings
                    .error(codes::POOL_EMPTY, table.span.clone(), format!("{} has no server", table.path))
                    .help(format!("add server = {example}"));
            }
            return (None, addresses);
        }
    };
    if list.get_ref().is_empty() {
        findings
            .error(codes::POOL_EMPTY, list.span(), format!("{} has no server", table.path))
            .help(format!("for example, server = {example}"));
    }
    if let Some(server) = list.get_ref().get(POOL_SERVERS_MAX) {
        let message = format!("more than {POOL_SERVERS_MAX} servers in {}", table.path);
        findings.error(codes::TOO_MANY, server.span.clone(), message);
    }
    backups_only(table, list.get_ref(), findings);
    let (mut names, mut places) = (Once::new(), Once::new());
    let mut models = Vec::with_capacity(list.get_ref().len());
    for raw in list.get_ref() {
        let model = server(raw, findings);
        twice(raw, &mut names, model.as_ref().map(|m| m.address), &mut places, findings);
        if let (Some(model), Some(address)) = (&model, &raw.raw.address) {
            let (server, address_span) = (model.name.clone(), address.span());
            addresses.push(Address { server, address: model.address, span: address_span });
        }
        models.push(model);
    }
    (models.into_iter().collect(), addresses)
}

/// Backups stand in for others, so there must be one.
fn backups_only(table: &Table<Pool>, servers: &[Table<Server>], findings: &mut Findings) {
    if let Some(first) = servers.first()
        && servers.iter().all(algorithm::is_backup)
    {
        findings
            .error(codes::BACKUPS_ONLY, first.span.clone(), format!("{} has only backup servers", table.path))
            .help("take `backup` out of those that are to serve first");
    }
}

fn server(table: &Table<Server>, findings: &mut Findings) -> Option<ServerConfig> {
    let raw = &table.raw;
    let name = required(table, "name", &raw.name, "\"s1\"", findings)
        .filter(|n| values::name("server", n, findings))
        .map(|n| n.get_ref().clone());
    let address = required(table, "address", &raw.address, "\"10.0.0.1:80\"", findings)
        .and_then(|v| address(v, findings));
    let weight = optional(raw.weight.as_ref(), |v| number("weight", v, 1..=256, findings));
    let state = optional(raw.state.as_ref(), |v| choice("state", v, &STATES, &[], findings));
    let flows_max = optional(raw.max_flows.as_ref(), |v| number("max-flows", v, 1..=FLOWS_MAX, findings));
    Some(ServerConfig {
        name: name?,
        address: address?,
        weight: weight.ok()?.unwrap_or(1),
        state: state.ok()?.unwrap_or_default(),
        flows_max: flows_max.ok()?,
        backup: algorithm::is_backup(table),
    })
}

/// Names and addresses occur once a pool.
fn twice(
    table: &Table<Server>,
    names: &mut Once<String>,
    address: Option<SocketAddr>,
    places: &mut Once<SocketAddr>,
    findings: &mut Findings,
) {
    if let Some(name) = &table.raw.name
        && let Some(first) = names.first(name.get_ref().clone(), &name.span())
    {
        let message = format!("two servers are named {}", quoted(name.get_ref()));
        findings.error(codes::SERVER_NAME_TWICE, name.span(), message).also(&first, "first here");
    }
    if let (Some(address), Some(written)) = (address, &table.raw.address)
        && let Some(first) = places.first(address, &written.span())
    {
        findings
            .error(
                codes::SERVER_ADDRESS_TWICE,
                written.span(),
                format!("two servers have the address {address}"),
            )
            .also(&first, "first here")
            .help("for a larger share raise `weight`");
    }
}

fn one_family(addresses: &[Address], findings: &mut Findings) {
    let Some(first) = addresses.first() else { return };
    if let Some(other) = addresses.iter().find(|a| a.address.is_ipv4() != first.address.is_ipv4()) {
        findings
            .error(codes::FAMILY_POOL, other.span.clone(), "a pool's servers are all IPv4 or all IPv6")
            .label(format!("this is {}", super::service::family(other.address.is_ipv4())))
            .also(&first.span, format!("this is {}", super::service::family(first.address.is_ipv4())))
            .help("write one pool and one service a family");
    }
}

/// A check connects to a server's port, so there must be one.
fn check_port(
    check: &CheckConfig,
    reference: &Spanned<String>,
    addresses: &[Address],
    findings: &mut Findings,
) {
    if check.port.is_none()
        && check.probe.has_port()
        && let Some(any) = addresses.iter().find(|a| a.address.port() == 0)
    {
        findings
            .error(
                codes::CHECK_PORT,
                reference.span(),
                format!("which port should [health.{}] check?", check.name),
            )
            .also(&any.span, "this server has port 0")
            .help("set `port` in the health check");
    }
}
