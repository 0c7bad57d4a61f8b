//! What `tcp`, `http` and `rr` share: pace, sources, time limits, the live line and the end.

use clap::{Args, ValueEnum};
use ringlead_load::{Close, LoadError, Outcome, Pace, Rate, Sample, Settings};
use ringlead_report::{Environment, OutputArgs};
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

/// Requests in flight, unless told.
const IN_FLIGHT: u32 = 4096;
/// How late a client may be, unless told.
const LAG_MAX: Duration = Duration::from_millis(10);

/// Options of every load.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Requests a second, such as 500, 2.5k or 1M/s, whatever the service does (open loop). Without it, so many loops
    /// as are asked for, which wait for each answer (closed loop)
    #[arg(long, value_name = "N/s")]
    rate: Option<Rate>,
    /// Most requests in flight in an open loop; one more that is due is not started and makes the run invalid
    /// [default: 4096]
    #[arg(long, value_name = "N", requires = "rate", value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: Option<u32>,
    /// The run is invalid when more than one request in a thousand begins later than this [default: 10ms]
    #[arg(long, value_name = "TIME", requires = "rate", value_parser = humantime::parse_duration)]
    lag_max: Option<Duration>,
    /// How long requests are started
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long a request may take, in an open loop from its planned time
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Threads, each with its share of the load
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Source addresses, used in turn: each has some 28 000 ports towards a service
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',')]
    bind: Vec<IpAddr>,
    /// The network namespace to be in, by name or path
    #[arg(long, value_name = "NAME")]
    netns: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// How the client ends its TCP connections.
#[derive(Debug, Clone, Copy, Args)]
pub struct CloseArgs {
    /// How this side ends TCP connections: a reset leaves no port in TIME_WAIT
    #[arg(long, value_name = "HOW", default_value = "fin")]
    close: How,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum How {
    Fin,
    Reset,
}

impl From<CloseArgs> for Close {
    fn from(args: CloseArgs) -> Self {
        match args.close {
            How::Fin => Self::Fin,
            How::Reset => Self::Reset,
        }
    }
}

impl LoadArgs {
    /// The settings towards `target`; `loops` at a time when no rate is given.
    pub(crate) fn settings(&self, target: SocketAddr, loops: u32) -> Settings {
        let in_flight_max = self.in_flight.unwrap_or(IN_FLIGHT);
        let lag_max = self.lag_max.unwrap_or(LAG_MAX);
        let pace = match self.rate {
            Some(rate) => Pace::Open { rate, in_flight_max, lag_max },
            None => Pace::Closed { concurrency: loops },
        };
        Settings {
            bind: self.bind.clone(),
            netns: self.netns.clone(),
            threads: self.threads,
            duration: self.duration,
            timeout: self.timeout,
            ..Settings::new(target, pace)
        }
    }

    /// Whether requests follow a plan.
    pub(crate) fn is_open(&self) -> bool {
        self.rate.is_some()
    }

    /// Runs a load with the live line, writes its report and says how it went by the exit status.
    pub(crate) fn run(
        &self,
        load: impl FnOnce(&mut dyn FnMut(&Sample)) -> Result<Outcome, LoadError>,
    ) -> ExitCode {
        if let Err(why) = self.output.check() {
            return refuse(&why.to_string());
        }
        // The time, load and command of the report are those of the begin.
        let environment = Environment::gather();
        let live = io::stderr().is_terminal();
        let outcome = load(&mut |sample| {
            if live {
                show(sample);
            }
        });
        if live {
            say("\r\x1b[K"); // the live line makes room
        }
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(why) => return refuse(&why.to_string()),
        };
        if let Err(why) = self.output.write(&outcome.report(environment)) {
            return refuse(&why.to_string());
        }
        for why in outcome.invalid.iter().filter(|_| self.output.takes_stdout()) {
            say(&format!("INVALID: {why}\n"));
        }
        if outcome.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Says why nothing was measured.
pub(crate) fn refuse(why: &str) -> ExitCode {
    say(&format!("ringlead bench: {why}\n"));
    ExitCode::from(2)
}

fn show(sample: &Sample) {
    let Sample { second, planned, started, ok, failed, not_started, p99_ns, .. } = sample;
    let p99 = if *ok > 0 { format!("{:?}", Duration::from_nanos(*p99_ns)) } else { "-".to_owned() };
    let more = if *not_started > 0 { format!(", {not_started} NOT STARTED") } else { String::new() };
    let time = second + 1;
    say(&format!(
        "\r\x1b[K{time} s: {planned}/s due, {started} started, {ok} ok, {failed} failed{more}, p99 {p99}"
    ));
}

/// To standard error, where nobody may be listening.
fn say(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// A number of bytes: `100`, `64k`, `10M`, `1G` (powers of 1000).
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text} is no number of bytes, such as 100, 64k, 10M or 1G");
    let (number, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1_000),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1_000_000),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_their_unit() {
        for (text, number) in
            [("0", 0), ("1500", 1500), ("64k", 64_000), ("10M", 10_000_000), ("1G", 1_000_000_000)]
        {
            assert_eq!(bytes(text), Ok(number), "{text}");
        }
        for text in ["", "k", "1.5k", "-1", "99999999999G", "1 k", "é"] {
            assert!(bytes(text).is_err_and(|why| why.contains(text)), "{text}");
        }
    }
}
