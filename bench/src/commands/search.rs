//! `ringlead bench search`: the rate without loss (NDR) and the rate with little loss (PDR).

mod drive;
mod record;

use super::load::refuse;
use super::traffic::{TrafficArgs, environment};
use clap::Args;
use drive::Bench;
use ringlead_report::{OutputArgs, Report};
use ringlead_search::{Goal, LoadRange, Outcome, Repeats, Search};
use ringlead_traffic::{Generator, Rate};
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

/// `ringlead bench search`.
#[derive(Debug, Args)]
pub struct SearchArgs {
    #[command(flatten)]
    traffic: TrafficArgs,
    /// The least rate to try
    #[arg(long, value_name = "RATE", default_value = "1kpps", help_heading = "Search")]
    min: Rate,
    /// The greatest rate to try [default: what the sender can send, tried first]
    #[arg(long, value_name = "RATE", help_heading = "Search")]
    max: Option<Rate>,
    /// The loss that the PDR bears, in percent; the NDR bears none
    #[arg(long, value_name = "PCT", default_value_t = 0.5, help_heading = "Search")]
    pdr: f64,
    /// How long the trials that decide last [default: 1s; --quick: 250ms]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Search")]
    trial: Option<Duration>,
    /// How long the first, coarse trials last [default: as --trial]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Search")]
    initial_trial: Option<Duration>,
    /// Trial time at a rate that decides about it [default: 21s; --quick: 1250ms]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Search")]
    duration_sum: Option<Duration>,
    /// Percent of that time that may be bad while the rate still counts as good
    #[arg(long, value_name = "PCT", default_value_t = 50.0, help_heading = "Search")]
    exceed: f64,
    /// How close the bounds have to come, in percent of the upper one [default: 0.5; --quick: 2]
    #[arg(long, value_name = "PCT", help_heading = "Search")]
    width: Option<f64>,
    /// While a bound is missing, each step towards it is this many times the last one
    #[arg(long, value_name = "FACTOR", default_value_t = 2.0, help_heading = "Search")]
    expansion: f64,
    /// How often the whole search is made; the median counts [default: 3; --quick: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "Search")]
    repeats: Option<u32>,
    /// Trial time after which a search gives up
    #[arg(long, value_name = "TIME", default_value = "20min", value_parser = humantime::parse_duration, help_heading = "Search")]
    search_time: Duration,
    /// How long latency is measured, at half and at 90 % of the NDR [default: 10s; --quick: 2s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Search")]
    latency_time: Option<Duration>,
    /// How late 99 of 100 frames may be before a trial is invalid
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = humantime::parse_duration, help_heading = "Search")]
    lag_max: Duration,
    /// A first look: shorter trials, wider goals, one search
    #[arg(long, help_heading = "Search")]
    quick: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Searches. Exit status: 0 every goal has an answer and latencies were measured, 1 one has none, time ran out or a
/// latency trial is invalid, 2 refused.
#[must_use]
pub fn run(args: &SearchArgs) -> ExitCode {
    match search(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => refuse(&format!("search: {why}")),
    }
}

/// Whether every goal has an answer, and its latencies.
fn search(args: &SearchArgs) -> Result<bool, Box<dyn Error>> {
    args.output.check()?;
    let goals = args.goals();
    // Refused before a port is opened: goals and traffic that make no sense.
    Search::new(
        goals.clone(),
        LoadRange { min: 1.0, max: 2.0, search_s_max: args.search_time.as_secs_f64() },
    )?;
    args.traffic.trial(Rate::Full, args.latency_time()).check()?;
    let mut bench = Bench::new(Generator::open(&args.traffic.setup()?)?, args.traffic.clone(), args.lag_max);
    let mut report = Report::new("search", environment(bench.generator()));
    let range = args.range(&mut bench)?;

    let mut searches: Vec<Vec<Outcome>> = Vec::new();
    for number in 1..=args.repeats() {
        let search = Search::new(goals.clone(), range)?;
        searches.push(bench.search(number, search)?);
    }
    let of_goal = |goal: usize| searches.iter().filter_map(|all| all.get(goal).cloned()).collect::<Vec<_>>();
    let answers: Vec<Vec<Outcome>> = (0..goals.len()).map(of_goal).collect();
    for outcomes in &answers {
        record::add_goal(&mut report, outcomes, bench.bits_per_frame(), args.max.is_none());
    }
    let mut timed = true;
    if let Some(ndr) = answers.first().and_then(|outcomes| Repeats::of(outcomes)) {
        for (name, share) in [("half of NDR", 0.5), ("90 % of NDR", 0.9)] {
            let outcome = bench.latency(ndr.median * share, args.latency_time())?;
            timed &= outcome.is_valid();
            super::traffic::add_trial(&mut report, name, &outcome);
        }
    }
    record::add_trials(&mut report, bench.trials());
    args.output.write(&report)?;
    Ok(timed && answers.iter().flatten().all(record::is_answer))
}

