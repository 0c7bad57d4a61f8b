//! Two reports side by side: what changed, beyond what their repeats differ anyway.

mod environment;
mod show;

pub use environment::{Difference, differences};

use crate::{Better, Metric, Report, Row, Unit};
use serde::Serialize;
use std::collections::BTreeMap;

/// Two reports side by side.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// The kinds of the reports, before and after.
    pub kinds: [String; 2],
    /// A line for each metric that both reports have.
    pub changes: Vec<Change>,
    /// Names of rows that only the first report has.
    pub only_before: Vec<String>,
    /// Names of rows that only the second report has.
    pub only_after: Vec<String>,
    /// What differs about where they ran.
    pub environment: Vec<Difference>,
}

/// What became of one metric.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Change {
    /// The row's name; of a row beside the results, its list's name and a slash stand before it.
    pub row: String,
    /// The metric's name.
    pub metric: String,
    /// Its value in the first report.
    pub before: Metric,
    /// Its value in the second report.
    pub after: Metric,
    /// The change in percent of the first value; `None` from 0 to something else.
    pub percent: Option<f64>,
    /// Whether that is good.
    pub verdict: Verdict,
    /// How much worse it became, in percent of the first value, after both spreads are taken off; 0 when not at all.
    /// `None`: from 0 to something, beyond any percentage.
    pub worse_percent: Option<f64>,
}

/// Whether a change is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Better, and the spreads do not overlap.
    Better,
    /// Worse, and the spreads do not overlap.
    Worse,
    /// The spreads overlap, or nothing changed.
    Same,
    /// The value says what was done, not how well.
    Neither,
}

impl Comparison {
    /// Compares the rows of the same name, and of these the metrics of the same name.
    #[must_use]
    pub fn of(before: &Report, after: &Report) -> Self {
        let (rows_before, rows_after) = (rows(before), rows(after));
        let missing_in = |others: &BTreeMap<String, Row>, rows: &BTreeMap<String, Row>| {
            rows.keys().filter(|name| !others.contains_key(*name)).cloned().collect()
        };
        let both = rows_before.iter().filter_map(|(name, row)| Some((name, row, rows_after.get(name)?)));
        let changes = both.flat_map(|(name, before, after)| {
            let metrics = before
                .metrics
                .iter()
                .filter_map(|(key, metric)| Some((key, metric, after.metrics.get(key)?)));
            metrics.map(|(key, before, after)| Change::of(name, key, *before, *after)).collect::<Vec<_>>()
        });
        Self {
            kinds: [before.kind.clone(), after.kind.clone()],
            changes: changes.collect(),
            only_before: missing_in(&rows_after, &rows_before),
            only_after: missing_in(&rows_before, &rows_after),
            environment: differences(&before.environment, &after.environment),
        }
    }

    /// The changes that are worse by more than this many percent beyond both spreads.
    pub fn worse_than(&self, percent: f64) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| {
            change.verdict == Verdict::Worse && change.worse_percent.is_none_or(|worse| worse > percent)
        })
    }

    /// The comparison as a table; `wide`: no line is broken, whatever the terminal's width.
    #[must_use]
    pub fn text(&self, wide: bool) -> String {
        show::render(self, wide)
    }
}

impl Change {
    fn of(row: &str, name: &str, before: Metric, after: Metric) -> Self {
        // Reports of another version may call the same thing better the other way round: the later one knows.
        let gap = match after.better {
            Better::Less => low(&after) - high(&before),
            Better::More => low(&before) - high(&after),
            Better::Neither => 0.0,
        };
        let gain = match after.better {
            Better::Less => low(&before) - high(&after),
            Better::More => low(&after) - high(&before),
            Better::Neither => 0.0,
        };
        let verdict = match after.better {
            Better::Neither => Verdict::Neither,
            Better::Less | Better::More if gap > 0.0 => Verdict::Worse,
            Better::Less | Better::More if gain > 0.0 => Verdict::Better,
            Better::Less | Better::More => Verdict::Same,
        };
        let share = |part: f64| match before.value {
            0.0 if part == 0.0 => Some(0.0),
            0.0 => None,
            value => Some(part / value.abs() * 100.0),
        };
        Self {
            row: row.to_string(),
            metric: name.to_string(),
            percent: share(after.value - before.value),
            worse_percent: share(gap.max(0.0)),
            verdict,
            before,
            after,
        }
    }
}

/// All rows by name, and each distribution's percentiles as a row unless the rows have latencies themselves.
fn rows(report: &Report) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    for (section, list) in report.sections() {
        // Rows without metrics are lists of facts: a search's trials.
        for row in list.iter().filter(|row| !row.metrics.is_empty()) {
            let name = if section.is_empty() { row.name.clone() } else { format!("{section}/{}", row.name) };
            rows.insert(name, row.clone());
        }
    }
    // Many commands have their latencies in the results as well: once is enough.
    if rows.values().any(|row: &Row| row.metrics.keys().any(|name| name.contains("latency"))) {
        return rows;
    }
    for histogram in report.histograms.iter().filter(|histogram| histogram.unit == Unit::Ns) {
        let mut row = Row::new(format!("latency/{}", histogram.name));
        for percentile in crate::Histogram::SHOWN {
            if let Some(value) = histogram.at(percentile) {
                row = row.metric(&format!("p{percentile}"), Metric::less(value as f64, Unit::Ns));
            }
        }
        rows.insert(row.name.clone(), row);
    }
    rows
}

