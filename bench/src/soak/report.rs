//! What a soak found, event by event, and whether that is good.

use super::counters::Counters;
use super::schedule::Event;
use super::share::{Share, Shares};
use super::watch::Done;
use ringlead_report::{Metric, Report, Row, Unit};
use ringlead_traffic::Invalid;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Occurrences of events that are kept one by one in the report: those after which something was wrong.
const WORST_MAX: usize = 1000;

/// One event of the schedule, all its occurrences together.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct EventSum {
    /// The event as it was given; the first of the list is what came before any.
    pub event: String,
    /// How often it was done or tried.
    pub times: u64,
    /// How often it failed.
    pub failed: u64,
    /// How often it was left out because it was still being done.
    pub skipped: u64,
    /// The longest that it took, milliseconds.
    pub took_max_ms: f64,
    /// What came after it.
    #[serde(flatten)]
    pub share: Share,
    /// What the balancer says that it dropped after it, by reason; `None`: it could not be asked.
    pub dropped: Option<BTreeMap<String, u64>>,
}

/// One occurrence after which something was wrong.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct Occurrence<'a> {
    event: &'a str,
    at_s: f64,
    failed: Option<&'a str>,
    #[serde(flatten)]
    share: Share,
}

/// Whether a soak was good, and if not, why not.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Verdict {
    /// What was wrong, in sentences; empty: nothing.
    pub wrong: Vec<String>,
}

impl Verdict {
    /// Judges a trial that is `invalid` for a reason or not, and whose frames were `judged` by the witness or not. Up to
    /// `allow_lost` frames may be lost.
    #[must_use]
    pub fn of(
        (invalid, judged): (Option<&Invalid>, bool),
        shares: &Shares,
        done: &[Done],
        skipped: &[u64],
        allow_lost: u64,
    ) -> Self {
        let mut wrong: Vec<String> = invalid.iter().map(|why| format!("INVALID: {why}")).collect();
        let Share { lost, moved, broken, .. } = shares.total;
        if lost > allow_lost {
            wrong.push(format!("{lost} frames lost, {allow_lost} are allowed"));
        }
        if moved > 0 {
            wrong.push(format!("{moved} times a flow changed its server without leave"));
        }
        if broken > 0 {
            wrong.push(format!("{broken} frames broken"));
        }
        if !judged {
            wrong.push("no frame was judged".to_owned());
        }
        let failed = done.iter().filter(|done| done.failed.is_some()).count();
        if failed > 0 {
            let why = done.iter().find_map(|done| done.failed.as_deref()).unwrap_or_default();
            wrong.push(format!("{failed} events failed, the first one: {why}"));
        }
        let skipped: u64 = skipped.iter().sum();
        if done.is_empty() && skipped > 0 {
            wrong.push("no event was done".to_owned());
        }
        Self { wrong }
    }

    /// Adds the events that never happened while there was traffic, which `ended` then: one that waited for another to
    /// be done may have come too late to show anything.
    pub fn add_unkept(&mut self, events: &[Event], done: &[Done], ended: Duration) {
        for (number, event) in events.iter().enumerate() {
            let mut times = done.iter().filter(|done| done.event == number).map(|done| done.begun);
            if !times.any(|begun| begun <= ended) {
                self.wrong.push(format!("'{}' was not begun before the traffic ended", event.text));
            }
        }
    }

    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.wrong.is_empty()
    }
}

/// Adds a row an event, and the whole story as `soak`. `last`: the balancer's counters after everything.
pub fn add(
    report: &mut Report,
    events: &[Event],
    done: &[Done],
    skipped: &[u64],
    shares: &Shares,
    last: Option<&Counters>,
    verdict: &Verdict,
) {
    let sums = sums(events, done, skipped, shares, last);
    report.results.extend(sums.iter().map(row));
    report.warnings.extend(verdict.wrong.iter().map(|why| format!("soak: {why}")));
    let unknown = shares.unknown;
    if unknown != Share::default() {
        report.warnings.push(format!(
            "after which event cannot be told: {} lost, {} moved, {} broken",
            unknown.lost,
            unknown.moved + unknown.moved_with_leave,
            unknown.broken
        ));
    }
    let wrong = |(done, share): &(&Done, &Share)| {
        done.failed.is_some() || share.lost + share.moved + share.moved_with_leave + share.broken > 0
    };
    let occurrences = done.iter().zip(shares.each.iter().skip(1)).filter(wrong).take(WORST_MAX);
    let occurrences: Vec<Occurrence<'_>> = occurrences
        .map(|(done, share)| Occurrence {
            event: events.get(done.event).map_or("", |event| event.text.as_str()),
            at_s: done.begun.as_secs_f64(),
            failed: done.failed.as_deref(),
            share: *share,
        })
        .collect();
    let story = serde_json::json!({
        "events": sums,
        "occurrences": occurrences,
        "unknown": unknown,
        "total": shares.total,
        "wrong": verdict.wrong,
    });
    report.extra.insert("soak".to_owned(), story);
}

fn sums(
    events: &[Event],
    done: &[Done],
    skipped: &[u64],
    shares: &Shares,
    last: Option<&Counters>,
) -> Vec<EventSum> {
    let before = EventSum {
        event: "before any event".to_owned(),
        share: shares.each.first().copied().unwrap_or_default(),
        ..EventSum::default()
    };
    let mut sums = vec![before];
    sums.extend(events.iter().zip(skipped).map(|(event, skipped)| EventSum {
        event: event.text.clone(),
        skipped: *skipped,
        dropped: Some(BTreeMap::new()),
        ..EventSum::default()
    }));
    for (n, one) in done.iter().enumerate() {
        let Some(sum) = sums.get_mut(one.event + 1) else { continue };
        sum.times += 1;
        sum.failed += u64::from(one.failed.is_some());
        sum.took_max_ms = sum.took_max_ms.max(one.took.as_secs_f64() * 1e3);
        sum.share.add(shares.each.get(n + 1).copied().unwrap_or_default());
        // Until the next event's question, or the last one.
        let after = done.get(n + 1).map_or(last, |next| next.before.as_ref());
        let grown = one.before.as_ref().zip(after).map(|(before, after)| after.dropped_since(before));
        match (&mut sum.dropped, grown) {
            (Some(all), Some(grown)) => {
                grown.into_iter().for_each(|(why, count)| *all.entry(why).or_default() += count)
            }
            (dropped, _) => *dropped = None,
        }
    }
    sums
}

