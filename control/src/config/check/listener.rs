//! `metrics` and `report` of `[observe]`: where this node itself listens over HTTP.

use std::net::{IpAddr, SocketAddr};

use ringlead_wire::Protocol;
use toml::Spanned;

use super::super::model::ReportsConfig;
use super::super::raw::{Observe, Table};
use super::super::values::{path, quoted};
use super::{Findings, codes, optional, required, service};

/// `PATH_MAX` less its NUL.
const PATH_BYTES_MAX: usize = 4_095;

/// Where metrics are served, and where reports are taken; `Err` where something was wrong, which was reported.
pub(super) type Listeners = Result<(Option<SocketAddr>, Option<ReportsConfig>), ()>;

pub(super) fn check(
    table: &Table<Observe>,
    services: &[service::Checked],
    findings: &mut Findings,
) -> Listeners {
    let raw = &table.raw;
    let metrics = optional(raw.metrics.as_ref(), |v| metrics(v, services, findings));
    let reports = reports(table, services, findings);
    Ok((metrics?, reports?))
}

/// A place to listen at that no service has.
fn metrics(
    value: &Spanned<String>,
    services: &[service::Checked],
    findings: &mut Findings,
) -> Option<SocketAddr> {
    let at = place(value, "127.0.0.1:9090", findings)?;
    let Some(service) = on_service(at, services) else { return Some(at) };
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

/// Another place of the same kind, and who may report there.
fn reports(
    table: &Table<Observe>,
    services: &[service::Checked],
    findings: &mut Findings,
) -> Result<Option<ReportsConfig>, ()> {
    let raw = &table.raw;
    let tokens = optional(raw.report_token_file.as_ref(), |v| {
        path("report-token-file", v, v.get_ref(), PATH_BYTES_MAX, findings)
    });
    let Some(value) = &raw.report else {
        let Some(tokens) = &raw.report_token_file else { return Ok(None) };
        if table.lacks("report") {
            findings
                .error(codes::MISSING, tokens.span(), "tokens of reports, and no `report` to take them at")
                .help("add, for example, report = \"127.0.0.1:9091\"");
        }
        return Err(());
    };
    let written = required(
        table,
        "report-token-file",
        &raw.report_token_file,
        "\"/etc/ringlead/report-tokens\"",
        findings,
    );
    let at =
        place(value, "127.0.0.1:9091", findings).filter(|at| is_free(*at, value, raw, services, findings));
    let tokens = tokens?;
    match (at, tokens, written) {
        (Some(at), Some(tokens), Some(_)) => Ok(Some(ReportsConfig { at, tokens })),
        _ => Err(()),
    }
}

/// Neither a service's nor the metrics'. Warns of one that everybody reaches.
fn is_free(
    at: SocketAddr,
    value: &Spanned<String>,
    raw: &Observe,
    services: &[service::Checked],
    findings: &mut Findings,
) -> bool {
    if let Some(service) = on_service(at, services) {
        findings
            .error(
                codes::REPORTS_ELSEWHERE,
                value.span(),
                format!("a service listens where reports would come: {at}"),
            )
            .also(service, "what comes here is the service's")
            .help("choose another port, or an address that no service listens on");
        return false;
    }
    let metrics =
        raw.metrics.as_ref().and_then(|v| Some((v.span(), v.get_ref().parse::<SocketAddr>().ok()?)));
    if let Some((span, metrics)) = metrics
        && metrics.port() == at.port()
        && (covers(at, metrics.ip()) || covers(metrics, at.ip()))
    {
        findings
            .error(codes::REPORTS_ELSEWHERE, value.span(), format!("the metrics are served where reports would come: {at}"))
            .also(&span, "whoever may connect is answered here")
            .help("choose another port: a firewall can then tell who reads from who reports, and neither crowds the other out");
        return false;
    }
    if at.ip().is_unspecified() {
        findings
            .warning(
                codes::REPORTS_OPEN,
                value.span(),
                format!("reports are taken on every address of this node, and their tokens pass unencrypted: {at}"),
            )
            .help("write a management address of this node, or a loopback address behind a proxy that speaks TLS");
    }
    true
}

fn place(value: &Spanned<String>, example: &str, findings: &mut Findings) -> Option<SocketAddr> {
    let written = value.get_ref();
    let usable = |at: &SocketAddr| at.port() != 0 && !at.ip().is_multicast();
    let at = written.parse::<SocketAddr>().ok().filter(usable);
    if at.is_none() {
        let port = example.rsplit(':').next().unwrap_or_default();
        findings
            .error(codes::FORMAT, value.span(), format!("{} is no address to listen at", quoted(written)))
            .help(format!(
                "write \"{example}\" or \"[::1]:{port}\"; \"0.0.0.0:{port}\" is every IPv4 address of this node"
            ));
    }
    at
}

/// Where a service listens that has this place.
fn on_service(at: SocketAddr, services: &[service::Checked]) -> Option<&super::super::source::Span> {
    let tcp =
        services.iter().flat_map(|service| &service.listen).filter(|(l, _)| l.protocol == Protocol::Tcp);
    let met = |port: u16| port == 0 || port == at.port();
    let mut taken = tcp.filter(|(listen, _)| met(listen.port) && covers(at, listen.ip.into()));
    taken.next().map(|(_, span)| span)
}

/// Whether a listener there has what comes to that address.
fn covers(at: SocketAddr, ip: IpAddr) -> bool {
    ip == at.ip() || at.ip().is_unspecified() && (at.is_ipv6() || ip.is_ipv4())
}
