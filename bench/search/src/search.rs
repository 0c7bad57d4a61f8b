//! The search itself: which load to try next, and when it is over. It measures nothing and knows no clock.

use crate::classify::{bounds, conditional_throughput};
use crate::goal::Rung;
use crate::trials::{Trial, Trials};
use crate::{Bound, End, Goal, GoalError, Outcome, TrialResult};
use std::collections::HashMap;
use std::fmt;

/// Invalid trials at a load, at least, before the sender is taken to be unable to send it; and more of them than valid
/// ones. A stall of a busy machine must not end a search early.
pub const INVALID_TRIES: u32 = 2;
/// A bound on the trials of one search; searches of the usual goals take some dozens to some hundreds.
const TRIALS_MAX: u32 = 20_000;

/// Which loads a search may use, and for how long.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LoadRange {
    /// The least load to try; above 0.
    pub min: f64,
    /// The greatest load to try; above `min`.
    pub max: f64,
    /// Trial time after which the search gives up, in seconds; above 0.
    pub search_s_max: f64,
}

/// What to do next.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// Make a trial, and [`record`](Search::record) what came of it.
    Measure {
        /// The load to send.
        load: f64,
        /// How long, in seconds.
        duration_s: f64,
    },
    /// It is over: an outcome a goal, in the order of the goals.
    Done(Vec<Outcome>),
}

/// A search for the loads of several goals at once (draft-ietf-bmwg-mlrsearch). All goals learn from all trials.
#[derive(Clone, Debug)]
pub struct Search {
    goals: Vec<Hunt>,
    trials: Trials,
    range: LoadRange,
    /// What the sender can send at most, once it has failed to send more.
    sender_max: Option<f64>,
    /// Invalid trials by the bits of their load: how many, and the most that one of them sent.
    failed: HashMap<u64, (u32, f64)>,
    spent_s: f64,
    count: u32,
}

/// A goal and the state of the search for it.
#[derive(Clone, Debug)]
struct Hunt {
    goal: Goal,
    /// What leads to the goal, coarsest first, and the goal itself.
    rungs: Vec<Rung>,
    /// The goal itself.
    last: Rung,
    /// How far each rung has stepped out to find a missing bound.
    reach: Vec<Reach>,
}

/// Steps away from a bound, in search of the other one.
#[derive(Clone, Copy, Default, Debug)]
struct Reach {
    /// The bound that the last step started from.
    from: f64,
    /// The last step, in widths.
    widths: f64,
}

impl Search {
    /// A search that has tried nothing yet.
    ///
    /// # Errors
    /// Without goals, with a goal out of its ranges, or with a range of loads that is none.
    pub fn new(goals: Vec<Goal>, range: LoadRange) -> Result<Self, SearchError> {
        let ordered = range.min > 0.0 && range.min < range.max && range.max.is_finite();
        if !ordered {
            return Err(SearchError::Range { min: range.min, max: range.max });
        }
        if !(range.search_s_max.is_finite() && range.search_s_max > 0.0) {
            return Err(SearchError::Time);
        }
        if goals.is_empty() {
            return Err(SearchError::NoGoals);
        }
        let hunt = |goal: Goal| {
            goal.check().map_err(SearchError::Goal)?;
            let rungs = goal.ladder();
            Ok(Hunt { reach: vec![Reach::default(); rungs.len()], last: goal.rung(0), goal, rungs })
        };
        Ok(Self {
            goals: goals.into_iter().map(hunt).collect::<Result<_, _>>()?,
            trials: Trials::default(),
            range: LoadRange { min: rounded(range.min), max: rounded(range.max), ..range },
            sender_max: None,
            failed: HashMap::new(),
            spent_s: 0.0,
            count: 0,
        })
    }

    /// What to do next. Asking again without recording anything gives the same answer.
    #[allow(clippy::should_implement_trait, reason = "a step depends on what was recorded: no iterator")]
    pub fn next(&mut self) -> Step {
        let over = self.spent_s >= self.range.search_s_max || self.count >= TRIALS_MAX;
        if !over && let Some((load, duration_s)) = self.candidate() {
            return Step::Measure { load, duration_s };
        }
        Step::Done(self.goals.iter().map(|hunt| self.outcome(hunt)).collect())
    }

