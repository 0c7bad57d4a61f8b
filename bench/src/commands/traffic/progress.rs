//! The live line on a terminal: rates and lag. No loss: frames on their way are not lost.

use ringlead_traffic::{Interval, Observer, Short, Tick};
use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

/// Shows a trial once a second; nothing where standard error is no terminal.
#[derive(Debug, Default)]
pub struct Progress {
    shown_s: f64,
    sum: Interval,
    seconds: f64,
    on: bool,
}

impl Progress {
    /// On standard error, when that is a terminal.
    #[must_use]
    pub fn new() -> Self {
        Self { on: stderr().is_terminal(), ..Self::default() }
    }

    /// Removes the line.
    pub fn clear(&self) {
        if self.on {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// One line of rates.
#[allow(clippy::cast_precision_loss, reason = "rates of counts")]
fn line(at_s: f64, seconds: f64, sum: &Interval) -> String {
    let rate = |frames: u64| Short((frames as f64 / seconds.max(1e-3)).round());
    let replies = if sum.replies > 0 { format!("  replies {}pps", rate(sum.replies)) } else { String::new() };
    format!(
        "{at_s:6.1} s  sent {}pps  received {}pps{replies}  lag {} us at most",
        rate(sum.sent),
        rate(sum.received),
        sum.lag_max_ns / 1000
    )
}

impl Observer for Progress {
    fn tick(&mut self, _elapsed: Duration) -> Tick {
        Tick::default()
    }

    fn interval(&mut self, interval: &Interval) {
        let sum = &mut self.sum;
        sum.sent += interval.sent;
        sum.received += interval.received;
        sum.replies += interval.replies;
        sum.lag_max_ns = sum.lag_max_ns.max(interval.lag_max_ns);
        self.seconds += interval.seconds;
        let end_s = interval.at_s + interval.seconds;
        if self.on && end_s - self.shown_s >= 0.95 {
            let _ = write!(stderr(), "\r\x1b[K{}", line(end_s, self.seconds, sum));
            (self.shown_s, self.seconds) = (end_s, 0.0);
            self.sum = Interval::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_shows_rates_and_lag() {
        let sum = Interval { sent: 50_000, received: 49_000, lag_max_ns: 1_500_000, ..Interval::default() };
        assert_eq!(line(2.0, 0.5, &sum), "   2.0 s  sent 100kpps  received 98kpps  lag 1500 us at most");
        let replied = Interval { replies: 10, ..sum };
        assert!(line(2.0, 1.0, &replied).contains("replies 10pps"));
    }
}
