//! A report's numbers as plain tables, the same for the terminal and the page.

use crate::{Examples, Histogram, Loss, Place, Report, Row, Series, format};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// From this many rows on, rows lie under each other and their values side by side.
const ROWS_ACROSS: usize = 4;

/// Up to this many rows lie side by side when they have more values than [`COLUMNS_WIDE`].
const ROWS_ACROSS_WIDE: usize = 6;
const COLUMNS_WIDE: usize = 10;

/// A table.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Grid {
    pub(crate) title: String,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// How many columns from the left are words; the others are numbers, aligned to the right.
    pub(crate) words: usize,
    /// Nothing in it was measured: a list of facts for whoever wants to know more.
    pub(crate) is_facts: bool,
}

/// All lists of rows: a table each, or several where rows that follow each other have no metric in common.
pub(crate) fn results(report: &Report) -> Vec<Grid> {
    let tables = |(name, rows): (&str, Cow<'_, [Row]>)| {
        let alike = |one: &Row, other: &Row| {
            one.metrics.is_empty() == other.metrics.is_empty()
                && (one.metrics.is_empty() || one.metrics.keys().any(|key| other.metrics.contains_key(key)))
        };
        let titled = |(n, rows): (usize, &[Row])| match (n, rows) {
            (0, rows) => section(name, rows),
            (_, [only]) => section(&only.name, rows),
            (_, [first, .., last]) => section(&format!("{} to {}", first.name, last.name), rows),
            (_, []) => section(name, rows),
        };
        rows.chunk_by(alike).enumerate().map(titled).collect::<Vec<_>>()
    };
    report.sections().into_iter().flat_map(tables).collect()
}

/// A few rows are columns side by side, so that no table gets wide.
fn section(title: &str, rows: &[Row]) -> Grid {
    let cells: Vec<Vec<(String, String)>> = rows.iter().map(cells).collect();
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in cells.iter().flatten() {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let cell = |row: &[(String, String)], name: &str| {
        row.iter().find(|(other, _)| other == name).map(|(_, text)| text.clone()).unwrap_or_default()
    };
    let is_wide = names.len() > COLUMNS_WIDE && rows.len() <= ROWS_ACROSS_WIDE;
    let is_across = rows.len() < ROWS_ACROSS || is_wide;
    let is_facts = rows.iter().all(|row| row.metrics.is_empty());
    let titles = || rows.iter().map(|row| row.name.clone());
    let (header, rows): (Vec<String>, Vec<Vec<String>>) = if is_across {
        let line = |name: &&str| {
            std::iter::once((*name).to_string()).chain(cells.iter().map(|row| cell(row, name))).collect()
        };
        (std::iter::once(String::new()).chain(titles()).collect(), names.iter().map(line).collect())
    } else {
        let line = |(title, row): (String, &Vec<(String, String)>)| {
            std::iter::once(title).chain(names.iter().map(|name| cell(row, name))).collect()
        };
        let header = std::iter::once("").chain(names.iter().copied()).map(str::to_string).collect();
        (header, titles().zip(&cells).map(line).collect())
    };
    let title = if title.is_empty() { "Results" } else { title };
    Grid { title: title.to_string(), header, rows, words: 1, is_facts }
}

/// A row's fields and metrics as text, in this order.
fn cells(row: &Row) -> Vec<(String, String)> {
    let fields =
        flat(&row.fields).into_iter().filter_map(|(name, value)| Some((name, format::field(value)?)));
    let metrics = row.metrics.iter().map(|(name, metric)| (name.clone(), format::metric(metric)));
    fields.chain(metrics).collect()
}

/// The fields that a cell can hold; those of an object are named after it, `turn_ns.p50`.
pub(crate) fn flat(fields: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut cells = Vec::new();
    for (name, value) in fields {
        match value {
            Value::Object(inner) => {
                cells
                    .extend(flat(inner).into_iter().map(|(below, value)| (format!("{name}.{below}"), value)));
            }
            Value::Array(_) => {}
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                cells.push((name.clone(), value))
            }
        }
    }
    cells
}

/// The percentiles that people ask for, a row a distribution.
pub(crate) fn latencies(histograms: &[Histogram]) -> Option<Grid> {
    let percentile = |percentile: f64| {
        if percentile >= 100.0 { "max".to_string() } else { format!("p{percentile}") }
    };
    let header = ["", "count", "min", "mean"].into_iter().map(str::to_string);
    let line = |histogram: &Histogram| {
        let shown = |value: u64| format::value(value as f64, histogram.unit);
        let mut line =
            vec![histogram.name.clone(), format::number(histogram.count as f64), shown(histogram.min)];
        line.push(format::value(histogram.mean, histogram.unit));
        line.extend(Histogram::SHOWN.map(|at| histogram.at(at).map_or_else(String::new, shown)));
        line
    };
    (!histograms.is_empty()).then(|| Grid {
        title: "Latency".to_string(),
        header: header.chain(Histogram::SHOWN.map(percentile)).collect(),
        rows: histograms.iter().map(line).collect(),
        words: 1,
        is_facts: false,
    })
}

