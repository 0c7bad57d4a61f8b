//! Where the daemon is asked, for commands that change something.

use crate::cli::DaemonArgs;
use ringlead_control::admin::client;
use ringlead_control::config;
use serde_json::Value;

/// Sends one request to the control socket. A refusal comes in the daemon's words.
pub(crate) fn ask(args: &DaemonArgs, request: &Value) -> Result<Value, String> {
    let socket = match &args.socket_of {
        None => args.socket.clone(),
        Some(path) => config::load(path).map_err(|diagnostics| diagnostics.to_string())?.0.node.control,
    };
    client::request(&socket, request).map_err(|error| error.to_string())
}
