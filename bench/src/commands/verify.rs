//! `ringlead bench verify`: every returned frame judged.

use super::traffic::{Progress, TrafficArgs, add_findings, add_trial, environment, validity};
use crate::assignments;
use clap::Args;
use ringlead_report::{OutputArgs, Report};
use ringlead_traffic::{Check, Generator, Outcome, Rate, TrialSpec};
use std::io::{Write, stderr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// `ringlead bench verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    traffic: TrafficArgs,
    /// How fast: modest, so that nothing is lost for want of speed
    #[arg(long, value_name = "RATE", default_value = "20kpps")]
    rate: Rate,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How late 99 of 100 frames may be; what is judged here is frames, not speed
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    lag_max: Duration,
    /// Writes which server each flow came to: CSV, a flow a line
    #[arg(long, value_name = "FILE")]
    assignments: Option<PathBuf>,
    /// Says what is different from the servers that an earlier run's --assignments has in this file
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command. Exit status: 0 nothing found, 1 something found or the traffic was not sent, 2 refused.
#[must_use]
pub fn run(args: &VerifyArgs) -> ExitCode {
    match verify(args) {
        Ok(outcome) if is_clean(&outcome) => ExitCode::SUCCESS,
        Ok(outcome) => {
            let found: u64 = outcome.findings.iter().flat_map(|findings| findings.counts.values()).sum();
            let _ = writeln!(stderr(), "ringlead bench verify: {found} findings; {}", validity(&outcome));
            ExitCode::from(1)
        }
        Err(why) => {
            let _ = writeln!(stderr(), "ringlead bench verify: {why}");
            ExitCode::from(2)
        }
    }
}

fn is_clean(outcome: &Outcome) -> bool {
    let judged = outcome.findings.as_ref().is_some_and(ringlead_traffic::Findings::is_clean);
    judged && outcome.is_valid() && outcome.loss.total == 0 && outcome.odd.bad_checksums_repaired == 0
}

fn verify(args: &VerifyArgs) -> Result<Outcome, Box<dyn std::error::Error>> {
    args.output.check()?;
    let spec = TrialSpec {
        check: Check::All,
        lag_max: args.lag_max,
        ..args.traffic.trial(args.rate, args.duration)
    };
    spec.check()?;
    let before = args.before.as_deref().map(assignments::read).transpose()?;
    let mut generator = Generator::open(&args.traffic.setup()?)?;
    let mut report = Report::new("verify", environment(&generator));
    let mut progress = Progress::new();
    let outcome = generator.trial(&spec, &mut progress)?;
    progress.clear();
    drop(generator);
    add_trial(&mut report, "verify", &outcome);
    if let Some(findings) = &outcome.findings {
        add_findings(&mut report, findings);
    }
    if let Some(now) = &outcome.assignments {
        if let Some(before) = &before {
            assignments::add(&mut report, &assignments::compare(before, now.iter()))?;
        }
        if let Some(path) = &args.assignments {
            assignments::write(path, now).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    report.extra.insert("outcome".to_owned(), serde_json::to_value(&outcome)?);
    report.extra.insert("spec".to_owned(), serde_json::to_value(&spec)?);
    args.output.write(&report)?;
    Ok(outcome)
}
