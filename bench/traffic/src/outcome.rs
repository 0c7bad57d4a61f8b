//! What came of a trial.

use crate::assignments::Assignments;
use crate::rate::Rate;
use crate::spec::Check;
use ringlead_witness::{Findings, Latency, Summary};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Of the plan, at least this must have been sent, or the trial is invalid.
pub const SENT_LEAST: f64 = 0.999;

/// One trial, accounted for. All figures count frames; times are nanoseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The rate that was asked for.
    pub rate: Rate,
    /// In packets a second; `None` at full rate.
    pub requested_pps: Option<f64>,
    /// Packets a second that were really sent, after the ramp.
    pub sent_pps: f64,
    /// Bits a second of them, frames with FCS (layer 2).
    pub sent_bps: f64,
    /// Seconds from the first planned frame to the last one sent.
    pub seconds: f64,
    /// When it began, in seconds since 1970.
    pub started_at: f64,
    /// Frames that were due; `None` at full rate.
    pub planned: Option<u64>,
    /// Of these, handed to the sending ports, and completed by them.
    pub sent: u64,
    /// How far the sender was behind its plan.
    pub lag: Lag,
    /// Why the trial proves nothing; `None`: it is valid.
    pub invalid: Option<Invalid>,
    /// Frames that arrived at servers, duplicates and all.
    pub received: u64,
    /// Sent less received. Counted after the drain, when nothing arrives any more.
    pub lost: u64,
    /// The way back, where servers replied.
    pub replies: Option<Replies>,
    /// Where frames were lost.
    pub loss: LossSplit,
    /// What was done with each returned frame.
    pub check: Check,
    /// What the witness found; `None` where frames were only counted.
    pub findings: Option<Findings>,
    /// Frames apart from the trial's loss.
    pub odd: Odd,
    /// From the planned time of sending to arrival at a server; `None` where no frame carries a stamp.
    pub latency: Option<Summary>,
    /// From the planned time of sending to the reply's arrival at the client.
    pub reply_latency: Option<Summary>,
    /// The trial in pieces, in order.
    pub intervals: Vec<Interval>,
    /// What a reader of the figures has to know.
    pub notes: Vec<String>,
    /// Every latency to a server, for percentile files; not part of the JSON.
    #[serde(skip)]
    pub latencies: Latency,
    /// Every latency of a reply; not part of the JSON.
    #[serde(skip)]
    pub reply_latencies: Latency,
    /// Which server each flow came to; `None` where frames were only counted. Not part of the JSON.
    #[serde(skip)]
    pub assignments: Option<Assignments>,
    /// The latencies to servers by interval as an HdrHistogram log, where [`TrialSpec::latency_log`] asked for it.
    ///
    /// [`TrialSpec::latency_log`]: crate::TrialSpec::latency_log
    #[serde(skip)]
    pub latency_log: Option<String>,
}

impl Outcome {
    /// Whether the sender kept to its plan.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.invalid.is_none()
    }

    /// Frames lost on either way, of those sent on either way.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a ratio of counts")]
    pub fn loss_ratio(&self) -> f64 {
        let (lost, sent) = self
            .replies
            .as_ref()
            .map_or((self.lost, self.sent), |replies| (self.lost + replies.lost, self.sent + replies.sent));
        if sent == 0 { 0.0 } else { lost as f64 / sent as f64 }
    }
}

/// How far behind its plan the sender was, frame by frame. At full rate there is no plan, and no lag.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Lag {
    /// Half of the frames were no later than this.
    pub p50_ns: u64,
    /// 99 of 100 were no later than this.
    pub p99_ns: u64,
    /// The latest.
    pub max_ns: u64,
    /// The 99th percentile's bound, above which the trial is invalid.
    pub bound_ns: u64,
}

