//! `mode`, with the tunnel or the pool of source addresses that it needs.

use toml::Spanned;

use super::super::super::model::Mode;
use super::super::super::raw::{Service, Table};
use super::super::super::source::Span;
use super::super::super::values::{choice, quoted};
use super::super::{Findings, codes, required};
use super::Names;

/// Which tunnel or pool of source addresses it is, is read later.
const MODES: [(&str, Mode); 4] = [
    ("nat", Mode::Nat),
    ("snat", Mode::Snat { snat: 0 }),
    ("dsr", Mode::Dsr),
    ("tunnel", Mode::Tunnel { tunnel: 0 }),
];
const TUNNEL_DEFAULT: &str = "gue";

/// The mode and where it is written, `None` where it is wrong or names what does not exist.
pub(super) fn mode(
    table: &Table<Service>,
    names: &Names<'_>,
    findings: &mut Findings,
) -> Option<(Mode, Span)> {
    let raw = &table.raw;
    let written: &Spanned<String> = required(table, "mode", &raw.mode, "\"nat\"", findings)?;
    let mode = choice("mode", written, &MODES, &[], findings)?;
    let mode = with_tunnel(mode, raw, names, findings)?;
    let mode = with_snat(mode, &written.span(), raw, names, findings)?;
    Some((mode, written.span()))
}

/// Mode tunnel with the tunnel that the service names.
pub(super) fn with_tunnel(
    mode: Mode,
    raw: &Service,
    names: &Names<'_>,
    findings: &mut Findings,
) -> Option<Mode> {
    let Mode::Tunnel { .. } = mode else {
        if let Some(tunnel) = &raw.tunnel {
            let entry = findings.error(
                codes::NOT_TUNNEL,
                tunnel.span(),
                format!("mode = \"{}\" has no tunnel", mode.name()),
            );
            if let Some(mode) = &raw.mode {
                entry.also(&mode.span(), "the mode is chosen here");
            }
            entry.help("take it out, or use mode = \"tunnel\"");
        }
        return Some(mode);
    };
    let Some(reference) = &raw.tunnel else {
        return names.tunnels.get(TUNNEL_DEFAULT).map(|&tunnel| Mode::Tunnel { tunnel });
    };
    let name = reference.get_ref();
    let found = names.tunnels.get(name).copied();
    if found.is_none() {
        let near = findings.near(name, names.tunnels.keys().map(String::as_str));
        let message = format!("there is no tunnel {}", quoted(name));
        findings.error(codes::UNKNOWN_TUNNEL, reference.span(), message).help(match near {
            Some(near) => format!("a tunnel with a similar name exists: {}", quoted(near)),
            None => "\"gue\" and \"ipip\" are built in; others are tables [tunnel.NAME]".to_owned(),
        });
    }
    found.map(|tunnel| Mode::Tunnel { tunnel })
}

/// Mode snat with the pool of source addresses that the service names, or the only one.
fn with_snat(
    mode: Mode,
    span: &Span,
    raw: &Service,
    names: &Names<'_>,
    findings: &mut Findings,
) -> Option<Mode> {
    let Mode::Snat { .. } = mode else {
        if let Some(snat) = &raw.snat {
            findings
                .error(codes::NOT_SNAT, snat.span(), format!("mode = \"{}\" has no `snat`", mode.name()))
                .also(span, "the mode is chosen here")
                .help("take it out, or use mode = \"snat\"");
        }
        return Some(mode);
    };
    let Some(reference) = &raw.snat else {
        let mut all = names.snats.values();
        if let (Some(&snat), None) = (all.next(), all.next()) {
            return Some(Mode::Snat { snat });
        }
        let (message, help) = match names.snats.len() {
            0 => ("mode = \"snat\" needs source addresses", "add a table [snat.NAME] with `addresses`"),
            _ => ("which source addresses?", "name one of the tables [snat.NAME]: snat = \"NAME\""),
        };
        findings.error(codes::UNKNOWN_SNAT, span.clone(), message).help(help);
        return None;
    };
    let name = reference.get_ref();
    let found = names.snats.get(name).copied();
    if found.is_none() {
        let near = findings.near(name, names.snats.keys().map(String::as_str));
        let message = format!("there is no [snat.{}]", name.escape_debug());
        findings.error(codes::UNKNOWN_SNAT, reference.span(), message).help(match near {
            Some(near) => format!("one with a similar name exists: {}", quoted(near)),
            None => "add a table [snat.NAME] of that name".to_owned(),
        });
    }
    found.map(|snat| Mode::Snat { snat })
}
