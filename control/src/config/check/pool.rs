//! `[pool.NAME]` and its servers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ringlead_pick::{SIZES, default_size};
use toml::Spanned;

use super::super::model::{Algorithm, CheckConfig, OperatorState, PoolConfig, ServerConfig};
use super::super::raw::{Health, Named, Pool, Server, Table};
use super::super::source::Span;
use super::super::values::{address, choice, number, quoted};
use super::{Findings, Once, codes, optional, required, values};

const SERVERS_MAX: usize = 65_535;
const POOL_SERVERS_MAX: usize = 1_000;

const ALGORITHMS: [(&str, Algorithm); 2] =
    [("maglev", Algorithm::Maglev { size: None }), ("round-robin", Algorithm::RoundRobin)];
const STATES: [(&str, OperatorState); 3] =
    [("ready", OperatorState::Ready), ("drain", OperatorState::Drain), ("offline", OperatorState::Offline)];

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
    let algorithm = algorithm(&named.table, findings);
    let check = optional(raw.health.as_ref(), |v| find_check(v, health, findings));
    let (servers, addresses) = servers(&named.table, findings);
    one_family(&addresses, findings);
    if let (Ok(Some(check)), Some(reference)) = (check, &raw.health)
        && let Some(Some(model)) = checks.get(check)
    {
        check_port(model, reference, &addresses, findings);
    }
    let build = || {
        named_well.then_some(())?;
        Some(PoolConfig {
            name: named.name.get_ref().clone(),
            algorithm: algorithm?,
            health: check.ok()?,
            servers: servers?,
        })
    };
    Checked { model: build(), name: named.name.clone(), addresses }
}

fn algorithm(table: &Table<Pool>, findings: &mut Findings) -> Option<Algorithm> {
    let raw = &table.raw;
    let algorithm = required(table, "algorithm", &raw.algorithm, "\"maglev\"", findings)
        .and_then(|v| choice("algorithm", v, &ALGORITHMS, &["least-flows", "random-2"], findings));
    let hash = optional(raw.hash.as_ref(), |v| {
        choice("hash", v, &[("5-tuple", ())], &["src", "src+dport", "quic-cid"], findings)
    });
    let size = optional(raw.table_size.as_ref(), |v| table_size(v, table, findings));
    let algorithm = algorithm?;
    if algorithm == Algorithm::RoundRobin {
        not_maglev("hash", raw.hash.as_ref().map(Spanned::span), raw, findings);
        not_maglev("table-size", raw.table_size.as_ref().map(Spanned::span), raw, findings);
        return Some(algorithm);
    }
    hash.ok()?;
    Some(Algorithm::Maglev { size: size.ok()? })
}

fn not_maglev(key: &str, span: Option<Span>, raw: &Pool, findings: &mut Findings) {
    let (Some(span), Some(algorithm)) = (span, &raw.algorithm) else { return };
    findings
        .error(codes::NOT_MAGLEV, span, format!("round-robin has no `{key}`"))
        .also(&algorithm.span(), "the algorithm is chosen here")
        .help(format!("take it out, or use algorithm = \"maglev\", which has a `{key}`"));
}

/// A listed prime that gives every server a share.
fn table_size(value: &Spanned<i64>, table: &Table<Pool>, findings: &mut Findings) -> Option<u32> {
    let size = SIZES.into_iter().find(|s| i64::from(*s) == *value.get_ref());
    let Some(size) = size else {
        findings
            .error(codes::RANGE, value.span(), format!("`table-size` cannot be {}", value.get_ref()))
            .help(format!("it is one of these primes: {}", SIZES.map(|s| s.to_string()).join(", ")));
        return None;
    };
    let servers = table.raw.server.as_ref().map_or(0, |s| s.get_ref().len());
    if usize::try_from(size).is_ok_and(|slots| slots < servers) {
        let message = format!("{size} slots for {servers} servers: some would get none");
        findings
            .error(codes::TABLE_TOO_SMALL, value.span(), message)
            .help(format!("leave it out for {}", default_size(servers)));
        return None;
    }
    if size < default_size(servers) {
        let message = format!("{size} slots for {servers} servers: less than 100 each makes shares uneven");
        findings
            .warning(codes::TABLE_UNEVEN, value.span(), message)
            .help(format!("leave it out for {}", default_size(servers)));
    }
    Some(size)
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

fn server(table: &Table<Server>, findings: &mut Findings) -> Option<ServerConfig> {
    let raw = &table.raw;
    let name = required(table, "name", &raw.name, "\"s1\"", findings)
        .filter(|n| values::name("server", n, findings))
        .map(|n| n.get_ref().clone());
    let address = required(table, "address", &raw.address, "\"10.0.0.1:80\"", findings)
        .and_then(|v| address(v, findings));
    let weight = optional(raw.weight.as_ref(), |v| number("weight", v, 1..=256, findings));
    let state = optional(raw.state.as_ref(), |v| choice("state", v, &STATES, &[], findings));
    Some(ServerConfig {
        name: name?,
        address: address?,
        weight: weight.ok()?.unwrap_or(1),
        state: state.ok()?.unwrap_or_default(),
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
