//! What commands to a running daemon share.

use crate::cli::{DaemonArgs, SocketArgs};
use ringlead_control::admin::client;
use ringlead_control::config;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// The most pages of a configuration that are asked for: more than its largest needs.
const PAGES_MAX: usize = 256;

/// Where the daemon's control socket is.
pub(super) fn socket(args: &DaemonArgs) -> Result<PathBuf, String> {
    args.config.as_deref().map_or_else(|| Ok(args.socket.clone()), socket_in)
}

fn socket_in(path: &Path) -> Result<PathBuf, String> {
    config::control_socket(path).map_err(|found| {
        format!("{found}\nwhere the daemon listens cannot be told by this file: say `-s SOCKET`")
    })
}

/// The control socket of a command whose `-c` is another file.
pub(super) fn control(args: &SocketArgs) -> Result<PathBuf, String> {
    args.socket_of.as_deref().map_or_else(|| Ok(args.socket.clone()), socket_in)
}

/// Sends one request to the control socket. A refusal comes in the daemon's words.
pub(super) fn ask(socket: &Path, request: &Value) -> Result<Value, String> {
    client::request(socket, request).map_err(|error| error.to_string())
}

/// What the daemon has in force.
#[derive(Debug, Default)]
pub(super) struct InForce {
    /// Its configuration in its effective form.
    pub(super) text: String,
    /// The file that a reload reads; `None`: its path is no text, or the daemon is of a version that does not say.
    pub(super) file: Option<PathBuf>,
    /// For how many seconds yet a reload waits for its confirmation; `None`: none waits.
    pub(super) waits_s: Option<u64>,
}

/// The daemon's configuration in its effective form.
pub(super) fn running(socket: &Path) -> Result<String, String> {
    in_force(socket).map(|in_force| in_force.text)
}

/// What the daemon has in force, page by page, begun again when it changes meanwhile.
pub(super) fn in_force(socket: &Path) -> Result<InForce, String> {
    let (mut text, mut offset, mut generation) = (String::new(), 0, None);
    for _ in 0..PAGES_MAX {
        let request = json!({ "command": "config", "offset": offset });
        let page = client::request(socket, &request).map_err(|error| error.to_string());
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
            None => {
                let file = page.get("file").and_then(Value::as_str).map(PathBuf::from);
                return Ok(InForce { text, file, waits_s: page.get("waits_s").and_then(Value::as_u64) });
            }
        }
    }
    Err("the daemon's configuration changes all the time".to_owned())
}

/// A time in seconds since 1970 as people read it, in UTC: `2026-11-21T12:04:00Z`.
pub(super) fn at(seconds: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) {
        // Later than that it cannot be written.
        Some(at) if seconds < 253_402_300_800 => humantime::format_rfc3339_seconds(at).to_string(),
        Some(_) | None => "for ever".to_owned(),
    }
}
