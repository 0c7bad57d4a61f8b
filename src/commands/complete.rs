//! Completion in shells: the shell asks this program, which knows its own commands, and asks the daemon for names.

use super::daemon;
use super::listing::refused;
use super::render::text;
use crate::cli::{Cli, CompletionsArgs, DaemonArgs};
use crate::out::print;
use clap::CommandFactory;
use clap_complete::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};
use ringlead_control::admin;
use ringlead_control::admin::client::{self, ClientError};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Set by what [`register`] prints, with the shell's name.
const VARIABLE: &str = "RINGLEAD_COMPLETE";
/// Who waits for a completion types on.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers a shell and ends, if it is one that asks.
pub(crate) fn complete() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// `ringlead completions`: prints what a shell has to run once.
pub(crate) fn register(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let shell = shells.completer(&args.shell);
    let written = shell
        .map(|shell| shell.write_registration(VARIABLE, "ringlead", "ringlead", "ringlead", &mut script));
    match (written, String::from_utf8(script)) {
        (Some(Ok(())), Ok(script)) => {
            print(&script);
            ExitCode::SUCCESS
        }
        (Some(Err(error)), _) => refused("completions", &error.to_string()),
        _ => refused("completions", &format!("no completions for {}", args.shell)),
    }
}

/// The running services.
pub(crate) fn services() -> Vec<CompletionCandidate> {
    names("services", |row| text(row, "/name"), |row| text(row, "/listen"))
}

/// The running pools.
pub(crate) fn pools() -> Vec<CompletionCandidate> {
    names("pools", |row| text(row, "/name"), |row| text(row, "/algorithm"))
}

/// The running pools, for the name of a server that is to be in one.
pub(crate) fn pools_of_servers() -> Vec<CompletionCandidate> {
    names("pools", |row| format!("{}/", text(row, "/name")), |row| text(row, "/algorithm"))
}

/// The running servers.
pub(crate) fn servers() -> Vec<CompletionCandidate> {
    let name = |row: &Value| format!("{}/{}", text(row, "/pool"), text(row, "/name"));
    let help = |row: &Value| format!("{} {}", text(row, "/operator"), text(row, "/health"));
    names("servers", name, help)
}

/// What a listing names. Without a daemon there is nothing to name.
fn names(
    of: &str,
    name: impl Fn(&Value) -> String,
    help: impl Fn(&Value) -> String,
) -> Vec<CompletionCandidate> {
    let words: Vec<String> = std::env::args().collect();
    let Some(socket) = socket(&words) else { return Vec::new() };
    let (begin, mut found, mut cursor) = (Instant::now(), Vec::new(), json!(0));
    while !cursor.is_null() && begin.elapsed() < PATIENCE {
        let request = json!({ "command": "list", "of": of, "cursor": cursor });
        let Ok(mut answer) = ask(&socket, &request) else { break };
        if let Some(Value::Array(rows)) = answer.get("rows") {
            found.extend(
                rows.iter().map(|row| CompletionCandidate::new(name(row)).help(Some(help(row).into()))),
            );
        }
        cursor = answer.get_mut("next").map(Value::take).unwrap_or_default();
    }
    found
}

fn ask(socket: &Path, request: &Value) -> Result<Value, ClientError> {
    match client::request_within(socket, request, PATIENCE) {
        Err(ClientError::Forbidden { .. }) => {
            client::request_within(&admin::read_only_path(socket), request, PATIENCE)
        }
        answer => answer,
    }
}

/// The daemon's socket: that of the words so far, or the usual one.
fn socket(words: &[String]) -> Option<PathBuf> {
    let after = |options: [&str; 2]| {
        let of = |pair: &[String]| match pair {
            [option, value] if options.contains(&option.as_str()) => Some(PathBuf::from(value)),
            _ => None,
        };
        let joined = |word: &String| Some(PathBuf::from(word.strip_prefix(options[1])?.strip_prefix('=')?));
        words.windows(2).find_map(of).or_else(|| words.iter().find_map(joined))
    };
    let usual = PathBuf::from("/run/ringlead/control.sock");
    let args =
        DaemonArgs { config: after(["-c", "--config"]), socket: after(["-s", "--socket"]).unwrap_or(usual) };
    daemon::socket(&args).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_that_of_the_words_so_far() {
        let of = |words: &str| socket(&words.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(of("ringlead servers"), Some("/run/ringlead/control.sock".into()));
        assert_eq!(of("ringlead server drain -s /tmp/a.sock w"), Some("/tmp/a.sock".into()));
        assert_eq!(of("ringlead server drain --socket=/tmp/b.sock w"), Some("/tmp/b.sock".into()));
        assert_eq!(of("ringlead flows -c /nowhere.toml --pool"), None);
    }
}
