//! Rates over time: a line each, and what happened when.

use super::axis::{self, Axis, BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, at};
use super::{legend, line_class};
use crate::{Line, Mark, Series, Unit};
use maud::{Markup, html};

/// More points than this a line are drawn as the least and the most of each piece: no peak is hidden.
const POINTS_MAX: usize = 1200;
/// Marks closer together than this, in the drawing's units, share a number's place.
const MARK_GAP: f64 = 22.0;

pub(super) fn chart(series: &Series) -> Markup {
    let marks = series.marks.iter().map(|mark| mark.at_s);
    let end_s = series.at_s.iter().copied().chain(marks).fold(0.0, f64::max);
    let values = || series.lines.iter().flat_map(|line| line.values.iter().copied().flatten());
    let x = Axis::linear(0.0, end_s, LEFT, RIGHT);
    let y = Axis::linear(0.0, values().fold(0.0, f64::max) * 1.05, BOTTOM, TOP);
    if series.at_s.is_empty() || values().next().is_none() {
        return html! { p { "No interval was recorded." } };
    }
    let title = match series.unit {
        Unit::Pps => "packets a second",
        Unit::Bps => "bits a second",
        Unit::PerSecond => "a second",
        Unit::Ns => "latency",
        Unit::Seconds | Unit::Bytes | Unit::Count | Unit::Percent | Unit::Plain => "",
    };
    html! {
        figure {
            (legend(series.lines.iter().map(|line| line.name.as_str())))
            div.scroll tabindex="0" role="region" aria-label=(series.name) {
                svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(series.name) {
                    (axis::vertical(&y, series.unit, title))
                    (axis::horizontal(x.ticks().into_iter().map(|tick| (x.place(tick), format!("{tick}"))), "seconds"))
                    @for (n, line) in series.lines.iter().enumerate() {
                        @for points in pieces(&series.at_s, line, &x, &y) {
                            polyline class=(line_class(n)) points=(points) {}
                        }
                    }
                    (marks_in(&series.marks, &x))
                }
            }
            (marks_below(&series.marks))
        }
    }
}

/// The line's points, a piece for each stretch of known values.
fn pieces(at_s: &[f64], line: &Line, x: &Axis, y: &Axis) -> Vec<String> {
    let known: Vec<Option<(f64, f64)>> =
        at_s.iter().zip(&line.values).map(|(at_s, value)| value.map(|value| (*at_s, value))).collect();
    let point = |(at_s, value): &(f64, f64)| format!("{},{}", at(x.place(*at_s)), at(y.place(*value)));
    let stretches = known.split(Option::is_none).filter(|stretch| !stretch.is_empty());
    stretches
        .map(|stretch| {
            let points: Vec<(f64, f64)> = stretch.iter().copied().flatten().collect();
            // A single point would be a line of no length.
            let lone = if points.len() == 1 { points.clone() } else { Vec::new() };
            let thinned = thin(&points);
            thinned.iter().chain(&lone).map(point).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// At most [`POINTS_MAX`] points that keep the least and the most of each piece.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= POINTS_MAX {
        return points.to_vec();
    }
    let piece = points.len().div_ceil(POINTS_MAX / 2);
    let by_value = |one: &&(f64, f64), other: &&(f64, f64)| one.1.total_cmp(&other.1);
    let ends = points.chunks(piece).flat_map(|piece| {
        let ends = [piece.iter().min_by(by_value), piece.iter().max_by(by_value)];
        let mut ends: Vec<(f64, f64)> = ends.into_iter().flatten().copied().collect();
        ends.sort_by(|one, other| one.0.total_cmp(&other.0));
        ends
    });
    ends.collect()
}

/// A line for each mark, numbered where there is room.
fn marks_in(marks: &[Mark], x: &Axis) -> Markup {
    let mut taken = f64::NEG_INFINITY;
    let numbered = marks.iter().map(|mark| {
        let place = x.place(mark.at_s);
        let has_room = place - taken >= MARK_GAP;
        if has_room {
            taken = place;
        }
        (mark, place, has_room)
    });
    html! {
        @for (n, (mark, place, has_room)) in numbered.enumerate() {
            line.mark x1=(at(place)) y1=(TOP) x2=(at(place)) y2=(BOTTOM) {
                title { (format!("{:.1} s: {}", mark.at_s, mark.text)) }
            }
            @if has_room {
                text.mark x=(at(place)) y=(TOP - 3.0) text-anchor="middle" { (n + 1) }
            }
        }
    }
}

fn marks_below(marks: &[Mark]) -> Markup {
    html! {
        @if !marks.is_empty() {
            details open[marks.len() <= 10] {
                summary { "Events (dotted lines)" }
                ol.marks { @for mark in marks { li { (format!("{:.1} s: ", mark.at_s)) (mark.text) } } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_hides_no_peak() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|n| (f64::from(n), 5.0)).collect();
        points[7777].1 = 9.0;
        points[3333].1 = 0.0;
        let thinned = thin(&points);
        assert!(thinned.len() <= POINTS_MAX, "{}", thinned.len());
        assert!(thinned.contains(&(7777.0, 9.0)) && thinned.contains(&(3333.0, 0.0)));
        assert!(thinned.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    }

    #[test]
    fn a_gap_breaks_the_line() {
        let line = Line { name: "sent".into(), values: vec![Some(1.0), None, Some(1.0), Some(2.0)] };
        let (x, y) = (Axis::linear(0.0, 4.0, 0.0, 4.0), Axis::linear(0.0, 2.0, 2.0, 0.0));
        let pieces = pieces(&[1.0, 2.0, 3.0, 4.0], &line, &x, &y);
        assert_eq!(pieces, ["1.0,1.0 1.0,1.0", "3.0,1.0 4.0,0.0"]);
    }
}
