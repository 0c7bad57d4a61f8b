//! `ringlead config diff`: what a file would change.

use super::daemon::ask;
use crate::cli::DiffArgs;
use ringlead_control::config::{Side, diff};
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;

/// The most pages of a configuration that are asked for: more than its largest needs.
const PAGES_MAX: usize = 256;

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
            // A closed pipe is the reader's choice.
            let _ = std::io::stdout().write_all(text.as_bytes());
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
            let text = running(args).map_err(|why| format!("ringlead config diff: {why}"))?;
            Side::parse("the daemon's configuration", &text).map_err(|found| found.render(colour))?
        }
    };
    Ok(diff(&old, &new))
}

/// The daemon's configuration, page by page, begun again when it changes meanwhile.
fn running(args: &DiffArgs) -> Result<String, String> {
    let (mut text, mut offset, mut generation) = (String::new(), 0, None);
    for _ in 0..PAGES_MAX {
        let page = ask(&args.daemon.daemon, &json!({ "command": "config", "offset": offset }));
        let page = match page {
            Err(_) if offset > 0 => Value::Null,
            page => page?,
        };
        let of = page.get("generation").and_then(Value::as_u64);
        if offset > 0 && of != generation {
            (text, offset) = (String::new(), 0);
            continue;
        }
        generation = of;
        text.push_str(
            page.get("text").and_then(Value::as_str).ok_or("the daemon's answer is of another version")?,
        );
        match page.get("next").and_then(Value::as_u64) {
            Some(next) => offset = next,
            None => return Ok(text),
        }
    }
    Err("the daemon's configuration changes all the time".to_owned())
}
