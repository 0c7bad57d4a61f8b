//! The same search several times: how well its answers agree.

use crate::{End, Outcome};
use serde::{Deserialize, Serialize};

/// Answers that lie further apart than this, in percent of their median, deserve a warning.
pub const SPREAD_WARN_PERCENT: f64 = 5.0;

/// The answers of several searches to one goal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Repeats {
    /// The goal's name.
    pub goal: String,
    /// The lower bound of each search that found one, in the order of the searches.
    pub loads: Vec<f64>,
    /// Searches without a lower bound.
    pub missing: usize,
    /// The median of `loads`.
    pub median: f64,
    /// The least of `loads`.
    pub low: f64,
    /// The greatest of `loads`.
    pub high: f64,
    /// Whether the sender's limit ended one of the searches.
    pub limited_by_sender: bool,
}

impl Repeats {
    /// Of each search its outcome for one and the same goal. `None` when no search found a lower bound.
    #[must_use]
    pub fn of(outcomes: &[Outcome]) -> Option<Self> {
        let loads: Vec<f64> = outcomes.iter().filter_map(|outcome| Some(outcome.lower?.load)).collect();
        let mut sorted = loads.clone();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let (below, above) = (*sorted.get((sorted.len() - 1) / 2)?, *sorted.get(sorted.len() / 2)?);
        Some(Self {
            goal: outcomes.first()?.goal.name.clone(),
            missing: outcomes.len() - loads.len(),
            median: f64::midpoint(below, above),
            low,
            high,
            limited_by_sender: outcomes.iter().any(|outcome| outcome.end == End::Sender),
            loads,
        })
    }

    /// How far the answers lie apart, in percent of their median.
    #[must_use]
    pub fn spread_percent(&self) -> f64 {
        (self.high - self.low) / self.median * 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bound, Goal};

    fn outcome(load: Option<f64>, end: End) -> Outcome {
        let bound =
            |load| Bound { load, trials: 1, duration_s: 1.0, loss_ratio_min: 0.0, loss_ratio_max: 0.0 };
        let goal = Goal::new("NDR", 0.0);
        Outcome { goal, end, lower: load.map(bound), upper: None, conditional_throughput: load }
    }

    #[test]
    fn repeats_are_summed_up() {
        let outcomes = [
            (Some(100.0), End::Found),
            (None, End::MinLoad),
            (Some(90.0), End::Sender),
            (Some(110.0), End::Found),
        ];
        let repeats = Repeats::of(&outcomes.map(|(load, end)| outcome(load, end))).unwrap();
        assert_eq!((repeats.median, repeats.low, repeats.high), (100.0, 90.0, 110.0));
        assert_eq!((repeats.missing, repeats.limited_by_sender), (1, true));
        assert!((repeats.spread_percent() - 20.0).abs() < 1e-9);
        assert_eq!(Repeats::of(&[outcome(None, End::MinLoad)]), None);
    }
}
