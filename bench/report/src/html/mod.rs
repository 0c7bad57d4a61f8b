//! A report as one page: no script, no other file, nothing from the network; light or dark as the reader's system is.

mod axis;
mod latency;
mod rates;
mod tables;

use crate::{Report, grid};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The page's style, part of the page.
const STYLE: &str = include_str!("style.css");

/// Longer tables are closed until the reader wants them.
const ROWS_OPEN: usize = 60;

/// The page.
pub(crate) fn render(report: &Report) -> String {
    let title = format!("ringlead bench {}", report.kind);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " " (report.environment.time) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    (summary(report))
                }
                main { (body(report)) }
                footer { "Record " code { (report.schema) } ", written by ringlead " (report.environment.ringlead) "." }
            }
        }
    };
    page.into_string()
}

/// What, when, and with what: one line under the title.
fn summary(report: &Report) -> Markup {
    let environment = &report.environment;
    let parts = [
        Some(environment.time.as_str()),
        environment.commit.as_deref(),
        Some(environment.kernel.as_str()),
        environment.cpu_model.as_deref(),
    ];
    let known = parts.into_iter().flatten().filter(|part| !part.is_empty());
    html! {
        p.summary { @for part in known { span { (part) } " " } }
        @if !environment.command.is_empty() { pre.command { (environment.command.join(" ")) } }
    }
}

fn body(report: &Report) -> Markup {
    html! {
        @let warnings = report.all_warnings();
        @if !warnings.is_empty() {
            section.warnings aria-label="Warnings" {
                h2 { "Before you believe these figures" }
                ul { @for warning in &warnings { li { (warning) } } }
            }
        }
        @for grid in grid::results(report) {
            section {
                h2 { (grid.title) }
                @if grid.rows.len() > ROWS_OPEN || grid.is_facts { (tables::folded("All rows", &grid)) } @else { (tables::table(&grid)) }
            }
        }
        @for series in &report.series {
            section { h2 { (series.name) } (rates::chart(series)) (tables::folded("All points", &grid::series(series))) }
        }
        @if let Some(grid) = grid::latencies(&report.histograms) {
            section {
                h2 { (grid.title) }
                (latency::chart(&report.histograms))
                (tables::table(&grid))
                (tables::percentiles(&report.histograms))
            }
        }
        @if !report.loss.is_empty() { section { h2 { "Lost" } (tables::losses(&report.loss)) } }
        @if let Some(grid) = grid::findings(&report.findings) {
            section { h2 { (grid.title) } (tables::table(&grid)) }
        }
        section { h2 { "Environment" } (tables::table(&grid::environment(report))) }
    }
}

/// The class that gives line `n` its colour and its dashes.
fn line_class(n: usize) -> String {
    format!("line c{}", n % 6)
}

/// Names of lines with a piece of each.
fn legend<'a>(names: impl Iterator<Item = &'a str>) -> Markup {
    html! {
        ul.legend {
            @for (n, name) in names.enumerate() {
                li {
                    svg viewBox="0 0 36 10" width="36" height="10" aria-hidden="true" {
                        line class=(line_class(n)) x1="0" y1="5" x2="36" y2="5" {}
                    }
                    (name)
                }
            }
        }
    }
}
