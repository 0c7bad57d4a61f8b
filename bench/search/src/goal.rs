//! What is searched for, and the ladder of coarser goals that leads there.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The narrowest width that loads of six digits can tell apart.
const WIDTH_MIN: f64 = 1e-4;
/// More rungs would only repeat trials.
const RUNGS_MAX: u32 = 8;

/// A search goal (draft-ietf-bmwg-mlrsearch §4.6): which loss is borne, how surely, and how narrow the answer must be.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Goal {
    /// What the answer is called: `NDR`, `PDR`.
    pub name: String,
    /// The most loss that a good trial has, as a share of what was sent; 0 ≤ x < 1.
    pub loss_ratio: f64,
    /// The share of trial time at a load that may be bad while the load still counts as good; 0 ≤ x < 1.
    pub exceed_ratio: f64,
    /// Trials of the first rung last this long, in seconds; above 0.
    pub initial_trial_s: f64,
    /// Only trials at least this long, in seconds, decide; at least `initial_trial_s`.
    pub final_trial_s: f64,
    /// Trial time that decides about a load, in seconds; at least `final_trial_s`.
    pub duration_sum_s: f64,
    /// How close the lower bound has to come to the upper one, as a share of the upper one; 0.0001 ≤ x < 1.
    pub width: f64,
    /// Coarser rungs before the goal itself; at most 8. Each doubles the width of the next.
    pub rungs_before: u32,
    /// While one bound is missing, each step in its direction is this many times the last one; above 1.
    pub expansion: f64,
}

impl Goal {
    /// A goal as FD.io CSIT uses them: trials of 1 s, 21 s of them at a load decide, half of them may be bad, 0.5 % wide.
    #[must_use]
    pub fn new(name: &str, loss_ratio: f64) -> Self {
        Self {
            name: name.to_string(),
            loss_ratio,
            exceed_ratio: 0.5,
            initial_trial_s: 1.0,
            final_trial_s: 1.0,
            duration_sum_s: 21.0,
            width: 0.005,
            rungs_before: 2,
            expansion: 2.0,
        }
    }

    /// A goal for a first look: trials of a quarter of a second, one second of them decides, 2 % wide.
    #[must_use]
    pub fn quick(name: &str, loss_ratio: f64) -> Self {
        Self {
            initial_trial_s: 0.25,
            final_trial_s: 0.25,
            duration_sum_s: 1.25,
            width: 0.02,
            rungs_before: 1,
            ..Self::new(name, loss_ratio)
        }
    }

    /// Checks all ranges.
    pub(crate) fn check(&self) -> Result<(), GoalError> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let finite = |value: f64| value.is_finite() && value > 0.0;
        let why = if !share(self.loss_ratio) {
            "its loss ratio is not at least 0 and below 1"
        } else if !share(self.exceed_ratio) {
            "its exceed ratio is not at least 0 and below 1"
        } else if !(WIDTH_MIN..1.0).contains(&self.width) {
            "its width is not at least 0.0001 and below 1"
        } else if !finite(self.initial_trial_s) {
            "its initial trial duration is not above 0"
        } else if !finite(self.final_trial_s) || self.final_trial_s < self.initial_trial_s {
            "its final trial duration is below its initial one"
        } else if !finite(self.duration_sum_s) || self.duration_sum_s < self.final_trial_s {
            "its duration sum is below its final trial duration"
        } else if !(self.expansion.is_finite() && self.expansion > 1.0) {
            "its expansion coefficient is not above 1"
        } else if self.rungs_before > RUNGS_MAX {
            "it has more than 8 coarser rungs"
        } else {
            return Ok(());
        };
        Err(GoalError { goal: self.name.clone(), why })
    }

    /// The goal and what leads to it, coarsest first: widths halve from rung to rung, and the time that decides grows
    /// in equal proportions from one initial trial to the goal's sum.
    pub(crate) fn ladder(&self) -> Vec<Rung> {
        (0..=self.rungs_before).rev().map(|before| self.rung(before)).collect()
    }

    /// The rung that is this many before the goal itself; 0 is the goal.
    pub(crate) fn rung(&self, before: u32) -> Rung {
        let share = f64::from(before) / f64::from(self.rungs_before.max(1));
        let sum_s = self.duration_sum_s * (self.initial_trial_s / self.duration_sum_s).powf(share);
        Rung {
            loss_ratio: self.loss_ratio,
            exceed_ratio: self.exceed_ratio,
            trial_s: self.final_trial_s.min(sum_s),
            duration_sum_s: sum_s,
            // Half of what lies below a load is the coarsest step that still searches.
            width: (self.width * f64::from(1_u32 << before)).min(self.width.max(0.5)),
        }
    }
}

/// A rung of the ladder: what decides about a load there.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Rung {
    pub(crate) loss_ratio: f64,
    pub(crate) exceed_ratio: f64,
    /// Trials at least this long are full-length, in seconds.
    pub(crate) trial_s: f64,
    pub(crate) duration_sum_s: f64,
    pub(crate) width: f64,
}

/// A goal that makes no sense.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GoalError {
    goal: String,
    why: &'static str,
}

impl fmt::Display for GoalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "goal {}: {}", self.goal, self.why)
    }
}

impl std::error::Error for GoalError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_grows_from_one_trial_to_the_sum() {
        let goal =
            Goal { initial_trial_s: 1.0, final_trial_s: 2.0, duration_sum_s: 16.0, ..Goal::new("NDR", 0.0) };
        let ladder = goal.ladder();
        let sums: Vec<f64> = ladder.iter().map(|rung| rung.duration_sum_s).collect();
        let trials: Vec<f64> = ladder.iter().map(|rung| rung.trial_s).collect();
        let widths: Vec<f64> = ladder.iter().map(|rung| rung.width).collect();
        assert_eq!(
            (sums, trials, widths),
            (vec![1.0, 4.0, 16.0], vec![1.0, 2.0, 2.0], vec![0.02, 0.01, 0.005])
        );
        assert_eq!(Goal { rungs_before: 0, ..goal }.ladder().len(), 1);
    }

    #[test]
    fn goals_out_of_range_are_refused() {
        let good = Goal::new("NDR", 0.0);
        assert_eq!(good.check(), Ok(()));
        assert_eq!(Goal::quick("NDR", 0.0).check(), Ok(()));
        for bad in [
            Goal { loss_ratio: 1.0, ..good.clone() },
            Goal { loss_ratio: f64::NAN, ..good.clone() },
            Goal { exceed_ratio: -0.1, ..good.clone() },
            Goal { width: 0.0, ..good.clone() },
            Goal { initial_trial_s: 0.0, ..good.clone() },
            Goal { final_trial_s: 0.5, ..good.clone() },
            Goal { duration_sum_s: 0.5, ..good.clone() },
            Goal { duration_sum_s: f64::INFINITY, ..good.clone() },
            Goal { expansion: 1.0, ..good.clone() },
            Goal { rungs_before: 9, ..good.clone() },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
