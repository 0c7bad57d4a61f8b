//! `ringlead bench send`: traffic at a rate, counted honestly.

use super::traffic::{Progress, TrafficArgs, add_trial, environment, validity};
use clap::Args;
use ringlead_report::{OutputArgs, Report};
use ringlead_traffic::{Generator, Outcome, Rate, TrafficError, TrialSpec};
use std::fs;
use std::io::{Write, stderr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// `ringlead bench send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    #[command(flatten)]
    traffic: TrafficArgs,
    /// How fast: 500kpps, 1Mpps, 10Gbps (frames with FCS), 50% of the line, full, or recorded [default: 100kpps, of a
    /// capture as recorded]
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long the rate climbs at the start [default: a tenth of the duration, at most 100ms]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    ramp: Option<Duration>,
    /// How late 99 of 100 frames may be before the trial is invalid
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = humantime::parse_duration)]
    lag_max: Duration,
    /// Do not open the flows before the trial
    #[arg(long)]
    no_prime: bool,
    /// Every frame is the SYN of another flow
    #[arg(long, conflicts_with_all = ["zipf", "new_flows", "fragments"])]
    syn_flood: bool,
    /// Send the frames of a capture (pcap, pcapng), with their addresses; they are counted, nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["syn_flood", "reply"])]
    pcap: Option<PathBuf>,
    /// Latencies by interval as an HdrHistogram log
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command. Exit status: 0 valid and without loss, 1 not so, 2 refused.
#[must_use]
pub fn run(args: &SendArgs) -> ExitCode {
    match send(args) {
        Ok(outcome) if outcome.is_valid() && outcome.loss_ratio() <= 0.0 => ExitCode::SUCCESS,
        Ok(outcome) => {
            let lost = outcome.loss.total;
            let _ = writeln!(stderr(), "ringlead bench send: {}; {lost} frames lost", validity(&outcome));
            ExitCode::from(1)
        }
        Err(why) => {
            let _ = writeln!(stderr(), "ringlead bench send: {why}");
            ExitCode::from(2)
        }
    }
}

fn send(args: &SendArgs) -> Result<Outcome, Box<dyn std::error::Error>> {
    args.output.check()?;
    let spec = args.spec();
    spec.check()?;
    let mut setup = args.traffic.setup()?;
    setup.any_address = args.pcap.is_some();
    let mut generator = Generator::open(&setup)?;
    let mut report = Report::new("send", environment(&generator));
    let mut progress = Progress::new();
    let outcome = generator.trial(&spec, &mut progress)?;
    progress.clear();
    drop(generator);
    add_trial(&mut report, "send", &outcome);
    report.extra.insert("outcome".to_owned(), serde_json::to_value(&outcome)?);
    report.extra.insert("spec".to_owned(), serde_json::to_value(&spec)?);
    if let (Some(path), Some(log)) = (&args.hlog, &outcome.latency_log) {
        fs::write(path, log)
            .map_err(|source| TrafficError::Io { doing: format!("write {}", path.display()), source })?;
    }
    args.output.write(&report)?;
    Ok(outcome)
}

impl SendArgs {
    fn spec(&self) -> TrialSpec {
        let usual = if self.pcap.is_some() { Rate::Recorded } else { Rate::Pps(100e3) };
        let mut spec = self.traffic.trial(self.rate.unwrap_or(usual), self.duration);
        spec.ramp = self.ramp.unwrap_or(spec.ramp);
        spec.lag_max = self.lag_max;
        spec.prime = !self.no_prime;
        spec.plan.syn_flood = self.syn_flood;
        spec.plan.capture.clone_from(&self.pcap);
        spec.latency_log = self.hlog.is_some();
        spec
    }
}
