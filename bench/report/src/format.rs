//! Values for people: `1.234 Mpps`, `12.3 µs`, `1,234,567`.

use crate::{Metric, Unit};
use serde_json::Value;

/// A value with its unit, four significant digits and the prefix that fits.
pub(crate) fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Pps => format!("{}pps", prefixed(value)),
        Unit::Bps => format!("{}bit/s", prefixed(value)),
        Unit::PerSecond => format!("{}/s", prefixed(value)),
        Unit::Ns => nanoseconds(value),
        Unit::Seconds => format!("{} s", digits(value)),
        Unit::Bytes => format!("{} B", number(value)),
        Unit::Percent => format!("{} %", digits(value)),
        Unit::Count | Unit::Plain => number(value),
    }
}

/// A metric with the spread of its repeats.
pub(crate) fn metric(metric: &Metric) -> String {
    let shown = value(metric.value, metric.unit);
    match (metric.low, metric.high) {
        (Some(low), Some(high)) if low < high => {
            format!("{shown} ({} to {})", value(low, metric.unit), value(high, metric.unit))
        }
        _ => shown,
    }
}

/// A field as text: `None` for lists and objects, which no cell holds.
pub(crate) fn field(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("unknown".to_string()),
        Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.to_string()),
        Value::Number(value) => Some(value.as_f64().map_or_else(|| value.to_string(), number)),
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// A whole number with its thousands apart, any other with four significant digits.
pub(crate) fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { grouped(value) } else { digits(value) }
}

fn nanoseconds(value: f64) -> String {
    match value.abs() {
        size if size < 999.95 => format!("{} ns", digits(value)),
        size if size < 999.95e3 => format!("{} µs", digits(value / 1e3)),
        size if size < 999.95e6 => format!("{} ms", digits(value / 1e6)),
        _ => format!("{} s", digits(value / 1e9)),
    }
}

fn prefixed(value: f64) -> String {
    match value.abs() {
        size if size < 999.95 => format!("{} ", digits(value)),
        size if size < 999.95e3 => format!("{} k", digits(value / 1e3)),
        size if size < 999.95e6 => format!("{} M", digits(value / 1e6)),
        size if size < 999.95e9 => format!("{} G", digits(value / 1e9)),
        _ => format!("{} T", digits(value / 1e12)),
    }
}

/// Four significant digits, none of them behind the point of a whole number.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        size if size == 0.0 || size >= 999.95 => return grouped(value),
        size if size >= 99.995 => 1,
        size if size >= 9.9995 => 2,
        size if size >= 0.001 => 3,
        _ => return format!("{value:.2e}"),
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

fn grouped(value: f64) -> String {
    let text = format!("{:.0}", value.abs());
    let mut shown = String::from(if value < 0.0 { "-" } else { "" });
    for (place, digit) in text.char_indices() {
        if place > 0 && (text.len() - place) % 3 == 0 {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short_and_have_their_unit() {
        for (number, unit, shown) in [
            (1_234_567.0, Unit::Pps, "1.235 Mpps"),
            (999_960.0, Unit::Pps, "1 Mpps"),
            (512e6, Unit::Bps, "512 Mbit/s"),
            (12.0, Unit::PerSecond, "12 /s"),
            (45.67, Unit::Ns, "45.67 ns"),
            (12_345.0, Unit::Ns, "12.35 µs"),
            (999_999.0, Unit::Ns, "1 ms"),
            (0.0, Unit::Percent, "0 %"),
            (0.5, Unit::Percent, "0.5 %"),
            (1e-6, Unit::Plain, "1.00e-6"),
            (1_234_567.0, Unit::Count, "1,234,567"),
            (-1000.0, Unit::Count, "-1,000"),
            (1.5, Unit::Seconds, "1.5 s"),
            (100.0, Unit::Bytes, "100 B"),
            (97_723.9, Unit::Plain, "97,724"),
        ] {
            assert_eq!(value(number, unit), shown);
        }
    }

    #[test]
    fn the_spread_is_shown_where_there_is_one() {
        let rate = Metric::more(1e6, Unit::Pps);
        assert_eq!(metric(&rate.spread(0.9e6, 1.1e6)), "1 Mpps (900 kpps to 1.1 Mpps)");
        assert_eq!(metric(&rate.spread(1e6, 1e6)), "1 Mpps");
    }
}
