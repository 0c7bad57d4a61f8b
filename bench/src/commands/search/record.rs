//! Searches as part of a report.

use super::drive::Told;
use ringlead_report::{Metric, Report, Row, Unit};
use ringlead_search::{End, Outcome, Repeats, SPREAD_WARN_PERCENT, TrialResult};
use serde_json::Value;

/// Adds the answers of all searches to one goal. `probed`: the greatest rate was the sender's own limit.
pub(super) fn add_goal(report: &mut Report, outcomes: &[Outcome], bits_per_frame: f64, probed: bool) {
    let Some(first) = outcomes.first() else { return };
    let goal = &first.goal;
    let ends: Vec<&str> = outcomes.iter().map(|outcome| end(outcome, probed).text()).collect();
    let all_alike = ends.windows(2).all(|pair| pair.first() == pair.last());
    let mut row = Row::new(&goal.name)
        .field("loss-borne", format!("{} %", goal.loss_ratio * 100.0))
        .field("searches", outcomes.len())
        .field("end", if all_alike { first_of(&ends) } else { ends.join("; ") });
    let upper = outcomes.iter().filter_map(|outcome| Some(outcome.upper?.load));
    if let Some(upper) = Metric::median(&upper.collect::<Vec<_>>(), Unit::Pps, ringlead_report::Better::More)
    {
        row = row.metric("first-bad-rate", upper);
    }
    let through: Vec<f64> = outcomes.iter().filter_map(|outcome| outcome.conditional_throughput).collect();
    if let Some(through) = Metric::median(&through, Unit::Pps, ringlead_report::Better::More) {
        row = row.metric("conditional-throughput", through);
    }
    match Repeats::of(outcomes) {
        Some(repeats) => {
            let Repeats { median, low, high, .. } = repeats;
            row = row.metric("rate", Metric::more(median, Unit::Pps).spread(low, high));
            let bits = |pps: f64| pps * bits_per_frame;
            row = row.metric("rate-l2", Metric::more(bits(median), Unit::Bps).spread(bits(low), bits(high)));
            warn(report, &repeats);
        }
        None => report.warnings.push(format!("{}: no rate was found good: {}", goal.name, ends.join("; "))),
    }
    if outcomes.iter().any(|outcome| end(outcome, probed) == End::Sender) {
        let name = &goal.name;
        report.warnings.push(format!("{name} is limited by the sender: what is tested may do more"));
    }
    report.results.push(row);
    report
        .extra
        .insert(format!("outcomes {}", goal.name), serde_json::to_value(outcomes).unwrap_or(Value::Null));
}

/// How the search ended; where the greatest rate was what the sender can send, that limit is the sender's.
fn end(outcome: &Outcome, probed: bool) -> End {
    if probed && outcome.end == End::MaxLoad { End::Sender } else { outcome.end }
}

fn first_of(ends: &[&str]) -> String {
    ends.first().copied().unwrap_or_default().to_owned()
}

fn warn(report: &mut Report, repeats: &Repeats) {
    let (goal, spread) = (&repeats.goal, repeats.spread_percent());
    if spread > SPREAD_WARN_PERCENT {
        report.warnings.push(format!(
            "{goal}: the searches lie {spread:.1} % apart, more than {SPREAD_WARN_PERCENT} %: this machine is too noisy for a single figure"
        ));
    }
    if repeats.missing > 0 {
        report.warnings.push(format!("{goal}: {} searches found no rate that is good", repeats.missing));
    }
}

/// Adds every trial, as rows of plain facts.
pub(super) fn add_trials(report: &mut Report, trials: &[Told]) {
    let row = |(number, told): (usize, &Told)| {
        let mut row = Row::new(format!("{}.{}", told.search, number + 1))
            .field("load_pps", told.load)
            .field("duration_s", told.duration_s)
            .field("invalid", told.invalid.clone().unwrap_or_default());
        if let TrialResult::Valid { sent, received } = told.result {
            row = row.field("sent", sent).field("received", received);
            row = row.field("loss_percent", told.result.loss_ratio().unwrap_or(0.0) * 100.0);
        }
        row
    };
    let rows: Vec<Row> = trials.iter().enumerate().map(row).collect();
    report.extra.insert("trials".to_owned(), serde_json::to_value(rows).unwrap_or(Value::Null));
}

