//! What commands to a running daemon share.

use crate::cli::{DaemonArgs, SocketArgs};
use ringlead_control::admin::client;
use ringlead_control::config;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Where the daemon's control socket is.
pub(super) fn socket(args: &DaemonArgs) -> Result<PathBuf, String> {
    args.config.as_deref().map_or_else(|| Ok(args.socket.clone()), socket_in)
}

fn socket_in(path: &Path) -> Result<PathBuf, String> {
    let (config, _) = config::load(path).map_err(|diagnostics| diagnostics.to_string())?;
    Ok(config.node.control)
}

/// Sends one request to the control socket. A refusal comes in the daemon's words.
pub(super) fn ask(args: &SocketArgs, request: &Value) -> Result<Value, String> {
    let socket = args.socket_of.as_deref().map_or_else(|| Ok(args.socket.clone()), socket_in)?;
    client::request(&socket, request).map_err(|error| error.to_string())
}

/// A time in seconds since 1970 as people read it, in UTC: `2026-11-21T12:04:00Z`.
pub(super) fn at(seconds: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) {
        // Later than that it cannot be written.
        Some(at) if seconds < 253_402_300_800 => humantime::format_rfc3339_seconds(at).to_string(),
        Some(_) | None => "for ever".to_owned(),
    }
}
