//! When requests are due.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

/// How requests follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "loop")]
pub enum Pace {
    /// At a constant rate, whatever the server does. Latency counts from the planned time, so that a server that
    /// stalls is charged for every request that was due meanwhile.
    Open {
        /// Requests a second, of all threads together.
        rate: Rate,
        /// Most requests waiting or on their way at once. One more that is due is *not started*, and the run invalid.
        in_flight_max: u32,
        /// The run is invalid when more than one request in a thousand was begun later than this after its time.
        lag_max: Duration,
    },
    /// The next request after the answer to the last, in so many loops at a time. Latency counts from each request's
    /// own start: what a stall delays is not seen.
    Closed {
        /// Loops, of all threads together.
        concurrency: u32,
    },
}

/// A rate from 0.001 to 10 million a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate {
    thousandths: NonZeroU64,
}

/// A second in nanoseconds, times the thousand of [`Rate`].
const SECOND: u128 = 1_000_000_000_000;
const RATE_MAX: f64 = 10_000_000.0;

impl Rate {
    /// The rate of `per_second`, to a thousandth. None when out of range.
    #[must_use]
    pub fn new(per_second: f64) -> Option<Self> {
        if !(0.001..=RATE_MAX).contains(&per_second) {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked")]
        let thousandths = (per_second * 1000.0).round() as u64;
        NonZeroU64::new(thousandths).map(|thousandths| Self { thousandths })
    }

    /// Requests a second.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "at most 10 to the 10th")]
    pub fn per_second(self) -> f64 {
        self.thousandths.get() as f64 / 1000.0
    }

    /// When the request `index` is due after the run's begin; the first at once. Exact: no error adds up.
    #[must_use]
    pub fn due(self, index: u64) -> Duration {
        let nanos = u128::from(index) * SECOND / u128::from(self.thousandths.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many requests are due before `duration` is over.
    #[must_use]
    pub fn within(self, duration: Duration) -> u64 {
        let all = (duration.as_nanos() * u128::from(self.thousandths.get())).div_ceil(SECOND);
        u64::try_from(all).unwrap_or(u64::MAX)
    }
}

/// `1000`, `1000/s`, `2.5k`, `1M/s`.
impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no rate from 0.001 to 10M a second, such as 500, 2.5k or 1M/s");
        let number = text.strip_suffix("/s").unwrap_or(text);
        let (number, unit) = match number.as_bytes().last() {
            Some(b'k' | b'K') => (&number[..number.len() - 1], 1e3),
            Some(b'm' | b'M') => (&number[..number.len() - 1], 1e6),
            _ => (number, 1.0),
        };
        number.parse::<f64>().ok().and_then(|number| Self::new(number * unit)).ok_or_else(wrong)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.per_second())
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.per_second())
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| serde::de::Error::custom(format!("{number} is no rate")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_in_the_usual_ways() {
        for (text, per_second) in
            [("1", 1.0), ("250/s", 250.0), ("2.5k", 2500.0), ("1M/s", 1e6), ("0.5", 0.5)]
        {
            assert_eq!(text.parse::<Rate>().unwrap().per_second(), per_second, "{text}");
        }
        for text in ["", "k", "-1", "0", "0.0001", "11M", "nan", "inf", "1/m", "1kk", "é"] {
            assert!(text.parse::<Rate>().is_err_and(|why| why.contains(text)), "{text}");
        }
    }

    #[test]
    fn plans_are_exact_after_a_day() {
        let rate = Rate::new(3.0).unwrap();
        assert_eq!(rate.due(0), Duration::ZERO);
        assert_eq!(rate.due(3 * 86_400), Duration::from_secs(86_400));
        assert_eq!(rate.due(1), Duration::from_nanos(333_333_333));
        assert_eq!(rate.within(Duration::from_secs(2)), 6);
        assert_eq!(rate.within(Duration::from_millis(2001)), 7);
        let (count, end) = (rate.within(Duration::from_secs(7)), Duration::from_secs(7));
        assert!(rate.due(count - 1) < end && rate.due(count) >= end);
    }
}
