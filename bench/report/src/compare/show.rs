//! A comparison on a terminal.

use super::{Change, Comparison, Verdict};
use crate::grid::Grid;
use crate::{format, terminal};
use std::fmt::Write;

pub(super) fn render(comparison: &Comparison, wide: bool) -> String {
    let mut text = String::new();
    let [before, after] = &comparison.kinds;
    if before != after {
        let _ = writeln!(text, "These are reports of different kinds: {before} and {after}.");
    }
    if comparison.changes.is_empty() {
        text.push_str("No row and metric is in both reports.\n");
    } else {
        let _ = writeln!(text, "{}", terminal::table(&grid(&comparison.changes), wide));
    }
    for (which, names) in [("first", &comparison.only_before), ("second", &comparison.only_after)] {
        if !names.is_empty() {
            let _ = writeln!(text, "only in the {which} report: {}", names.join(", "));
        }
    }
    if comparison.environment.is_empty() {
        text.push_str("The environments are the same.\n");
    } else {
        text.push_str("The environments differ:\n");
    }
    for difference in &comparison.environment {
        let _ = writeln!(text, "  {}: {} -> {}", difference.fact, difference.before, difference.after);
    }
    text
}

fn grid(changes: &[Change]) -> Grid {
    let line = |change: &Change| {
        let verdict = match change.verdict {
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::Same => "same",
            Verdict::Neither => "",
        };
        vec![
            change.row.clone(),
            change.metric.clone(),
            verdict.to_string(),
            change.percent.map_or_else(|| "from 0".to_string(), |percent| format!("{percent:+.1} %")),
            format::value(change.before.value, change.before.unit),
            format!("{:.1} %", change.before.spread_percent()),
            format::value(change.after.value, change.after.unit),
            format!("{:.1} %", change.after.spread_percent()),
        ]
    };
    Grid {
        title: "Changes".to_string(),
        header: ["row", "metric", "", "change", "first", "spread", "second", "spread"]
            .map(str::to_string)
            .to_vec(),
        rows: changes.iter().map(line).collect(),
        words: 3,
        is_facts: false,
    }
}
