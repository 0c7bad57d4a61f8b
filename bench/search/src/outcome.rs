//! The answer to one goal.

use crate::Goal;
use serde::{Deserialize, Serialize};

/// The answer to one goal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The goal.
    pub goal: Goal,
    /// How the search for it ended.
    pub end: End,
    /// The greatest load that was found good, below all that were found bad: the rate to quote.
    pub lower: Option<Bound>,
    /// The least load that was found bad.
    pub upper: Option<Bound>,
    /// What surely comes through at the lower bound: its load less the loss of the better trials.
    pub conditional_throughput: Option<f64>,
}

impl Outcome {
    /// How far the bounds lie apart, as a share of the upper one.
    #[must_use]
    pub fn width(&self) -> Option<f64> {
        let (lower, upper) = (self.lower.as_ref()?, self.upper.as_ref()?);
        Some(1.0 - lower.load / upper.load)
    }
}

/// A load that was found good or bad, and on what grounds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Bound {
    /// The load.
    pub load: f64,
    /// Valid trials at it.
    pub trials: u32,
    /// How long they took together, in seconds.
    pub duration_s: f64,
    /// The least loss ratio of a trial.
    pub loss_ratio_min: f64,
    /// The greatest loss ratio of a trial.
    pub loss_ratio_max: f64,
}

/// How the search for a goal ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Both bounds are as close as the goal wants them.
    Found,
    /// The greatest load that the search may use is good: the answer lies there or above.
    MaxLoad,
    /// The sender cannot send more, and all that it can send is good: its limit, not the limit of what is tested.
    Sender,
    /// Even the least load that the search may use is bad.
    MinLoad,
    /// The search ran out of trial time before the bounds came close enough.
    OutOfTime,
}

impl End {
    /// In words, for a table.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::MaxLoad => "at least this: limited by the greatest load allowed",
            Self::Sender => "at least this: limited by the sender",
            Self::MinLoad => "below the least load allowed",
            Self::OutOfTime => "out of time",
        }
    }
}
