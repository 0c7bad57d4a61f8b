//! What the command line may ask: one table of commands, who may use each, and which function answers.

use super::Engine;
use crate::admin::{Access, HAND_OVER, Request};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;

/// Every command and the access that it takes. [`HAND_OVER`] has a channel of its own and comes here only by the other socket.
const COMMANDS: [(&str, Access); 3] =
    [("status", Access::ReadOnly), ("reload", Access::Admin), (HAND_OVER, Access::Admin)];

impl Engine {
    /// Answers one request.
    pub(super) async fn on_request(&mut self, request: &Request, answer: oneshot::Sender<Value>) {
        match permitted(request) {
            Ok(()) => self.obey(request, answer).await,
            Err(why) => tell(answer, Err(why)),
        }
    }

    /// Does what is asked and says what came of it, or why nothing did. Commands here are those of [`COMMANDS`].
    async fn obey(&mut self, request: &Request, answer: oneshot::Sender<Value>) {
        match request.command.as_str() {
            "status" => {
                let reporter = self.reporter();
                // Nobody waits here: as many are under way as there are connections to ask by.
                tokio::task::spawn_blocking(move || tell(answer, json(&reporter.status())));
            }
            "reload" => {
                self.reload().await;
                tell(answer, json(&self.reload_status()));
            }
            other => tell(answer, Err(unknown(other))),
        }
    }
}

fn tell(answer: oneshot::Sender<Value>, said: Result<Value, String>) {
    // The asker may have gone; then nobody needs the answer.
    let _ = answer.send(said.unwrap_or_else(|why| serde_json::json!({ "error": why })));
}

/// Whether the request's socket may carry its command.
fn permitted(request: &Request) -> Result<(), String> {
    let name = request.command.as_str();
    match COMMANDS.iter().find(|(known, _)| *known == name) {
        None => Err(unknown(name)),
        Some((_, Access::Admin)) if request.access != Access::Admin => {
            Err(format!("`{name}` changes something and this socket is read-only: use the control socket"))
        }
        Some(_) => Ok(()),
    }
}

fn unknown(name: &str) -> String {
    let known: Vec<&str> = COMMANDS.iter().map(|(known, _)| *known).collect();
    format!("unknown command `{name}`; this version knows {}", known.join(", "))
}

fn json(answer: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(answer).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(command: &str, access: Access) -> Request {
        Request { command: command.to_owned(), arguments: serde_json::Map::new(), access }
    }

    #[test]
    fn a_read_only_socket_changes_nothing() {
        assert_eq!(permitted(&request("status", Access::ReadOnly)), Ok(()));
        assert_eq!(permitted(&request("reload", Access::Admin)), Ok(()));
        let refused = permitted(&request("reload", Access::ReadOnly)).unwrap_err();
        assert!(refused.contains("read-only"), "{refused}");
    }

    #[test]
    fn an_unknown_command_is_told_the_known_ones() {
        let refused = permitted(&request("restart", Access::Admin)).unwrap_err();
        assert!(refused.contains("`restart`") && refused.contains("status, reload"), "{refused}");
    }
}
