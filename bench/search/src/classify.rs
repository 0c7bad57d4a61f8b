//! Whether a load is a lower or an upper bound (draft-ietf-bmwg-mlrsearch, appendix A), and what it surely forwards
//! (appendix B).

use crate::goal::Rung;
use crate::trials::{AtLoad, Trial, Trials};

/// What the trials at a load say about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// Good: the answer is this load or above it.
    Lower,
    /// Bad: the answer lies below it.
    Upper,
    /// More trials could still say either.
    Undecided,
}

/// What the trials at one load say under the measure of `rung`.
pub(crate) fn classify(at: &AtLoad, rung: &Rung) -> Class {
    let seconds = |full: bool, good: bool| -> f64 {
        let of_kind =
            |trial: &&Trial| is_full(trial, rung) == full && (trial.loss_ratio <= rung.loss_ratio) == good;
        at.trials.iter().filter(of_kind).map(|trial| trial.duration_s).sum()
    };
    // Short trials cannot make a load good. Bad ones count against it, beyond those that the goal bears anyway beside
    // the good short ones.
    let borne_s = seconds(false, true) * rung.exceed_ratio / (1.0 - rung.exceed_ratio);
    let good_s = seconds(true, true);
    let bad_s = seconds(true, false) + (seconds(false, false) - borne_s).max(0.0);

    let whole_s = (good_s + bad_s).max(rung.duration_sum_s);
    let bearable_s = whole_s * rung.exceed_ratio;
    // What is missing of the sum may all turn out good, or all bad.
    match (bad_s <= bearable_s, whole_s - good_s <= bearable_s) {
        (true, true) => Class::Lower,
        (false, false) => Class::Upper,
        (true, false) | (false, true) => Class::Undecided,
    }
}

/// The relevant bounds of a rung: the least upper bound, and the greatest lower bound below it. A lower bound above an
/// upper one is loss inversion and not believed.
pub(crate) fn bounds(trials: &Trials, rung: &Rung) -> (Option<f64>, Option<f64>) {
    let mut lower = None;
    for at in trials.loads() {
        match classify(at, rung) {
            Class::Lower => lower = Some(at.load),
            Class::Upper => return (lower, Some(at.load)),
            Class::Undecided => {}
        }
    }
    (lower, None)
}

/// The load less the loss that the exceed ratio leaves to the better trials. For a lower bound this is at least
/// `load * (1 - loss_ratio)`.
pub(crate) fn conditional_throughput(at: &AtLoad, rung: &Rung) -> f64 {
    let mut full: Vec<Trial> = at.trials.iter().copied().filter(|trial| is_full(trial, rung)).collect();
    full.sort_by(|one, other| one.loss_ratio.total_cmp(&other.loss_ratio));
    let full_s: f64 = full.iter().map(|trial| trial.duration_s).sum();
    let mut remaining_s = full_s.max(rung.duration_sum_s) * (1.0 - rung.exceed_ratio);
    let mut loss_ratio = 0.0;
    for trial in full {
        if remaining_s <= 0.0 {
            break;
        }
        loss_ratio = trial.loss_ratio;
        remaining_s -= trial.duration_s;
    }
    // Time that was never measured counts as all lost. Sums of durations are not exact.
    if remaining_s > rung.duration_sum_s * 1e-9 {
        loss_ratio = 1.0;
    }
    at.load * (1.0 - loss_ratio)
}

/// Whether the trial is long enough to decide; a hair of tolerance, as rungs' durations are computed.
fn is_full(trial: &Trial, rung: &Rung) -> bool {
    trial.duration_s >= rung.trial_s * (1.0 - 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNG: Rung =
        Rung { loss_ratio: 0.005, exceed_ratio: 0.5, trial_s: 1.0, duration_sum_s: 4.0, width: 0.005 };

    fn at(trials: &[(f64, f64)]) -> AtLoad {
        let trials =
            trials.iter().map(|&(duration_s, loss_ratio)| Trial { duration_s, loss_ratio }).collect();
        AtLoad { load: 1000.0, trials }
    }

    #[test]
    fn half_of_the_sum_decides_under_an_exceed_ratio_of_one_half() {
        for (trials, class) in [
            (&[][..], Class::Undecided),
            (&[(1.0, 0.0)], Class::Undecided),
            (&[(1.0, 0.0), (1.0, 0.005)], Class::Lower),
            (&[(1.0, 0.1), (1.0, 0.1)], Class::Undecided),
            (&[(1.0, 0.1), (1.0, 0.1), (1.0, 0.1)], Class::Upper),
            (&[(1.0, 0.1), (1.0, 0.1), (1.0, 0.0), (1.0, 0.0)], Class::Lower),
        ] {
            assert_eq!(classify(&at(trials), &RUNG), class, "{trials:?}");
        }
    }

    #[test]
    fn short_trials_count_against_a_load_only() {
        assert_eq!(classify(&at(&[(0.5, 0.0); 100]), &RUNG), Class::Undecided);
        assert_eq!(classify(&at(&[(0.5, 0.1); 5]), &RUNG), Class::Upper);
        // Each good short one excuses a bad one.
        let mixed: Vec<_> = [(0.5, 0.1), (0.5, 0.0)].repeat(10);
        assert_eq!(classify(&at(&mixed), &RUNG), Class::Undecided);
    }

    #[test]
    fn without_an_exceed_ratio_one_bad_trial_condemns() {
        let strict = Rung { exceed_ratio: 0.0, ..RUNG };
        assert_eq!(classify(&at(&[(1.0, 0.1)]), &strict), Class::Upper);
        assert_eq!(classify(&at(&[(1.0, 0.0); 3]), &strict), Class::Undecided);
        assert_eq!(classify(&at(&[(1.0, 0.0); 4]), &strict), Class::Lower);
    }

    #[test]
    fn a_lower_bound_above_an_upper_one_is_not_believed() {
        let mut trials = Trials::default();
        for (load, loss_ratio) in [(10.0, 0.0), (20.0, 0.5), (30.0, 0.0)] {
            (0..3).for_each(|_| trials.add(load, Trial { duration_s: 2.0, loss_ratio }));
        }
        assert_eq!(bounds(&trials, &RUNG), (Some(10.0), Some(20.0)));
    }

    #[test]
    fn throughput_is_what_the_better_half_forwards() {
        let measured = at(&[(1.0, 0.004), (1.0, 0.001), (1.0, 0.2), (1.0, 0.3)]);
        assert!((conditional_throughput(&measured, &RUNG) - 996.0).abs() < 1e-9);
        // One second of the two that count is missing.
        assert!(conditional_throughput(&at(&[(1.0, 0.0)]), &RUNG).abs() < 1e-9);
    }
}
