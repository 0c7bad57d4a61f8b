//! `events`: what happened, and, by waiting, what happens.

use super::{json, tell};
use crate::logs;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

/// Answers when there is something to tell or the time is over; the loop goes on meanwhile.
pub(super) fn events(arguments: &Map<String, Value>, answer: oneshot::Sender<Value>) {
    let request = serde_json::from_value(Value::Object(arguments.clone()));
    // Who waits are as many as the ring has places, for 20 s at most.
    tokio::spawn(async move {
        let told = match request {
            Ok(request) => logs::ring().ask(request).await.and_then(|page| json(&page)),
            Err(error) => Err(error.to_string()),
        };
        tell(answer, told);
    });
}
