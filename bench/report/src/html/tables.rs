//! Tables of the page.

use crate::grid::{self, Grid};
use crate::{Histogram, Loss, format};
use maud::{Markup, html};

/// A table that scrolls sideways by itself when it is wider than the window.
pub(super) fn table(grid: &Grid) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(grid.title) {
            table {
                thead {
                    tr {
                        @for (column, text) in grid.header.iter().enumerate() {
                            th scope="col" class=[(column >= grid.words).then_some("number")] { (text) }
                        }
                    }
                }
                tbody {
                    @for row in &grid.rows {
                        tr {
                            @for (column, text) in row.iter().enumerate() {
                                @if column == 0 && grid.words > 0 {
                                    th scope="row" { (text) }
                                } @else {
                                    td class=(if column >= grid.words { "number" } else { "words" }) { (text) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A table that is closed until the reader wants it.
pub(super) fn folded(title: &str, grid: &Grid) -> Markup {
    html! { details { summary { (title) " (" (grid.rows.len()) " rows)" } (table(grid)) } }
}

/// Every point of every distribution.
pub(super) fn percentiles(histograms: &[Histogram]) -> Markup {
    let rows = |histogram: &Histogram| Grid {
        title: histogram.name.clone(),
        header: ["percentile", "at most", "values"].map(str::to_string).to_vec(),
        rows: histogram
            .percentiles
            .iter()
            .map(|point| {
                let percentile = format!("{:.6}", point.percentile)
                    .trim_end_matches('0')
                    .trim_end_matches('.')
                    .to_string();
                vec![
                    percentile,
                    format::value(point.value as f64, histogram.unit),
                    format::number(point.count as f64),
                ]
            })
            .collect(),
        words: 0,
        is_facts: false,
    };
    html! {
        @for histogram in histograms {
            (folded(&format!("All percentiles, {}", histogram.name), &rows(histogram)))
        }
    }
}

/// What was lost, with a bar each.
pub(super) fn losses(loss: &[Loss]) -> Markup {
    let most = loss.iter().filter_map(|loss| loss.count).max().unwrap_or(0).max(1) as f64;
    html! {
        div.scroll tabindex="0" role="region" aria-label="Lost, by reason" {
            table {
                thead { tr { th scope="col" { "where" } th scope="col" { "reason" } th.number scope="col" { "count" } th.bar scope="col" { "share of the greatest" } } }
                tbody {
                    @for loss in loss {
                        tr {
                            th scope="row" { (grid::place(loss.place)) }
                            td.words { (loss.reason) }
                            td.number { (loss.count.map_or_else(|| "unknown".to_string(), |count| format::number(count as f64))) }
                            td.bar { @if let Some(count) = loss.count { (bar(count as f64 / most)) } }
                        }
                    }
                }
            }
        }
    }
}

/// A bar of this share of its cell; what is there at all can be seen.
fn bar(share: f64) -> Markup {
    let width = if share > 0.0 { (share * 100.0).max(0.5) } else { 0.0 };
    html! {
        svg viewBox="0 0 100 10" preserveAspectRatio="none" width="100%" height="14" aria-hidden="true" {
            rect.bar x="0" y="0" width=(format!("{width:.1}")) height="10" {}
        }
    }
}
