//! What `[health.NAME]` asks, by its `type`.

use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Uri};
use rustls::pki_types::ServerName;
use toml::Spanned;

use super::super::raw::{Expect, Health, OneOrMany, Table};
use super::super::source::Span;
use super::super::values::{choice, path, quoted};
use super::{Findings, codes, optional, required};
use crate::health::{AgentProbe, DnsProbe, HttpProbe, Probe, TlsProbe, UdpProbe};

/// The longest text that is sent or looked for, in bytes.
const TEXT_MAX: usize = 1024;
const HEADERS_MAX: usize = 32;
const PATH_MAX: usize = 4096;
const TYPES_LATER: [&str; 1] = ["script"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Icmp,
    Tcp,
    Tls,
    Http,
    Https,
    Udp,
    Dns,
    Report,
    Agent,
}

/// Those that ask the server something.
const ACTIVE: &[Kind] =
    &[Kind::Icmp, Kind::Tcp, Kind::Tls, Kind::Http, Kind::Https, Kind::Udp, Kind::Dns, Kind::Agent];

/// Who is asked.
pub(super) enum Asked {
    /// The server.
    Server(Probe),
    /// Nobody: somebody reports.
    Nobody,
}

const KINDS: [(&str, Kind); 9] = [
    ("icmp", Kind::Icmp),
    ("tcp", Kind::Tcp),
    ("tls", Kind::Tls),
    ("http", Kind::Http),
    ("https", Kind::Https),
    ("udp", Kind::Udp),
    ("dns", Kind::Dns),
    ("agent", Kind::Agent),
    ("report", Kind::Report),
];

/// Those whose results take servers out.
const JUDGES: &[Kind] = &[Kind::Icmp, Kind::Tcp, Kind::Tls, Kind::Http, Kind::Https, Kind::Udp, Kind::Dns];

/// Those that make a TCP connection for their result.
const CONNECTING: &[Kind] = &[Kind::Tcp, Kind::Tls, Kind::Http, Kind::Https];

/// Which types have which keys; those of `expect` too.
const KEYS: [(&str, &[Kind]); 26] = [
    ("interval", ACTIVE),
    ("flaps", JUDGES),
    ("flap-window", JUDGES),
    ("flap-hold", JUDGES),
    ("flap-hold-max", JUDGES),
    ("interval-changing", JUDGES),
    ("timeout", ACTIVE),
    ("rise", JUDGES),
    ("fall", JUDGES),
    ("passive", JUDGES),
    ("unreported", &[Kind::Report]),
    ("port", &[Kind::Tcp, Kind::Tls, Kind::Http, Kind::Https, Kind::Udp, Kind::Dns, Kind::Agent]),
    ("request", &[Kind::Http, Kind::Https]),
    ("host", &[Kind::Http, Kind::Https]),
    ("headers", &[Kind::Http, Kind::Https]),
    ("status", &[Kind::Http, Kind::Https]),
    ("body-contains", &[Kind::Http, Kind::Https]),
    ("ca", &[Kind::Tls, Kind::Https]),
    ("sni", &[Kind::Tls, Kind::Https]),
    ("send", &[Kind::Udp, Kind::Agent]),
    ("reply", &[Kind::Udp]),
    ("query", &[Kind::Dns]),
    ("rcode", &[Kind::Dns]),
    ("answer", &[Kind::Dns]),
    ("via", CONNECTING),
    ("probe-source", CONNECTING),
];

