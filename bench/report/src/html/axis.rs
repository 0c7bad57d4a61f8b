//! Axes of a chart: from values to places, and where the ticks are.

use crate::{Unit, format};
use maud::{Markup, html};

/// The drawing's size and the plot's edges in it, in the drawing's own units.
pub(super) const WIDTH: f64 = 880.0;
pub(super) const HEIGHT: f64 = 340.0;
pub(super) const LEFT: f64 = 92.0;
pub(super) const RIGHT: f64 = WIDTH - 28.0;
pub(super) const TOP: f64 = 26.0;
pub(super) const BOTTOM: f64 = HEIGHT - 54.0;

/// From a value to its place on an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
    from: f64,
    to: f64,
}

impl Axis {
    /// Values from `low` to `high` evenly over the places `from` to `to`.
    pub(super) fn linear(low: f64, high: f64, from: f64, to: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, is_log: false, from, to }
    }

    /// Values above 0 by their logarithm; from 1, 2 or 5 times a power of ten to another.
    pub(super) fn log(low: f64, high: f64, from: f64, to: f64) -> Self {
        let low = step_at_most(low.max(1e-9));
        let high = step_at_least(high.max(low * 2.0));
        Self { low, high, is_log: true, from, to }
    }

    pub(super) fn place(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round values along the axis: 4 to 12 of them.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if !self.is_log {
            let step = step_at_least((self.high - self.low) / 8.0);
            let first = (self.low / step).ceil();
            return (0..=16)
                .map(|n| (first + f64::from(n)) * step)
                .filter(|tick| *tick <= self.high * 1.0001)
                .collect();
        }
        let decades = (self.high / self.low).log10();
        let steps: &[f64] = if decades > 4.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let first = power_of_ten(self.low);
        let powers = (0..=20).map(|n| first * 10_f64.powi(n));
        let all = powers.flat_map(|power| steps.iter().map(move |step| power * step));
        all.filter(|tick| (self.low * 0.9999..=self.high * 1.0001).contains(tick)).collect()
    }
}

/// The greatest 1, 2 or 5 times a power of ten that is at most `value`.
fn step_at_most(value: f64) -> f64 {
    let power = power_of_ten(value);
    [5.0, 2.0].into_iter().map(|step| step * power).find(|step| *step <= value * 1.0001).unwrap_or(power)
}

/// The least 1, 2 or 5 times a power of ten that is at least `value`.
fn step_at_least(value: f64) -> f64 {
    let power = power_of_ten(value);
    let steps = [1.0, 2.0, 5.0].into_iter().map(|step| step * power);
    steps.into_iter().find(|step| *step >= value * 0.9999).unwrap_or(power * 10.0)
}

fn power_of_ten(value: f64) -> f64 {
    10_f64.powf(value.log10().floor())
}

/// Horizontal grid lines with their values to the left, and the axis' title.
pub(super) fn vertical(axis: &Axis, unit: Unit, title: &str) -> Markup {
    html! {
        @for tick in axis.ticks() {
            @let y = at(axis.place(tick));
            line.grid x1=(LEFT) y1=(y) x2=(RIGHT) y2=(y) {}
            text.tick x=(LEFT - 8.0) y=(y) text-anchor="end" dominant-baseline="middle" { (format::value(tick, unit)) }
        }
        text.title x=(LEFT) y=(TOP - 12.0) text-anchor="start" { (title) }
    }
}

/// Ticks under the plot at these places, and the axis' title.
pub(super) fn horizontal(ticks: impl Iterator<Item = (f64, String)>, title: &str) -> Markup {
    html! {
        line.axis x1=(LEFT) y1=(BOTTOM) x2=(RIGHT) y2=(BOTTOM) {}
        @for (x, text) in ticks {
            line.axis x1=(at(x)) y1=(BOTTOM) x2=(at(x)) y2=(BOTTOM + 5.0) {}
            text.tick x=(at(x)) y=(BOTTOM + 20.0) text-anchor="middle" { (text) }
        }
        text.title x=(at(f64::midpoint(LEFT, RIGHT))) y=(HEIGHT - 8.0) text-anchor="middle" { (title) }
    }
}

/// A place with a tenth's precision: a page of ten thousand points stays small.
pub(super) fn at(place: f64) -> String {
    format!("{place:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_between_the_ends_and_ticks_are_round() {
        let axis = Axis::linear(0.0, 950e3, 100.0, 0.0);
        assert_eq!((axis.place(0.0), axis.place(950e3), axis.place(2e6)), (100.0, 0.0, 0.0));
        assert_eq!(axis.ticks(), [0.0, 200e3, 400e3, 600e3, 800e3]);
        let axis = Axis::log(3_100.0, 1_900_000.0, 0.0, 1.0);
        assert_eq!((axis.ticks()[0], axis.ticks().last()), (2_000.0, Some(&2_000_000.0)));
        assert_eq!((axis.place(2_000.0), axis.place(2e6)), (0.0, 1.0));
    }

    #[test]
    fn an_axis_of_one_value_is_still_an_axis() {
        for axis in
            [Axis::linear(0.0, 0.0, 0.0, 1.0), Axis::log(0.0, 0.0, 0.0, 1.0), Axis::log(7.0, 7.0, 0.0, 1.0)]
        {
            assert!(axis.ticks().len() >= 2 && axis.place(3.0).is_finite(), "{axis:?}");
        }
    }
}
