//! An outcome as part of a report.

use ringlead_report::{
    Better, Environment, Examples, Histogram, Line, Loss, Mark, Metric, Place, PortFacts, Report, Row,
    Series, Unit,
};
use ringlead_traffic::{Check, Findings, Generator, Interval, Outcome, Replies, Summary};

/// Where the run takes place, with the generator's ports.
#[must_use]
pub fn environment(generator: &Generator) -> Environment {
    let mut environment = Environment::gather();
    let out = &generator.setup().out;
    environment.ports = generator
        .ports()
        .iter()
        .map(|info| PortFacts {
            name: info.port.device.clone(),
            netns: info.port.netns.clone(),
            role: Some(if out.contains(&info.port) { "out" } else { "in" }.to_owned()),
            driver: Some(info.driver.clone()),
            speed_mbps: None,
            mtu: u64::try_from(info.frame_max - 14).ok(),
            rx_queues: usize::try_from(info.queues).ok(),
            xdp_mode: Some(info.mode.clone()),
        })
        .collect();
    environment
}

/// `valid`, or why not.
#[must_use]
pub fn validity(outcome: &Outcome) -> String {
    outcome.invalid.as_ref().map_or_else(|| "valid".to_owned(), |why| format!("INVALID: {why}"))
}

/// Adds a trial under `name`: its row, its rates over time, its latencies and where its frames were lost.
#[allow(clippy::cast_precision_loss, reason = "counts of frames as metrics")]
pub fn add_trial(report: &mut Report, name: &str, outcome: &Outcome) {
    let count = |frames: u64| Metric::neutral(frames as f64, Unit::Count);
    let mut row = Row::new(name)
        .field("trial", validity(outcome))
        .field("requested", outcome.rate.to_string())
        .field("checked", checked(outcome.check))
        .metric("sent-rate", Metric::more(outcome.sent_pps, Unit::Pps))
        .metric("sent-bits", Metric::neutral(outcome.sent_bps, Unit::Bps))
        .metric("sent", count(outcome.sent))
        .metric("received", count(outcome.received))
        .metric("lost", Metric::less(outcome.lost as f64, Unit::Count))
        .metric("loss", Metric::less(outcome.loss_ratio() * 100.0, Unit::Percent))
        .metric("seconds", Metric::neutral(outcome.seconds, Unit::Seconds));
    if let Some(planned) = outcome.planned {
        let lag = |ns: u64| Metric::new(ns as f64, Unit::Ns, Better::Neither);
        row = row.metric("planned", count(planned));
        row = row.metric("lag-p99", lag(outcome.lag.p99_ns)).metric("lag-max", lag(outcome.lag.max_ns));
    }
    if let Some(Replies { sent, received, lost }) = outcome.replies {
        row = row.metric("replies-sent", count(sent)).metric("replies-received", count(received));
        row = row.metric("replies-lost", Metric::less(lost as f64, Unit::Count));
    }
    row = latency(row, "latency", outcome.latency.as_ref());
    row = latency(row, "reply-latency", outcome.reply_latency.as_ref());
    report.results.push(spread(odd(row, outcome), outcome));
    report.series.push(rates(name, &outcome.intervals, outcome.replies.is_some()));
    for (what, recorded) in [("to servers", &outcome.latencies), ("of replies", &outcome.reply_latencies)] {
        if !recorded.histogram().is_empty() {
            report.histograms.push(Histogram::of_ns(format!("{name}: latency {what}"), recorded.histogram()));
        }
    }
    losses(report, outcome);
    report.warnings.extend(outcome.invalid.iter().map(|why| format!("{name} is invalid: {why}")));
    report.warnings.extend(outcome.notes.iter().cloned());
}

fn checked(check: Check) -> &'static str {
    match check {
        Check::Count => "frames were counted, not judged",
        Check::All => "every frame was judged",
    }
}

#[allow(clippy::cast_precision_loss, reason = "nanoseconds as metrics")]
fn latency(mut row: Row, name: &str, summary: Option<&Summary>) -> Row {
    let Some(s) = summary else { return row };
    for (part, ns) in [
        ("p50", s.p50_ns),
        ("p90", s.p90_ns),
        ("p99", s.p99_ns),
        ("p99.9", s.p99_9_ns),
        ("p99.99", s.p99_99_ns),
        ("p99.999", s.p99_999_ns),
        ("max", s.max_ns),
    ] {
        row = row.metric(&format!("{name}-{part}"), Metric::less(ns as f64, Unit::Ns));
    }
    row
}

/// Over how many addresses and ports snat and tunnels spread the flows.
#[allow(clippy::cast_precision_loss, reason = "counts as metrics")]
fn spread(mut row: Row, outcome: &Outcome) -> Row {
    let spread = outcome.findings.as_ref().map(|findings| findings.spread).unwrap_or_default();
    for (name, count) in [
        ("sources-at-servers", spread.sources),
        ("source-ports-at-servers", spread.ports),
        ("snat-mappings", spread.mappings),
    ] {
        if count > 0 {
            row = row.metric(name, Metric::neutral(count as f64, Unit::Count));
        }
    }
    row
}

