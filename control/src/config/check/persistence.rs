//! `[persistence.NAME]`: which clients come back to their server, and for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;

use super::super::model::PersistenceConfig;
use super::super::raw::{Named, Persistence};
use super::super::values::{choice, duration, number, quoted};
use super::{Findings, at_most, codes, optional, required, values};

const TABLES_MAX: usize = 64;
/// Of one table: 512 MiB.
const ENTRIES_MAX: i64 = 1 << 24;
/// A set of the table.
const ENTRIES_MIN: i64 = 8;
/// Of all tables: 2 GiB.
const ENTRIES_SUM_MAX: i64 = 1 << 26;
const ENTRIES_DEFAULT: i64 = 131_072;
const MASK_DEFAULT: u8 = 32;
const MASK6_DEFAULT: u8 = 64;
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(7 * 86_400);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);

const TYPES_LATER: [&str; 4] = ["cookie", "hash", "tls-session-id", "header"];

/// One entry a table, `None` where something was wrong.
pub(super) fn check(
    tables: &[Named<Persistence>],
    findings: &mut Findings,
) -> Vec<Option<PersistenceConfig>> {
    at_most("persistence tables", TABLES_MAX, tables.iter().map(|t| &t.name), findings);
    in_memory(tables, findings);
    tables.iter().map(|named| one(named, findings)).collect()
}

fn one(named: &Named<Persistence>, findings: &mut Findings) -> Option<PersistenceConfig> {
    let raw = &named.table.raw;
    let named_well = values::name("persistence table", &named.name, findings);
    let kind = required(&named.table, "type", &raw.r#type, "\"source\"", findings)
        .and_then(|v| choice("type", v, &[("source", ())], &TYPES_LATER, findings));
    let mask_v4 = optional(raw.mask.as_ref(), |v| number("mask", v, 1..=32, findings));
    let mask_v6 = optional(raw.mask6.as_ref(), |v| number("mask6", v, 1..=128, findings));
    let timeout =
        optional(raw.timeout.as_ref(), |v| duration("timeout", v, TIMEOUT_MIN..=TIMEOUT_MAX, findings));
    let entries = optional(raw.size.as_ref(), |v| number("size", v, ENTRIES_MIN..=ENTRIES_MAX, findings));
    named_well.then_some(())?;
    kind?;
    Some(PersistenceConfig {
        name: named.name.get_ref().clone(),
        mask_v4: mask_v4.ok()?.unwrap_or(MASK_DEFAULT),
        mask_v6: mask_v6.ok()?.unwrap_or(MASK6_DEFAULT),
        timeout: timeout.ok()?.unwrap_or(TIMEOUT_DEFAULT),
        entries: usize::try_from(entries.ok()?.unwrap_or(ENTRIES_DEFAULT)).ok()?,
    })
}

/// The tables' memory together is bounded, too.
fn in_memory(tables: &[Named<Persistence>], findings: &mut Findings) {
    let mut sum = 0_i64;
    for table in tables {
        let size = table.table.raw.size.as_ref();
        let entries = size.map_or(ENTRIES_DEFAULT, |size| *size.get_ref());
        sum = sum.saturating_add(entries.max(0));
        // A single size that is too large has its own message.
        if sum > ENTRIES_SUM_MAX && entries <= ENTRIES_MAX {
            let message = format!("more than {ENTRIES_SUM_MAX} entries in all persistence tables");
            findings
                .error(codes::TOO_MANY, size.map_or_else(|| table.name.span(), Spanned::span), message)
                .help("one entry takes 32 bytes; that would be more than 2 GiB");
            return;
        }
    }
}

/// The place of the table that a service names.
pub(super) fn find(
    reference: &Spanned<String>,
    tables: &BTreeMap<String, usize>,
    findings: &mut Findings,
) -> Option<usize> {
    let name = reference.get_ref();
    let found = tables.get(name).copied();
    if found.is_none() {
        let near = findings.near(name, tables.keys().map(String::as_str));
        let message = format!("there is no persistence table {}", quoted(name));
        findings.error(codes::UNKNOWN_PERSISTENCE, reference.span(), message).help(match near {
            Some(near) => format!("one with a similar name exists: {}", quoted(near)),
            None => "add a table [persistence.NAME] of that name".to_owned(),
        });
    }
    found
}
