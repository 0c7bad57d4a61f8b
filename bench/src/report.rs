//! The results as tables for people or as JSON, a line a row.

use crate::plan::{Column, Result};
use std::fmt::Write;

/// Two tables: nanoseconds a packet, and microseconds of single turns.
#[must_use]
pub fn tables(results: &[Result]) -> String {
    let mut text = String::from("ns a packet, least of all rounds\nmode ip   flows");
    for column in Column::ALL {
        let _ = write!(text, " {:>8}", column.name());
    }
    text.push_str("   median/least of turn\n");
    for result in results {
        text.push_str(&label(result));
        for column in 0..Column::ALL.len() {
            let _ = write!(text, " {:>8.1}", result.best(column));
        }
        let _ = writeln!(text, "   {:.2}", result.noise(0));
    }
    text.push_str("\nus of a full turn\nmode ip   flows  packets      p50      p99    p99.9      max\n");
    for result in results {
        let _ = write!(text, "{} {:>8}", label(result), result.turn_packets);
        for ns in result.turns {
            let _ = write!(text, " {:>8.1}", ns as f64 / 1000.0);
        }
        text.push('\n');
    }
    text
}

/// One object a row: `ns` holds the least time a packet by column, `turn_ns` the percentiles of full turns.
#[must_use]
pub fn json(results: &[Result]) -> String {
    let mut text = String::new();
    for result in results {
        let row = result.row;
        let _ = write!(
            text,
            r#"{{"mode":"{}","ip":{},"flows":{},"rounds":{},"ns":{{"#,
            row.mode.name(),
            family(result),
            row.flows,
            result.rounds.first().map_or(0, Vec::len),
        );
        for (n, column) in Column::ALL.into_iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let _ = write!(text, r#"{comma}"{}":{:.2}"#, column.name(), result.best(n));
        }
        let [p50, p99, p999, max] = result.turns;
        let _ = writeln!(
            text,
            r#"}},"noise":{:.3},"turn_packets":{},"turn_ns":{{"p50":{p50},"p99":{p99},"p99.9":{p999},"max":{max}}}}}"#,
            result.noise(0),
            result.turn_packets,
        );
    }
    text
}

fn label(result: &Result) -> String {
    format!("{:<4} {:>2} {:>7}", result.row.mode.name(), family(result), result.row.flows)
}

fn family(result: &Result) -> u8 {
    if result.row.v6 { 6 } else { 4 }
}
