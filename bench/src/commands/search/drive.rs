//! The trials of a search: made by the generator, told live.

use crate::commands::traffic::TrafficArgs;
use ringlead_search::{Outcome, Search, Step, TrialResult};
use ringlead_traffic::{Generator, Invalid, Outcome as Trial, Rate, Short, TrafficError, TrialSpec};
use std::io::{Write, stderr};
use std::time::Duration;

/// How long the sender is tried at full rate.
const FULL_RATE_TIME: Duration = Duration::from_secs(1);

/// The generator, and all that its trials gave.
#[derive(Debug)]
pub(super) struct Bench {
    generator: Generator,
    traffic: TrafficArgs,
    lag_max: Duration,
    trials: Vec<Told>,
    bits_per_frame: f64,
}

/// A trial of a search, for the record.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Told {
    pub(super) search: u32,
    pub(super) load: f64,
    pub(super) duration_s: f64,
    pub(super) result: TrialResult,
    pub(super) invalid: Option<String>,
}

impl Bench {
    pub(super) fn new(generator: Generator, traffic: TrafficArgs, lag_max: Duration) -> Self {
        let bits_per_frame = traffic.plan().sizes.mean(64) * 8.0;
        Self { generator, traffic, lag_max, trials: Vec::new(), bits_per_frame }
    }

    pub(super) fn generator(&self) -> &Generator {
        &self.generator
    }

    /// Every trial of every search, in order.
    pub(super) fn trials(&self) -> &[Told] {
        &self.trials
    }

    /// The mean frame as it was really sent, FCS included.
    pub(super) fn bits_per_frame(&self) -> f64 {
        self.bits_per_frame
    }

    /// What the sender can send, packets a second.
    pub(super) fn full_rate(&mut self) -> Result<f64, TrafficError> {
        let sent_pps = self.trial(Rate::Full, FULL_RATE_TIME)?.sent_pps;
        say(&format!("full rate: the sender sends {}pps", Short(sent_pps.round())));
        Ok(sent_pps)
    }

    /// A trial whose latency counts.
    pub(super) fn latency(&mut self, pps: f64, duration: Duration) -> Result<Trial, TrafficError> {
        say(&format!("latency at {}pps for {duration:?}", Short(pps.round())));
        self.trial(Rate::Pps(pps), duration)
    }

    /// Makes the trials that a search wants, until it is done.
    pub(super) fn search(&mut self, number: u32, mut search: Search) -> Result<Vec<Outcome>, TrafficError> {
        loop {
            let (load, duration_s) = match search.next() {
                Step::Measure { load, duration_s } => (load, duration_s),
                Step::Done(outcomes) => return Ok(outcomes),
            };
            let trial = self.trial(Rate::Pps(load), Duration::from_secs_f64(duration_s))?;
            let result = result(&trial, load);
            search.record(load, duration_s, result);
            let invalid = trial.invalid.as_ref().map(ToString::to_string);
            let told = Told { search: number, load, duration_s, result, invalid };
            say(&told.text(search.spent().0));
            self.trials.push(told);
        }
    }

    fn trial(&mut self, rate: Rate, duration: Duration) -> Result<Trial, TrafficError> {
        let spec = TrialSpec { lag_max: self.lag_max, ..self.traffic.trial(rate, duration) };
        let trial = self.generator.trial(&spec, &mut ())?;
        if trial.is_valid() && trial.sent_pps > 0.0 {
            self.bits_per_frame = trial.sent_bps / trial.sent_pps;
        }
        Ok(trial)
    }
}

/// What a trial says to the search. Loss counts both ways where servers reply.
fn result(trial: &Trial, load: f64) -> TrialResult {
    let replies = trial.replies.unwrap_or_default();
    let per_second = |frames: u64| frames as f64 / trial.seconds.max(1e-3);
    match &trial.invalid {
        None => {
            let sent = trial.sent + replies.sent;
            TrialResult::Valid { sent, received: sent.saturating_sub(trial.lost + replies.lost) }
        }
        Some(Invalid::TooFew { .. }) => TrialResult::Invalid { achieved: Some(trial.sent_pps) },
        // It did send all, but not in time: a little less is the next to try.
        Some(Invalid::TooLate { .. }) => TrialResult::Invalid { achieved: Some(load * 0.97) },
        // The generator is a receiver, too.
        Some(Invalid::ReceiverOverrun { .. }) => {
            TrialResult::Invalid { achieved: Some(per_second(trial.received)) }
        }
        Some(Invalid::Unanswered { .. }) => TrialResult::Invalid { achieved: Some(per_second(replies.sent)) },
        Some(Invalid::Nothing) => TrialResult::Invalid { achieved: None },
    }
}

impl Told {
    fn text(&self, number: u32) -> String {
        let Self { search, load, duration_s, .. } = self;
        let begin =
            format!("search {search} trial {number}: {}pps for {duration_s:.2} s: ", Short(load.round()));
        begin
            + &match (&self.invalid, self.result) {
                (Some(why), _) => format!("INVALID: {why}"),
                (None, TrialResult::Valid { sent, received }) if received == sent => "no loss".to_owned(),
                (None, TrialResult::Valid { sent, received }) => {
                    let percent = self.result.loss_ratio().unwrap_or(0.0) * 100.0;
                    format!("{} of {sent} lost ({percent:.3} %)", sent - received)
                }
                (None, TrialResult::Invalid { .. }) => "INVALID".to_owned(),
            }
    }
}

/// To standard error, where nobody may be listening.
fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_told_in_a_line() {
        let valid = |received| TrialResult::Valid { sent: 1000, received };
        let told = |result, invalid: Option<&str>| {
            let invalid = invalid.map(str::to_owned);
            Told { search: 2, load: 500e3, duration_s: 0.25, result, invalid }.text(7)
        };
        assert_eq!(told(valid(1000), None), "search 2 trial 7: 500kpps for 0.25 s: no loss");
        assert!(told(valid(995), None).ends_with("5 of 1000 lost (0.500 %)"));
        assert!(
            told(TrialResult::Invalid { achieved: None }, Some("too slow")).ends_with("INVALID: too slow")
        );
    }
}
