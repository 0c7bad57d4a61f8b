//! `ringlead server add | remove`: edits the configuration file and has the daemon read it again, so that the file stays the one
//! source of what is in force.
//!
//! The file is written only if the daemon can take over nothing else with it, and gets its old text back when the daemon refuses.

use super::daemon::{self, InForce};
use super::diff::of_daemon;
use super::server::{flows_left, named};
use super::signals;
use crate::cli::{AddArgs, EditArgs, FirstState, RemoveArgs};
use crate::out;
use ringlead_control::admin::client::{self, ClientError};
use ringlead_control::config::edit::{
    Change, EDIT_WAIT, Edit, EditError, EditLock, NewServer, replace, text_diff,
};
use ringlead_control::config::{Config, Diff, OperatorState, Side};
use ringlead_control::engine::operator::{WaitAnswer, WaitRequest};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Writes another server into the file. Exit status 0: it is in force; 2: the error says whether the file is changed, which it is only
/// where the daemon's answer is missing or the old text could not come back.
pub(super) fn add(args: &AddArgs) -> Result<ExitCode, String> {
    let (pool, server) = named(&args.server)?;
    let new = NewServer {
        name: server.to_owned(),
        address: args.address.clone(),
        weight: args.weight,
        flows_max: args.max_flows,
        state: args.state.map(|state| match state {
            FirstState::Ready => OperatorState::Ready,
            FirstState::Drain => OperatorState::Drain,
            FirstState::Offline => OperatorState::Offline,
        }),
        backup: args.backup,
    };
    Job { pool, server, change: Change::Add(new), args: &args.edit }.run()
}

/// Takes a server out of the file. Exit status as of [`add`].
pub(super) fn remove(args: &RemoveArgs) -> Result<ExitCode, String> {
    let (pool, server) = named(&args.server)?;
    Job { pool, server, change: Change::Remove(server.to_owned()), args: &args.edit }.run()
}

/// What is to be done to a file.
struct Job<'a> {
    pool: &'a str,
    server: &'a str,
    change: Change,
    args: &'a EditArgs,
}

/// What would be written, and what of it is not in force.
struct Planned {
    edit: Edit,
    /// What the file has already that is not in force.
    pending: Diff,
    /// All that a reload of the new text changes.
    changes: Diff,
}