/// Why a trial proves nothing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Invalid {
    /// Too few of the planned frames were sent: below [`SENT_LEAST`].
    TooFew {
        /// Frames planned.
        planned: u64,
        /// Frames sent.
        sent: u64,
    },
    /// The frames went out, but late.
    TooLate {
        /// The 99th percentile of the lag.
        p99_ns: u64,
        /// Its bound.
        bound_ns: u64,
    },
    /// Nothing was sent.
    Nothing,
    /// The receiver's own rings overflowed: what was lost there is no fault of the balancer.
    ReceiverOverrun {
        /// Frames lost in the generator's receive rings.
        frames: u64,
    },
    /// The servers that the generator plays did not answer all that came to them.
    Unanswered {
        /// Frames whose answers did not leave.
        frames: u64,
    },
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { planned, sent } => {
                write!(f, "the sender fell behind: {sent} of {planned} planned frames were sent")
            }
            Self::TooLate { p99_ns, bound_ns } => write!(
                f,
                "the sender fell behind: the 99th percentile of its lag was {} us, {} us are allowed",
                p99_ns / 1000,
                bound_ns / 1000
            ),
            Self::Nothing => f.write_str("nothing was sent"),
            Self::ReceiverOverrun { frames } => {
                write!(f, "the generator's own receive rings overflowed: {frames} frames")
            }
            Self::Unanswered { frames } => {
                write!(f, "the generator's own servers fell behind: {frames} frames were not answered")
            }
        }
    }
}

/// The way back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Replies {
    /// Frames that servers sent back.
    pub sent: u64,
    /// Frames that arrived at clients.
    pub received: u64,
    /// Sent less received.
    pub lost: u64,
}

/// Where frames were lost. What nobody could tell is `None`, never 0.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct LossSplit {
    /// All losses that there were, both ways.
    pub total: u64,
    /// Between the generator and the balancer's packet path: sent to it less received by it.
    pub before: Option<u64>,
    /// Of these, those that the sending ports' devices dropped (`tx_dropped`).
    pub before_port_dropped: Option<u64>,
    /// Of these, those that overflowed the balancer's rings (`rx_lost`).
    pub before_rings: Option<u64>,
    /// In the balancer, by its reason.
    pub inside: Option<BTreeMap<String, u64>>,
    /// Behind the balancer: sent by it less received by the generator.
    pub after: Option<u64>,
    /// Of these, those that overflowed the generator's own receive rings. Known without the balancer's help.
    pub after_rings: u64,
    /// Replies of `dsr` servers that did not arrive: they do not pass the balancer.
    pub around: Option<u64>,
    /// Why the balancer's part is unknown, or what does not add up.
    pub note: Option<String>,
}

/// Frames apart from the trial's loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Odd {
    /// Fragments sent on request.
    pub fragments_sent: u64,
    /// Fragments that arrived.
    pub fragments_received: u64,
    /// Frames with a wrong checksum sent on request.
    pub bad_checksums_sent: u64,
    /// Of these, those that arrived, their checksum still wrong.
    pub bad_checksums_received: u64,
    /// Of these, those that arrived with a right checksum: something on the way hid the damage.
    pub bad_checksums_repaired: u64,
    /// Frames of an earlier trial.
    pub stale: u64,
    /// Frames between the generator's addresses that carry no stamp of its own.
    pub foreign: u64,
    /// Frames of the priming that did not arrive.
    pub prime_lost: u64,
}

/// A piece of the trial. Frames are counted where they were seen: what was sent in one interval may arrive in the next.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Interval {
    /// Seconds from the trial's start to the interval's start.
    pub at_s: f64,
    /// Its length in seconds.
    pub seconds: f64,
    /// Frames due.
    pub planned: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames that arrived at servers.
    pub received: u64,
    /// Frames that arrived at clients.
    pub replies: u64,
    /// The latest frame's lag.
    pub lag_max_ns: u64,
    /// What was done to the balancer in it: whatever the observer said.
    pub marks: Vec<String>,
}
