//! `ringlead config diff`: what a file would change.

use super::daemon::{control, running};
use crate::cli::DiffArgs;
use crate::out;
use ringlead_control::admin::client;
use ringlead_control::config::{Affected, Diff, FlowGroup, Side, diff};
use ringlead_control::engine::requests::tally::TallyAnswer;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

/// Compares a file with another one, or with what the daemon has. Exit status 0: the same; 1: different; 2: no answer, or a file
/// that cannot be used.
pub(crate) fn run(args: &DiffArgs) -> ExitCode {
    match compare(args) {
        Ok(found) => {
            let text = if args.json {
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

fn compare(args: &DiffArgs) -> Result<Diff, String> {
    let colour = super::config::colour();
    let new = Side::load(&args.file.config).map_err(|found| found.render(colour))?;
    if let Some(path) = &args.old {
        let old = Side::load(path).map_err(|found| found.render(colour))?;
        return Ok(diff(&old, &new));
    }
    let refused = |why| format!("ringlead config diff: {why}");
    let socket = control(&args.daemon).map_err(refused)?;
    let text = running(&socket).map_err(refused)?;
    let old = Side::parse("the daemon's configuration", &text).map_err(|found| found.render(colour))?;
    Ok(of_daemon(&socket, &old, &new))
}

/// What `new` changes of what the daemon has, its open flows counted.
pub(super) fn of_daemon(socket: &Path, running: &Side, new: &Side) -> Diff {
    let found = diff(running, new);
    if found.is_empty() {
        return found;
    }
    let flows = tallied(socket).map(|groups| Affected::of(running, new, groups));
    found.with_flows(flows)
}

/// The open flows of the daemon, by what a reload may change for them.
fn tallied(socket: &Path) -> Result<Vec<FlowGroup>, String> {
    let (mut groups, mut cursor) = (BTreeMap::new(), Some(0));
    while let Some(at) = cursor {
        let request = json!({ "command": "flow-tally", "cursor": at });
        let answer = client::request(socket, &request).map_err(|error| error.to_string())?;
        let page: TallyAnswer = serde_json::from_value(answer)
            .map_err(|error| format!("the daemon's answer is of another version: {error}"))?;
        for row in page.rows {
            *groups.entry(FlowGroup { flows: 0, ..row.clone() }).or_default() += row.flows;
        }
        cursor = page.next;
    }
    Ok(groups.into_iter().map(|(group, flows)| FlowGroup { flows, ..group }).collect())
}
