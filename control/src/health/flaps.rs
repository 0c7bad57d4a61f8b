//! Servers that come and go: held down for a time that doubles. No I/O; the time is a parameter.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When a server that comes and goes is held down, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlapRule {
    /// It is held once it has gone down so often within `window`, 100 at most; 0: never.
    pub downs: u32,
    /// Within which time; a server that has stayed up for so long begins anew.
    pub window: Duration,
    /// How long the first hold lasts; each further one twice as long.
    pub hold: Duration,
    /// How long at most.
    pub hold_max: Duration,
}

impl FlapRule {
    /// Nobody is held.
    pub const NEVER: Self =
        Self { downs: 0, window: Duration::ZERO, hold: Duration::ZERO, hold_max: Duration::ZERO };
}

/// What is remembered of one server.
#[derive(Debug, Clone, Default)]
pub struct Flaps {
    /// When it went down, within the last window; no more than the rule counts.
    downs: VecDeque<Instant>,
    /// Holds since it was last up for a whole window.
    holds: u32,
    held_until: Option<Instant>,
    up_since: Option<Instant>,
}

impl Flaps {
    /// It has gone down. `Some` with the time for which it is held down.
    pub fn went_down(&mut self, now: Instant, rule: &FlapRule) -> Option<Duration> {
        if rule.downs == 0 {
            *self = Self::default();
            return None;
        }
        let recent = |at: &Instant| now.saturating_duration_since(*at) < rule.window;
        if self.up_since.take().is_some_and(|since| !recent(&since)) {
            (self.holds, self.downs) = (0, VecDeque::new());
        }
        self.downs.retain(recent);
        self.downs.push_back(now);
        let counted = usize::try_from(rule.downs).unwrap_or(usize::MAX);
        if self.holds == 0 && self.downs.len() < counted {
            return None;
        }
        // The oldest do not matter any more once there are enough.
        self.downs.drain(..self.downs.len().saturating_sub(counted));
        let factor = 1_u32.checked_shl(self.holds).unwrap_or(u32::MAX);
        let hold = rule.hold.saturating_mul(factor).min(rule.hold_max);
        self.holds = self.holds.saturating_add(1);
        self.held_until = now.checked_add(hold);
        Some(hold)
    }

    /// It has come up.
    pub fn went_up(&mut self, now: Instant) {
        (self.up_since, self.held_until) = (Some(now), None);
    }

    /// For how long it is still held down; `None`: it is not. Nobody is by a rule that counts nothing.
    #[must_use]
    pub fn held(&self, now: Instant, rule: &FlapRule) -> Option<Duration> {
        let left = self.held_until?.checked_duration_since(now)?;
        (rule.downs > 0 && !left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const RULE: FlapRule =
        FlapRule { downs: 3, window: Duration::from_secs(60), hold: S, hold_max: Duration::from_secs(5) };

    /// A server that goes down at these seconds, and is up again half a second later or when it may: the holds.
    fn holds(downs: &[u64], rule: &FlapRule) -> Vec<Option<u64>> {
        let (begin, mut flaps) = (Instant::now(), Flaps::default());
        let one = |&at: &u64| {
            let now = begin + Duration::from_secs(at);
            let hold = flaps.went_down(now, rule);
            assert_eq!(flaps.held(now, rule), hold);
            flaps.went_up(now + hold.unwrap_or(S / 2));
            hold.map(|hold| hold.as_secs())
        };
        downs.iter().map(one).collect()
    }

    #[test]
    fn a_server_that_goes_down_often_is_held_twice_as_long_each_time_up_to_a_bound() {
        let held = holds(&[0, 10, 20, 30, 40, 50, 58], &RULE);
        assert_eq!(held, [None, None, Some(1), Some(2), Some(4), Some(5), Some(5)]);
    }

    #[test]
    fn a_server_that_goes_down_now_and_then_is_never_held() {
        assert_eq!(holds(&[0, 31, 62, 93, 124, 155], &RULE), [None; 6]);
    }

    #[test]
    fn a_whole_window_up_ends_it() {
        assert_eq!(
            holds(&[0, 1, 2, 30, 92, 93, 94], &RULE),
            [None, None, Some(1), Some(2), None, None, Some(1)]
        );
    }

    #[test]
    fn a_hold_ends_by_itself_and_by_a_rule_that_counts_nothing() {
        let (begin, mut flaps) = (Instant::now(), Flaps::default());
        for at in 0..3 {
            flaps.went_down(begin + at * S / 10, &RULE);
        }
        let now = begin + S / 2;
        assert_eq!(flaps.held(now, &RULE), Some(S * 7 / 10));
        assert_eq!(flaps.held(now, &FlapRule::NEVER), None, "switched off by a reload");
        assert_eq!(flaps.held(begin + 2 * S, &RULE), None);
        assert_eq!(holds(&[0; 9], &FlapRule::NEVER), [None; 9]);
    }

    #[test]
    fn a_thousand_downs_take_no_more_room_than_the_rule_counts() {
        let (begin, mut flaps) = (Instant::now(), Flaps::default());
        for at in 0..1000 {
            flaps.went_down(begin + at * S / 1000, &RULE);
        }
        assert!(flaps.downs.len() <= 3, "{}", flaps.downs.len());
        assert!(flaps.held(begin + S, &RULE) <= Some(RULE.hold_max));
    }
}
