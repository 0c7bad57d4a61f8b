//! Latency percentiles: each nine takes the same width, so the tail is as readable as the middle.

use super::axis::{self, Axis, BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, at};
use super::{legend, line_class};
use crate::Histogram;
use maud::{Markup, html};

/// Ticks: percentiles that people know by heart.
const PERCENTILES: [f64; 9] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999, 99.99999];

pub(super) fn chart(histograms: &[Histogram]) -> Markup {
    let drawn: Vec<&Histogram> = histograms.iter().filter(|histogram| histogram.count > 0).collect();
    let Some(most) = drawn.iter().map(|histogram| histogram.count).max() else {
        return html! { p { "No latency was recorded." } };
    };
    let unit = drawn.first().map(|histogram| histogram.unit).unwrap_or_default();
    let points = || drawn.iter().flat_map(|histogram| &histogram.percentiles);
    let low = points().map(|point| point.value).min().unwrap_or(1).max(1);
    let high = points().map(|point| point.value).max().unwrap_or(1);
    // What one value of all stands for is as far as the axis goes; the maximum stands there.
    let end = (most as f64).max(20.0);
    let x = |percentile: f64| {
        let rarity = if percentile >= 100.0 { end } else { (1.0 / (1.0 - percentile / 100.0)).min(end) };
        LEFT + rarity.log10() / end.log10() * (RIGHT - LEFT)
    };
    let y = Axis::log(low as f64, high as f64, BOTTOM, TOP);
    let shown = PERCENTILES.into_iter().filter(|percentile| x(*percentile) < RIGHT - 62.0);
    let ticks = shown.map(|percentile| (x(percentile), format!("{percentile} %")));
    html! {
        figure {
            div.thin { (legend(drawn.iter().map(|histogram| histogram.name.as_str()))) }
            div.scroll tabindex="0" role="region" aria-label="Latency by percentile" {
                svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label="Latency by percentile" {
                    (axis::vertical(&y, unit, "latency (logarithmic)"))
                    (axis::horizontal(ticks.chain([(RIGHT, "max".to_string())]), "percentile: this share of all was at most so late"))
                    @for (n, histogram) in drawn.iter().enumerate() {
                        polyline class=(format!("thin {}", line_class(n))) points=(line(histogram, x, &y)) {}
                    }
                }
            }
        }
    }
}

/// Steps: up to its percentile, no value is above a point's.
fn line(histogram: &Histogram, x: impl Fn(f64) -> f64, y: &Axis) -> String {
    let mut places = Vec::with_capacity(histogram.percentiles.len() * 2);
    let mut from = LEFT;
    for point in &histogram.percentiles {
        let (to, height) = (x(point.percentile), at(y.place(point.value as f64)));
        places.push(format!("{},{height}", at(from)));
        places.push(format!("{},{height}", at(to)));
        from = to;
    }
    places.join(" ")
}
