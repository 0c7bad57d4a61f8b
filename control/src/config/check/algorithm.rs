//! How a pool chooses among its servers: `algorithm`, its options, and who joins when.

use std::time::Duration;

use ringlead_pick::{HashBy, SIZES, default_size};
use toml::Spanned;

use super::super::model::Algorithm;
use super::super::raw::{Pool, Server, Table};
use super::super::source::Span;
use super::super::values::{choice, duration, number};
use super::{Findings, codes, optional, required};

const MAGLEV: Algorithm = Algorithm::Maglev { size: None, hash: HashBy::FiveTuple };
const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("maglev", MAGLEV),
    ("round-robin", Algorithm::RoundRobin),
    ("least-flows", Algorithm::LeastFlows),
    ("random-2", Algorithm::RandomTwo),
];
const SLOW_START_MIN: Duration = Duration::from_secs(1);
const SLOW_START_MAX: Duration = Duration::from_secs(3_600);

/// What of a pool decides who gets a flow, besides its servers.
pub(super) struct Choosing {
    pub(super) algorithm: Algorithm,
    pub(super) slow_start: Option<Duration>,
    pub(super) servers_min: usize,
}

/// `None` where something was wrong.
pub(super) fn check(table: &Table<Pool>, findings: &mut Findings) -> Option<Choosing> {
    let raw = &table.raw;
    let algorithm = algorithm(table, findings);
    let slow_start = optional(raw.slow_start.as_ref(), |v| {
        duration("slow-start", v, SLOW_START_MIN..=SLOW_START_MAX, findings)
    });
    let servers_min = servers_min(raw, findings);
    if matches!(algorithm, Some(Algorithm::Maglev { .. })) {
        not_alike(raw, findings);
    }
    Some(Choosing {
        algorithm: algorithm?,
        slow_start: slow_start.ok()?,
        servers_min: servers_min.ok()?.unwrap_or(1),
    })
}

fn algorithm(table: &Table<Pool>, findings: &mut Findings) -> Option<Algorithm> {
    let raw = &table.raw;
    let algorithm = required(table, "algorithm", &raw.algorithm, "\"maglev\"", findings)
        .and_then(|v| choice("algorithm", v, &ALGORITHMS, &[], findings));
    let hash = optional(raw.hash.as_ref(), |v| {
        choice("hash", v, &HashBy::ALL.map(|by| (by.name(), by)), &["quic-cid"], findings)
    });
    let size = optional(raw.table_size.as_ref(), |v| table_size(v, table, findings));
    let algorithm = algorithm?;
    if !matches!(algorithm, Algorithm::Maglev { .. }) {
        not_maglev("hash", algorithm, raw.hash.as_ref().map(Spanned::span), raw, findings);
        not_maglev("table-size", algorithm, raw.table_size.as_ref().map(Spanned::span), raw, findings);
        return Some(algorithm);
    }
    Some(Algorithm::Maglev { size: size.ok()?, hash: hash.ok()?.unwrap_or_default() })
}

fn not_maglev(key: &str, algorithm: Algorithm, span: Option<Span>, raw: &Pool, findings: &mut Findings) {
    let (Some(span), Some(written)) = (span, &raw.algorithm) else { return };
    findings
        .error(codes::NOT_MAGLEV, span, format!("{} has no `{key}`", algorithm.name()))
        .also(&written.span(), "the algorithm is chosen here")
        .help(format!("take it out, or use algorithm = \"maglev\", which has a `{key}`"));
}

/// Slow start and flow limits depend on what one node has seen; Maglev promises the same choice on all.
fn not_alike(raw: &Pool, findings: &mut Findings) {
    let limits = servers(raw).filter_map(|server| server.raw.max_flows.as_ref()).map(Spanned::span);
    let slow_start = raw.slow_start.as_ref().map(Spanned::span);
    // One of a kind is enough to say why.
    for (key, span) in [("slow-start", slow_start), ("max-flows", limits.into_iter().next())] {
        let (Some(span), Some(written)) = (span, &raw.algorithm) else { continue };
        findings
            .error(codes::MAGLEV_ALIKE, span, format!("`{key}` cannot be used with maglev"))
            .label("each node would choose differently")
            .also(&written.span(), "the algorithm is chosen here")
            .help(
                "a Maglev table must be the same on every node, so only configured weights and up or down \
                 decide it",
            )
            .help("use algorithm = \"least-flows\", \"random-2\" or \"round-robin\"");
    }
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
    let servers = servers(&table.raw).count();
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

/// At most the servers that are no backups: a larger number would have the backups serve always.
fn servers_min(raw: &Pool, findings: &mut Findings) -> Result<Option<usize>, ()> {
    let primaries = servers(raw).filter(|server| !is_backup(server)).count();
    let most = i64::try_from(primaries).unwrap_or(i64::MAX).max(1);
    optional(raw.min_servers.as_ref(), |v| number("min-servers", v, 1..=most, findings))
}

/// As the file says, right or wrong.
pub(super) fn is_backup(server: &Table<Server>) -> bool {
    server.raw.backup.as_ref().is_some_and(|backup| *backup.get_ref())
}

fn servers(raw: &Pool) -> impl Iterator<Item = &Table<Server>> {
    raw.server.iter().flat_map(Spanned::get_ref)
}
