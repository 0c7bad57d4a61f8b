//! What the command line may ask: one table of commands, who may use each, and which function answers.

mod events;
pub mod explain;
mod filter;
pub mod flows;
pub mod list;
mod nobody;
pub mod persist;
mod reasons;
pub mod reported;
pub mod tally;

pub use filter::{FlowFilter, STATES};

use super::operator::parsed;
use super::{CONFIRM_S_MAX, Engine};
use crate::admin::{Access, HAND_OVER, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use tokio::sync::oneshot;

/// Every command and the access that it takes. [`HAND_OVER`] has a channel of its own and comes here only by the other socket. The
/// configuration has a secret, the key of the hash, so reading it takes the admin socket.
const COMMANDS: [(&str, Access); 18] = [
    ("status", Access::ReadOnly),
    ("reload", Access::Admin),
    ("confirm", Access::Admin),
    ("undo", Access::Admin),
    ("config", Access::Admin),
    ("server", Access::Admin),
    ("server-wait", Access::ReadOnly),
    ("report", Access::Admin),
    ("server-weight", Access::Admin),
    ("node", Access::Admin),
    ("events", Access::ReadOnly),
    ("list", Access::ReadOnly),
    ("flows", Access::ReadOnly),
    ("flow-tally", Access::ReadOnly),
    ("flow-kill", Access::Admin),
    ("persist", Access::ReadOnly),
    ("explain", Access::ReadOnly),
    (HAND_OVER, Access::Admin),
];

impl Engine {
    /// Answers one request.
    pub(super) async fn on_request(&mut self, request: &Request, answer: oneshot::Sender<Value>) {
        match permitted(request) {
            Ok(()) => {
                note(request);
                self.obey(request, answer).await;
            }
            Err(why) => tell(answer, Err(why)),
        }
    }

    /// How the last reload stands. Below a key of its own: an answer's `error` would be a refusal of this request.
    fn told(&self) -> Result<Value, String> {
        json(&self.reload_status()).map(|status| serde_json::json!({ "reload": status }))
    }

    /// Does what is asked and says what came of it, or why nothing did. Commands here are those of [`COMMANDS`].
    async fn obey(&mut self, request: &Request, answer: oneshot::Sender<Value>) {
        match request.command.as_str() {
            "reload" | "confirm" | "undo" | "server" | "server-weight" | "node" | "report" => {
                tell(answer, self.change(request).await);
            }
            "status" => {
                let reporter = self.reporter();
                // Nobody waits here: as many are under way as there are connections to ask by.
                tokio::task::spawn_blocking(move || tell(answer, json(&reporter.status())));
            }
            "config" => {
                let offset = request.arguments.get("offset").map_or(Some(0), Value::as_u64);
                let offset = offset.and_then(|offset| usize::try_from(offset).ok());
                tell(answer, self.undo.page(offset.unwrap_or(usize::MAX), &self.config_path));
            }
            "server-wait" => {
                if let Err((answer, why)) = self.wait_for_flows(&request.arguments, answer) {
                    tell(answer, Err(why));
                }
            }
            "events" => events::events(&request.arguments, answer),
            "list" => {
                let reporter = self.reporter();
                off(request, answer, move |asked| reporter.list(&asked));
            }
            "flows" => {
                let walk = self.walk();
                off(request, answer, move |asked| walk.list(&asked));
            }
            "flow-tally" => {
                let walk = self.walk();
                off(request, answer, move |asked| walk.tally(&asked));
            }
            "flow-kill" => {
                let walk = self.walk();
                off(request, answer, move |asked| walk.kill(&asked));
            }
            "persist" => {
                let walk = self.walk();
                off(request, answer, move |asked| walk.persist(&asked));
            }
            "explain" => {
                let explainer = self.explainer();
                off(request, answer, move |asked| explainer.explain(&asked));
            }
            other => tell(answer, Err(unknown(other))),
        }
    }

    /// Changes something, and says what came of it.
    async fn change(&mut self, request: &Request) -> Result<Value, String> {
        let asked = &request.arguments;
        match request.command.as_str() {
            "reload" => {
                let confirm = patience(request)?;
                self.reload(confirm).await;
                self.last_reload.error.clone().map_or_else(|| self.told(), Err)
            }
            "confirm" => {
                self.confirm().await?;
                self.told()
            }
            "undo" => {
                self.undo().await?;
                self.told()
            }
            "server" => self.say(asked).await.and_then(|change| json(&change)),
            "server-weight" => self.weigh(asked).await.and_then(|change| json(&change)),
            "node" => self.node_state(asked).await.and_then(|state| json(&state)),
            "report" => self.report_health(asked).await.and_then(|change| json(&change)),
            other => Err(unknown(other)),
        }
    }
}

/// Answers off the control thread. Nobody waits here: as many are under way as there are connections to ask by.
fn off<T: DeserializeOwned + Send + 'static>(
    request: &Request,
    answer: oneshot::Sender<Value>,
    work: impl FnOnce(T) -> Result<Value, String> + Send + 'static,
) {
    match parsed::<T>(&request.arguments) {
        Ok(asked) => drop(tokio::task::spawn_blocking(move || tell(answer, work(asked)))),
        Err(why) => tell(answer, Err(why)),
    }
}

