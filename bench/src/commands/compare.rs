//! `ringlead bench compare`: what changed from one report to another.

use super::load::refuse;
use clap::Args;
use ringlead_report::{Comparison, Report, SCHEMA};
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `ringlead bench compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The report to compare with, as `--json` of any measurement wrote it
    #[arg(value_name = "FIRST.json")]
    before: PathBuf,
    /// The report to compare
    #[arg(value_name = "SECOND.json")]
    after: PathBuf,
    /// Exit with 1 when a value got worse by more than this many percent beyond the spread of both reports
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    fail_above: Option<f64>,
    /// The comparison as JSON on stdout instead of a table
    #[arg(long)]
    json: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    let value = text.trim_end_matches('%').trim().parse::<f64>().ok();
    value
        .filter(|value| value.is_finite() && *value >= 0.0)
        .ok_or_else(|| format!("'{text}' is no percentage: 0 or more"))
}

/// Compares. Exit status: 0 nothing became worse than allowed, 1 something did, 2 not comparable.
#[must_use]
pub fn run(args: &CompareArgs) -> ExitCode {
    let both = read(&args.before).and_then(|before| Ok((before, read(&args.after)?)));
    let comparison = match both {
        Ok((before, after)) => Comparison::of(&before, &after),
        Err(why) => return refuse(&why),
    };
    if comparison.changes.is_empty() {
        return refuse("the reports have no row and metric in common");
    }
    if let Err(why) = show(args, &comparison) {
        return refuse(&why);
    }
    let Some(limit) = args.fail_above else { return ExitCode::SUCCESS };
    let worse: Vec<_> = comparison.worse_than(limit).collect();
    for change in &worse {
        let by = change
            .worse_percent
            .map_or_else(|| "from 0".to_owned(), |by| format!("by {by:.1} % beyond the spread"));
        let line = format!("WORSE: {}, {}: {by}, {limit} % are allowed\n", change.row, change.metric);
        let _ = io::stderr().lock().write_all(line.as_bytes()); // nobody may be listening
    }
    if worse.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn show(args: &CompareArgs, comparison: &Comparison) -> Result<(), String> {
    let text = if args.json {
        serde_json::to_string_pretty(comparison).map_err(|why| why.to_string())? + "\n"
    } else {
        comparison.text(!io::stdout().is_terminal())
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that has seen enough (`| head`) is no failure.
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => Err(format!("cannot write to stdout: {why}")),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn read(path: &Path) -> Result<Report, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|why| format!("{shown}: {why}"))?;
    let report: Report = serde_json::from_str(&text).map_err(|why| format!("{shown} is no report: {why}"))?;
    if report.schema == SCHEMA {
        Ok(report)
    } else {
        Err(format!("{shown} has the layout '{}', not {SCHEMA}", report.schema))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringlead_report::{Environment, Metric, Row, Unit};

    fn file(dir: &Path, name: &str, cost_ns: f64) -> PathBuf {
        let mut report = Report::new("core", Environment::default());
        report.results = vec![Row::new("nat").metric("cost", Metric::less(cost_ns, Unit::Ns))];
        let path = dir.join(name);
        fs::write(&path, serde_json::to_string(&report).unwrap()).unwrap();
        path
    }

    #[test]
    fn the_exit_status_tells_what_got_worse() {
        let dir = tempfile::tempdir().unwrap();
        let (before, after) = (file(dir.path(), "a", 100.0), file(dir.path(), "b", 110.0));
        let status = |before: &PathBuf, after: &PathBuf, fail_above| {
            run(&CompareArgs { before: before.clone(), after: after.clone(), fail_above, json: false })
        };
        assert_eq!(status(&before, &after, None), ExitCode::SUCCESS);
        assert_eq!(status(&before, &after, Some(5.0)), ExitCode::FAILURE);
        assert_eq!(status(&before, &after, Some(15.0)), ExitCode::SUCCESS);
        assert_eq!(status(&after, &before, Some(5.0)), ExitCode::SUCCESS);
    }

    #[test]
    fn what_is_no_report_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let good = file(dir.path(), "good", 1.0);
        for (name, text) in [("text", "hello"), ("other", r#"{"schema":"ringlead-bench/2"}"#), ("list", "[]")]
        {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            assert!(read(&path).is_err_and(|why| why.contains(name)), "{name}");
            let args = CompareArgs { before: good.clone(), after: path, fail_above: None, json: false };
            assert_eq!(run(&args), ExitCode::from(2), "{name}");
        }
        assert!(read(&dir.path().join("missing")).is_err());
        assert!(percent("-1").is_err() && percent("x").is_err());
        assert_eq!(percent("5%"), Ok(5.0));
    }
}
