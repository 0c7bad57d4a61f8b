//! `[observe]`.

use toml::Spanned;

use super::super::model::{FlowLogConfig, LogConfig, LogFormat, LogLevel, LogTarget, ObserveConfig};
use super::super::raw::{FlowLog, Log, Observe, Table};
use super::super::values::{choice, path, quoted};
use super::{Findings, codes, listener, optional, required, service};
use ringlead_l4::ends::{Accounts, Why};

/// `PATH_MAX` less its NUL.
const PATH_BYTES_MAX: usize = 4_095;

const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
const LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];
const COUNTS: [(&str, Accounts); 2] = [("sampled", Accounts::Sampled), ("all", Accounts::All)];

pub(super) fn check(
    table: Option<&Table<Observe>>,
    services: &[service::Checked],
    findings: &mut Findings,
) -> Option<ObserveConfig> {
    let Some(table) = table else { return Some(ObserveConfig::default()) };
    let log = match &table.raw.log {
        Some(table) => log(table, findings),
        None => Some(LogConfig::default()),
    };
    let flow_log = match &table.raw.flow_log {
        Some(table) => Some(flow_log(table, findings)?),
        None => None,
    };
    let (metrics, reports) = listener::check(table, services, findings).ok()?;
    (table.broken.is_empty()).then_some(ObserveConfig { metrics, reports, log: log?, flow_log })
}

fn log(table: &Table<Log>, findings: &mut Findings) -> Option<LogConfig> {
    let raw = &table.raw;
    let to = optional(raw.to.as_ref(), |v| target("to", v, findings));
    let format = optional(raw.format.as_ref(), |v| choice("format", v, &FORMATS, &[], findings));
    let level = optional(raw.level.as_ref(), |v| choice("level", v, &LEVELS, &[], findings));
    let to = to.ok()?.unwrap_or_default();
    let fits = own_form(&to, raw.format.as_ref(), findings);
    fits.then_some(LogConfig {
        to,
        format: format.ok()?.unwrap_or_default(),
        level: level.ok()?.unwrap_or_default(),
    })
}

fn flow_log(table: &Table<FlowLog>, findings: &mut Findings) -> Option<FlowLogConfig> {
    let raw = &table.raw;
    let to = required(table, "to", &raw.to, "\"journal\"", findings);
    let to = to.and_then(|v| target("to", v, findings));
    let format = optional(raw.format.as_ref(), |v| choice("format", v, &FORMATS, &[], findings));
    let sample = optional(raw.sample.as_ref(), |v| one_in(v, findings));
    let written = raw.always.iter().flat_map(|list| list.get_ref());
    let always: Vec<Option<Why>> =
        written.map(|v| choice("always", v, &Why::ALL, &["drop"], findings)).collect();
    let always = always.into_iter().collect::<Option<Vec<_>>>();
    let count = optional(raw.count.as_ref(), |v| choice("count", v, &COUNTS, &[], findings));
    let to = to?;
    let fits = own_form(&to, raw.format.as_ref(), findings);
    fits.then_some(FlowLogConfig {
        to,
        format: format.ok()?.unwrap_or_default(),
        sample: sample.ok()?.unwrap_or(1),
        always: always?,
        count: count.ok()?.unwrap_or_default(),
    })
}

/// `1/1000`.
fn one_in(value: &Spanned<String>, findings: &mut Findings) -> Option<u32> {
    let number = value.get_ref().strip_prefix("1/").and_then(|n| n.parse().ok()).filter(|n| *n > 0);
    if number.is_none() {
        findings
            .error(
                codes::FORMAT,
                value.span(),
                format!("{} is no share of the flows", quoted(value.get_ref())),
            )
            .help("write one in how many: \"1/1000\", or \"1/1\" for all");
    }
    number
}

/// `stderr`, `journal` or a path.
fn target(key: &str, value: &Spanned<String>, findings: &mut Findings) -> Option<LogTarget> {
    match value.get_ref().as_str() {
        "stderr" => Some(LogTarget::Stderr),
        "journal" => Some(LogTarget::Journal),
        text if text.starts_with('/') => {
            path(key, value, text, PATH_BYTES_MAX, findings).map(LogTarget::File)
        }
        other => {
            findings
                .error(codes::CHOICE, value.span(), format!("{} is no place for a log", quoted(other)))
                .help("write \"stderr\", \"journal\" or a path from the root: \"/var/log/ringlead/ringlead.log\"");
            None
        }
    }
}

/// The journal keeps fields apart by itself.
fn own_form(to: &LogTarget, format: Option<&Spanned<String>>, findings: &mut Findings) -> bool {
    let Some(format) = format.filter(|_| *to == LogTarget::Journal) else { return true };
    findings
        .error(codes::JOURNAL_FORMAT, format.span(), "the journal has a form of its own")
        .help("take `format` out; `journalctl -o json` shows every field");
    false
}
