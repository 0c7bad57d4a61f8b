//! When frames are due. The plan is fixed when the trial begins; a sender that is late stays late, and its lag is told.

use crate::capture::Capture;
use std::sync::Arc;
use std::time::Duration;

/// Where the ramp begins, as a share of the rate.
const RAMP_FROM: f64 = 0.1;

/// The times of a trial's frames, in nanoseconds from its start.
#[derive(Clone, Debug)]
pub(crate) enum Pacer {
    /// At a rate.
    Steady(Steady),
    /// Each at its recorded time, from the start again after the last.
    Recorded(Recorded),
}

impl Pacer {
    /// Frames of the whole trial.
    pub(crate) fn total(&self) -> u64 {
        match self {
            Self::Steady(steady) => steady.total,
            Self::Recorded(recorded) => recorded.total,
        }
    }

    /// How long it lasts.
    pub(crate) fn duration_ns(&self) -> u64 {
        match self {
            Self::Steady(steady) => steady.duration_ns,
            Self::Recorded(recorded) => recorded.duration_ns,
        }
    }

    /// How many frames are due by `now_ns`: those whose time is not later.
    #[inline]
    pub(crate) fn due(&self, now_ns: u64) -> u64 {
        match self {
            Self::Steady(steady) => steady.due(now_ns),
            Self::Recorded(recorded) => recorded.due(now_ns),
        }
    }

    /// When frame `number` is due.
    #[inline]
    pub(crate) fn planned_ns(&self, number: u64) -> u64 {
        match self {
            Self::Steady(steady) => steady.planned_ns(number),
            Self::Recorded(recorded) => recorded.planned_ns(number),
        }
    }

    /// When the ramp ends.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time")]
    pub(crate) fn steady_from_ns(&self) -> u64 {
        match self {
            Self::Steady(steady) => steady.ramp_ns as u64,
            Self::Recorded(_) => 0,
        }
    }
}

/// Times of a capture.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    capture: Arc<Capture>,
    /// From the first frame to its repetition.
    period_ns: u64,
    total: u64,
    duration_ns: u64,
}

impl Recorded {
    /// The frames of `capture` for `duration`. Between its last frame and its repetition lies a mean gap. `None` when all
    /// its frames have one time.
    pub(crate) fn new(capture: &Arc<Capture>, duration: Duration) -> Option<Self> {
        let (count, span_ns) = (capture.times_ns.len() as u64, *capture.times_ns.last()?);
        if count < 2 || span_ns == 0 {
            return None;
        }
        let period_ns = span_ns + (span_ns / (count - 1)).max(1);
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let mut recorded = Self { capture: Arc::clone(capture), period_ns, total: u64::MAX, duration_ns };
        recorded.total = recorded.due(duration_ns);
        Some(recorded)
    }

    fn due(&self, now_ns: u64) -> u64 {
        let times = &self.capture.times_ns;
        let rest = now_ns % self.period_ns;
        let part = times.partition_point(|time| *time <= rest) as u64;
        (now_ns / self.period_ns).saturating_mul(times.len() as u64).saturating_add(part).min(self.total)
    }

    fn planned_ns(&self, number: u64) -> u64 {
        let count = self.capture.times_ns.len() as u64;
        let place = usize::try_from(number % count).unwrap_or(0);
        let time = self.capture.times_ns.get(place).copied().unwrap_or(0);
        (number / count).saturating_mul(self.period_ns).saturating_add(time)
    }
}

/// Times at a rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steady {
    /// Frames a nanosecond, after the ramp.
    rate: f64,
    /// Where the ramp begins.
    first: f64,
    ramp_ns: f64,
    /// Frames of the ramp.
    ramp_frames: f64,
    total: u64,
    duration_ns: u64,
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and times stay below 2^53, and none is negative"
)]
impl Steady {
    /// A trial of `duration` at `pps` packets a second, reached after `ramp`.
    pub(crate) fn new(pps: f64, ramp: Duration, duration: Duration) -> Self {
        let rate = pps / 1e9;
        let (ramp_ns, duration_ns) = (ramp.as_nanos() as f64, duration.as_nanos() as f64);
        let first = rate * RAMP_FROM;
        let ramp_frames = ramp_ns * (first + rate) / 2.0;
        let total = (ramp_frames + (duration_ns - ramp_ns) * rate).floor().max(1.0);
        Self { rate, first, ramp_ns, ramp_frames, total: total as u64, duration_ns: duration_ns as u64 }
    }