    /// What came of a trial at `load` that was to last `duration_s` seconds.
    pub fn record(&mut self, load: f64, duration_s: f64, result: TrialResult) {
        self.count += 1;
        self.spent_s += duration_s;
        if let Some(loss_ratio) = result.loss_ratio() {
            self.trials.add(load, Trial { duration_s, loss_ratio });
            return;
        }
        let achieved = match result {
            TrialResult::Invalid { achieved: Some(achieved) } if achieved.is_finite() => achieved.min(load),
            TrialResult::Invalid { .. } | TrialResult::Valid { .. } => 0.0,
        };
        let (tries, most) = self.failed.entry(load.to_bits()).or_insert((0, 0.0));
        *tries += 1;
        *most = most.max(achieved);
        let (tries, most) = (*tries, *most);
        let valid = self.trials.at(load).map_or(0, |at| at.trials.len());
        if tries >= INVALID_TRIES && u64::from(tries) > valid as u64 {
            self.lower_max(load, most);
        }
    }

    /// Trials recorded so far, invalid ones included, and how long they were to take together, in seconds.
    #[must_use]
    pub fn spent(&self) -> (u32, f64) {
        (self.count, self.spent_s)
    }

    /// The greatest load in use: what was allowed, or what the sender can send.
    #[must_use]
    pub fn max_load(&self) -> f64 {
        self.sender_max.unwrap_or(self.range.max)
    }

    /// Whether the sender failed to send what the search wanted.
    #[must_use]
    pub fn limited_by_sender(&self) -> bool {
        self.sender_max.is_some()
    }

    /// The sender cannot send `load`: from now on at most what it did send, and less than `load` in any case. Where it
    /// sent nothing to speak of, a fifth less.
    fn lower_max(&mut self, load: f64, achieved: f64) {
        let step = self.goals.iter().map(|hunt| hunt.goal.width).fold(f64::INFINITY, f64::min);
        let wanted = if achieved > load / 2.0 { achieved } else { load * 0.8 };
        self.sender_max = Some(rounded(wanted.min(load * (1.0 - step))).min(self.max_load()));
    }

    /// The next load, and how long to try it: rung by rung, and on each rung goal by goal.
    fn candidate(&mut self) -> Option<(f64, f64)> {
        let (min, max) = (self.range.min, self.max_load());
        if max < min {
            return None;
        }
        let rungs = self.goals.iter().map(|hunt| hunt.rungs.len()).max().unwrap_or(0);
        for from_top in (0..rungs).rev() {
            for hunt in &mut self.goals {
                let Some(at) = hunt.rungs.len().checked_sub(from_top + 1) else { continue };
                let trial_s = hunt.rungs.get(at)?.trial_s;
                if let Some(load) = hunt.candidate(at, &self.trials, min, max) {
                    return Some((load, trial_s));
                }
            }
        }
        None
    }

    fn outcome(&self, hunt: &Hunt) -> Outcome {
        let (min, max) = (self.range.min, self.max_load());
        let rung = &hunt.last;
        let (lower, upper) = bounds(&self.trials, rung);
        let limit = if self.limited_by_sender() { End::Sender } else { End::MaxLoad };
        let end = match (lower, upper) {
            (Some(lower), Some(upper)) if is_narrow(lower, upper, rung.width) => End::Found,
            (Some(lower), _) if lower >= max => limit,
            (None, Some(upper)) if upper <= min => End::MinLoad,
            _ if max < min => limit,
            _ => End::OutOfTime,
        };
        let throughput = |load| Some(conditional_throughput(self.trials.at(load)?, rung));
        Outcome {
            goal: hunt.goal.clone(),
            end,
            lower: lower.and_then(|load| self.bound(load)),
            upper: upper.and_then(|load| self.bound(load)),
            conditional_throughput: lower.and_then(throughput),
        }
    }

