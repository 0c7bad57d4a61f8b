//! What sections have to say about each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ringlead_wire::{Endpoint, Ip, Protocol};
use toml::Spanned;

use super::super::model::Mode;
use super::super::raw::{File, Named, Service};
use super::super::source::Span;
use super::pool::{self, Address};
use super::service::{self, family};
use super::{Findings, codes, tunnel};

pub(super) fn check(
    file: &File,
    services: &[service::Checked],
    pools: &[pool::Checked],
    findings: &mut Findings,
) {
    for service in services {
        for pool in service.pools().filter_map(|p| pools.get(p)) {
            same_family(service, pool, findings);
            ports_agree(service, pool, findings);
        }
    }
    nodes_alone(file, services, findings);
    listen_once(services, findings);
    servers_are_not_services(services, pools, findings);
    unused(file, services, pools, findings);
    unused_tunnels(file, findings);
    unused_persistence(file, findings);
}

fn same_family(service: &service::Checked, pool: &pool::Checked, findings: &mut Findings) {
    // A tunnel's outer packet is of the server's family, whatever is inside; full NAT translates.
    if matches!(service.mode, Some((Mode::Tunnel { .. } | Mode::Snat { .. }, _))) {
        return;
    }
    let Some(server) = pool.addresses.first() else { return };
    let v4 = server.address.is_ipv4();
    if let Some((listen, span)) = service.listen.iter().find(|(listen, _)| listen.ip.is_v4() != v4) {
        findings
            .error(
                codes::FAMILY_SERVICE,
                span.clone(),
                format!(
                    "service `{}` listens on {}, the servers of pool `{}` are {}",
                    service.name,
                    family(!v4),
                    pool.name.get_ref().escape_debug(),
                    family(v4)
                ),
            )
            .label(format!("{} is {}", IpAddr::from(listen.ip), family(!v4)))
            .also(&server.span, format!("a server of pool `{}`", pool.name.get_ref().escape_debug()))
            .help("write one service and one pool a family");
    }
}

fn ports_agree(service: &service::Checked, pool: &pool::Checked, findings: &mut Findings) {
    match &service.mode {
        Some((Mode::Dsr | Mode::Tunnel { .. }, _)) => direct_ports(service, pool, findings),
        Some((Mode::Nat, span)) => nat_ports(service, span, pool, findings),
        // A reply is known by the address and port of ours that it comes to.
        Some((Mode::Snat { .. }, _)) | None => {}
    }
}

/// The server gets the client's packet as it is, so it must listen where the client connects.
fn direct_ports(service: &service::Checked, pool: &pool::Checked, findings: &mut Findings) {
    let what = match service.mode {
        Some((Mode::Tunnel { .. }, _)) => "a tunnel",
        _ => "DSR",
    };
    for (listen, span) in &service.listen {
        // A node has whatever port its services have; one of its own is only what a check connects to.
        let agrees = |port: u16| port == listen.port || port == 0 && service.nodes;
        let mut others = pool.addresses.iter().filter(|s| !agrees(s.address.port()));
        let Some(server) = others.next() else { continue };
        let entry = findings.error(
            codes::DSR_PORT,
            server.span.clone(),
            format!(
                "{what} cannot translate ports: server `{}` listens on {}, the service on {}",
                server.server,
                port(server.address.port()),
                port(listen.port)
            ),
        );
        entry.label("must be the service's port").also(span, "the service's port is set here");
        match others.count() {
            0 => {}
            more => {
                entry.help(format!("{more} more of the pool's servers have other ports, too"));
            }
        }
        entry.help(match listen.port {
            _ if service.nodes => "give nodes port 0, which is whatever port their services have",
            0 => "the client's port is kept: give the servers port 0, too",
            _ => "use mode = \"nat\" or \"snat\", or make the server listen on the service's port",
        });
        return;
    }
}