impl SearchArgs {
    fn goals(&self) -> Vec<Goal> {
        [("NDR", 0.0), ("PDR", self.pdr / 100.0)]
            .map(|(name, loss_ratio)| self.goal(name, loss_ratio))
            .to_vec()
    }

    fn goal(&self, name: &str, loss_ratio: f64) -> Goal {
        let usual = if self.quick { Goal::quick(name, loss_ratio) } else { Goal::new(name, loss_ratio) };
        let seconds = |time: Option<Duration>, usual: f64| time.map_or(usual, |time| time.as_secs_f64());
        let final_trial_s = seconds(self.trial, usual.final_trial_s);
        Goal {
            exceed_ratio: self.exceed / 100.0,
            initial_trial_s: seconds(self.initial_trial, final_trial_s),
            final_trial_s,
            // Trials longer than the usual sum decide alone.
            duration_sum_s: seconds(self.duration_sum, usual.duration_sum_s.max(final_trial_s)),
            width: self.width.map_or(usual.width, |percent| percent / 100.0),
            expansion: self.expansion,
            ..usual
        }
    }

    fn repeats(&self) -> u32 {
        self.repeats.unwrap_or(if self.quick { 1 } else { 3 })
    }

    fn latency_time(&self) -> Duration {
        self.latency_time.unwrap_or(Duration::from_secs(if self.quick { 2 } else { 10 }))
    }

    /// The rates to search in, packets a second; without --max up to what a first trial at full rate sends.
    fn range(&self, bench: &mut Bench) -> Result<LoadRange, Box<dyn Error>> {
        let frame_len = self.traffic.plan().sizes.mean(64);
        let line_bps = bench.generator().line_bps();
        let pps = |rate: Rate| rate.pps(frame_len, line_bps);
        let min = pps(self.min)?.ok_or("--min is a rate, not full")?;
        let max = match self.max {
            Some(rate) => pps(rate)?,
            None => None,
        };
        let max = match max {
            Some(max) => max,
            None => bench.full_rate()?,
        };
        Ok(LoadRange { min, max, search_s_max: self.search_time.as_secs_f64() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SearchArgs,
    }

    fn read(line: &str) -> SearchArgs {
        let base = "bench --out c0 --server 10.2.0.11:80@e0 --to 192.0.2.10:80";
        Line::try_parse_from(base.split(' ').chain(line.split_whitespace())).map(|line| line.args).unwrap()
    }

    #[test]
    fn goals_are_those_of_the_line() {
        let goals = read("").goals();
        assert_eq!(goals, [Goal::new("NDR", 0.0), Goal::new("PDR", 0.005)]);
        let goals = read("--quick --pdr 1 --width 1").goals();
        assert_eq!(goals[1], Goal { width: 0.01, ..Goal::quick("PDR", 0.01) });
        let goal = read("--trial 60s --exceed 0").goals().remove(0);
        let wanted =
            Goal { exceed_ratio: 0.0, initial_trial_s: 60.0, final_trial_s: 60.0, ..Goal::new("NDR", 0.0) };
        assert_eq!(goal, Goal { duration_sum_s: 60.0, ..wanted });
        let line = read("--trial 2s --initial-trial 500ms --duration-sum 10s --expansion 3 --repeats 7");
        let goal = line.goal("NDR", 0.0);
        assert_eq!(
            (goal.initial_trial_s, goal.final_trial_s, goal.duration_sum_s, goal.expansion),
            (0.5, 2.0, 10.0, 3.0)
        );
        assert_eq!((line.repeats(), read("").repeats(), read("--quick").repeats()), (7, 3, 1));
    }

    #[test]
    fn goals_that_make_no_sense_are_refused_before_anything_is_opened() {
        for line in
            ["--width 0", "--pdr 100", "--exceed 100", "--trial 2s --duration-sum 1s", "--expansion 1"]
        {
            let why = search(&read(line)).unwrap_err().to_string();
            assert!(why.starts_with("goal "), "{line}: {why}");
            assert_eq!(run(&read(line)), ExitCode::from(2), "{line}");
        }
    }
}
