//! `[observe]`.

use std::net::{IpAddr, SocketAddr};

use ringlead_wire::Protocol;
use toml::Spanned;

use super::super::model::ObserveConfig;
use super::super::raw::{Observe, Table};
use super::super::values::quoted;
use super::{Findings, codes, optional, service};

pub(super) fn check(
    table: Option<&Table<Observe>>,
    services: &[service::Checked],
    findings: &mut Findings,
) -> Option<ObserveConfig> {
    let Some(table) = table else { return Some(ObserveConfig::default()) };
    let metrics = optional(table.raw.metrics.as_ref(), |v| metrics(v, services, findings));
    Some(ObserveConfig { metrics: metrics.ok()? })
}

/// A place to listen at that no service has.
fn metrics(
    value: &Spanned<String>,
    services: &[service::Checked],
    findings: &mut Findings,
) -> Option<SocketAddr> {
    let written = value.get_ref();
    let usable = |at: &SocketAddr| at.port() != 0 && !at.ip().is_multicast();
    let Some(at) = written.parse::<SocketAddr>().ok().filter(usable) else {
        findings
            .error(codes::FORMAT, value.span(), format!("{} is no address to listen at", quoted(written)))
            .help("write \"127.0.0.1:9090\" or \"[::1]:9090\"; \"0.0.0.0:9090\" is every IPv4 address of this node");
        return None;
    };
    let tcp =
        services.iter().flat_map(|service| &service.listen).filter(|(l, _)| l.protocol == Protocol::Tcp);
    let met = |ip: IpAddr, port: u16| {
        (port == 0 || port == at.port())
            && (ip == at.ip() || at.ip().is_unspecified() && (at.is_ipv6() || ip.is_ipv4()))
    };
    let mut taken = tcp.filter(|(listen, _)| met(listen.ip.into(), listen.port));
    let Some((_, service)) = taken.next() else { return Some(at) };
    findings
        .error(
            codes::METRICS_ON_SERVICE,
            value.span(),
            format!("a service listens where the metrics would: {at}"),
        )
        .also(service, "what comes here is the service's")
        .help("choose another port, or an address that no service listens on");
    None
}
