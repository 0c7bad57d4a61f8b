//! A report as CSV (RFC 4180): one long table, a value a line, ready for a spreadsheet's pivot or a data frame.

use crate::{Report, Row, Unit, format, grid};
use std::io;

/// The columns.
const HEADER: [&str; 8] = ["section", "name", "item", "at_s", "value", "unit", "low", "high"];

/// Every number of the report. Numbers are plain: no prefix, no thousands separator.
pub(crate) fn render(report: &Report) -> io::Result<String> {
    let mut lines = ::csv::Writer::from_writer(Vec::new());
    lines.write_record(HEADER)?;
    for (section, rows) in report.sections() {
        let section = if section.is_empty() { "results" } else { section };
        rows.iter().try_for_each(|row| write_row(&mut lines, section, row))?;
    }
    for histogram in &report.histograms {
        let unit = unit(histogram.unit);
        for point in &histogram.percentiles {
            let (item, value) = (format!("p{}", point.percentile), point.value.to_string());
            lines.write_record(["latency", &histogram.name, &item, "", &value, &unit, "", ""])?;
        }
    }
    for series in &report.series {
        let unit = unit(series.unit);
        for line in &series.lines {
            for (at_s, value) in series.at_s.iter().zip(&line.values) {
                let value = value.map_or_else(String::new, |value| value.to_string());
                lines.write_record([
                    "series",
                    &series.name,
                    &line.name,
                    &at_s.to_string(),
                    &value,
                    &unit,
                    "",
                    "",
                ])?;
            }
        }
        for mark in &series.marks {
            lines.write_record(["mark", &series.name, &mark.text, &mark.at_s.to_string(), "", "", "", ""])?;
        }
    }
    for loss in &report.loss {
        let count = loss.count.map_or_else(|| "unknown".to_string(), |count| count.to_string());
        lines.write_record(["loss", grid::place(loss.place), &loss.reason, "", &count, "count", "", ""])?;
    }
    for found in &report.findings {
        lines.write_record(["finding", &found.kind, "", "", &found.count.to_string(), "count", "", ""])?;
    }
    let bytes = lines.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

fn write_row(lines: &mut ::csv::Writer<Vec<u8>>, section: &str, row: &Row) -> io::Result<()> {
    for (name, value) in grid::flat(&row.fields) {
        let plain =
            if value.is_number() { value.to_string() } else { format::field(value).unwrap_or_default() };
        lines.write_record([section, &row.name, &name, "", &plain, "", "", ""])?;
    }
    for (name, metric) in &row.metrics {
        let [low, high] =
            [metric.low, metric.high].map(|bound| bound.map_or_else(String::new, |b| b.to_string()));
        let (value, unit) = (metric.value.to_string(), unit(metric.unit));
        lines.write_record([section, &row.name, name, "", &value, &unit, &low, &high])?;
    }
    Ok(())
}

/// The unit as JSON has it.
fn unit(unit: Unit) -> String {
    serde_json::to_value(unit).ok().and_then(|value| value.as_str().map(str::to_string)).unwrap_or_default()
}
