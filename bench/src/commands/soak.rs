//! `ringlead bench soak`: judged traffic while things happen to the balancer.

use super::traffic::{Progress, TrafficArgs, add_findings, add_trial, environment, validity};
use crate::soak::{Actor, Counters, Event, Frames, Verdict, Watch, add, check, shares};
use clap::Args;
use ringlead_report::{OutputArgs, Report};
use ringlead_traffic::{Check, Generator, Outcome, Rate, TrialSpec};
use std::io::{Write, stderr};
use std::process::ExitCode;
use std::time::Duration;

/// `ringlead bench soak`.
#[derive(Debug, Args)]
pub struct SoakArgs {
    #[command(flatten)]
    traffic: TrafficArgs,
    /// How fast
    #[arg(long, value_name = "RATE", default_value = "20kpps")]
    rate: Rate,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// What to do to the balancer and when; may be given often. "10s reload", "every 100ms reload" (over --control),
    /// "20s signal KILL PID", "30s exec COMMAND" (by the shell; must end with 0 within a minute)
    #[arg(long, value_name = "EVENT")]
    event: Vec<Event>,
    /// Frames that may be lost
    #[arg(long, value_name = "N", default_value_t = 0)]
    allow_lost: u64,
    /// Servers that flows may leave, as given to --server: those that events take out
    #[arg(long, value_name = "ADDR:PORT[@[NETNS/]DEV],…", value_delimiter = ',')]
    may_leave: Vec<String>,
    /// How late 99 of 100 frames may be; what is judged here is frames, not speed
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    lag_max: Duration,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command. Exit status: 0 nothing lost, moved, broken or failed beyond what is allowed, 1 not so, 2 refused.
#[must_use]
pub fn run(args: &SoakArgs) -> ExitCode {
    match soak(args) {
        Ok(verdict) if verdict.is_good() => ExitCode::SUCCESS,
        Ok(verdict) => {
            for why in &verdict.wrong {
                let _ = writeln!(stderr(), "ringlead bench soak: {why}");
            }
            ExitCode::from(1)
        }
        Err(why) => {
            let _ = writeln!(stderr(), "ringlead bench soak: {why}");
            ExitCode::from(2)
        }
    }
}

fn soak(args: &SoakArgs) -> Result<Verdict, Box<dyn std::error::Error>> {
    args.output.check()?;
    check(&args.event, args.duration, args.traffic.control.is_some())?;
    let spec = TrialSpec {
        check: Check::All,
        lag_max: args.lag_max,
        interval: interval(args.duration),
        ..args.traffic.trial(args.rate, args.duration)
    };
    spec.check()?;
    check_may_leave(args)?;
    let mut generator = Generator::open(&args.traffic.setup()?)?;
    let mut report = Report::new("soak", environment(&generator));
    let actor = Actor { control: args.traffic.control.clone() };
    let mut watch = Watch::new(args.event.clone(), actor, Progress::new())?;
    let outcome = generator.trial(&spec, &mut watch);
    let (done, skipped) = watch.finish();
    let outcome = outcome?;
    drop(generator);

    let begun: Vec<Duration> = done.iter().map(|done| done.begun).collect();
    let findings = outcome.findings.clone().unwrap_or_default();
    let lost = lost(&outcome);
    let leave = |from: &str| may_leave(&args.may_leave, from);
    let trial = Frames {
        intervals: &outcome.intervals,
        replies: outcome.replies.is_some(),
        lost,
        way: way(&outcome),
    };
    let shares = shares(&begun, &trial, &findings, leave);
    let mut verdict = Verdict::of(
        (outcome.invalid.as_ref(), outcome.findings.is_some()),
        &shares,
        &done,
        &skipped,
        args.allow_lost,
    );
    verdict.add_unkept(&args.event, &done, Duration::from_secs_f64(outcome.seconds));
    let last = args.traffic.control.as_deref().and_then(|socket| Counters::ask(socket).ok());
    add_trial(&mut report, "soak", &outcome);
    add_findings(&mut report, &findings);
    add(&mut report, &args.event, &done, &skipped, &shares, last.as_ref(), &verdict);
    report.extra.insert("outcome".to_owned(), serde_json::to_value(&outcome)?);
    report.extra.insert("spec".to_owned(), serde_json::to_value(&spec)?);
    if let Some(row) = report.results.first_mut() {
        row.fields.insert("verdict".to_owned(), if verdict.is_good() { "good" } else { "not good" }.into());
        row.fields.insert("trial".to_owned(), validity(&outcome).into());
    }
    args.output.write(&report)?;
    Ok(verdict)
}

/// Loss is told to the events by intervals, so these are short; a long run has fewer of them.
fn interval(duration: Duration) -> Duration {
    match duration.as_secs() {
        0..=60 => Duration::from_millis(20),
        61..=3600 => Duration::from_millis(200),
        _ => Duration::from_secs(1),
    }
}

/// By the witness, who counts a duplicate for no lost frame, and at least by the counters.
fn lost(outcome: &Outcome) -> u64 {
    let judged = outcome.findings.as_ref().map_or(0, |findings| findings.forward.lost + findings.reply.lost);
    judged.max(outcome.loss.total)
}

/// The longest way that a frame took, with its answer where there was one. It counts from the planned time, so the
/// sender's lag is in it: rather too long than too short.
fn way(outcome: &Outcome) -> Duration {
    let longest =
        [&outcome.latency, &outcome.reply_latency].into_iter().flatten().map(|times| times.max_ns).max();
    Duration::from_nanos(longest.unwrap_or(0))
}

/// A server's name in findings is its address and port, `@` and its device, or in dsr mode the device alone.
fn may_leave(list: &[String], from: &str) -> bool {
    let parts = |server: &str| list.iter().any(|wanted| wanted == server);
    parts(from) || from.split('@').any(parts)
}

/// A server that nobody plays is a mistake in the command line.
fn check_may_leave(args: &SoakArgs) -> Result<(), String> {
    let servers: Vec<String> =
        args.traffic.server.iter().map(|server| format!("{}@{}", server.address, server.port)).collect();
    let known =
        |wanted: &String| servers.iter().any(|server| may_leave(std::slice::from_ref(wanted), server));
    match args.may_leave.iter().find(|wanted| !known(wanted)) {
        Some(unknown) => Err(format!("--may-leave {unknown}: none of the servers: {}", servers.join(", "))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_known_by_address_and_by_device() {
        let list = |name: &str| vec![name.to_owned()];
        let from = "10.2.0.11:80@lab-s1/e0";
        for name in [from, "10.2.0.11:80", "lab-s1/e0"] {
            assert!(may_leave(&list(name), from), "{name}");
        }
        for name in ["10.2.0.1", "10.2.0.11:8", "e0", ""] {
            assert!(!may_leave(&list(name), from), "{name}");
        }
        assert!(may_leave(&list("lab-s1/e0"), "lab-s1/e0") && !may_leave(&[], from));
    }
}