/// Whether this is an answer that can be quoted, be it as "at least".
pub(super) fn is_answer(outcome: &Outcome) -> bool {
    outcome.lower.is_some() && outcome.end != End::OutOfTime
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringlead_report::Environment;
    use ringlead_search::{Bound, Goal};

    fn outcome(load: Option<f64>, end: End) -> Outcome {
        let bound =
            |load| Bound { load, trials: 9, duration_s: 9.0, loss_ratio_min: 0.0, loss_ratio_max: 0.0 };
        let upper = load.map(|load| bound(load * 1.005));
        Outcome {
            goal: Goal::new("NDR", 0.0),
            end,
            lower: load.map(bound),
            upper,
            conditional_throughput: load,
        }
    }

    fn added(outcomes: &[Outcome], probed: bool) -> Report {
        let mut report = Report::new("search", Environment::default());
        add_goal(&mut report, outcomes, 512.0, probed);
        report
    }

    #[test]
    fn the_median_of_the_searches_is_the_rate_in_both_units() {
        let loads = [1e6, 0.99e6, 1.01e6].map(|load| outcome(Some(load), End::Found));
        let report = added(&loads, true);
        let row = &report.results[0];
        assert_eq!((row.name.as_str(), row.metrics["rate"].value), ("NDR", 1e6));
        assert_eq!((row.metrics["rate"].low, row.metrics["rate"].high), (Some(0.99e6), Some(1.01e6)));
        assert_eq!((row.metrics["rate-l2"].value, row.metrics["rate-l2"].unit), (512e6, Unit::Bps));
        assert_eq!(row.fields["end"], "found");
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    }

    #[test]
    fn searches_far_apart_and_the_senders_limit_are_warned_of() {
        let report = added(&[outcome(Some(1e6), End::Found), outcome(Some(0.9e6), End::Sender)], false);
        assert!(
            report.warnings.iter().any(|warning| warning.contains("10.5 % apart")),
            "{:?}",
            report.warnings
        );
        assert!(report.warnings.iter().any(|warning| warning.contains("limited by the sender")));
        // The greatest load is the sender's limit only where it was found by trying.
        let at_max = [outcome(Some(1e6), End::MaxLoad)];
        assert_eq!(added(&at_max, true).warnings.len(), 1);
        assert!(added(&at_max, false).warnings.is_empty());
    }

    #[test]
    fn no_answer_is_no_rate() {
        let none = outcome(None, End::MinLoad);
        assert!(!is_answer(&none) && !is_answer(&outcome(Some(1.0), End::OutOfTime)));
        assert!(is_answer(&outcome(Some(1.0), End::Sender)));
        let report = added(&[none], false);
        assert!(!report.results[0].metrics.contains_key("rate") && report.warnings.len() == 1);
    }

    #[test]
    fn every_trial_is_in_the_record() {
        let mut report = Report::new("search", Environment::default());
        let told = |result, invalid: Option<&str>| Told {
            search: 1,
            load: 5e5,
            duration_s: 1.0,
            result,
            invalid: invalid.map(str::to_owned),
        };
        let valid = TrialResult::Valid { sent: 200, received: 199 };
        add_trials(
            &mut report,
            &[told(valid, None), told(TrialResult::Invalid { achieved: None }, Some("late"))],
        );
        let sections = report.sections();
        let (name, rows) = &sections[0];
        assert_eq!((*name, rows.len(), rows[0].name.as_str()), ("trials", 2, "1.1"));
        assert_eq!(
            (&rows[0].fields["loss_percent"], &rows[1].fields["invalid"]),
            (&0.5.into(), &"late".into())
        );
    }
}
