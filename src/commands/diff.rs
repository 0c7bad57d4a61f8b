//! `ringlead config diff`: what a file would change.

use super::daemon::{control, running};
use crate::cli::DiffArgs;
use crate::out;
use ringlead_control::config::{Side, diff};
use std::process::ExitCode;

/// Compares a file with another one, or with what the daemon has. Exit status 0: the same; 1: different; 2: no answer, or a file
/// that cannot be used.
pub(crate) fn run(args: &DiffArgs) -> ExitCode {
    match compare(args) {
        Ok(found) => {
            let text = if args.daemon.json {
                format!("{:#}\n", found.to_json())
            } else {
                found.lines().iter().map(|line| format!("{line}\n")).collect()
            };
            out::print(&text);
            if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn compare(args: &DiffArgs) -> Result<ringlead_control::config::Diff, String> {
    let colour = super::config::colour();
    let new = Side::load(&args.file.config).map_err(|found| found.render(colour))?;
    let old = match &args.old {
        Some(path) => Side::load(path).map_err(|found| found.render(colour))?,
        None => {
            let text = control(&args.daemon.daemon)
                .and_then(|socket| running(&socket))
                .map_err(|why| format!("ringlead config diff: {why}"))?;
            Side::parse("the daemon's configuration", &text).map_err(|found| found.render(colour))?
        }
    };
    Ok(diff(&old, &new))
}
