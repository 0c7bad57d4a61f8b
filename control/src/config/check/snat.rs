//! `[snat.NAME]`: addresses and ports that servers see in place of clients'.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ringlead_flow::snat::SnatPool;
use ringlead_wire::Ip;
use toml::Spanned;

use super::super::model::{Mode, SnatConfig};
use super::super::raw::{File, Named, OneOrMany, Snat};
use super::super::source::Span;
use super::super::values::quoted;
use super::{Findings, codes, optional, pool, required, service, values};

/// Source ports where the file names none: all but the well-known ones.
const PORTS: RangeInclusive<u16> = 1024..=65_535;

/// Of all pools: each address takes 64 KiB, and the node has it.
const ADDRESSES_SUM_MAX: usize = SnatPool::ADDRESSES_MAX;

/// A pool of source addresses with what later checks point at.
pub(super) struct Checked {
    /// `None` where something was wrong.
    pub(super) model: Option<SnatConfig>,
    /// Where the addresses are written.
    addresses: Vec<(Ip, Span)>,
}

/// One entry a table.
pub(super) fn check(file: &File, workers: Option<usize>, findings: &mut Findings) -> Vec<Checked> {
    let all: Vec<Checked> = file.snats.iter().map(|named| one(named, workers, findings)).collect();
    if let Some((_, span)) = all.iter().flat_map(|checked| &checked.addresses).nth(ADDRESSES_SUM_MAX) {
        let message = format!("more than {ADDRESSES_SUM_MAX} addresses in all pools of source addresses");
        findings.error(codes::TOO_MANY, span.clone(), message);
        return all;
    }
    let mut seen: BTreeMap<Ip, &Span> = BTreeMap::new();
    for (ip, span) in all.iter().flat_map(|checked| &checked.addresses) {
        if let Some(first) = seen.insert(*ip, span) {
            let message = format!("{ip} is listed twice");
            findings.error(codes::SNAT_ADDRESS_TWICE, span.clone(), message).also(first, "first here");
        }
    }
    all
}

fn one(named: &Named<Snat>, workers: Option<usize>, findings: &mut Findings) -> Checked {
    let raw = &named.table.raw;
    let named_well = values::name("snat", &named.name, findings);
    let list = required(&named.table, "addresses", &raw.addresses, "[\"10.0.0.200-10.0.0.207\"]", findings);
    let addresses = list.and_then(|list| addresses(list, findings));
    let ports = optional(raw.ports.as_ref(), |v| ports(v, workers.unwrap_or(1), findings));
    let build = || {
        named_well.then_some(())?;
        Some(SnatConfig {
            name: named.name.get_ref().clone(),
            addresses: addresses.as_ref()?.iter().map(|(ip, _)| *ip).collect(),
            ports: ports.clone().ok()?.unwrap_or(PORTS),
        })
    };
    Checked { model: build(), addresses: addresses.unwrap_or_default() }
}

/// Every address of the list, each with the text that says so.
fn addresses(value: &Spanned<OneOrMany<String>>, findings: &mut Findings) -> Option<Vec<(Ip, Span)>> {
    let one;
    let list = match value.get_ref() {
        OneOrMany::One(text) => {
            one = [Spanned::new(value.span(), text.clone())];
            &one[..]
        }
        OneOrMany::Many(list) => list,
    };
    let mut all = Vec::new();
    let mut well = true;
    for text in list {
        match range(text.get_ref()) {
            Some((first, count)) if all.len() + count <= SnatPool::ADDRESSES_MAX => {
                all.extend((0..count).map(|n| (after(first, n), text.span())));
            }
            Some(_) => {
                let message = format!("more than {} addresses in one pool", SnatPool::ADDRESSES_MAX);
                findings.error(codes::TOO_MANY, text.span(), message);
                well = false;
            }
            None => {
                let message = format!("{} is no address and no range of addresses", quoted(text.get_ref()));
                let entry = findings.error(codes::FORMAT, text.span(), message);
                entry.help("write \"10.0.0.200\" or \"10.0.0.200-10.0.0.207\"");
                well = false;
            }
        }
    }
    if list.is_empty() {
        findings.error(codes::MISSING, value.span(), "`addresses` is empty");
        well = false;
    }
    well.then_some(all)
}

/// `ADDRESS` or `FIRST-LAST`: the first and how many.
fn range(text: &str) -> Option<(Ip, usize)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let [first, last] = [first, last].map(|ip| ip.trim().parse::<IpAddr>().ok().map(Ip::from));
    let (first, last) = first.zip(last)?;
    let usable = |ip: Ip| {
        let ip = IpAddr::from(ip);
        !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast()
    };
    if first.is_v4() != last.is_v4() || !usable(first) || !usable(last) {
        return None;
    }
    let [from, to] = [first, last].map(|ip| u128::from_be_bytes(ip.octets()));
    let count = to.checked_sub(from)?.checked_add(1)?;
    Some((first, usize::try_from(count).unwrap_or(usize::MAX).min(usize::MAX / 2)))
}

fn after(first: Ip, n: usize) -> Ip {
    Ip::from_v6((u128::from_be_bytes(first.octets()) + n as u128).to_be_bytes())
}

