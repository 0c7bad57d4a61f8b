//! A report on a terminal.

use crate::Report;
use crate::grid::{self, Grid};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, TableComponent};
use std::fmt::Write;

/// Longer tables are for files.
const ROWS_MAX: usize = 100;
/// The same for lists of facts, such as a search's trials.
const FACTS_MAX: usize = 20;

/// The tables. `wide`: no line is broken, whatever the terminal's width.
pub(crate) fn render(report: &Report, wide: bool) -> String {
    let environment = &report.environment;
    let parts = [
        environment.time.as_str(),
        &environment.kernel,
        environment.cpu_model.as_deref().unwrap_or_default(),
    ];
    let known: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let mut text = format!("{}  {}", report.kind, known.join(", ")).trim_end().to_string();
    text.push('\n');
    let rest =
        [grid::latencies(&report.histograms), grid::losses(&report.loss), grid::findings(&report.findings)];
    for grid in grid::results(report).into_iter().chain(rest.into_iter().flatten()) {
        if grid.rows.len() > if grid.is_facts { FACTS_MAX } else { ROWS_MAX } {
            let _ = writeln!(text, "\n{}: {} rows, see --json, --csv or --html", grid.title, grid.rows.len());
        } else {
            let _ = writeln!(text, "\n{}\n{}", grid.title, table(&grid, wide));
        }
    }
    for warning in report.all_warnings() {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

/// A table as text.
pub(crate) fn table(grid: &Grid, wide: bool) -> Table {
    let mut table = Table::new();
    let arrangement = if wide { ContentArrangement::Disabled } else { ContentArrangement::Dynamic };
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(arrangement);
    // A rule under the header is enough.
    table.remove_style(TableComponent::HorizontalLines).remove_style(TableComponent::MiddleIntersections);
    let cells = |row: &[String]| {
        let cell = |(column, text): (usize, &String)| {
            let side = if column < grid.words { CellAlignment::Left } else { CellAlignment::Right };
            Cell::new(text).set_alignment(side)
        };
        row.iter().enumerate().map(cell).collect::<Vec<_>>()
    };
    table.set_header(cells(&grid.header));
    for row in &grid.rows {
        table.add_row(cells(row));
    }
    table
}
