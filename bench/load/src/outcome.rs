//! What a run found.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::latency::histogram;
use crate::{ErrorClass, Latency, Pace};

/// What a run found. `planned = started + not_started + too_late` and `started = ok + failed`, always.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// `tcp`, `http` or `rr`.
    pub kind: String,
    /// The service.
    pub target: SocketAddr,
    /// How requests followed each other.
    pub pace: Pace,
    /// Where latency counts from.
    pub latency_from: LatencyFrom,
    /// How long requests were started, seconds. Rates are over this time.
    pub seconds: f64,
    /// Requests that were due; in a closed loop, that were started.
    pub planned: u64,
    /// Requests that were started.
    pub started: u64,
    /// Requests answered as expected.
    pub ok: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests not started because the client was at its cap of requests in flight.
    pub not_started: u64,
    /// Requests not started because the client came to them only after the run was over.
    pub too_late: u64,
    /// Requests a second that were started.
    pub started_per_second: f64,
    /// Requests a second that were answered as expected while the run lasted.
    pub ok_per_second: f64,
    /// The failures by class.
    pub errors: BTreeMap<ErrorClass, u64>,
    /// Answers by HTTP status.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statuses: BTreeMap<u16, u64>,
    /// Connections (or UDP sockets) opened.
    pub connections: u64,
    /// Bytes of payload written.
    pub bytes_sent: u64,
    /// Bytes of payload read.
    pub bytes_received: u64,
    /// Payload sent while the run lasted, bit/s.
    pub bits_per_second_sent: f64,
    /// Payload received while the run lasted, bit/s.
    pub bits_per_second_received: f64,
    /// Answers that were not expected any more or never.
    #[serde(default, skip_serializing_if = "Strays::is_none")]
    pub strays: Strays,
    /// Times of the requests answered as expected, from what `latency_from` says.
    pub latency: Latency,
    /// The same requests from their real start: what a closed loop would have shown.
    pub service: Latency,
    /// In a closed loop only: an estimate of what an open one would show (HdrHistogram's correction for coordinated
    /// omission, at the loop's mean interval).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected: Option<Latency>,
    /// Times of connecting.
    pub connect: Latency,
    /// In an open loop: how long after their planned time requests were begun by this client.
    pub lag: Latency,
    /// Why the run proves nothing. Empty: it is valid.
    pub invalid: Vec<Invalid>,
    /// The run second by second.
    pub samples: Vec<Sample>,
    /// The distributions behind the summaries.
    #[serde(skip)]
    pub histograms: Histograms,
}

/// Where latency counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LatencyFrom {
    /// The time that the plan gave the request.
    PlannedTime,
    /// The time that the request was started: requests that a stall kept from being started are not in it.
    OwnStart,
}

/// Answers that fit no waiting request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Strays {
    /// Answers to requests that were given up before.
    pub late: u64,
    /// Second answers.
    pub duplicates: u64,
    /// Answers to a request of another connection, or to none.
    pub misdelivered: u64,
}

impl Strays {
    /// Whether there were none.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a run is invalid: the client, not the service, set the figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Invalid {
    /// More than one request in a thousand was begun later than allowed.
    Lag {
        /// The 99.9th percentile of the lag.
        p999_ns: u64,
        /// What is allowed.
        bound_ns: u64,
    },
    /// Requests were not started because the client was at its cap.
    AtCap {
        /// How many.
        not_started: u64,
    },
    /// Requests were not started because the client came to them after the end.
    FellBehind {
        /// How many.
        too_late: u64,
    },
    /// The client itself ran out of something.
    Exhausted {
        /// Of what.
        class: ErrorClass,
        /// How many requests failed by it.
        requests: u64,
    },
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lag { p999_ns, bound_ns } => write!(
                f,
                "the client fell behind its plan: one request in a thousand was begun more than {:?} late, {:?} are \
                 allowed",
                Duration::from_micros(p999_ns / 1000),
                Duration::from_micros(bound_ns / 1000)
            ),
            Self::AtCap { not_started } => {
                write!(
                    f,
                    "{not_started} requests not started: the client was at its cap of requests in flight"
                )
            }
            Self::FellBehind { too_late } => {
                write!(f, "{too_late} requests not started: the client came to them after the end of the run")
            }
            Self::Exhausted { class: ErrorClass::NoPorts, requests } => {
                write!(
                    f,
                    "{requests} requests failed because the client had no source port left (more source addresses)"
                )
            }
            Self::Exhausted { class, requests } => {
                write!(f, "{requests} requests failed because of the client's own limits ({class})")
            }
        }
    }
}

/// A second of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Which second, from 0. Seconds after the run's duration hold what was still on its way.
    pub second: u64,
    /// Requests due.
    pub planned: u64,
    /// Requests started.
    pub started: u64,
    /// Requests answered as expected.
    pub ok: u64,
    /// Requests failed.
    pub failed: u64,
    /// Requests not started, at the cap or too late.
    pub not_started: u64,
    /// Bytes of payload written.
    pub bytes_sent: u64,
    /// Bytes of payload read.
    pub bytes_received: u64,
    /// The median latency of the requests that ended well in this second.
    pub p50_ns: u64,
    /// The 99th percentile.
    pub p99_ns: u64,
    /// The greatest.
    pub max_ns: u64,
}

/// The distributions of an outcome.
#[derive(Clone, PartialEq)]
pub struct Histograms {
    /// Of [`Outcome::latency`].
    pub latency: Histogram<u64>,
    /// Of [`Outcome::service`].
    pub service: Histogram<u64>,
    /// Of [`Outcome::connect`].
    pub connect: Histogram<u64>,
    /// Of [`Outcome::lag`].
    pub lag: Histogram<u64>,
    /// Of [`Outcome::corrected`].
    pub corrected: Option<Histogram<u64>>,
}

/// Only how many times each holds: the counts themselves are tens of thousands of numbers.
impl fmt::Debug for Histograms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { latency, service, connect, lag, corrected: _ } = self;
        write!(f, "Histograms({} {} {} {})", latency.len(), service.len(), connect.len(), lag.len())
    }
}

impl Default for Histograms {
    fn default() -> Self {
        Self {
            latency: histogram(),
            service: histogram(),
            connect: histogram(),
            lag: histogram(),
            corrected: None,
        }
    }
}

impl Outcome {
    /// Whether the figures are the service's and not the client's.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.invalid.is_empty()
    }

    /// Whether the run is valid and nothing at all went wrong in it.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.is_valid() && self.failed == 0 && self.strays.is_none() && self.planned > 0
    }
}
