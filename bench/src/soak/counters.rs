//! The balancer's own counters, asked over its control socket.

use ringlead_control::admin::client;
use ringlead_control::engine::status::Status;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The balancer's counters at one time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counters {
    /// Frames that its workers took in.
    pub received: u64,
    /// Frames that they sent.
    pub sent: u64,
    /// Frames dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Frames that its receive rings had no room for; refreshed once a second.
    pub rx_lost: u64,
    /// Reloads that it has seen.
    pub reloads: u64,
}

impl Counters {
    /// Asks the daemon at `socket`.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn ask(socket: &Path) -> Result<Self, String> {
        let answer = client::request(socket, &serde_json::json!({ "command": "status" }));
        let answer = answer.map_err(|e| e.to_string())?;
        let status: Status =
            serde_json::from_value(answer).map_err(|e| format!("an answer of another version: {e}"))?;
        let queues = status.ports.iter().flat_map(|port| &port.queues);
        Ok(Self {
            received: status.workers.iter().map(|worker| worker.received).sum(),
            sent: status.workers.iter().map(|worker| worker.sent).sum(),
            rx_lost: queues.map(|queue| queue.rx_lost).sum(),
            drops: status.drops,
            reloads: status.reload.count,
        })
    }

    /// What was dropped from `earlier` to now, by reason. After a restart, which begins at 0 again, what there is now.
    #[must_use]
    pub fn dropped_since(&self, earlier: &Self) -> BTreeMap<String, u64> {
        let grown = self.drops.iter().map(|(reason, count)| {
            let before = earlier.drops.get(reason).copied().unwrap_or(0);
            (reason.clone(), count.checked_sub(before).unwrap_or(*count))
        });
        grown.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_grew_is_dropped_since() {
        let counters = |drops: &[(&str, u64)]| Counters {
            drops: drops.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
            ..Counters::default()
        };
        let (before, after) = (counters(&[("a", 5), ("b", 2)]), counters(&[("a", 5), ("b", 7), ("c", 1)]));
        let grown: Vec<(String, u64)> = after.dropped_since(&before).into_iter().collect();
        assert_eq!(grown, [("b".to_owned(), 5), ("c".to_owned(), 1)]);
        assert_eq!(counters(&[("a", 3)]).dropped_since(&before)["a"], 3, "counters began anew");
    }
}