fn low(metric: &Metric) -> f64 {
    metric.low.map_or(metric.value, |low| low.min(metric.value))
}

fn high(metric: &Metric) -> f64 {
    metric.high.map_or(metric.value, |high| high.max(metric.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Environment;

    fn report(metrics: &[(&str, Metric)]) -> Report {
        let mut report = Report::new("send", Environment::default());
        let row = Row::new("nat");
        report.results = vec![metrics.iter().fold(row, |row, (name, metric)| row.metric(name, *metric))];
        report
    }

    fn change(before: Metric, after: Metric) -> Change {
        Comparison::of(&report(&[("x", before)]), &report(&[("x", after)])).changes.remove(0)
    }

    #[test]
    fn each_metric_has_its_own_good_direction() {
        let (low, high) = (Metric::less(100.0, Unit::Ns), Metric::less(110.0, Unit::Ns));
        assert_eq!(change(low, high).verdict, Verdict::Worse);
        assert_eq!(change(high, low).verdict, Verdict::Better);
        let (low, high) = (Metric::more(100.0, Unit::Pps), Metric::more(110.0, Unit::Pps));
        assert_eq!(change(low, high).verdict, Verdict::Better);
        let worse = change(high, low);
        assert_eq!(worse.verdict, Verdict::Worse);
        assert!((worse.percent.unwrap() + 9.0909).abs() < 1e-3, "{worse:?}");
        let neutral = change(Metric::neutral(1.0, Unit::Count), Metric::neutral(9.0, Unit::Count));
        assert_eq!((neutral.verdict, neutral.worse_percent), (Verdict::Neither, Some(0.0)));
    }

    #[test]
    fn a_change_within_the_spread_is_none() {
        let before = Metric::less(100.0, Unit::Ns).spread(95.0, 108.0);
        let after = Metric::less(110.0, Unit::Ns).spread(107.0, 115.0);
        assert_eq!(change(before, after).verdict, Verdict::Same);
        // 120 at its best is 12 above 108 at the worst.
        let far = change(before, Metric::less(125.0, Unit::Ns).spread(120.0, 130.0));
        assert_eq!((far.verdict, far.worse_percent), (Verdict::Worse, Some(12.0)));
    }

    #[test]
    fn only_what_is_worse_by_more_than_the_limit_fails() {
        let before =
            report(&[("cost", Metric::less(100.0, Unit::Ns)), ("rate", Metric::more(50.0, Unit::Pps))]);
        let after =
            report(&[("cost", Metric::less(104.0, Unit::Ns)), ("rate", Metric::more(40.0, Unit::Pps))]);
        let comparison = Comparison::of(&before, &after);
        let names = |percent| comparison.worse_than(percent).map(|c| c.metric.as_str()).collect::<Vec<_>>();
        assert_eq!((names(3.0), names(5.0), names(20.0)), (vec!["cost", "rate"], vec!["rate"], vec![]));
        assert_eq!(Comparison::of(&after, &before).worse_than(0.0).count(), 0);
    }

    #[test]
    fn from_nothing_to_something_is_beyond_any_percentage() {
        let lost = change(Metric::less(0.0, Unit::Count), Metric::less(7.0, Unit::Count));
        assert_eq!((lost.percent, lost.worse_percent, lost.verdict), (None, None, Verdict::Worse));
        let none = change(Metric::less(0.0, Unit::Count), Metric::less(0.0, Unit::Count));
        assert_eq!((none.percent, none.verdict), (Some(0.0), Verdict::Same));
        let comparison = Comparison::of(
            &report(&[("lost", Metric::less(0.0, Unit::Count))]),
            &report(&[("lost", Metric::less(7.0, Unit::Count))]),
        );
        assert_eq!(comparison.worse_than(1e9).count(), 1);
    }

    #[test]
    fn rows_beside_the_results_and_latencies_are_compared_too() {
        let text = r#"{"schema":"ringlead-bench/1","tables":[{"name":"ours","metrics":
            {"lookup":{"value":46,"unit":"ns","better":"less"}}}],"histograms":[{"name":"load","unit":"ns","count":1,
            "min":9,"max":9,"mean":9,"stddev":0,"percentiles":[{"percentile":100,"value":9,"count":1}]}]}"#;
        let before: Report = serde_json::from_str(text).unwrap();
        let mut after = before.clone();
        after.histograms[0].percentiles[0].value = 12;
        after.results.push(Row::new("new").metric("x", Metric::less(1.0, Unit::Ns)));
        after.results.push(Row::new("only facts").field("load", 7));
        let comparison = Comparison::of(&before, &after);
        let names: Vec<&str> = comparison.changes.iter().map(|change| change.row.as_str()).collect();
        assert!(names.contains(&"tables/ours") && names.contains(&"latency/load"), "{names:?}");
        assert_eq!(comparison.only_after, ["new"]);
        assert!(comparison.only_before.is_empty());
        assert!(comparison.worse_than(30.0).count() > 0);
        let with_latency = Row::new("load").metric("latency-p99", Metric::less(9.0, Unit::Ns));
        after.results.push(with_latency);
        assert!(rows(&after).contains_key("load") && !rows(&after).contains_key("latency/load"));
    }
}
