//! What the threads told, put together.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::{Seconds, add};
use crate::latency::histogram;
use crate::meter::{Interval, News, Totals, nanos};
use crate::outcome::{Histograms, Invalid, LatencyFrom, Outcome, Sample, Strays};
use crate::{Latency, LoadError, Pace, Settings};

/// Collects until every thread has ended.
pub(super) fn outcome(
    kind: &str,
    settings: &Settings,
    told: &Receiver<News>,
    seen: &mut dyn FnMut(&Sample),
) -> Result<Outcome, LoadError> {
    let mut sum = Sum::new();
    let mut seconds = Seconds::new();
    while let Ok(news) = told.recv() {
        match news {
            News::Second(one) => {
                let (threads, second) = seconds.entry(one.second).or_default();
                *threads += 1;
                second.second = one.second;
                add(second, &one);
                let whole = *threads == settings.threads;
                // Each thread tells its seconds in order: when all have told one, all have told those before.
                if whole && let Some((_, second)) = seconds.remove(&one.second) {
                    seen(sum.second(&second, settings));
                }
            }
            News::End(totals) => sum.end(&totals),
        }
    }
    for (_, second) in seconds.into_values() {
        seen(sum.second(&second, settings)); // threads that ended earlier did not tell it
    }
    if sum.ended != settings.threads {
        return Err(LoadError::Thread(std::io::Error::other("one of them ended early")));
    }
    Ok(sum.outcome(kind, settings))
}

/// Adds a histogram of the same bounds.
pub(super) fn join(sum: &mut Histogram<u64>, one: &Histogram<u64>) {
    // Refused only for values out of bounds, and these are the same.
    let _ = sum.add(one);
}

struct Sum {
    samples: Vec<Sample>,
    all: Interval,
    latency: Histogram<u64>,
    totals: Totals,
    ended: u16,
}

impl Sum {
    fn new() -> Self {
        Self {
            samples: Vec::new(),
            all: Interval::default(),
            latency: histogram(),
            totals: Totals::default(),
            ended: 0,
        }
    }

    fn second(&mut self, second: &Interval, settings: &Settings) -> &Sample {
        let latency = second.latency.as_ref().map(Latency::of).unwrap_or_default();
        if let Some(latency) = &second.latency {
            join(&mut self.latency, latency);
        }
        add(&mut self.all, second);
        self.samples.push(Sample {
            second: second.second,
            planned: due_in(second.second, settings).unwrap_or(second.planned),
            started: second.started,
            ok: second.ok,
            failed: second.failed,
            not_started: second.at_cap + second.too_late,
            bytes_sent: second.sent,
            bytes_received: second.received,
            p50_ns: latency.p50_ns,
            p99_ns: latency.p99_ns,
            max_ns: latency.max_ns,
        });
        &self.samples[self.samples.len() - 1]
    }

    fn end(&mut self, one: &Totals) {
        self.ended += 1;
        let sum = &mut self.totals;
        join(&mut sum.service, &one.service);
        join(&mut sum.connect, &one.connect);
        join(&mut sum.lag, &one.lag);
        for (class, count) in &one.errors {
            *sum.errors.entry(*class).or_default() += count;
        }
        for (status, count) in &one.statuses {
            *sum.statuses.entry(*status).or_default() += count;
        }
        sum.connections += one.connections;
        sum.last = sum.last.max(one.last);
        let Strays { late, duplicates, misdelivered } = one.strays;
        sum.strays.late += late;
        sum.strays.duplicates += duplicates;
        sum.strays.misdelivered += misdelivered;
    }

    fn outcome(mut self, kind: &str, settings: &Settings) -> Outcome {
        self.samples.sort_by_key(|sample| sample.second);
        let invalid = self.invalid(settings.pace);
        let Self { samples, all, latency, totals, .. } = self;
        // A run of so many requests may be over before its time.
        let time = match settings.total {
            Some(_) => settings.duration.min(totals.last),
            None => settings.duration,
        };
        let seconds = time.as_secs_f64().max(1e-9);
        // What came after the duration is not part of the rates.
        let rate = |count: u64, after: u64| float(count.saturating_sub(after)) / seconds;
        let corrected = match settings.pace {
            Pace::Closed { concurrency } => corrected(&latency, seconds, concurrency),
            Pace::Open { .. } => None,
        };
        Outcome {
            kind: kind.to_owned(),
            target: settings.target,
            pace: settings.pace,
            latency_from: match settings.pace {
                Pace::Open { .. } => LatencyFrom::PlannedTime,
                Pace::Closed { .. } => LatencyFrom::OwnStart,
            },
            seconds,
            planned: all.planned,
            started: all.started,
            ok: all.ok,
            failed: all.failed,
            not_started: all.at_cap,
            too_late: all.too_late,
            started_per_second: rate(all.started, all.after.started),
            ok_per_second: rate(all.ok, all.after.ok),
            errors: totals.errors,
            statuses: totals.statuses,
            connections: totals.connections,
            bytes_sent: all.sent,
            bytes_received: all.received,
            bits_per_second_sent: rate(all.sent, all.after.sent) * 8.0,
            bits_per_second_received: rate(all.received, all.after.received) * 8.0,
            strays: totals.strays,
            latency: Latency::of(&latency),
            service: Latency::of(&totals.service),
            corrected: corrected.as_ref().map(Latency::of),
            connect: Latency::of(&totals.connect),
            lag: Latency::of(&totals.lag),
            invalid,
            samples,
            histograms: Histograms {
                latency,
                service: totals.service,
                connect: totals.connect,
                lag: totals.lag,
                corrected,
            },
        }
    }

    fn invalid(&self, pace: Pace) -> Vec<Invalid> {
        let mut invalid = Vec::new();
        if let Pace::Open { lag_max, .. } = pace {
            let (p999_ns, bound_ns) = (Latency::of(&self.totals.lag).p999_ns, nanos(lag_max));
            if p999_ns > bound_ns {
                invalid.push(Invalid::Lag { p999_ns, bound_ns });
            }
        }
        if self.all.at_cap > 0 {
            invalid.push(Invalid::AtCap { not_started: self.all.at_cap });
        }
        if self.all.too_late > 0 {
            invalid.push(Invalid::FellBehind { too_late: self.all.too_late });
        }
        let own = self.totals.errors.iter().filter(|(class, _)| class.is_clients_own());
        invalid
            .extend(own.map(|(class, requests)| Invalid::Exhausted { class: *class, requests: *requests }));
        invalid
    }
}

/// How many requests the plan has for a second. A client that is late comes to them in another one; what was due was
/// due then all the same. None in a closed loop, which has no plan.
fn due_in(second: u64, settings: &Settings) -> Option<u64> {
    let Pace::Open { rate, .. } = settings.pace else { return None };
    let until = |second: u64| {
        let all = rate.within(Duration::from_secs(second).min(settings.duration));
        all.min(settings.total.unwrap_or(u64::MAX))
    };
    Some(until(second + 1) - until(second))
}

/// What an open loop at the same rate would have shown, by HdrHistogram's estimate: for a time longer than the loop's
/// mean interval, the requests that were due meanwhile are added with what was left of it.
fn corrected(latency: &Histogram<u64>, seconds: f64, concurrency: u32) -> Option<Histogram<u64>> {
    if latency.is_empty() {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, at most a week")]
    let interval_ns = (seconds * 1e9 * f64::from(concurrency) / float(latency.len())) as u64;
    Some(latency.clone_correct(interval_ns.max(1)))
}

#[allow(clippy::cast_precision_loss, reason = "counts of a run are below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}