/// `None` where something was wrong, which was reported.
pub(super) fn check(table: &Table<Health>, findings: &mut Findings) -> Option<Asked> {
    let raw = &table.raw;
    let kind = required(table, "type", &raw.r#type, "\"tcp\"", findings)?;
    let kind = choice("type", kind, &KINDS, &TYPES_LATER, findings)?;
    let fits = only_its_own(raw, kind, findings);
    let probe = match kind {
        Kind::Icmp => Some(Probe::Icmp),
        Kind::Tcp => Some(Probe::Tcp),
        Kind::Tls => tls(raw, findings).map(Probe::Tls),
        Kind::Http => http(raw, None, findings).map(Probe::Http),
        Kind::Https => tls(raw, findings).and_then(|tls| http(raw, Some(tls), findings)).map(Probe::Http),
        Kind::Udp => udp(raw, findings).map(Probe::Udp),
        Kind::Dns => dns(table, findings).map(Probe::Dns),
        Kind::Report => return fits.then_some(Asked::Nobody),
        Kind::Agent => agent(raw, findings).map(Probe::Agent),
    };
    let is_whole = table.lacks("expect");
    (fits && is_whole).then_some(Asked::Server(probe?))
}

/// Reports keys that checks of this type do not have.
fn only_its_own(raw: &Health, kind: Kind, findings: &mut Findings) -> bool {
    let mut fits = true;
    for (key, span) in keys(raw) {
        let Some((_, kinds)) = KEYS.iter().find(|(name, _)| *name == key) else { continue };
        if kinds.contains(&kind) {
            continue;
        }
        let names: Vec<_> =
            KINDS.iter().filter(|(_, k)| kinds.contains(k)).map(|(name, _)| format!("`{name}`")).collect();
        let this = KINDS.iter().find(|(_, k)| *k == kind).map_or("", |(name, _)| name);
        findings
            .error(codes::CHECK_KEY, span, format!("checks of type {this} have no `{key}`"))
            .help(format!("types that have it: {}", names.join(", ")));
        fits = false;
    }
    fits
}

/// The keys that are there and not of every type.
fn keys(raw: &Health) -> Vec<(&'static str, Span)> {
    let mut keys = Vec::new();
    let mut note = |key, span: Option<Span>| keys.extend(span.map(|span| (key, span)));
    note("interval", raw.interval.as_ref().map(Spanned::span));
    note("interval-changing", raw.interval_changing.as_ref().map(Spanned::span));
    note("timeout", raw.timeout.as_ref().map(Spanned::span));
    note("flaps", raw.flaps.as_ref().map(Spanned::span));
    note("flap-window", raw.flap_window.as_ref().map(Spanned::span));
    note("flap-hold", raw.flap_hold.as_ref().map(Spanned::span));
    note("flap-hold-max", raw.flap_hold_max.as_ref().map(Spanned::span));
    note("rise", raw.rise.as_ref().map(Spanned::span));
    note("fall", raw.fall.as_ref().map(Spanned::span));
    note("passive", raw.passive.as_ref().map(|passive| passive.span.clone()));
    note("unreported", raw.unreported.as_ref().map(Spanned::span));
    note("port", raw.port.as_ref().map(Spanned::span));
    note("request", raw.request.as_ref().map(Spanned::span));
    note("host", raw.host.as_ref().map(Spanned::span));
    note("headers", raw.headers.as_ref().map(Spanned::span));
    note("ca", raw.ca.as_ref().map(Spanned::span));
    note("sni", raw.sni.as_ref().map(Spanned::span));
    note("send", raw.send.as_ref().map(Spanned::span));
    note("query", raw.query.as_ref().map(Spanned::span));
    note("via", raw.via.as_ref().map(Spanned::span));
    note("probe-source", raw.probe_source.as_ref().map(Spanned::span));
    if let Some(expect) = &raw.expect {
        let expect = &expect.raw;
        note("status", expect.status.as_ref().map(Spanned::span));
        note("body-contains", expect.body_contains.as_ref().map(Spanned::span));
        note("reply", expect.reply.as_ref().map(Spanned::span));
        note("rcode", expect.rcode.as_ref().map(Spanned::span));
        note("answer", expect.answer.as_ref().map(Spanned::span));
    }
    keys
}

fn expect(raw: &Health) -> Option<&Expect> {
    raw.expect.as_ref().map(|table| &table.raw)
}

fn tls(raw: &Health, findings: &mut Findings) -> Option<TlsProbe> {
    let ca = optional(raw.ca.as_ref(), |v| path("ca", v, v.get_ref(), PATH_MAX, findings));
    let sni = optional(raw.sni.as_ref(), |v| match ServerName::try_from(v.get_ref().as_str()) {
        Ok(ServerName::DnsName(_)) => Some(v.get_ref().clone()),
        _ => wrong(v.span(), format!("{} is no host name", quoted(v.get_ref())), findings),
    });
    Some(TlsProbe { ca: ca.ok()?, sni: sni.ok()? })
}

fn http(raw: &Health, tls: Option<TlsProbe>, findings: &mut Findings) -> Option<HttpProbe> {
    let request = optional(raw.request.as_ref(), |v| request(v, findings));
    let host = optional(raw.host.as_ref(), |v| match v.get_ref().parse::<hyper::http::uri::Authority>() {
        Ok(_) if !v.get_ref().contains('@') => Some(v.get_ref().clone()),
        _ => wrong(v.span(), format!("{} is no host", quoted(v.get_ref())), findings),
    });
    let headers = optional(raw.headers.as_ref(), |v| headers(v, findings));
    let expect = expect(raw);
    let status = optional(expect.and_then(|e| e.status.as_ref()), |v| statuses(v, findings));
    let body =
        optional(expect.and_then(|e| e.body_contains.as_ref()), |v| text("body-contains", v, findings));
    let default = HttpProbe::default();
    let (method, path) = request.ok()?.unwrap_or((default.method, default.path));
    Some(HttpProbe {
        tls,
        method,
        path,
        host: host.ok()?,
        headers: headers.ok()?.unwrap_or(default.headers),
        statuses: status.ok()?.unwrap_or(default.statuses),
        body_contains: body.ok()?,
    })
}

/// `METHOD /PATH`.
fn request(value: &Spanned<String>, findings: &mut Findings) -> Option<(String, String)> {
    let written = value.get_ref();
    let read = written.split_once(' ').and_then(|(method, target)| {
        let is_method = Method::from_bytes(method.as_bytes()).is_ok_and(|m| m != Method::CONNECT);
        let is_path = target.starts_with('/')
            && target.len() <= PATH_MAX
            && PathAndQuery::try_from(target).is_ok()
            && target.parse::<Uri>().is_ok();
        (is_method && is_path).then(|| (method.to_owned(), target.to_owned()))
    });
    if read.is_none() {
        let message = format!("{} is no request", quoted(written));
        findings.error(codes::FORMAT, value.span(), message).help("write \"GET /healthz\"");
    }
    read
}

/// Those that say who is asked and where messages end are the request's own.
const HEADERS_OWN: [&str; 5] = ["host", "connection", "content-length", "transfer-encoding", "upgrade"];

fn headers(value: &Spanned<OneOrMany<String>>, findings: &mut Findings) -> Option<Vec<(String, String)>> {
    let lines: Vec<(Span, &str)> = match value.get_ref() {
        OneOrMany::One(line) => vec![(value.span(), line.as_str())],
        OneOrMany::Many(lines) => lines.iter().map(|l| (l.span(), l.get_ref().as_str())).collect(),
    };
    if lines.len() > HEADERS_MAX {
        let message = format!("`headers` may have {HEADERS_MAX} lines at most");
        findings.error(codes::TOO_MANY, value.span(), message);
        return None;
    }
    let read: Vec<_> = lines.into_iter().map(|(span, line)| header(span, line, findings)).collect();
    read.into_iter().collect()
}

fn header(span: Span, line: &str, findings: &mut Findings) -> Option<(String, String)> {
    let read = line.split_once(':').and_then(|(name, value)| {
        let value = value.trim();
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let good = HeaderValue::from_str(value).is_ok() && line.len() <= TEXT_MAX;
        good.then(|| (name.as_str().to_owned(), value.to_owned()))
    });
    match read {
        None => wrong(span, format!("{} is no \"NAME: VALUE\"", quoted(line)), findings),
        Some((name, _)) if HEADERS_OWN.contains(&name.as_str()) => {
            let entry = findings.error(codes::FORMAT, span, format!("the check sends its own `{name}`"));
            if name == "host" {
                entry.help("the key `host` sets it");
            }
            None
        }
        read => read,
    }
}

/// `200-299, 301`.
fn statuses(value: &Spanned<String>, findings: &mut Findings) -> Option<Vec<(u16, u16)>> {
    let number = |text: &str| text.trim().parse::<u16>().ok().filter(|n| (100..=599).contains(n));
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then_some((first, last))
    };
    let read: Option<Vec<_>> = value.get_ref().split(',').take(500).map(range).collect();
    if read.is_none() {
        findings
            .error(codes::FORMAT, value.span(), format!("{} is no status", quoted(value.get_ref())))
            .help("write statuses from 100 to 599 and ranges of them: \"200-299, 301\"");
    }
    read
}