    fn bound(&self, load: f64) -> Option<Bound> {
        let trials = &self.trials.at(load)?.trials;
        let losses = || trials.iter().map(|trial| trial.loss_ratio);
        Some(Bound {
            load,
            trials: u32::try_from(trials.len()).unwrap_or(u32::MAX),
            duration_s: trials.iter().map(|trial| trial.duration_s).sum(),
            loss_ratio_min: losses().fold(f64::INFINITY, f64::min),
            loss_ratio_max: losses().fold(0.0, f64::max),
        })
    }
}

impl Hunt {
    /// The load that brings rung `at` on, or `None` when it has what it wants or nothing is left to try.
    fn candidate(&mut self, at: usize, trials: &Trials, min: f64, max: f64) -> Option<f64> {
        let rung = *self.rungs.get(at)?;
        let before = at.checked_sub(1).and_then(|before| self.rungs.get(before));
        let (coarse_lower, coarse_upper) = before.map_or((None, None), |before| bounds(trials, before));
        let reach = self.reach.get_mut(at)?;
        let load = match bounds(trials, &rung) {
            (Some(lower), _) if lower >= max => return None,
            (None, Some(upper)) if upper <= min => return None,
            (Some(lower), Some(upper)) if is_narrow(lower, upper, rung.width) => return None,
            // What the coarser rung found is where this one's bounds should be.
            (Some(lower), Some(upper)) => {
                let inside = |load: &f64| lower < *load && *load < upper;
                let known = coarse_lower.filter(inside).or(coarse_upper.filter(inside));
                known.unwrap_or_else(|| (lower * upper).sqrt())
            }
            (Some(lower), None) => {
                let known = coarse_upper.filter(|load| *load > lower);
                known.unwrap_or_else(|| {
                    lower / (1.0 - rung.width).powf(reach.step(lower, self.goal.expansion))
                })
            }
            (None, Some(upper)) => {
                let known = coarse_lower.filter(|load| *load < upper).or_else(|| first_guess(trials, upper));
                known.unwrap_or_else(|| {
                    upper * (1.0 - rung.width).powf(reach.step(upper, self.goal.expansion))
                })
            }
            (None, None) => coarse_lower.or(coarse_upper).unwrap_or(max),
        };
        Some(rounded(load).clamp(min, max))
    }
}

impl Reach {
    /// The next step away from this bound, in widths: longer each time the bound has followed.
    fn step(&mut self, from: f64, expansion: f64) -> f64 {
        if self.from != from {
            self.widths = if self.from == 0.0 { 1.0 } else { self.widths * expansion };
            self.from = from;
        }
        self.widths
    }
}

/// When all that is known is that `upper` is too much: what came through there, the best first guess of the capacity.
fn first_guess(trials: &Trials, upper: f64) -> Option<f64> {
    let lowest = trials.loads().first()?;
    let loss_ratio = lowest.trials.first()?.loss_ratio;
    let guess = rounded(upper * (1.0 - loss_ratio));
    (lowest.load >= upper && guess < upper && guess > 0.0).then_some(guess)
}

/// Whether the bounds are close enough; a hair of tolerance, as loads are rounded.
fn is_narrow(lower: f64, upper: f64, width: f64) -> bool {
    1.0 - lower / upper <= width + 2e-6
}

/// The load with six significant digits: what a person would type, and the same number in every report.
fn rounded(load: f64) -> f64 {
    format!("{load:.5e}").parse().unwrap_or(load)
}

/// A search that cannot start.
#[derive(Clone, PartialEq, Debug)]
pub enum SearchError {
    /// There is nothing to search for.
    NoGoals,
    /// A goal is out of its ranges.
    Goal(GoalError),
    /// The loads are not above 0 and rising.
    Range {
        /// The least load given.
        min: f64,
        /// The greatest load given.
        max: f64,
    },
    /// The search has no time.
    Time,
}

impl fmt::Display for SearchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGoals => f.write_str("nothing to search for: no goals"),
            Self::Goal(error) => error.fmt(f),
            Self::Range { min, max } => {
                write!(f, "loads from {min} to {max} are no range: 0 < least < greatest")
            }
            Self::Time => f.write_str("the time of a search must be above 0 s"),
        }
    }
}

impl std::error::Error for SearchError {}
