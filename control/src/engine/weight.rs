//! `ringlead server weight`: another share of new flows, at run time.

use super::Engine;
use super::operator::parsed;
use crate::plan::WeightChange;
use ringlead_flow::ServerId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The command `server-weight`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightRequest {
    /// The pool's name.
    pub pool: String,
    /// The server's name.
    pub server: String,
    /// 1 to 256.
    pub weight: u16,
}

/// Its answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct WeightAnswer {
    /// `POOL/SERVER`.
    pub server: String,
    /// The weight before.
    pub old: u16,
    /// The weight now.
    pub new: u16,
    /// What the file says.
    pub file: u16,
    /// With maglev: the share of the pool's slots that have another server now, in percent. Established flows stay.
    pub slots_moved_percent: Option<f64>,
    /// What did not work: the weight is in force, but would not survive a restart.
    pub warning: Option<String>,
}

impl Engine {
    /// Does the command `server-weight`.
    pub(super) async fn weigh(&mut self, arguments: &Map<String, Value>) -> Result<WeightAnswer, String> {
        let WeightRequest { pool, server, weight } = parsed(arguments)?;
        if !(1..=256).contains(&weight) {
            return Err(
                "a weight is 1 to 256; for no new flow at all there are `drain` and `offline`".to_owned()
            );
        }
        self.read_unread().await;
        let before = self.plan.maglev_slots(&pool);
        let change = Arc::make_mut(&mut self.plan).weigh(&pool, &server, Some(weight));
        let change = change.map_err(|why| why.to_string())?;
        let warning = self.save_said().await.err();
        self.publish_and_steer().await;
        let answer = self.weighed(&pool, &server, change, before.as_deref());
        Ok(WeightAnswer { warning, ..answer })
    }

    /// Tells of another weight that is in force; `before`: the slots that the pool's servers had.
    pub(super) fn weighed(
        &self,
        pool: &str,
        server: &str,
        change: WeightChange,
        before: Option<&[ServerId]>,
    ) -> WeightAnswer {
        let moved = before.zip(self.plan.maglev_slots(pool));
        let slots_moved_percent = moved.map(|(before, after)| percent_moved(before, &after));
        let name = format!("{pool}/{server}");
        let (old, new) = (change.old, change.new);
        tracing::info!(
            event = "operator",
            server = name,
            old,
            new,
            slots_moved_percent,
            "weighed by an operator"
        );
        WeightAnswer { server: name, old, new, file: change.file, slots_moved_percent, warning: None }
    }
}

/// How many places of two lists of one length differ.
#[allow(clippy::cast_precision_loss, reason = "both are below 2^53")]
fn percent_moved<T: PartialEq>(before: &[T], after: &[T]) -> f64 {
    let moved = before.iter().zip(after).filter(|(before, after)| before != after).count();
    100.0 * moved as f64 / before.len().max(1) as f64
}