impl Job<'_> {
    fn run(&self) -> Result<ExitCode, String> {
        let socket = daemon::socket(&self.args.daemon)?;
        let in_force = daemon::in_force(&socket)?;
        let file = file_of(&in_force, self.args.daemon.config.as_deref())?;
        let real = fs::canonicalize(&file).map_err(|error| told(&file, &error))?;
        let state_dir = running(&in_force)?.config().node.state_dir.clone();
        let _lock = EditLock::take(&real, &state_dir, EDIT_WAIT).map_err(|error| told(&real, &error))?;
        // Whoever had the lock before has changed it.
        let in_force = daemon::in_force(&socket)?;
        let planned = self.plan(&socket, &file, &in_force)?;
        if self.args.dry_run {
            self.tell(&planned, None);
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(left) = in_force.waits_s {
            return Err(format!(
                "the last reload waits for confirm, {left} s left: confirm or undo it first"
            ));
        }
        let flows = self.flows(&socket);
        let Edit { file, old, new, .. } = &planned.edit;
        // Whoever ends the command now would leave a text in the file that the daemon may refuse.
        signals::held_while(|| {
            write(file, old, new).map_err(|error| told(file, &error))?;
            self.reload(&socket, &planned.edit)
        })?;
        self.tell(&planned, flows);
        Ok(ExitCode::SUCCESS)
    }

    fn plan(&self, socket: &Path, file: &Path, in_force: &InForce) -> Result<Planned, String> {
        let colour = super::config::colour();
        let edit = Edit::of(file, self.pool, &self.change).map_err(|error| match error {
            EditError::Refused(why) => why,
            EditError::Unusable(found) => {
                format!("the configuration is wrong as it is, and stays so:\n{}", found.render(colour))
            }
            EditError::Wrong(found) => {
                format!(
                    "with this change the configuration would be wrong; nothing is written:\n{}",
                    found.render(colour)
                )
            }
        })?;
        let running = running(in_force)?;
        let [before, after] = [&edit.before, &edit.after].map(|loaded| Side::of(loaded.clone()));
        let pending = of_daemon(socket, &running, &before);
        if !pending.is_empty() && !self.args.also_pending {
            let lines: String = pending.lines().iter().map(|line| format!("  {line}\n")).collect();
            return Err(format!(
                "{} has changes that are not in force, and would be with this one:\n{lines}nothing is written: \
                 `ringlead reload` first, or say --also-pending",
                file.display()
            ));
        }
        let changes = of_daemon(socket, &running, &after);
        Ok(Planned { edit, pending, changes })
    }

    /// Has the daemon take the file over; where it does not, the old text comes back.
    fn reload(&self, socket: &Path, edit: &Edit) -> Result<(), String> {
        let verb = if matches!(self.change, Change::Add(_)) { "add" } else { "remove" };
        let why = format!("server {verb} {}/{}", self.pool, self.server);
        let Err(error) = client::request(socket, &json!({ "command": "reload", "why": why })) else {
            return Ok(());
        };
        let file = edit.file.display();
        match &error {
            ClientError::Refused(_)
            | ClientError::Busy(_)
            | ClientError::Stopping(_)
            | ClientError::NoDaemon { .. }
            | ClientError::Forbidden { .. } => {
                let back = match write(&edit.file, &edit.new, &edit.old) {
                    Ok(()) => format!("{file} has its old text again"),
                    Err(why) => format!("{file} could not get its old text again: {why}"),
                };
                // Its successor may have read the file between the two writes.
                let unsure = if matches!(error, ClientError::NoDaemon { .. } | ClientError::Stopping(_)) {
                    "; whether a daemon that starts just now has read it is not known: `ringlead config diff` tells"
                } else {
                    ""
                };
                Err(format!("{error}\n{back}{unsure}"))
            }
            ClientError::NoAnswer | ClientError::BadAnswer(_) | ClientError::Io(_) => Err(format!(
                "{error}\n{file} is written, but whether that is in force is not known: `ringlead config diff` tells"
            )),
        }
    }

    /// The flows that the server has, of one that is to go.
    fn flows(&self, socket: &Path) -> Option<u32> {
        let Change::Remove(_) = self.change else { return None };
        let (pool, server) = (self.pool.to_owned(), self.server.to_owned());
        let mut request = json!(WaitRequest { pool, server, wait_ms: 0 });
        request.as_object_mut()?.insert("command".to_owned(), "server-wait".into());
        let answer = client::request(socket, &request).ok()?;
        serde_json::from_value::<WaitAnswer>(answer).ok().map(|answer| answer.flows)
    }

    fn tell(&self, planned: &Planned, flows: Option<u32>) {
        let Planned { edit, pending, changes } = planned;
        let known: Vec<_> = edit.before.warnings.iter().map(|one| (one.code, &one.message)).collect();
        for warning in edit.after.warnings.iter().filter(|one| !known.contains(&(one.code, &one.message))) {
            eprintln!("{}\n", warning.render(super::config::colour()));
        }
        let server = format!("{}/{}", self.pool, self.server);
        let [old, new] = [&edit.before, &edit.after].map(|loaded| self.address(&loaded.config));
        let (file, dry_run) = (edit.file.display().to_string(), self.args.dry_run);
        let text = text_diff(&file, &edit.old, &edit.new);
        if self.args.json {
            let told: Value = json!({
                "format": 1, "server": server, "old": old, "new": new, "flows": flows, "file": file, "text": text,
                "written": !dry_run, "changes": changes.to_json(), "pending": pending.to_json(),
            });
            out::line(&format!("{told:#}"));
            return;
        }
        if dry_run {
            out::line(text.trim_end());
        }
        let [old, new] = [old, new].map(|address| address.unwrap_or_else(|| "none".to_owned()));
        let left = flows.map(|flows| format!(", {}", flows_left(flows))).unwrap_or_default();
        out::line(&format!("{server}: {old} -> {new}{left}"));
        for line in changes.lines() {
            out::line(&line);
        }
        out::line(&match dry_run {
            true => "nothing is written".to_owned(),
            false => format!("{file} is written, and the new configuration is in force"),
        });
    }

    /// Where the server is in a configuration.
    fn address(&self, config: &Config) -> Option<String> {
        let pool = config.pools.iter().find(|pool| pool.name == self.pool)?;
        let server = pool.servers.iter().find(|server| server.name == self.server)?;
        Some(server.address.to_string())
    }
}

/// The file that the daemon reads at a reload, as the daemon names it: what a file includes is beside that name.
fn file_of(in_force: &InForce, asked: Option<&Path>) -> Result<PathBuf, String> {
    let file =
        in_force.file.clone().ok_or("the daemon does not say which file it reads: edit it and reload")?;
    let Some(asked) = asked else { return Ok(file) };
    match [fs::canonicalize(asked), fs::canonicalize(&file)] {
        [Ok(asked), Ok(real)] if asked == real => Ok(file),
        [Ok(_), _] => Err(format!("the daemon reads another file: {}", file.display())),
        [Err(error), _] => Err(told(asked, &error)),
    }
}

fn running(in_force: &InForce) -> Result<Side, String> {
    Side::parse("the daemon's configuration", &in_force.text)
        .map_err(|found| found.render(super::config::colour()))
}

fn write(file: &Path, old: &str, new: &str) -> std::io::Result<()> {
    if let Some(why) = replace(file, old, new)? {
        eprintln!(
            "ringlead server: warning: {} is written, but may be lost with the power: {why}",
            file.display()
        );
    }
    Ok(())
}

fn told(file: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", file.display())
}
