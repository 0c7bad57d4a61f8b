//! `passive` of `[health.NAME]`, beside what chooses servers: where a witness could be forged.

use std::collections::BTreeSet;

use ringlead_wire::Protocol;
use toml::Spanned;

use super::super::model::CheckConfig;
use super::super::raw::File;
use super::super::source::Span;
use super::{Findings, codes, pool, service};

/// Warns where the client's address alone chooses the server and only the client is seen: one forged address is one server's
/// failures, and the others' share does not show that all would suffer alike.
pub(super) fn together(
    file: &File,
    checks: &[Option<CheckConfig>],
    services: &[service::Checked],
    pools: &[pool::Checked],
    findings: &mut Findings,
) {
    let mut told = BTreeSet::new();
    for (service, table) in services.iter().zip(&file.services) {
        let tcp = service.listen.iter().any(|(listen, _)| listen.protocol == Protocol::Tcp);
        let Some((mode, at)) = service.mode.as_ref().filter(|(mode, _)| tcp && mode.answers_directly())
        else {
            continue;
        };
        for pool in service.pools() {
            let health = pools.get(pool).and_then(|pool| pool.model.as_ref()?.health);
            let Some((name, span)) = health.and_then(|health| witness(file, checks, health)) else {
                continue;
            };
            let hash = file.pools.get(pool).and_then(|pool| by_source(pool.table.raw.hash.as_ref()));
            let sticky =
                table.table.raw.persistence.as_ref().map(|v| (v.span(), "clients come back to their server"));
            for (by, label) in [hash, sticky].into_iter().flatten() {
                // Services of one pool have one `hash`.
                if !told.insert((span.start, by.start)) {
                    continue;
                }
                let message = format!(
                    "one forged address can look like one server's fault: [health.{name}] believes what clients of mode {} show",
                    mode.name()
                );
                findings
                    .warning(codes::PASSIVE_BY_SOURCE, span.clone(), message)
                    .also(&by, label)
                    .also(at, "and servers' answers are not seen here")
                    .help("take `passive` out, or give that pool a check without it");
            }
        }
    }
}

/// The check's name, and where it has `passive`.
fn witness<'a>(file: &File, checks: &'a [Option<CheckConfig>], health: usize) -> Option<(&'a str, Span)> {
    let check = checks.get(health)?.as_ref().filter(|check| check.passive.is_some())?;
    let table = file.checks.get(health)?.table.raw.passive.as_ref()?;
    Some((&check.name, table.span.clone()))
}

/// A service has few ports, so that one of them beside the address changes little.
fn by_source(hash: Option<&Spanned<String>>) -> Option<(Span, &'static str)> {
    let hash = hash.filter(|hash| ["src", "src+dport"].contains(&hash.get_ref().as_str()))?;
    Some((hash.span(), "a client's address alone chooses its server"))
}
