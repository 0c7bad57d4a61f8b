//! An outcome as a report: its row, its charts, its failures as losses.

use ringlead_report::{
    Environment, Examples, Histogram, Line, Loss, Metric, Place, Report, Row, Series, Unit,
};

use crate::Pace;
use crate::outcome::{Outcome, Sample};

impl Outcome {
    /// The report of this run, under the name of its kind. The outcome itself is in it too, as `load`.
    #[must_use]
    pub fn report(&self, environment: Environment) -> Report {
        let mut report = Report::new(&self.kind, environment);
        report.results.push(self.row());
        report.series = self.series();
        report.histograms = self.distributions();
        report.loss = self.losses();
        report.findings = self.findings();
        report.warnings = self.warnings();
        if report.environment.is_debug() {
            report.warnings.push("this is a debug build: its rates and latencies say little".to_owned());
        }
        if let Ok(outcome) = serde_json::to_value(self) {
            report.extra.insert("load".to_owned(), outcome);
        }
        report
    }

    fn pace_name(&self) -> String {
        match self.pace {
            Pace::Open { rate, .. } => rate.to_string(),
            Pace::Closed { concurrency } => format!("{concurrency} at a time"),
        }
    }

    fn row(&self) -> Row {
        let counts = |row: Row, counts: &[(&str, u64)]| {
            let metric = |row: Row, (name, count): &(&str, u64)| {
                row.metric(name, Metric::neutral(float(*count), Unit::Count))
            };
            counts.iter().fold(row, metric)
        };
        let (open, from) = match self.pace {
            Pace::Open { .. } => ("open", "planned time"),
            Pace::Closed { .. } => ("closed", "each request's own start"),
        };
        let row = Row::new(format!("{} {}", self.kind, self.pace_name()))
            .field("target", self.target.to_string())
            .field("loop", open)
            .field("latency-from", from)
            .field("valid", self.is_valid())
            .metric("seconds", Metric::neutral(self.seconds, Unit::Seconds))
            .metric("started-rate", Metric::neutral(self.started_per_second, Unit::PerSecond))
            .metric("ok-rate", Metric::more(self.ok_per_second, Unit::PerSecond))
            .metric("sent-rate", Metric::more(self.bits_per_second_sent, Unit::Bps))
            .metric("received-rate", Metric::more(self.bits_per_second_received, Unit::Bps));
        let row = counts(
            row,
            &[
                ("planned", self.planned),
                ("started", self.started),
                ("ok", self.ok),
                ("not-started-at-cap", self.not_started),
                ("not-started-too-late", self.too_late),
                ("connections", self.connections),
            ],
        );
        let mut row = row.metric("failed", Metric::less(float(self.failed), Unit::Count));
        let p = &self.latency;
        let quantiles = [("p50", p.p50_ns), ("p99", p.p99_ns), ("p99.9", p.p999_ns), ("max", p.max_ns)];
        for (name, value) in quantiles.into_iter().filter(|_| p.count > 0) {
            row = row.metric(&format!("latency-{name}"), Metric::less(float(value), Unit::Ns));
        }
        if self.lag.count > 0 {
            row = row.metric("lag-p99.9", Metric::neutral(float(self.lag.p999_ns), Unit::Ns));
            row = row.metric("lag-max", Metric::neutral(float(self.lag.max_ns), Unit::Ns));
        }
        for (status, count) in &self.statuses {
            row = row.metric(&format!("status-{status}"), Metric::neutral(float(*count), Unit::Count));
        }
        row
    }

    /// Charts of the seconds in which requests were started.
    fn series(&self) -> Vec<Series> {
        let seconds: Vec<&Sample> = self.samples.iter().filter(|s| float(s.second) < self.seconds).collect();
        let end = |sample: &Sample| float(sample.second + 1).min(self.seconds);
        let rate = |name: &str, factor: f64, count: fn(&Sample) -> u64| Line {
            name: name.to_owned(),
            values: seconds
                .iter()
                .map(|s| Some(float(count(s)) * factor / (end(s) - float(s.second))))
                .collect(),
        };
        let time = |name: &str, value: fn(&Sample) -> u64| Line {
            name: name.to_owned(),
            values: seconds.iter().map(|s| (s.ok > 0).then(|| float(value(s)))).collect(),
        };
        let chart = |name: &str, unit: Unit, lines: Vec<Line>| Series {
            name: name.to_owned(),
            unit,
            at_s: seconds.iter().map(|s| end(s)).collect(),
            lines,
            marks: Vec::new(),
        };
        let requests = vec![
            rate("planned", 1.0, |s| s.planned),
            rate("started", 1.0, |s| s.started),
            rate("ok", 1.0, |s| s.ok),
            rate("failed", 1.0, |s| s.failed),
        ];
        let bits = vec![rate("sent", 8.0, |s| s.bytes_sent), rate("received", 8.0, |s| s.bytes_received)];
        let times = vec![time("p50", |s| s.p50_ns), time("p99", |s| s.p99_ns), time("max", |s| s.max_ns)];
        vec![
            chart("Requests", Unit::PerSecond, requests),
            chart("Latency of the requests that ended in each second", Unit::Ns, times),
            chart("Payload", Unit::Bps, bits),
        ]
    }

    fn distributions(&self) -> Vec<Histogram> {
        let all = &self.histograms;
        let name = |what: &str| format!("{} {}, {what}", self.kind, self.pace_name());
        let (latency, service) = match self.pace {
            Pace::Open { .. } => ("from the planned time", Some(("from the real start", &all.service))),
            Pace::Closed { .. } => ("from each request's own start", None),
        };
        let corrected = all.corrected.as_ref().map(|estimate| ("estimate for an open loop", estimate));
        let more =
            [service, corrected, Some(("connecting", &all.connect)), Some(("lag of this client", &all.lag))];
        let more = more.into_iter().flatten().filter(|(_, times)| !times.is_empty());
        std::iter::once((latency, &all.latency))
            .chain(more)
            .map(|(what, times)| Histogram::of_ns(name(what), times))
            .collect()
    }

    fn losses(&self) -> Vec<Loss> {
        let loss = |reason: &str, count| Loss {
            place: Place::Unknown,
            reason: reason.to_owned(),
            count: Some(count),
        };
        let before = [("not-started-at-cap", self.not_started), ("not-started-too-late", self.too_late)];
        let before = before.into_iter().filter(|(_, count)| *count > 0);
        let before = before.map(|(why, count)| Loss { place: Place::Before, ..loss(why, count) });
        before.chain(self.errors.iter().map(|(class, count)| loss(class.name(), *count))).collect()
    }

    fn findings(&self) -> Vec<Examples> {
        let strays = &self.strays;
        let kinds = [
            ("late-answer", strays.late),
            ("duplicate-answer", strays.duplicates),
            ("misdelivered-answer", strays.misdelivered),
        ];
        let found = kinds.into_iter().filter(|(_, count)| *count > 0);
        found.map(|(kind, count)| Examples { kind: kind.to_owned(), count, examples: Vec::new() }).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.invalid.iter().map(|why| format!("INVALID: {why}")).collect();
        if let Pace::Closed { .. } = self.pace {
            warnings.push(
                "closed loop: a stalled service delays the next request instead of being charged for it, so these \
                 latencies are too good; measure at a rate"
                    .to_owned(),
            );
        }
        if self.ok == 0 {
            warnings.push("no request was answered as expected".to_owned());
        }
        warnings
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of a run are below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}