/// Frames apart from the loss, where there are any.
#[allow(clippy::cast_precision_loss, reason = "counts of frames as metrics")]
fn odd(mut row: Row, outcome: &Outcome) -> Row {
    let odd = &outcome.odd;
    for (name, frames) in [
        ("fragments-sent", odd.fragments_sent),
        ("fragments-received", odd.fragments_received),
        ("bad-checksums-sent", odd.bad_checksums_sent),
        ("bad-checksums-received", odd.bad_checksums_received),
        ("bad-checksums-repaired", odd.bad_checksums_repaired),
        ("of-an-earlier-trial", odd.stale),
        ("foreign", odd.foreign),
        ("priming-lost", odd.prime_lost),
    ] {
        if frames > 0 {
            row = row.metric(name, Metric::neutral(frames as f64, Unit::Count));
        }
    }
    row
}

#[allow(clippy::cast_precision_loss, reason = "rates of counts")]
fn rates(name: &str, intervals: &[Interval], replies: bool) -> Series {
    let line = |name: &str, frames: fn(&Interval) -> u64| Line {
        name: name.to_owned(),
        values: intervals.iter().map(|i| (i.seconds > 0.0).then(|| frames(i) as f64 / i.seconds)).collect(),
    };
    let mut lines =
        vec![line("offered", |i| i.planned), line("sent", |i| i.sent), line("received", |i| i.received)];
    if replies {
        lines.push(line("replies", |i| i.replies));
    }
    let end = |interval: &Interval| interval.at_s + interval.seconds;
    let marks = intervals.iter().flat_map(|interval| {
        interval.marks.iter().map(move |text| Mark { at_s: end(interval), text: text.clone() })
    });
    Series {
        name: format!("{name}: rate over time"),
        unit: Unit::Pps,
        at_s: intervals.iter().map(end).collect(),
        lines,
        marks: marks.collect(),
    }
}

/// Where frames were lost; what nobody could tell is unknown, not 0.
fn losses(report: &mut Report, outcome: &Outcome) {
    let loss = &outcome.loss;
    let dropped = loss.inside.as_ref().is_some_and(|reasons| !reasons.is_empty());
    if loss.total == 0 && loss.after_rings == 0 && !dropped {
        return;
    }
    let mut add = |place: Place, reason: &str, count: Option<u64>| {
        report.loss.push(Loss { place, reason: reason.to_owned(), count });
    };
    if loss.before.is_none() && loss.inside.is_none() {
        add(Place::Unknown, "lost, nobody could say where", Some(loss.total));
    }
    add(Place::Before, "not received by the balancer", loss.before);
    add(Place::Before, "of these dropped by the sending port", loss.before_port_dropped);
    add(Place::Before, "of these beyond the balancer's rings", loss.before_rings);
    match &loss.inside {
        None => add(Place::In, "dropped by the balancer", None),
        Some(reasons) if reasons.is_empty() => add(Place::In, "dropped by the balancer", Some(0)),
        Some(reasons) => reasons.iter().for_each(|(reason, count)| add(Place::In, reason, Some(*count))),
    }
    add(Place::After, "sent by the balancer, not received", loss.after);
    add(Place::After, "of these beyond the generator's rings", Some(loss.after_rings));
    if loss.around.is_some() {
        add(Place::After, "replies around the balancer", loss.around);
    }
    report.warnings.extend(loss.note.iter().map(|note| format!("where frames were lost: {note}")));
}

/// Adds what the witness found, and the flows that changed their server, with their times.
pub fn add_findings(report: &mut Report, findings: &Findings) {
    for (kind, count) in findings.counts.iter().filter(|(_, count)| **count > 0) {
        let examples = findings.examples.iter().filter(|example| example.kind == *kind).map(|example| {
            let flow = example.flow.map_or_else(|| "-".to_owned(), |flow| flow.to_string());
            let seq = example.seq.map_or_else(|| "-".to_owned(), |seq| seq.to_string());
            let at_ms = example.at_ns / 1_000_000;
            format!(
                "{at_ms} ms, flow {flow} packet {seq}: expected {}, got {}",
                example.expected, example.got
            )
        });
        let examples = examples.take(4).collect();
        report.findings.push(Examples { kind: kind.name().to_owned(), count: *count, examples });
    }
    let moves = &findings.moves;
    for pair in &moves.pairs {
        let (first, last) = (pair.first_ns / 1_000_000, pair.last_ns / 1_000_000);
        report.warnings.push(format!(
            "{} moves from {} to {}, from {first} ms to {last} ms after the start",
            pair.moves, pair.from, pair.to
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_rate_and_its_marks_stand_at_its_end() {
        let interval = |at_s: f64, marks: &[&str]| Interval {
            at_s,
            seconds: 0.5,
            planned: 500,
            sent: 400,
            received: 300,
            marks: marks.iter().map(|mark| (*mark).to_owned()).collect(),
            ..Interval::default()
        };
        let series = rates("t", &[interval(0.0, &[]), interval(0.5, &["reload"])], false);
        assert_eq!(series.at_s, [0.5, 1.0]);
        let first: Vec<_> = series.lines.iter().map(|line| (line.name.as_str(), line.values[0])).collect();
        assert_eq!(first, [("offered", Some(1000.0)), ("sent", Some(800.0)), ("received", Some(600.0))]);
        assert_eq!(series.marks, [Mark { at_s: 1.0, text: "reload".to_owned() }]);
    }
}
