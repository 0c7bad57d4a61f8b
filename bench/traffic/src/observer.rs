//! Somebody who watches a trial and may do something to the balancer meanwhile.

use crate::outcome::Interval;
use std::time::Duration;

/// What an observer wants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tick {
    /// What was done to the balancer just now: written into the interval.
    pub marks: Vec<String>,
    /// End the trial now.
    pub stop: bool,
}

/// Called on the trial's own thread: traffic goes on while an observer takes its time. `()` watches and does nothing.
pub trait Observer {
    /// Called about every 10 ms while frames are sent, with the time since the trial's start.
    fn tick(&mut self, elapsed: Duration) -> Tick {
        let _ = elapsed;
        Tick::default()
    }

    /// Called at the end of each interval.
    fn interval(&mut self, interval: &Interval) {
        let _ = interval;
    }
}

impl Observer for () {}