/// A reply is known by its server's address, port and protocol. On every port, that would be all that the server sends: its
/// own connections would be taken from the kernel, which routes them, and end here.
fn nat_ports(service: &service::Checked, span: &Span, pool: &pool::Checked, findings: &mut Findings) {
    let any_listen = service.listen.iter().find(|(listen, _)| listen.port == 0).map(|(_, span)| span);
    let any_server = pool.addresses.iter().find(|s| s.address.port() == 0).map(|s: &Address| &s.span);
    if let Some(any) = any_listen.or(any_server) {
        findings
            .error(codes::ANY_PORT, any.clone(), "port 0 (any) cannot be used with nat")
            .also(span, "the mode is chosen here")
            .help(
                "nat knows replies by the server's port; on every port it would take the server's own connections, too",
            )
            .help("write a port, or use mode = \"snat\", \"dsr\" or \"tunnel\"");
    }
}

/// Where each address, port and protocol was first seen.
type Taken<'s> = BTreeMap<(Ip, Protocol, u16), (&'s str, &'s Span)>;

/// This node would forward to itself.
fn nodes_alone(file: &File, services: &[service::Checked], findings: &mut Findings) {
    for (of_nodes, nodes) in services.iter().zip(&file.services).filter(|(service, _)| service.nodes) {
        let Some(reference) = &nodes.table.raw.nodes else { continue };
        let others = services.iter().zip(&file.services).filter(|(service, _)| !service.nodes);
        for (service, named) in others.filter(|(s, _)| s.pools().any(|pool| of_nodes.pool == Some(pool))) {
            let raw = &named.table.raw;
            let spans = [raw.pool.as_ref(), raw.on_no_server.as_ref()].into_iter().flatten();
            let names = |v: &&toml::Spanned<String>| v.get_ref().ends_with(reference.get_ref());
            let Some(span) = spans.filter(names).map(toml::Spanned::span).next() else { continue };
            let message = format!("service `{}` of layer l4 has a pool of nodes", service.name);
            findings
                .error(codes::NODES_POOL, span, message)
                .also(&reference.span(), "these are nodes, and one of them is this one")
                .help("give it a pool of servers");
        }
    }
}

/// Each address, port and protocol belongs to one service; port 0 takes those that no other service has.
fn listen_once(services: &[service::Checked], findings: &mut Findings) {
    let mut taken = Taken::new();
    for service in services {
        for (listen, span) in &service.listen {
            let Some((other, first)) = clash(&taken, &service.name, listen) else {
                taken.insert((listen.ip, listen.protocol, listen.port), (&service.name, span));
                continue;
            };
            let message = if other == service.name {
                format!("service `{other}` listens on {listen} twice")
            } else {
                format!("services `{other}` and `{}` both listen on {listen}", service.name)
            };
            let entry = findings.error(codes::LISTEN_TWICE, span.clone(), message);
            entry.label("taken").also(first, format!("by service `{other}`"));
            entry.help("a packet's address, port and protocol decide its service; port 0 means every port that no other has");
        }
    }
}

/// Who listens there already. Port 0 and another port are a clash only within a service: of two, the exact port wins.
fn clash<'s>(taken: &Taken<'s>, service: &str, listen: &Endpoint) -> Option<(&'s str, &'s Span)> {
    let key = |port| (listen.ip, listen.protocol, port);
    let own = |first: &&(&'s str, &'s Span)| first.0 == service;
    let covered = || {
        if listen.port == 0 {
            return taken.range(key(0)..=key(u16::MAX)).map(|(_, first)| first).find(own);
        }
        taken.get(&key(0)).filter(own)
    };
    taken.get(&key(listen.port)).or_else(covered).copied()
}

