//! `ringlead reload | confirm | undo`: another configuration for the daemon, for good or on trial.

use super::daemon::{InForce, ask, in_force, socket};
use crate::cli::{ChangeArgs, ReloadArgs};
use crate::out;
use ringlead_control::config::{Side, diff};
use ringlead_control::engine::CONFIRM_S_MAX;
use ringlead_control::engine::status::ReloadStatus;
use serde_json::{Value, json};
use std::fs;
use std::process::ExitCode;

/// Has the daemon read its file again; exit status 2 with the reason when it refuses.
pub(crate) fn reload(args: &ReloadArgs) -> ExitCode {
    let mut request = json!({ "command": "reload" });
    if let (Some(seconds), Some(request)) = (args.confirm, request.as_object_mut()) {
        request.insert("confirm_s".to_owned(), json!(seconds));
    }
    change("reload", &args.change, &request, "the new configuration is in force")
}

/// The last reload stays.
pub(crate) fn confirm(args: &ChangeArgs) -> ExitCode {
    change("confirm", args, &json!({ "command": "confirm" }), "the new configuration stays")
}

/// The configuration before the last reload returns.
pub(crate) fn undo(args: &ChangeArgs) -> ExitCode {
    let done = "the configuration before the last reload is in force again; the file is as it was";
    change("undo", args, &json!({ "command": "undo" }), done)
}

fn change(name: &str, args: &ChangeArgs, request: &Value, done: &str) -> ExitCode {
    let socket = match socket(&args.daemon) {
        Ok(socket) => socket,
        Err(why) => return refused(name, &why),
    };
    let before = in_force(&socket).ok();
    let answer = match ask(&socket, request) {
        Ok(answer) => answer,
        Err(why) => return refused(name, &why),
    };
    let status: ReloadStatus = match serde_json::from_value(answer.get("reload").cloned().unwrap_or_default())
    {
        Ok(status) => status,
        Err(error) => return refused(name, &format!("the daemon's answer is of another version: {error}")),
    };
    let asked_for = args.daemon.config.as_ref().and_then(|file| fs::canonicalize(file).ok());
    let has = before.as_ref().and_then(|before| fs::canonicalize(before.file.as_ref()?).ok());
    if let (Some(asked_for), Some(has), "reload") = (asked_for, has, name)
        && asked_for != has
    {
        eprintln!("ringlead reload: the daemon's file is {}, and that was read", has.display());
    }
    let text = match (args.json, status.waits_s) {
        (true, _) => format!("{answer:#}"),
        (false, None) => done.to_owned(),
        (false, Some(left)) => format!("{done}: {left} s to `ringlead confirm`, or it is undone"),
    };
    out::line(&text);
    if !args.json && name != "confirm" {
        for line in changed(before, in_force(&socket).ok()) {
            out::line(&line);
        }
    }
    ExitCode::SUCCESS
}

/// What is in force now and was not before, by the lines of `config diff` without those of flows: it is over by now.
fn changed(before: Option<InForce>, after: Option<InForce>) -> Vec<String> {
    let (Some(before), Some(after)) = (before, after) else {
        return vec!["what changed is not known: the daemon does not tell its configuration".to_owned()];
    };
    if before.text == after.text {
        return vec!["nothing changed".to_owned()];
    }
    let [old, new] = [before, after].map(|side| Side::parse("the daemon's configuration", &side.text));
    match (old, new) {
        (Ok(old), Ok(new)) => diff(&old, &new).changes(),
        _ => vec!["what changed is not known: the daemon's configuration is of another version".to_owned()],
    }
}

fn refused(name: &str, why: &str) -> ExitCode {
    eprintln!("ringlead {name}: {why}");
    ExitCode::from(2)
}

/// `60s`, `5m`, `1h`: 1 s to 1 h, in seconds.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600)];
    let read = units.iter().find_map(|(unit, factor)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*factor)
    });
    read.filter(|seconds| (1..=CONFIRM_S_MAX).contains(seconds))
        .ok_or_else(|| "a whole number and a unit, 1s to 1h: 60s, 5m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_lasts_a_second_to_an_hour() {
        for (text, expected) in [("1s", 1), ("60s", 60), ("5m", 300), ("1h", 3_600)] {
            assert_eq!(seconds(text), Ok(expected));
        }
        for text in
            ["", "60", "0s", "2h", "-1s", "500ms", "s", "99999999999999999999s", "307445734561825861m"]
        {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
