//! All trials of a search, by load.

use serde::{Deserialize, Serialize};

/// What came of a trial.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrialResult {
    /// The sender kept to its plan.
    Valid {
        /// Frames sent.
        sent: u64,
        /// Frames that came back as they should.
        received: u64,
    },
    /// The sender fell behind: the trial says nothing about loss, only what the sender can do.
    Invalid {
        /// The load that it did send, where it is known.
        achieved: Option<f64>,
    },
}

impl TrialResult {
    /// The share of sent frames that did not come back. `None` for a trial that says nothing: an invalid one, or one
    /// that sent nothing.
    #[must_use]
    pub fn loss_ratio(&self) -> Option<f64> {
        match *self {
            Self::Valid { sent: 0, .. } | Self::Invalid { .. } => None,
            Self::Valid { sent, received } => Some(sent.saturating_sub(received) as f64 / sent as f64),
        }
    }
}

/// A valid trial at some load.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Trial {
    pub(crate) duration_s: f64,
    pub(crate) loss_ratio: f64,
}

/// The valid trials at one load.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct AtLoad {
    pub(crate) load: f64,
    pub(crate) trials: Vec<Trial>,
}

/// All valid trials, loads rising.
#[derive(Clone, Default, Debug)]
pub(crate) struct Trials {
    loads: Vec<AtLoad>,
}

impl Trials {
    pub(crate) fn add(&mut self, load: f64, trial: Trial) {
        let place = self.loads.binary_search_by(|at| at.load.total_cmp(&load));
        let place = place.unwrap_or_else(|place| {
            self.loads.insert(place, AtLoad { load, trials: Vec::new() });
            place
        });
        if let Some(at) = self.loads.get_mut(place) {
            at.trials.push(trial);
        }
    }

    pub(crate) fn loads(&self) -> &[AtLoad] {
        &self.loads
    }

    pub(crate) fn at(&self, load: f64) -> Option<&AtLoad> {
        let place = self.loads.binary_search_by(|at| at.load.total_cmp(&load)).ok()?;
        self.loads.get(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_trials_have_a_loss_ratio() {
        assert_eq!(TrialResult::Valid { sent: 200, received: 199 }.loss_ratio(), Some(0.005));
        assert_eq!(TrialResult::Valid { sent: 5, received: 7 }.loss_ratio(), Some(0.0));
        assert_eq!(TrialResult::Valid { sent: 0, received: 0 }.loss_ratio(), None);
        assert_eq!(TrialResult::Invalid { achieved: Some(1.0) }.loss_ratio(), None);
    }

    #[test]
    fn trials_lie_by_rising_load() {
        let mut trials = Trials::default();
        for load in [5.0, 1.0, 3.0, 5.0] {
            trials.add(load, Trial { duration_s: 1.0, loss_ratio: 0.0 });
        }
        assert_eq!(trials.loads().iter().map(|at| at.load).collect::<Vec<_>>(), [1.0, 3.0, 5.0]);
        assert_eq!(trials.at(5.0).map(|at| at.trials.len()), Some(2));
        assert_eq!(trials.at(4.0), None);
    }
}
