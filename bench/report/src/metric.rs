//! One measured value: its unit, which way is better, and how far its repeats lay apart.

use serde::{Deserialize, Serialize};

/// A measured value.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Metric {
    /// The value; of several repeats their median, or what the run says it is.
    pub value: f64,
    /// What it counts.
    #[serde(default)]
    pub unit: Unit,
    /// Which way is better.
    #[serde(default)]
    pub better: Better,
    /// The least that a repeat gave, where there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// The most that a repeat gave, where there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

impl Metric {
    /// A value that was measured once.
    #[must_use]
    pub fn new(value: f64, unit: Unit, better: Better) -> Self {
        Self { value, unit, better, low: None, high: None }
    }

    /// A value of which less is better: a latency, a cost.
    #[must_use]
    pub fn less(value: f64, unit: Unit) -> Self {
        Self::new(value, unit, Better::Less)
    }

    /// A value of which more is better: a rate.
    #[must_use]
    pub fn more(value: f64, unit: Unit) -> Self {
        Self::new(value, unit, Better::More)
    }

    /// A value that says what was done, not how well.
    #[must_use]
    pub fn neutral(value: f64, unit: Unit) -> Self {
        Self::new(value, unit, Better::Neither)
    }

    /// The same value, with the least and the most that its repeats gave.
    #[must_use]
    pub fn spread(self, low: f64, high: f64) -> Self {
        Self { low: Some(low), high: Some(high), ..self }
    }

    /// The median of repeats, with their least and most. `None` without any finite value.
    #[must_use]
    pub fn median(repeats: &[f64], unit: Unit, better: Better) -> Option<Self> {
        let mut sorted: Vec<f64> = repeats.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self::new(f64::midpoint(lower, upper), unit, better).spread(low, high))
    }

    /// How far the repeats lay apart, in percent of the value: 0 where it was measured once.
    #[must_use]
    pub fn spread_percent(&self) -> f64 {
        match (self.low, self.high) {
            (Some(low), Some(high)) if self.value != 0.0 => (high - low) / self.value.abs() * 100.0,
            _ => 0.0,
        }
    }
}

/// What a value counts. Shown with a prefix (`1.2 Mpps`), stored without.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Packets a second.
    Pps,
    /// Bits a second of frames with their FCS, without preamble and gap.
    Bps,
    /// Things a second: requests, connections.
    PerSecond,
    /// Nanoseconds.
    Ns,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Things: frames, flows, requests.
    Count,
    /// Percent, 0 to 100.
    Percent,
    /// A bare number; also a unit that a later version wrote.
    #[default]
    #[serde(other)]
    Plain,
}

/// Which way a value gets better.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Less is better.
    Less,
    /// More is better.
    More,
    /// It says what was done, not how well.
    #[default]
    #[serde(other)]
    Neither,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_keeps_its_least_and_most() {
        let metric = Metric::median(&[3.0, 1.0, f64::NAN, 2.0, 10.0], Unit::Pps, Better::More).unwrap();
        assert_eq!((metric.value, metric.low, metric.high), (2.5, Some(1.0), Some(10.0)));
        assert!((metric.spread_percent() - 360.0).abs() < 1e-9);
        assert_eq!(Metric::median(&[], Unit::Pps, Better::More), None);
    }

    #[test]
    fn one_measurement_has_no_spread() {
        assert!(Metric::less(5.0, Unit::Ns).spread_percent().abs() < f64::EPSILON);
    }

    #[test]
    fn what_a_later_version_wrote_is_read() {
        let metric: Metric =
            serde_json::from_str(r#"{"value":1,"unit":"furlongs","better":"blue","new":3}"#).unwrap();
        assert_eq!(metric, Metric::neutral(1.0, Unit::Plain));
    }
}
