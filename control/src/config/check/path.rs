//! Checks by the service's own path: `via` and `probe-source` of `[health.NAME]`, and the services that they are for.

use std::net::IpAddr;

use toml::Spanned;

use super::super::model::{CheckConfig, Mode, Via};
use super::super::raw::{File, Health};
use super::super::source::Span;
use super::super::values::{choice, quoted};
use super::service::family;
use super::{Findings, codes, optional, pool, service};
use ringlead_wire::Protocol;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Direct,
    ServicePath,
}

const WORDS: [(&str, Word); 2] = [("direct", Word::Direct), ("service-path", Word::ServicePath)];

/// `None` where something was wrong, which was reported.
pub(super) fn via(raw: &Health, findings: &mut Findings) -> Option<Via> {
    let word = optional(raw.via.as_ref(), |v| choice("via", v, &WORDS, &[], findings));
    let source = optional(raw.probe_source.as_ref(), |v| address(v, findings));
    match (word.ok()?, source.ok()?) {
        (Some(Word::ServicePath), source) => Some(Via::ServicePath { source }),
        (None | Some(Word::Direct), None) => Some(Via::Direct),
        (None | Some(Word::Direct), Some(_)) => {
            let span = raw.probe_source.as_ref().map_or(0..0, Spanned::span);
            findings
                .error(codes::CHECK_KEY, span, "direct checks have no `probe-source`")
                .help("the kernel chooses their source; or write via = \"service-path\"");
            None
        }
    }
}

/// An address that one host can have.
fn address(value: &Spanned<String>, findings: &mut Findings) -> Option<IpAddr> {
    let one_host = |ip: &IpAddr| !(ip.is_unspecified() || ip.is_multicast() || ip.is_loopback());
    let read = value.get_ref().parse().ok().filter(one_host);
    if read.is_none() {
        let message = format!("{} is no address of a host", quoted(value.get_ref()));
        findings.error(codes::FORMAT, value.span(), message).help("write one of this node: \"10.0.0.1\"");
    }
    read
}

/// The services of the pools that are checked so.
pub(super) fn together(
    file: &File,
    checks: &[Option<CheckConfig>],
    services: &[service::Checked],
    pools: &[pool::Checked],
    findings: &mut Findings,
) {
    for (index, pool) in pools.iter().enumerate() {
        let Some(health) = pool.model.as_ref().and_then(|model| model.health) else { continue };
        let (Some(Some(check)), Some(table)) = (checks.get(health), file.checks.get(health)) else {
            continue;
        };
        let Via::ServicePath { source } = check.via else { continue };
        let span = table.table.raw.via.as_ref().map_or(0..0, Spanned::span);
        for service in services.iter().filter(|service| service.pools().any(|used| used == index)) {
            if is_direct(service, check, &span, findings) {
                has_port(service, check, &span, findings);
                has_source(service, pool, source, &span, findings);
            }
        }
    }
}

/// Whether its servers answer clients themselves.
fn is_direct(service: &service::Checked, check: &CheckConfig, span: &Span, findings: &mut Findings) -> bool {
    let Some((mode, at)) = &service.mode else { return false };
    if mode.answers_directly() && !service.nodes {
        return true;
    }
    let what = match mode {
        _ if service.nodes => "layer l7".to_owned(),
        Mode::Nat | Mode::Snat { .. } | Mode::Dsr | Mode::Tunnel { .. } => format!("mode {}", mode.name()),
    };
    let message =
        format!("[health.{}] goes by the path of service `{}`, of {what}", check.name, service.name);
    findings
        .error(codes::PATH_MODE, span.clone(), message)
        .also(at, "the service's mode is chosen here")
        .help("a direct check says the same there: take `via` out, or have another check for that pool");
    false
}

/// A TCP port to connect to at each of the service's addresses.
fn has_port(service: &service::Checked, check: &CheckConfig, span: &Span, findings: &mut Findings) {
    let no_port = |protocol, port| port == 0 || protocol == Protocol::Udp;
    let without = service.listen.iter().find(|(listen, _)| no_port(listen.protocol, listen.port));
    if let (None, Some((listen, at))) = (check.port, without) {
        let message = format!("which TCP port should [health.{}] check at {listen}?", check.name);
        findings
            .error(codes::CHECK_PORT, span.clone(), message)
            .also(at, format!("service `{}` listens on it", service.name))
            .help("set `port` in the health check");
    }
}

fn has_source(
    service: &service::Checked,
    pool: &pool::Checked,
    source: Option<IpAddr>,
    span: &Span,
    findings: &mut Findings,
) {
    let Some(server) = pool.addresses.first() else { return };
    let v4 = source.unwrap_or(server.address.ip()).is_ipv4();
    let Some((listen, at)) = service.listen.iter().find(|(listen, _)| listen.ip.is_v4() != v4) else {
        return;
    };
    let whose = if source.is_some() { "`probe-source`" } else { "the address towards the servers" };
    let message = format!(
        "service `{}` listens on {}, {whose} is {}",
        service.name,
        family(listen.ip.is_v4()),
        family(v4)
    );
    let entry = findings.error(codes::PATH_SOURCE, span.clone(), message);
    entry.also(at, format!("this is {}", family(listen.ip.is_v4())));
    entry.help("have a service, a pool and a check a family, with `probe-source` of the service's");
}
