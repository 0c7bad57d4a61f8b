//! Latency: from the time a packet was *planned* to be sent to the time it came.
//!
//! Counting from the planned time means that a sender which falls behind makes the latency worse, not better: nothing is
//! left out because the system under test was slow at the time ("coordinated omission").

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

/// The longest latency that is told from longer ones: 60 s.
pub const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Decimal digits that are kept: values are right to 0.1 %.
const DIGITS: u8 = 3;

/// A distribution of latencies, 1 ns to 60 s, right to three digits; 220 KB.
#[derive(Clone, PartialEq, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
    over: u64,
}

impl Latency {
    /// An empty one.
    ///
    /// # Panics
    /// Never: its bounds are constant and valid.
    #[must_use]
    #[allow(clippy::expect_used, reason = "the bounds are constant, and every test meets them")]
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS).expect("valid bounds");
        Self { histogram, over: 0 }
    }

    /// Adds one, in nanoseconds: see [`Stamp::latency_ns`](crate::Stamp::latency_ns). One above [`LATENCY_NS_MAX`] counts
    /// as that and as [`Summary::over`].
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.over += u64::from(ns > LATENCY_NS_MAX);
        self.histogram.saturating_record(ns);
    }

    /// Adds all of another: an interval to the trial.
    ///
    /// # Panics
    /// Never: all have the same bounds.
    #[allow(clippy::expect_used, reason = "all histograms here have the same bounds")]
    pub fn add(&mut self, other: &Self) {
        self.over += other.over;
        self.histogram.add(&other.histogram).expect("the same bounds");
    }

    /// Empties it, for the next interval. Allocates nothing.
    pub fn reset(&mut self) {
        self.over = 0;
        self.histogram.reset();
    }

    /// All values, for files and plots.
    #[must_use]
    pub const fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// The usual quantiles; None when nothing was recorded.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        let at = |quantile| self.histogram.value_at_quantile(quantile);
        (!self.histogram.is_empty()).then(|| Summary {
            count: self.histogram.len(),
            over: self.over,
            min_ns: self.histogram.min(),
            mean_ns: self.histogram.mean(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p99_9_ns: at(0.999),
            p99_99_ns: at(0.9999),
            p99_999_ns: at(0.99999),
            max_ns: self.histogram.max(),
        })
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

/// The usual quantiles, in nanoseconds: so much of all was no later.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// How many were recorded.
    pub count: u64,
    /// Of these, those above [`LATENCY_NS_MAX`].
    pub over: u64,
    /// The least.
    pub min_ns: u64,
    /// The mean.
    pub mean_ns: f64,
    /// Half of all.
    pub p50_ns: u64,
    /// 90 %.
    pub p90_ns: u64,
    /// 99 %.
    pub p99_ns: u64,
    /// 99.9 %.
    pub p99_9_ns: u64,
    /// 99.99 %.
    pub p99_99_ns: u64,
    /// 99.999 %.
    pub p99_999_ns: u64,
    /// The greatest.
    pub max_ns: u64,
}

/// An interval log: HdrHistogram's log format 1.3, histograms in V2 form, deflated, base64. Other readers open it.
///
/// Values are nanoseconds, the "interval max" column included.
pub struct IntervalLog<W> {
    writer: W,
    serializer: V2DeflateSerializer,
}

impl<W: Write> IntervalLog<W> {
    /// Begins a log of a trial that started at `started`; `comment` says what was measured.
    ///
    /// # Errors
    /// When the writer does not take it.
    pub fn new(mut writer: W, started: SystemTime, comment: &str) -> io::Result<Self> {
        let mut serializer = V2DeflateSerializer::new();
        // With both times given, readers need not guess what intervals count from.
        IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .add_comment(&format!("[{}; values in nanoseconds]", comment.replace(['\n', '\r'], " ")))
            .with_start_time(started)
            .with_base_time(started)
            .begin_log_with(&mut writer, &mut serializer)?;
        Ok(Self { writer, serializer })
    }

    /// Writes what was recorded from `from` after the start for `length`. A tag tells series in one log apart.
    ///
    /// # Errors
    /// When the writer does not take it, or the tag holds a comma, a space or a line break.
    pub fn write(
        &mut self,
        from: Duration,
        length: Duration,
        tag: Option<&str>,
        latency: &Latency,
    ) -> io::Result<()> {
        let tag = match tag {
            None => None,
            Some(tag) => Some(Tag::new(tag).ok_or_else(|| {
                let why = format!("'{tag}' is no tag: it holds a comma, a space or a line break");
                io::Error::new(io::ErrorKind::InvalidInput, why)
            })?),
        };
        // A builder without headers writes nothing: so one log is written in pieces.
        let mut log =
            IntervalLogWriterBuilder::new().begin_log_with(&mut self.writer, &mut self.serializer)?;
        log.write_histogram(latency.histogram(), from, length, tag).map_err(|error| match error {
            IntervalLogWriterError::IoError(error) => error,
            IntervalLogWriterError::SerializeError(error) => io::Error::other(error),
        })
    }

    /// Ends the log: flushes, and returns the writer.
    ///
    /// # Errors
    /// When the writer cannot be flushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.writer.flush()?;
        Ok(self.writer)
    }
}