#[allow(clippy::cast_precision_loss, reason = "counts as metrics")]
fn row(sum: &EventSum) -> Row {
    let count = |row: Row, name: &str, count: u64| row.metric(name, Metric::less(count as f64, Unit::Count));
    let mut row = Row::new(&sum.event);
    if sum.times + sum.skipped > 0 {
        row = row.metric("times", Metric::neutral(sum.times as f64, Unit::Count));
        row = row.metric("took-max", Metric::less(sum.took_max_ms / 1e3, Unit::Seconds));
        row = count(count(row, "failed", sum.failed), "skipped", sum.skipped);
    }
    row = count(count(row, "lost", sum.share.lost), "broken", sum.share.broken);
    row = count(row, "moved", sum.share.moved);
    row = count(row, "moved-with-leave", sum.share.moved_with_leave);
    for (reason, frames) in sum.dropped.iter().flatten() {
        row = count(row, &format!("dropped-{reason}"), *frames);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(event: usize, failed: Option<&str>, dropped: Option<u64>) -> Done {
        let counters = |count| Counters {
            drops: [("no-server".to_owned(), count)].into_iter().collect(),
            ..Counters::default()
        };
        Done {
            event,
            begun: Duration::from_secs(1),
            took: Duration::from_millis(5),
            failed: failed.map(str::to_owned),
            before: dropped.map(counters),
        }
    }

    fn share(lost: u64, moved: u64, moved_with_leave: u64, broken: u64) -> Share {
        Share { lost, moved, moved_with_leave, broken }
    }

    fn all(total: Share) -> Shares {
        Shares { total, ..Shares::default() }
    }

    #[test]
    fn only_what_is_allowed_is_good() {
        let judge = |total, done: &[Done], skipped: &[u64]| {
            Verdict::of((None, true), &all(total), done, skipped, 3).wrong
        };
        assert_eq!(judge(share(3, 0, 9, 0), &[done(0, None, None)], &[1]), Vec::<String>::new());
        let says = |wrong: Vec<String>, word: &str| wrong.len() == 1 && wrong[0].contains(word);
        assert!(says(judge(share(4, 0, 0, 0), &[], &[0]), "4 frames lost, 3 are allowed"));
        assert!(says(judge(share(0, 1, 0, 0), &[], &[0]), "changed its server"));
        assert!(says(judge(share(0, 0, 0, 1), &[], &[0]), "1 frames broken"));
        assert!(says(judge(Share::default(), &[done(0, Some("no"), None)], &[0]), "the first one: no"));
        assert!(says(judge(Share::default(), &[], &[2]), "no event was done"));
        let trial = |invalid, judged| Verdict::of((invalid, judged), &Shares::default(), &[], &[], 0).wrong;
        assert!(says(trial(Some(&Invalid::Nothing), true), "INVALID: nothing was sent"));
        assert!(says(trial(None, false), "no frame was judged"));
    }

    #[test]
    fn an_event_that_came_after_the_traffic_is_not_kept() {
        let events: Vec<Event> =
            ["1s reload", "every 1s reload"].iter().map(|line| line.parse().unwrap()).collect();
        let wrong = |done: &[Done], ended_ms| {
            let mut verdict = Verdict::default();
            verdict.add_unkept(&events, done, Duration::from_millis(ended_ms));
            verdict.wrong
        };
        // All of these were begun after a second.
        let both = [done(0, None, None), done(1, None, None), done(1, None, None)];
        assert_eq!(wrong(&both, 1000), Vec::<String>::new());
        assert_eq!(wrong(&both, 999).len(), 2);
        let never = wrong(&both[1..], 1000);
        assert!(never.len() == 1 && never[0].starts_with("'1s reload' was not begun"), "{never:?}");
    }

    #[test]
    fn each_event_has_its_share_and_the_balancers_own_drops() {
        let events: Vec<Event> =
            ["1s reload", "2s reload"].iter().map(|line| line.parse().unwrap()).collect();
        let done = [done(0, None, Some(10)), done(1, Some("no"), Some(14)), done(0, None, None)];
        let each = vec![share(1, 0, 0, 0), share(2, 0, 0, 0), share(4, 1, 0, 0), share(8, 0, 0, 2)];
        let sums = sums(&events, &done, &[0, 5], &Shares { each, ..Shares::default() }, None);
        let of = |n: usize| (sums[n].times, sums[n].failed, sums[n].skipped, sums[n].share);
        assert_eq!(of(0), (0, 0, 0, share(1, 0, 0, 0)));
        assert_eq!(of(1), (2, 0, 0, share(10, 0, 0, 2)));
        assert_eq!(of(2), (1, 1, 5, share(4, 1, 0, 0)));
        assert_eq!((&sums[1].dropped, &sums[2].dropped), (&None, &None), "not known to their end");
        let known = super::sums(&events[..1], &done[..1], &[0], &Shares::default(), done[1].before.as_ref());
        assert_eq!(known[1].dropped.as_ref().map(|dropped| dropped["no-server"]), Some(4));
    }
}
