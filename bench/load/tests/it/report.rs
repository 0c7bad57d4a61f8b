//! What a report says of a run.

use ringlead_load::http::{Spec, run};
use ringlead_load::{Pace, Rate};
use ringlead_report::{Environment, Place, Unit};

use crate::servers::{answer, http};
use crate::{LONG, closed, open};

#[test]
fn failures_are_losses_and_what_makes_it_invalid_is_a_warning() {
    let server = http(|number, _| answer(if number % 4 == 0 { "500 No" } else { "200 OK" }, "12345"));
    let mut settings = open(&server, 200.0, 40);
    let rate = Rate::new(200.0).unwrap();
    settings.pace = Pace::Open { rate, in_flight_max: 100, lag_max: std::time::Duration::ZERO };
    let outcome = run(&Spec::get(settings, "a", "/")).unwrap();
    let report = outcome.report(Environment::default());
    assert_eq!((report.kind.as_str(), report.results.len()), ("http", 1));
    let row = &report.results[0];
    assert_eq!(row.name, "http 200/s");
    assert_eq!((&row.fields["loop"], &row.fields["valid"]), (&"open".into(), &false.into()));
    assert_eq!((row.metrics["ok"].value, row.metrics["failed"].value), (30.0, 10.0));
    assert_eq!((row.metrics["status-500"].value, row.metrics["status-500"].unit), (10.0, Unit::Count));
    assert_eq!(report.loss.len(), 1);
    let loss = &report.loss[0];
    assert_eq!((loss.place, loss.reason.as_str(), loss.count), (Place::Unknown, "wrong-status", Some(10)));
    assert!(report.warnings.iter().any(|warning| warning.starts_with("INVALID: the client fell behind")));
    assert_eq!(report.extra["load"]["planned"], 40);
    for series in &report.series {
        assert!(series.lines.iter().all(|line| line.values.len() == series.at_s.len()), "{series:?}");
        assert!(series.at_s.last().is_some_and(|end| *end <= outcome.seconds + 1e-9), "{series:?}");
    }
    let names: Vec<&str> = report.histograms.iter().map(|histogram| histogram.name.as_str()).collect();
    assert!(
        names[0].ends_with("from the planned time") && names[1].ends_with("from the real start"),
        "{names:?}"
    );
    assert_eq!((report.histograms[0].count, report.histograms[0].max), (30, outcome.latency.max_ns));
}

#[test]
fn a_closed_loop_is_labelled_wherever_it_is_shown() {
    let server = http(|_, _| answer("200 OK", ""));
    let mut settings = closed(&server, 2, 20);
    settings.duration = LONG;
    let report = run(&Spec::get(settings, "a", "/")).unwrap().report(Environment::default());
    let row = &report.results[0];
    assert_eq!(
        (&row.fields["loop"], &row.fields["latency-from"]),
        (&"closed".into(), &"each request's own start".into())
    );
    assert!(report.warnings.iter().any(|warning| warning.starts_with("closed loop:")));
    let names: Vec<&str> = report.histograms.iter().map(|histogram| histogram.name.as_str()).collect();
    assert!(
        names[0].ends_with("own start")
            && names.iter().any(|name| name.ends_with("estimate for an open loop"))
    );
}