/// A packet for such a server would come back to this node.
fn servers_are_not_services(services: &[service::Checked], pools: &[pool::Checked], findings: &mut Findings) {
    let mut ours: BTreeMap<Ip, (&str, &Span)> = BTreeMap::new();
    for service in services {
        for (listen, span) in &service.listen {
            ours.entry(listen.ip).or_insert((&service.name, span));
        }
    }
    for server in pools.iter().flat_map(|p| &p.addresses) {
        if let Some((service, span)) = ours.get(&Ip::from(server.address.ip())) {
            findings
                .error(
                    codes::SERVER_IS_SERVICE,
                    server.span.clone(),
                    format!("server `{}` has the address of service `{service}`", server.server),
                )
                .also(span, "this node answers for it")
                .help("write the server's own address");
        }
    }
}

/// Silent where a reference is wrong: that has its own message, and may be the one that is missed here.
fn unused(file: &File, services: &[service::Checked], pools: &[pool::Checked], findings: &mut Findings) {
    let found = |(service, named): (&service::Checked, &Named<Service>)| {
        let sorry = || service.sorry.is_some() || !service::names_sorry(&named.table.raw);
        service.local || service.pool.is_some() && sorry()
    };
    if services.iter().zip(&file.services).all(found) {
        let used: BTreeSet<usize> = services.iter().flat_map(service::Checked::pools).collect();
        for (_, pool) in pools.iter().enumerate().filter(|(index, _)| !used.contains(index)) {
            let message = format!("no service uses [pool.{}]", pool.name.get_ref().escape_debug());
            findings.warning(codes::UNUSED, pool.name.span(), message);
        }
    }
    let names: BTreeSet<&str> = file.checks.iter().map(|c| c.name.get_ref().as_str()).collect();
    let used: BTreeSet<&str> = file
        .pools
        .iter()
        .flat_map(|p| [p.table.raw.health.as_ref(), p.table.raw.agent.as_ref()])
        .flatten()
        .map(|h| h.get_ref().as_str())
        .collect();
    if used.is_subset(&names) {
        for check in file.checks.iter().filter(|c| !used.contains(c.name.get_ref().as_str())) {
            let message = format!("no pool uses [health.{}]", check.name.get_ref().escape_debug());
            findings.warning(codes::UNUSED, check.name.span(), message);
        }
    }
}

fn unused_tunnels(file: &File, findings: &mut Findings) {
    let names = file.tunnels.iter().map(|t| &t.name);
    let used = file.services.iter().filter_map(|s| s.table.raw.tunnel.as_ref());
    unused_tables("tunnel", names, used, |name| tunnel::built_in().any(|t| t.name == name), findings);
}

fn unused_persistence(file: &File, findings: &mut Findings) {
    let names = file.persistence.iter().map(|t| &t.name);
    let used = file.services.iter().filter_map(|s| s.table.raw.persistence.as_ref());
    unused_tables("persistence", names, used, |_| false, findings);
}

/// Tables of a kind that services name. `elsewhere`: what needs no table.
fn unused_tables<'f>(
    kind: &str,
    names: impl Iterator<Item = &'f Spanned<String>> + Clone,
    used: impl Iterator<Item = &'f Spanned<String>>,
    elsewhere: impl Fn(&str) -> bool,
    findings: &mut Findings,
) {
    let used: BTreeSet<&str> = used.map(|name| name.get_ref().as_str()).collect();
    let known: BTreeSet<&str> = names.clone().map(|name| name.get_ref().as_str()).collect();
    if used.iter().any(|name| !known.contains(name) && !elsewhere(name)) {
        return;
    }
    // A table with a name that needs none has its own message.
    let unused =
        |name: &&Spanned<String>| !used.contains(name.get_ref().as_str()) && !elsewhere(name.get_ref());
    for name in names.filter(unused) {
        let message = format!("no service uses [{kind}.{}]", name.get_ref().escape_debug());
        findings.warning(codes::UNUSED, name.span(), message);
    }
}

/// A port in words.
fn port(port: u16) -> String {
    if port == 0 { "every port (0)".to_owned() } else { port.to_string() }
}