fn udp(raw: &Health, findings: &mut Findings) -> Option<UdpProbe> {
    let send = optional(raw.send.as_ref(), |v| text("send", v, findings));
    let reply = optional(expect(raw).and_then(|e| e.reply.as_ref()), |v| text("reply", v, findings));
    Some(UdpProbe { send: send.ok()?.unwrap_or_default(), reply: reply.ok()? })
}

fn dns(table: &Table<Health>, findings: &mut Findings) -> Option<DnsProbe> {
    let raw = &table.raw;
    let query = required(table, "query", &raw.query, "\"example.net A\"", findings);
    let query = query.and_then(|v| question(v, findings));
    let expect = expect(raw);
    let codes = DnsProbe::RCODES.map(|code| (code, code));
    let rcode =
        optional(expect.and_then(|e| e.rcode.as_ref()), |v| choice("rcode", v, &codes, &[], findings));
    let answer = optional(expect.and_then(|e| e.answer.as_ref()), |v| text("answer", v, findings));
    let (name, kind) = query?;
    let (rcode, answer) = (rcode.ok()?.unwrap_or("NOERROR"), answer.ok()?);
    if let (Some(answer), Some(written)) = (&answer, expect.and_then(|e| e.answer.as_ref())) {
        answerable(kind, answer, written, findings)?;
    }
    Some(DnsProbe { name, kind, rcode, answer })
}