/// How long a reload waits for its confirmation.
fn patience(request: &Request) -> Result<Option<Duration>, String> {
    let Some(value) = request.arguments.get("confirm_s") else { return Ok(None) };
    let seconds = value.as_u64().filter(|seconds| (1..=CONFIRM_S_MAX).contains(seconds));
    let seconds = seconds.ok_or_else(|| format!("`confirm_s` must be 1 to {CONFIRM_S_MAX}"))?;
    Ok(Some(Duration::from_secs(seconds)))
}

pub(super) fn tell(answer: oneshot::Sender<Value>, said: Result<Value, String>) {
    // The asker may have gone; then nobody needs the answer.
    let _ = answer.send(said.unwrap_or_else(|why| serde_json::json!({ "error": why })));
}

/// Who asked for what may change something. `config` only tells; who reports repeats it all the time, and would drive everything
/// else out of the events.
fn note(request: &Request) {
    let name = request.command.as_str();
    let changes = COMMANDS.iter().any(|(known, access)| *known == name && *access == Access::Admin);
    if !changes || ["config", "report"].contains(&name) {
        return;
    }
    let (uid, pid) = request.caller.map_or((None, None), |caller| (Some(caller.uid), caller.pid));
    let arguments = Value::Object(request.arguments.clone()).to_string();
    tracing::info!(event = "operator-command", command = name, arguments, uid, pid);
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

pub(super) fn json(answer: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(answer).map_err(|error| error.to_string())
}

#[cfg(test)]
mod explain_tests;
#[cfg(test)]
mod walk_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(command: &str, access: Access) -> Request {
        Request { command: command.to_owned(), arguments: serde_json::Map::new(), access, caller: None }
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
        assert!(
            refused.contains("`restart`") && refused.contains("status, reload, confirm, undo, config, "),
            "{refused}"
        );
    }

    #[test]
    fn a_reload_waits_a_second_to_an_hour_or_not_at_all() {
        let mut asked = request("reload", Access::Admin);
        assert_eq!(patience(&asked), Ok(None));
        for (value, seconds) in [(1.into(), Some(1)), (3_600.into(), Some(3_600)), (0.into(), None)] {
            asked.arguments.insert("confirm_s".to_owned(), value);
            assert_eq!(patience(&asked).ok().flatten().map(|d| d.as_secs()), seconds);
        }
        for value in [3_601.into(), (-1).into(), Value::from("60s"), Value::Null] {
            asked.arguments.insert("confirm_s".to_owned(), value);
            assert!(patience(&asked).unwrap_err().contains("1 to 3600"));
        }
    }
}