/// `FIRST-LAST`, with a share of every address for each worker.
fn ports(text: &Spanned<String>, workers: usize, findings: &mut Findings) -> Option<RangeInclusive<u16>> {
    let written = text.get_ref();
    let read = written.split_once('-').and_then(|(first, last)| {
        let first = first.trim().parse::<u16>().ok().filter(|port| *port > 0)?;
        let last = last.trim().parse::<u16>().ok().filter(|port| *port >= first)?;
        Some(first..=last)
    });
    let Some(read) = read else {
        findings
            .error(codes::FORMAT, text.span(), format!("{} is no range of ports", quoted(written)))
            .help("write it as \"1024-65535\"");
        return None;
    };
    let probe = std::sync::Arc::new(ringlead_flow::snat::PortSpace::new(Ip::from_v4([192, 0, 2, 1])));
    if let Err(error) = SnatPool::new(vec![probe], read.clone(), workers) {
        findings.error(codes::SNAT_PORTS, text.span(), error.to_string());
        return None;
    }
    Some(read)
}

/// What pools of source addresses, services and servers have to say about each other.
pub(super) fn together(
    file: &File,
    snats: &[Checked],
    services: &[service::Checked],
    pools: &[pool::Checked],
    findings: &mut Findings,
) {
    let ours: BTreeMap<Ip, &Span> =
        snats.iter().flat_map(|s| &s.addresses).map(|(ip, span)| (*ip, span)).collect();
    for service in services {
        for (listen, span) in &service.listen {
            if let Some(snat) = ours.get(&listen.ip) {
                let message = format!("service `{}` listens on a source address", service.name);
                findings
                    .error(codes::SNAT_IS_SERVICE, span.clone(), message)
                    .also(snat, "replies of servers come to it")
                    .help("give the pool of source addresses one of its own");
            }
        }
        if let Some((Mode::Snat { snat }, mode)) = &service.mode {
            has_family(service, mode, snats.get(*snat), pools, findings);
        }
    }
    for server in pools.iter().flat_map(|p| &p.addresses) {
        if let Some(snat) = ours.get(&Ip::from(server.address.ip())) {
            let message = format!("server `{}` has a source address", server.server);
            findings
                .error(codes::SERVER_IS_SERVICE, server.span.clone(), message)
                .also(snat, "this node answers for it");
        }
    }
    enough(file, snats, services, pools, findings);
    unused(file, services, findings);
}

/// Where all services are snat, more flows than there are source ports never come about. Other modes' flows need none, so that
/// beside them nothing can be said.
fn enough(
    file: &File,
    snats: &[Checked],
    services: &[service::Checked],
    pools: &[pool::Checked],
    findings: &mut Findings,
) {
    let Some(wanted) = file.dataplane.as_ref().and_then(|table| table.raw.max_flows.as_ref()) else { return };
    // A port of an address is one for each transport, and servers' family decides which addresses are used.
    let mut used = BTreeSet::new();
    for service in services.iter().filter(|service| !service.local) {
        let Some((Mode::Snat { snat }, _)) = service.mode else { return };
        let servers = service.pools().filter_map(|p| pools.get(p)).filter_map(|pool| pool.addresses.first());
        for v4 in servers.map(|server| server.address.is_ipv4()) {
            used.extend(service.listen.iter().map(|(listen, _)| (snat, v4, listen.protocol)));
        }
    }
    let mut ports = 0;
    for (snat, v4, _) in &used {
        let Some(model) = snats.get(*snat).and_then(|checked| checked.model.as_ref()) else { return };
        ports += model.addresses.iter().filter(|ip| ip.is_v4() == *v4).count() * model.ports.len();
    }
    if ports == 0 || i64::try_from(ports).is_ok_and(|ports| ports >= *wanted.get_ref()) {
        return;
    }
    let message = format!("max-flows = {}, and source ports for {ports} flows", wanted.get_ref());
    let entry = findings.warning(codes::SNAT_SMALL, wanted.span(), message);
    let pool = used.first().and_then(|(snat, ..)| snats.get(*snat)?.addresses.first());
    if let Some((_, addresses)) = pool {
        entry.also(addresses, "each address has one flow a port and transport");
    }
    entry.help("add addresses, or lower max-flows: the rest of the table is never used");
}

/// The pool must have addresses that its servers can answer to.
fn has_family(
    service: &service::Checked,
    mode: &Span,
    snat: Option<&Checked>,
    pools: &[pool::Checked],
    findings: &mut Findings,
) {
    let Some(snat) = snat.filter(|snat| !snat.addresses.is_empty()) else { return };
    // A pool's servers are of one family: the first one tells.
    let servers = service.pools().filter_map(|p| pools.get(p)).filter_map(|pool| pool.addresses.first());
    for server in servers {
        let v4 = server.address.is_ipv4();
        if snat.addresses.iter().any(|(ip, _)| ip.is_v4() == v4) {
            continue;
        }
        let family = service::family(v4);
        let message =
            format!("service `{}` has {family} servers and no {family} source address", service.name);
        let entry = findings.error(codes::SNAT_FAMILY, mode.clone(), message);
        entry.also(&server.span, format!("this is {family}"));
        if let Some((_, addresses)) = snat.addresses.first() {
            entry.also(addresses, format!("add {family} addresses here"));
        }
    }
}

fn unused(file: &File, services: &[service::Checked], findings: &mut Findings) {
    let used = |index: usize| {
        services.iter().any(|s| matches!(s.mode, Some((Mode::Snat { snat }, _)) if snat == index))
    };
    // Where a mode could not be read, its service may be the one.
    if services.iter().any(|service| service.mode.is_none() && !service.local) {
        return;
    }
    for (_, snat) in file.snats.iter().enumerate().filter(|(index, _)| !used(*index)) {
        let message = format!("no service uses [snat.{}]", snat.name.get_ref().escape_debug());
        findings.warning(codes::UNUSED, snat.name.span(), message);
    }
}
