//! Where frames were lost: the balancer's own counters, asked before and after a trial.

use crate::outcome::LossSplit;
use ringlead_control::admin::client;
use ringlead_control::engine::status::Status;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// The balancer refreshes its ports' counters once a second.
const REFRESH_MAX: Duration = Duration::from_millis(2500);
/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(150);

/// The balancer's counters at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    pid: u32,
    uptime_s: f64,
    received: u64,
    sent: u64,
    drops: BTreeMap<String, u64>,
    rx_lost: u64,
}

/// Asks the daemon at `socket`.
pub(crate) fn ask(socket: &Path) -> Result<Counters, String> {
    let answer =
        client::request(socket, &serde_json::json!({ "command": "status" })).map_err(|e| e.to_string())?;
    let status: Status = serde_json::from_value(answer)
        .map_err(|e| format!("the daemon's answer is of another version: {e}"))?;
    let queues = status.ports.iter().flat_map(|port| &port.queues);
    Ok(Counters {
        pid: status.pid,
        uptime_s: status.uptime_s,
        received: status.workers.iter().map(|worker| worker.received).sum(),
        // What a worker made itself is no frame of ours.
        sent: status.workers.iter().map(|worker| worker.sent.saturating_sub(worker.made)).sum(),
        drops: status.drops,
        rx_lost: queues.map(|queue| queue.rx_lost).sum(),
    })
}

/// Asks until the ports' counters are younger than this call.
pub(crate) fn ask_fresh(socket: &Path) -> Result<Counters, String> {
    let begin = Instant::now();
    let first = ask(socket)?;
    loop {
        std::thread::sleep(ASK_EVERY);
        let now = ask(socket)?;
        if now.pid != first.pid || now.uptime_s - first.uptime_s > 1.2 || begin.elapsed() > REFRESH_MAX {
            return Ok(now);
        }
    }
}

/// What the generator knows of a trial's frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ends {
    /// Frames given to the balancer, both ways, those counted apart too.
    pub(crate) given: u64,
    /// Frames that came from it, both ways.
    pub(crate) got: u64,
    /// Frames lost on the way around it.
    pub(crate) around: Option<u64>,
    /// Frames lost in all.
    pub(crate) total: u64,
    /// `tx_dropped` of the sending ports' devices.
    pub(crate) port_dropped: Option<u64>,
    /// Overflows of our own receive rings.
    pub(crate) after_rings: u64,
}

/// Splits the loss by the balancer's counters before and after the trial; `Err` says why they are not known.
pub(crate) fn split(ends: &Ends, balancer: Result<(&Counters, &Counters), String>) -> LossSplit {
    let mut split = LossSplit {
        total: ends.total,
        before_port_dropped: ends.port_dropped,
        after_rings: ends.after_rings,
        around: ends.around,
        ..LossSplit::default()
    };
    match balancer {
        Err(why) => split.note = Some(why),
        Ok((before, after)) if before.pid != after.pid => {
            split.note = Some("the daemon was restarted: its counters began anew".to_owned());
        }
        Ok((before, after)) => fill(&mut split, ends, before, after),
    }
    split
}

/// Where nothing was lost nobody need be asked.
pub(crate) fn nothing_lost(ends: &Ends) -> LossSplit {
    LossSplit {
        before: Some(0),
        before_port_dropped: ends.port_dropped,
        inside: Some(BTreeMap::new()),
        after: Some(0),
        after_rings: ends.after_rings,
        around: ends.around,
        ..LossSplit::default()
    }
}

fn fill(split: &mut LossSplit, ends: &Ends, before: &Counters, after: &Counters) {
    let received = after.received.saturating_sub(before.received);
    let sent = after.sent.saturating_sub(before.sent);
    let grown = |(reason, count): (&String, &u64)| {
        let grown = count.saturating_sub(before.drops.get(reason).copied().unwrap_or(0));
        (grown > 0).then(|| (reason.clone(), grown))
    };
    split.before = Some(ends.given.saturating_sub(received));
    split.before_rings = Some(after.rx_lost.saturating_sub(before.rx_lost));
    split.inside = Some(after.drops.iter().filter_map(grown).collect());
    split.after = Some(sent.saturating_sub(ends.got));
    let more_in = received.saturating_sub(ends.given);
    let more_out = ends.got.saturating_sub(sent);
    if more_in > 0 || more_out > 0 {
        split.note = Some(format!(
            "the balancer received {more_in} frames more than were given to it and the generator {more_out} more than it \
             sent: there is other traffic, or one of a former trial"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(received: u64, sent: u64, drop: u64, rx_lost: u64) -> Counters {
        let drops = BTreeMap::from([("no-server".to_owned(), drop), ("ttl-expired".to_owned(), 4)]);
        Counters { pid: 1, uptime_s: 0.0, received, sent, drops, rx_lost }
    }

    #[test]
    fn losses_are_told_apart_and_add_up() {
        let ends = Ends { given: 1000, got: 940, total: 60, ..Ends::default() };
        let (before, after) = (counters(50, 40, 10, 5), counters(1030, 1000, 30, 20));
        let split = split(&ends, Ok((&before, &after)));
        assert_eq!((split.before, split.before_rings, split.after), (Some(20), Some(15), Some(20)));
        assert_eq!(split.inside, Some(BTreeMap::from([("no-server".to_owned(), 20)])));
        assert_eq!(split.note, None);
    }

    #[test]
    fn what_nobody_told_is_unknown_and_not_zero() {
        let ends = Ends { total: 7, after_rings: 3, ..Ends::default() };
        let unknown = split(&ends, Err("no control socket".to_owned()));
        assert_eq!((unknown.before, unknown.inside, unknown.after), (None, None, None));
        assert_eq!((unknown.total, unknown.after_rings), (7, 3));
        let restarted = Counters { pid: 2, ..Counters::default() };
        let split = split(&ends, Ok((&counters(0, 0, 0, 0), &restarted)));
        assert!(split.before.is_none() && split.note.unwrap().contains("restarted"));
    }

    #[test]
    fn other_traffic_is_said() {
        let ends = Ends { given: 10, got: 10, ..Ends::default() };
        let split = split(&ends, Ok((&counters(0, 0, 0, 0), &counters(20, 10, 0, 0))));
        assert!(split.note.unwrap().contains("10 frames more"));
    }
}
