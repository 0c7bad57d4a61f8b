//! The record of a run: everything that is known about it, in one JSON object.

use crate::{Environment, Histogram, Metric};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The name of this layout. Fields may be added under the same name; a field that changes its meaning changes the name.
pub const SCHEMA: &str = "ringlead-bench/1";

/// The record of a run.
///
/// Reading tolerates fields that it does not know: they are kept in `extra` and written again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The command that made it: `send`, `search`, `core`, `tcp`, …
    #[serde(default)]
    pub kind: String,
    /// Where it ran.
    #[serde(default)]
    pub environment: Environment,
    /// What was measured; rows of two reports are matched by name.
    #[serde(default)]
    pub results: Vec<Row>,
    /// Rates over time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Series>,
    /// Latencies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histograms: Vec<Histogram>,
    /// Frames or requests that were lost, by place and reason. Empty: nothing was lost or loss is not this run's matter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loss: Vec<Loss>,
    /// What was wrong with what came back, by kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Examples>,
    /// What a reader has to know before believing the figures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What only one kind of run has, as it wrote it.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Report {
    /// An empty record of a run of this kind.
    #[must_use]
    pub fn new(kind: &str, environment: Environment) -> Self {
        Self {
            schema: SCHEMA.to_string(),
            kind: kind.to_string(),
            environment,
            results: Vec::new(),
            series: Vec::new(),
            histograms: Vec::new(),
            loss: Vec::new(),
            findings: Vec::new(),
            warnings: Vec::new(),
            extra: Map::new(),
        }
    }

    /// The warnings, and what the environment warns of.
    pub(crate) fn all_warnings(&self) -> Vec<&str> {
        let debug =
            "this is a debug build (opt-level 0): its rates and times say nothing about a release build";
        let debug = self.environment.is_debug().then_some(debug);
        debug.into_iter().chain(self.warnings.iter().map(String::as_str)).collect()
    }

    /// All rows under the name of their list: `results`, and those lists of `extra` that hold rows. Of `results` the
    /// name is empty. Empty lists are left out.
    #[must_use]
    pub fn sections(&self) -> Vec<(&str, Cow<'_, [Row]>)> {
        let rows = |value: &Value| serde_json::from_value::<Vec<Row>>(value.clone()).ok();
        let extra = self.extra.iter().filter(|(_, value)| value.is_array());
        let extra = extra.filter_map(|(name, value)| Some((name.as_str(), Cow::Owned(rows(value)?))));
        let results = std::iter::once(("", Cow::Borrowed(self.results.as_slice())));
        results.chain(extra).filter(|(_, rows)| !rows.is_empty()).collect()
    }
}

/// One result: what was measured under one name.
///
/// In JSON the fields lie beside `name`: `{"name": "…", "mode": "nat", "metrics": {"sent": {"value": …}}}`.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Names the row in its report; the same measurement has the same name in every report.
    pub name: String,
    /// What was measured: mode, family, flows, whether the trial is valid, and other plain facts.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
    /// The measured values by name, in kebab-case: `received`, `latency-p99`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, Metric>,
}

impl Row {
    /// A row without fields or metrics.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// With a plain fact. `name` and `metrics` are taken by the row itself and are not valid here.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        debug_assert!(!["name", "metrics"].contains(&name), "a row has its own {name}");
        self.fields.insert(name.to_string(), value.into());
        self
    }

    /// With a measured value.
    #[must_use]
    pub fn metric(mut self, name: &str, metric: Metric) -> Self {
        self.metrics.insert(name.to_string(), metric);
        self
    }
}

/// Values over time: one chart.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Series {
    /// The chart's title.
    pub name: String,
    /// What the values count.
    #[serde(default)]
    pub unit: crate::Unit,
    /// The end of each interval, in seconds since the run began, rising.
    pub at_s: Vec<f64>,
    /// One value an interval each: offered, sent, received.
    pub lines: Vec<Line>,
    /// What happened, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
}

/// One line of a chart.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// A value an interval, as many as the series has times; `None` where nothing is known.
    pub values: Vec<Option<f64>>,
}

/// An event in a chart.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// Seconds since the run began.
    pub at_s: f64,
    /// What happened.
    pub text: String,
}

/// Lost frames or requests under one reason.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Loss {
    /// Where.
    #[serde(default)]
    pub place: Place,
    /// Why, as the one who lost them calls it: a drop reason, a counter's name, an error class.
    pub reason: String,
    /// How many; `None` when nobody could be asked.
    #[serde(default)]
    pub count: Option<u64>,
}

/// Where a frame was lost.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Between the sender and ringlead's packet path: transmit errors, full receive rings.
    Before,
    /// In ringlead, which says why.
    In,
    /// Between ringlead and the receiver.
    After,
    /// Nobody can say where.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What was wrong, of one kind: how often, and the first few.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Examples {
    /// The kind, in kebab-case: `bad-l4-checksum`.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// The first few, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_rows_beside_the_results_are_sections() {
        let text = r#"{"schema":"ringlead-bench/1","kind":"core","results":[{"name":"a","flows":1}],
            "tables":[{"name":"ours","metrics":{"lookup":{"value":46}}}],"left_out":["much"],"empty":[],"rounds":15}"#;
        let report: Report = serde_json::from_str(text).unwrap();
        let sections = report.sections();
        assert_eq!(
            sections.iter().map(|(name, rows)| (*name, rows.len())).collect::<Vec<_>>(),
            [("", 1), ("tables", 1)]
        );
        assert_eq!(sections[1].1[0].metrics["lookup"].value, 46.0);
        assert_eq!(report.results[0].fields["flows"], 1);
        // What is not known is kept.
        let again = serde_json::to_value(&report).unwrap();
        assert_eq!((&again["rounds"], &again["left_out"][0]), (&Value::from(15), &Value::from("much")));
    }

    #[test]
    fn a_report_of_nearly_nothing_is_read() {
        let report: Report = serde_json::from_str(r#"{"schema":"ringlead-bench/1"}"#).unwrap();
        assert_eq!(report, Report::new("", Environment::default()));
    }
}