    /// `frames` frames in a row, without a ramp.
    pub(crate) fn exactly(frames: u64, pps: f64) -> Self {
        let rate = pps / 1e9;
        let duration_ns = (frames as f64 / rate) as u64;
        Self { rate, first: rate, ramp_ns: 0.0, ramp_frames: 0.0, total: frames, duration_ns }
    }

    /// How many frames are due by `now_ns`: those whose time is not later.
    fn due(&self, now_ns: u64) -> u64 {
        let now = now_ns as f64;
        let frames = if now < self.ramp_ns {
            (self.first + (self.rate - self.first) * now / self.ramp_ns / 2.0) * now
        } else {
            self.ramp_frames + (now - self.ramp_ns) * self.rate
        };
        // Frame 0 is due at the start.
        (frames as u64).saturating_add(1).min(self.total)
    }

    /// When frame `number` is due.
    fn planned_ns(&self, number: u64) -> u64 {
        let number = number as f64;
        let time = if number < self.ramp_frames {
            // Frames by t: first * t + slope * t^2.
            let slope = (self.rate - self.first) / self.ramp_ns / 2.0;
            ((self.first * self.first + 4.0 * slope * number).sqrt() - self.first) / (2.0 * slope)
        } else {
            self.ramp_ns + (number - self.ramp_frames) / self.rate
        };
        time as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn steady(pps: f64, ramp: Duration, duration: Duration) -> Pacer {
        Pacer::Steady(Steady::new(pps, ramp, duration))
    }

    fn exactly(frames: u64, pps: f64) -> Pacer {
        Pacer::Steady(Steady::exactly(frames, pps))
    }

    #[test]
    fn a_capture_keeps_its_times_and_begins_again() {
        let capture = Capture { times_ns: vec![0, 10, 40], ..Capture::default() };
        let pacer = Pacer::Recorded(Recorded::new(&Arc::new(capture), Duration::from_nanos(130)).unwrap());
        // The period is 60: a mean gap of 20 behind the last.
        let times: Vec<u64> = (0..7).map(|n| pacer.planned_ns(n)).collect();
        assert_eq!(times, [0, 10, 40, 60, 70, 100, 120]);
        assert_eq!(pacer.total(), 8, "{times:?}");
        assert_eq!((pacer.due(9), pacer.due(10), pacer.due(60), pacer.due(500)), (1, 2, 4, 8));
        let at_once = Arc::new(Capture { times_ns: vec![0, 0], ..Capture::default() });
        assert!(Recorded::new(&at_once, Duration::from_secs(1)).is_none());
    }

    #[test]
    fn a_steady_second_has_the_rate_and_a_ramp_less() {
        let even = steady(1000.0, Duration::ZERO, Duration::from_secs(2));
        assert_eq!((even.total(), even.planned_ns(0), even.planned_ns(1000)), (2000, 0, 1_000_000_000));
        let ramped = steady(1000.0, Duration::from_secs(1), Duration::from_secs(2));
        assert_eq!((ramped.total(), ramped.steady_from_ns()), (1550, 1_000_000_000));
        assert_eq!(ramped.due(2_000_000_000), 1550);
        let exact = exactly(500, 1000.0);
        assert_eq!((exact.total(), exact.due(u64::MAX / 4), exact.duration_ns()), (500, 500, 500_000_000));
    }

    proptest! {
        /// Whatever the rate: times rise, and at its time a frame is due, to a nanosecond's rounding.
        #[test]
        fn a_frame_is_due_at_its_time(pps in 1.0_f64..20e6, ramp_ms in 0_u64..1000, part in 0.0_f64..1.0) {
            let pacer = steady(pps, Duration::from_millis(ramp_ms), Duration::from_secs(3));
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
                reason = "a share of a count")]
            let number = (pacer.total() as f64 * part) as u64;
            let time = pacer.planned_ns(number);
            prop_assert!(time <= pacer.planned_ns(number + 1));
            prop_assert!(pacer.due(time + 2) > number.min(pacer.total() - 1), "frame {number} at {time}");
            let before = time.saturating_sub(2 + time / 1_000_000_000);
            prop_assert!(time < 4 || pacer.due(before) <= number + 1, "frame {number} at {time}");
        }
    }
}
