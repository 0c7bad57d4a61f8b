//! `[health.NAME]`.

use std::sync::Arc;
use std::time::Duration;

use super::super::model::CheckConfig;
use super::super::raw::{Health, Named};
use super::super::values::{duration, in_words, number};
use crate::health::FlapRule;

use super::{Findings, codes, optional, path, probe, values};

const INTERVAL_DEFAULT: Duration = Duration::from_secs(2);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3_600);
const RISE_DEFAULT: u32 = 2;
const FALL_DEFAULT: u32 = 3;
const FLAPS_DEFAULT: FlapRule = FlapRule {
    downs: 5,
    window: Duration::from_secs(60),
    hold: Duration::from_secs(10),
    hold_max: Duration::from_secs(300),
};
const SECOND: Duration = Duration::from_secs(1);

/// One entry a table, `None` where something was wrong.
pub(super) fn check(tables: &[Named<Health>], findings: &mut Findings) -> Vec<Option<CheckConfig>> {
    tables.iter().map(|named| one(named, findings)).collect()
}

fn one(named: &Named<Health>, findings: &mut Findings) -> Option<CheckConfig> {
    let raw = &named.table.raw;
    let named_well = values::name("health check", &named.name, findings);
    let probe = probe::check(&named.table, findings);
    let interval =
        optional(raw.interval.as_ref(), |v| duration("interval", v, INTERVAL_MIN..=HOUR, findings));
    let changing = changing(raw, interval.ok().flatten().unwrap_or(INTERVAL_DEFAULT), findings);
    let timeout = optional(raw.timeout.as_ref(), |v| duration("timeout", v, TIMEOUT_MIN..=HOUR, findings));
    let rise = optional(raw.rise.as_ref(), |v| number("rise", v, 1..=100, findings));
    let fall = optional(raw.fall.as_ref(), |v| number("fall", v, 1..=100, findings));
    let port = optional(raw.port.as_ref(), |v| number("port", v, 1..=65_535, findings));
    let via = path::via(raw, findings);
    let flaps = flaps(raw, findings);
    let interval = interval.ok()?;
    let timeout = timeout.ok()?;
    let in_time = in_time(raw, interval, timeout, findings);
    (named_well && in_time).then_some(())?;
    let interval = interval.unwrap_or(INTERVAL_DEFAULT);
    Some(CheckConfig {
        name: named.name.get_ref().clone(),
        probe: Arc::new(probe?),
        interval,
        interval_changing: changing.ok()?,
        // A short interval alone shortens the timeout with it.
        timeout: timeout.unwrap_or(TIMEOUT_DEFAULT.min(interval)),
        rise: rise.ok()?.unwrap_or(RISE_DEFAULT),
        fall: fall.ok()?.unwrap_or(FALL_DEFAULT),
        flaps: flaps?,
        port: port.ok()?,
        via: via?,
    })
}

/// `interval-changing`, which is there to find changes sooner.
fn changing(raw: &Health, interval: Duration, findings: &mut Findings) -> Result<Option<Duration>, ()> {
    let read = |v: &_| duration("interval-changing", v, INTERVAL_MIN..=HOUR, findings);
    let changing = optional(raw.interval_changing.as_ref(), read)?;
    let (Some(changing), Some(written)) = (changing, &raw.interval_changing) else { return Ok(None) };
    if changing <= interval {
        return Ok(Some(changing));
    }
    let message = format!("`interval-changing` is longer than the interval, {}", in_words(interval));
    findings
        .error(codes::RANGE, written.span(), message)
        .help("it is the time between checks while their results speak against a server's state");
    Err(())
}

/// When a server that comes and goes is held down.
fn flaps(raw: &Health, findings: &mut Findings) -> Option<FlapRule> {
    let default = FLAPS_DEFAULT;
    let downs = optional(raw.flaps.as_ref(), |v| number("flaps", v, 0..=100, findings));
    let window = optional(raw.flap_window.as_ref(), |v| duration("flap-window", v, SECOND..=HOUR, findings));
    // Not above the default of the longest, so that it can stand alone.
    let first = |v: &_| duration("flap-hold", v, SECOND..=default.hold_max, findings);
    let hold = optional(raw.flap_hold.as_ref(), first);
    let hold_max =
        optional(raw.flap_hold_max.as_ref(), |v| duration("flap-hold-max", v, SECOND..=HOUR, findings));
    let rule = FlapRule {
        downs: downs.ok()?.unwrap_or(default.downs),
        window: window.ok()?.unwrap_or(default.window),
        hold: hold.ok()?.unwrap_or(default.hold),
        hold_max: hold_max.ok()?.unwrap_or(default.hold_max),
    };
    if let Some(written) = raw.flap_hold_max.as_ref().filter(|_| rule.hold_max < rule.hold) {
        let message = format!("`flap-hold-max` is shorter than the first hold, {}", in_words(rule.hold));
        findings.error(codes::RANGE, written.span(), message).help("`flap-hold` sets the first one");
        return None;
    }
    Some(rule)
}

/// A check must be over when the next one starts.
fn in_time(
    raw: &Health,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    findings: &mut Findings,
) -> bool {
    let (Some(written), Some(timeout)) = (&raw.timeout, timeout) else { return true };
    if timeout <= interval.unwrap_or(INTERVAL_DEFAULT) {
        return true;
    }
    let (takes, next) = (in_words(timeout), in_words(interval.unwrap_or(INTERVAL_DEFAULT)));
    let message = format!("a check may take {takes}, but the next one starts after {next}");
    let entry = findings.error(codes::TIMEOUT_OVER_INTERVAL, written.span(), message);
    entry.label("longer than the interval");
    match &raw.interval {
        Some(interval) => entry.also(&interval.span(), "the interval"),
        None => entry.help(format!("`interval` is {next} where it is absent")),
    };
    false
}
