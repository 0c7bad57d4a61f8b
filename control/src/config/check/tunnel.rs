//! `[tunnel.NAME]`: what stands in front of a packet on its way to a server.

use std::net::IpAddr;

use ringlead_wire::Ip;
use ringlead_wire::tunnel::{Encapsulation, Variant};
use toml::Spanned;

use super::super::model::{SourcePrefix, TunnelConfig};
use super::super::raw::{Named, OneOrMany, Tunnel};
use super::super::values::{choice, number, quoted};
use super::{Findings, codes, optional, required, values};

/// Kinds, by name. The port and variant of gue are the defaults.
const TYPES: [(&str, Encapsulation); 2] = [("ipip", Encapsulation::Ipip), ("gue", GUE)];
const GUE: Encapsulation = Encapsulation::Gue { variant: Variant::One, port: GUE_PORT };
/// IANA's port of GUE.
const GUE_PORT: u16 = 6080;

/// Outer sources where the file names none. 172.16/16 of RFC 1918; 100::/64, which nobody can own (RFC 6666): nothing is
/// ever sent back to them.
const SOURCE_V4: SourcePrefix = SourcePrefix { ip: Ip::from_v4([172, 16, 0, 0]), bits: 16 };
const SOURCE_V6: SourcePrefix =
    SourcePrefix { ip: Ip::from_v6([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), bits: 64 };

/// The tunnels that need no table: a service may name them as they are.
pub(super) fn built_in() -> impl Iterator<Item = TunnelConfig> {
    TYPES.into_iter().map(|(name, encapsulation)| TunnelConfig {
        name: name.to_owned(),
        encapsulation,
        source_v4: SOURCE_V4,
        source_v6: SOURCE_V6,
    })
}

/// One entry a table, `None` where something was wrong.
pub(super) fn check(tables: &[Named<Tunnel>], findings: &mut Findings) -> Vec<Option<TunnelConfig>> {
    tables.iter().map(|named| one(named, findings)).collect()
}

fn one(named: &Named<Tunnel>, findings: &mut Findings) -> Option<TunnelConfig> {
    let raw = &named.table.raw;
    let named_well = values::name("tunnel", &named.name, findings) && not_built_in(&named.name, findings);
    let kind = required(&named.table, "type", &raw.r#type, "\"gue\"", findings)
        .and_then(|v| choice("type", v, &TYPES, &[], findings));
    let variant = optional(raw.variant.as_ref(), |v| number::<u8>("variant", v, 0..=1, findings));
    let port = optional(raw.port.as_ref(), |v| number("port", v, 1..=65_535, findings));
    let sources = raw.source.as_ref().map_or(Ok([None; 2]), |v| sources(v, findings));
    let encapsulation = match kind? {
        Encapsulation::Ipip => {
            let gue_only = [("variant", raw.variant.as_ref()), ("port", raw.port.as_ref())];
            for (key, value) in gue_only {
                let Some(value) = value else { continue };
                findings
                    .error(codes::NOT_GUE, value.span(), format!("ipip has no `{key}`"))
                    .help("take it out, or use type = \"gue\"");
            }
            Encapsulation::Ipip
        }
        Encapsulation::Gue { .. } => Encapsulation::Gue {
            variant: if variant.ok()? == Some(0) { Variant::Zero } else { Variant::One },
            port: port.ok()?.unwrap_or(GUE_PORT),
        },
    };
    let [v4, v6] = sources.ok()?;
    named_well.then(|| TunnelConfig {
        name: named.name.get_ref().clone(),
        encapsulation,
        source_v4: v4.unwrap_or(SOURCE_V4),
        source_v6: v6.unwrap_or(SOURCE_V6),
    })
}

fn not_built_in(name: &Spanned<String>, findings: &mut Findings) -> bool {
    let taken = TYPES.iter().any(|(built_in, _)| built_in == name.get_ref());
    if taken {
        findings
            .error(codes::FORMAT, name.span(), format!("{} is built in", quoted(name.get_ref())))
            .help("a service can name it without a table; give this one another name");
    }
    !taken
}

/// At most one prefix a family: IPv4, then IPv6.
fn sources(
    value: &Spanned<OneOrMany<String>>,
    findings: &mut Findings,
) -> Result<[Option<SourcePrefix>; 2], ()> {
    let one;
    let list = match value.get_ref() {
        OneOrMany::One(text) => {
            one = [Spanned::new(value.span(), text.clone())];
            &one[..]
        }
        OneOrMany::Many(list) => list,
    };
    let mut found = [None; 2];
    let mut well = true;
    for text in list {
        let Some(prefix) = prefix(text, findings) else {
            well = false;
            continue;
        };
        let [v4, v6] = &mut found;
        let place = if prefix.ip.is_v4() { v4 } else { v6 };
        if place.replace(prefix).is_some() {
            findings.error(codes::TOO_MANY, text.span(), "a second prefix of this family");
            well = false;
        }
    }
    well.then_some(found).ok_or(())
}

/// `ADDRESS/BITS`, or an address alone.
fn prefix(text: &Spanned<String>, findings: &mut Findings) -> Option<SourcePrefix> {
    let written = text.get_ref();
    let (address, bits) = match written.split_once('/') {
        Some((address, bits)) => (address, bits.parse::<u8>().ok()),
        None => (written.as_str(), Some(u8::MAX)),
    };
    let parsed = address.parse::<IpAddr>().ok().zip(bits);
    let read = parsed.and_then(|(ip, bits)| {
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let bits = if bits == u8::MAX { width } else { bits };
        (bits <= width).then(|| SourcePrefix { ip: ip.into(), bits })
    });
    if read.is_none() {
        findings
            .error(codes::FORMAT, text.span(), format!("{} is no prefix", quoted(written)))
            .help("write it as \"172.16.0.0/16\" or \"fd00:99::/64\"");
    }
    read
}