/// `NAME TYPE`.
fn question(value: &Spanned<String>, findings: &mut Findings) -> Option<(String, &'static str)> {
    let read = value.get_ref().split_once(' ').and_then(|(name, kind)| {
        let kind = DnsProbe::TYPES.into_iter().find(|known| *known == kind)?;
        let name = name.strip_suffix('.').unwrap_or(name);
        simple_dns::Name::new(name).ok().filter(|n| n.is_valid())?;
        Some((name.to_owned(), kind))
    });
    if read.is_none() {
        findings
            .error(codes::FORMAT, value.span(), format!("{} is no question", quoted(value.get_ref())))
            .help(format!("write \"example.net A\"; types: {}", DnsProbe::TYPES.join(", ")));
    }
    read
}

/// Whether an answer of this type can be what is expected.
fn answerable(kind: &str, answer: &str, value: &Spanned<String>, findings: &mut Findings) -> Option<()> {
    let fits = match kind {
        "A" => answer.parse::<std::net::Ipv4Addr>().is_ok(),
        "AAAA" => answer.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => DnsProbe::TYPES_COMPARED.contains(&kind),
    };
    if fits {
        return Some(());
    }
    wrong(value.span(), format!("{} cannot be the data of a record of type {kind}", quoted(answer)), findings)
}

fn agent(raw: &Health, findings: &mut Findings) -> Option<AgentProbe> {
    let send = optional(raw.send.as_ref(), |v| text("send", v, findings));
    Some(AgentProbe { send: send.ok()?.unwrap_or_default() })
}

/// A text that is not empty.
fn text(key: &str, value: &Spanned<String>, findings: &mut Findings) -> Option<String> {
    if (1..=TEXT_MAX).contains(&value.get_ref().len()) {
        return Some(value.get_ref().clone());
    }
    wrong(value.span(), format!("`{key}` must have 1 to {TEXT_MAX} bytes"), findings)
}

fn wrong<T>(span: Span, message: String, findings: &mut Findings) -> Option<T> {
    findings.error(codes::FORMAT, span, message);
    None
}
