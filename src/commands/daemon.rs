//! What commands to a running daemon share.

use crate::cli::DaemonArgs;
use ringlead_control::config;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

/// Where the daemon's control socket is.
pub(super) fn socket(args: &DaemonArgs) -> Result<PathBuf, String> {
    let Some(path) = &args.config else { return Ok(args.socket.clone()) };
    let (config, _) = config::load(path).map_err(|diagnostics| diagnostics.to_string())?;
    Ok(config.node.control)
}

/// A time in seconds since 1970 as people read it, in UTC: `2026-11-21T12:04:00Z`.
pub(super) fn at(seconds: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) {
        // Later than that it cannot be written.
        Some(at) if seconds < 253_402_300_800 => humantime::format_rfc3339_seconds(at).to_string(),
        Some(_) | None => "for ever".to_owned(),
    }
}