/// What was lost, where and why.
pub(crate) fn losses(loss: &[Loss]) -> Option<Grid> {
    let line = |loss: &Loss| {
        let count = loss.count.map_or_else(|| "unknown".to_string(), |count| format::number(count as f64));
        vec![place(loss.place).to_string(), loss.reason.clone(), count]
    };
    (!loss.is_empty()).then(|| Grid {
        title: "Lost".to_string(),
        header: ["where", "reason", "count"].map(str::to_string).to_vec(),
        rows: loss.iter().map(line).collect(),
        words: 2,
        is_facts: false,
    })
}

/// The place in words.
pub(crate) fn place(place: Place) -> &'static str {
    match place {
        Place::Before => "before ringlead",
        Place::In => "in ringlead",
        Place::After => "after ringlead",
        Place::Unknown => "unknown",
    }
}

/// What was wrong, with examples.
pub(crate) fn findings(findings: &[Examples]) -> Option<Grid> {
    let line = |found: &Examples| {
        vec![found.kind.clone(), found.examples.join("\n"), format::number(found.count as f64)]
    };
    (!findings.is_empty()).then(|| Grid {
        title: "Findings".to_string(),
        header: ["kind", "first examples", "count"].map(str::to_string).to_vec(),
        rows: findings.iter().map(line).collect(),
        words: 2,
        is_facts: false,
    })
}

/// Every point of a series.
pub(crate) fn series(series: &Series) -> Grid {
    let names = series.lines.iter().map(|line| line.name.clone());
    let value =
        |value: Option<f64>| value.map_or_else(String::new, |value| format::value(value, series.unit));
    let line = |(n, at_s): (usize, &f64)| {
        let values = series.lines.iter().map(|line| value(line.values.get(n).copied().flatten()));
        std::iter::once(format!("{at_s:.3}")).chain(values).collect()
    };
    Grid {
        title: series.name.clone(),
        header: std::iter::once("seconds".to_string()).chain(names).collect(),
        rows: series.at_s.iter().enumerate().map(line).collect(),
        words: 0,
        is_facts: false,
    }
}

/// Where it ran, a fact a row; facts that could not be read are left out.
pub(crate) fn environment(report: &Report) -> Grid {
    let environment = &report.environment;
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_string();
    let mut facts: Vec<(&str, Option<String>)> = vec![
        ("time (UTC)", Some(environment.time.clone())),
        ("command", Some(environment.command.join(" "))),
        ("ringlead", Some(environment.ringlead.clone())),
        ("commit", environment.commit.clone()),
        (
            "build",
            Some(format!("opt-level {}", environment.opt_level))
                .filter(|_| !environment.opt_level.is_empty()),
        ),
        ("rustc", Some(environment.rustc.clone())),
        ("target", Some(environment.target.clone())),
        ("target CPU", Some(environment.target_cpu.clone())),
        ("kernel", Some(environment.kernel.clone())),
        ("CPU", environment.cpu_model.clone()),
        ("CPUs usable / online", Some(format!("{} / {}", environment.cpus, environment.cpus_online))),
        ("SMT", environment.smt.map(yes)),
        ("governor", environment.governor.clone()),
        ("turbo", environment.turbo.map(yes)),
        ("isolated CPUs", environment.isolated_cpus.clone()),
        ("virtual machine", environment.virtual_machine.map(yes)),
        (
            "memory",
            environment.memory_bytes.map(|bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))),
        ),
        ("load average at start", environment.load_average.map(|load| format!("{load:.2}"))),
    ];
    for port in &environment.ports {
        facts.push(("port", Some(port.text())));
    }
    let known = |(name, value): (&str, Option<String>)| {
        value.filter(|value| !value.is_empty()).map(|value| vec![name.to_string(), value])
    };
    Grid {
        title: "Environment".to_string(),
        header: vec!["fact".to_string(), "value".to_string()],
        rows: facts.into_iter().filter_map(known).collect(),
        words: 2,
        is_facts: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, Metric, Unit};

    #[test]
    fn rows_without_a_metric_in_common_are_tables_of_their_own() {
        let mut report = Report::new("search", Environment::default());
        let row = |name: &str, metric: &str| Row::new(name).metric(metric, Metric::more(1.0, Unit::Pps));
        report.results = vec![row("NDR", "rate"), row("PDR", "rate"), row("half", "sent"), Row::new("fact")];
        let grids = results(&report);
        let titles: Vec<_> = grids.iter().map(|grid| (grid.header[1..].join(" "), grid.is_facts)).collect();
        let wanted = [("NDR PDR", false), ("half", false), ("fact", true)];
        assert_eq!(
            grids.iter().map(|grid| grid.title.as_str()).collect::<Vec<_>>(),
            ["Results", "half", "fact"]
        );
        assert_eq!(titles, wanted.map(|(title, facts)| (title.to_string(), facts)));
    }

    #[test]
    fn many_rows_lie_under_each_other_and_many_values_do_not_make_a_table_wide() {
        let rows = |rows: usize, values: usize| -> Vec<Row> {
            let row =
                |n: usize| (0..values).fold(Row::new(n.to_string()), |row, v| row.field(&format!("v{v}"), v));
            (0..rows).map(row).collect()
        };
        let shape = |rows: &[Row]| (section("", rows).header.len(), section("", rows).rows.len());
        assert_eq!(shape(&rows(3, 5)), (4, 5));
        assert_eq!(shape(&rows(5, 5)), (6, 5));
        assert_eq!(shape(&rows(5, 20)), (6, 20));
        assert_eq!(shape(&rows(40, 20)), (21, 40));
    }
}
