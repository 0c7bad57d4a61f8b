//! What one trial sends, how fast, and how its frames are looked at.

use crate::error::TrafficError;
use crate::rate::Rate;
use crate::size::Sizes;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Most flows of a trial, those that come and go counted together.
pub const FLOWS_MAX: u32 = 10_000_000;
/// The longest trial.
pub const DURATION_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Which frames.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Flows at a time, 1 to [`FLOWS_MAX`], dealt to the services in turn.
    pub flows: u32,
    /// Flows that end a second, each replaced by a new one that begins with a SYN (TCP).
    pub new_flows_per_s: u32,
    /// Popularity: the exponent of Zipf's law, above 0 and up to 10. `None`: all flows in turn.
    pub zipf: Option<f64>,
    /// Frame sizes.
    pub sizes: Sizes,
    /// VLAN of the frames, 1 to 4094.
    pub vlan: Option<u16>,
    /// DSCP and ECN of the frames: the whole TOS or traffic class byte.
    #[serde(default)]
    pub tos: u8,
    /// Every frame is the SYN of another flow.
    pub syn_flood: bool,
    /// Percent of the frames that are cut in two fragments; counted apart, not part of the loss.
    pub fragments_pct: f64,
    /// Percent of the frames that have a wrong transport checksum; counted apart, not part of the loss.
    pub bad_checksums_pct: f64,
    /// Frames of a capture instead of our own, which then say nothing of latency.
    pub capture: Option<PathBuf>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            flows: 1000,
            new_flows_per_s: 0,
            zipf: None,
            sizes: Sizes::imix(),
            vlan: None,
            tos: 0,
            syn_flood: false,
            fragments_pct: 0.0,
            bad_checksums_pct: 0.0,
            capture: None,
        }
    }
}

impl Plan {
    /// Refuses what is out of range.
    ///
    /// # Errors
    /// What is, in a sentence.
    pub fn check(&self) -> Result<(), TrafficError> {
        let refuse = |why: String| Err(TrafficError::Setup(why));
        if !(1..=FLOWS_MAX).contains(&self.flows) {
            return refuse(format!("{} flows: want 1 to {FLOWS_MAX}", self.flows));
        }
        if self.zipf.is_some_and(|exponent| !(exponent > 0.0 && exponent <= 10.0)) {
            return refuse("a Zipf exponent is above 0 and at most 10".to_owned());
        }
        if self.vlan.is_some_and(|vlan| !(1..=4094).contains(&vlan)) {
            return refuse("a VLAN is 1 to 4094".to_owned());
        }
        let percents = [("fragments", self.fragments_pct), ("bad checksums", self.bad_checksums_pct)];
        if let Some((what, pct)) = percents.into_iter().find(|(_, pct)| !(0.0..=50.0).contains(pct)) {
            return refuse(format!("{pct} % {what}: want 0 to 50"));
        }
        if self.syn_flood && (self.zipf.is_some() || self.new_flows_per_s > 0 || self.fragments_pct > 0.0) {
            return refuse(
                "in a SYN flood each frame is a new flow: no --zipf, --new-flows, --fragments".into(),
            );
        }
        Ok(())
    }
}

/// What is done with each returned frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Its stamp is read: counted and timed, nothing else. A duplicate can hide a loss.
    Count,
    /// It is judged by the witness.
    All,
}

/// One trial.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TrialSpec {
    /// What is sent.
    pub plan: Plan,
    /// How fast.
    pub rate: Rate,
    /// How long, the ramp included.
    pub duration: Duration,
    /// The rate climbs in a straight line from a tenth for this long, at the trial's start.
    pub ramp: Duration,
    /// First one packet of each flow, gently, so that the flows exist; then a pause until nothing arrives.
    pub prime: bool,
    /// How fast flows are primed, packets a second.
    pub prime_pps: f64,
    /// Servers send each frame back to the client.
    pub reply: bool,
    /// What is done with each returned frame.
    pub check: Check,
    /// Above this 99th percentile of the sender's lag the trial is invalid.
    pub lag_max: Duration,
    /// Length of the intervals that the trial is told in.
    pub interval: Duration,
    /// Keep latencies to servers by interval, for a log.
    pub latency_log: bool,
    /// Ask the balancer where frames were lost (needs a control socket).
    pub explain_loss: bool,
}

impl TrialSpec {
    /// `plan` at `rate` for `duration`, with the usual rest: primed, no replies, counted, 10 ms of lag, intervals of
    /// 100 ms (1 s when longer than a minute).
    #[must_use]
    pub fn new(plan: Plan, rate: Rate, duration: Duration) -> Self {
        let long = duration > Duration::from_secs(60);
        Self {
            plan,
            rate,
            duration,
            ramp: Duration::from_millis(100).min(duration / 10),
            prime: true,
            prime_pps: 50_000.0,
            reply: false,
            check: Check::Count,
            lag_max: Duration::from_millis(10),
            interval: Duration::from_millis(if long { 1000 } else { 100 }),
            latency_log: false,
            explain_loss: true,
        }
    }

    /// Refuses what is out of range.
    ///
    /// # Errors
    /// What is, in a sentence.
    pub fn check(&self) -> Result<(), TrafficError> {
        self.plan.check()?;
        let refuse = |why: &str| Err(TrafficError::Setup(why.to_owned()));
        if self.duration < Duration::from_millis(10) || self.duration > DURATION_MAX {
            return refuse("a trial lasts from 10ms to 7 days");
        }
        if self.ramp > self.duration / 2 {
            return refuse("a ramp lasts at most half of the trial");
        }
        if self.lag_max > DURATION_MAX {
            return refuse("a lag of at most 7 days");
        }
        if self.interval < Duration::from_millis(10) {
            return refuse("an interval lasts at least 10ms");
        }
        if !(self.prime_pps >= 1.0 && self.prime_pps <= 10e6) {
            return refuse("flows are primed at 1 to 10M packets a second");
        }
        if self.plan.syn_flood && self.check == Check::All {
            return refuse(
                "the frames of a SYN flood are only counted: one of each flow leaves nothing to compare",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_refused() {
        let good = TrialSpec::new(Plan::default(), Rate::Full, Duration::from_secs(1));
        good.check().unwrap();
        let refuses = |change: &dyn Fn(&mut TrialSpec)| {
            let mut spec = good.clone();
            change(&mut spec);
            spec.check().is_err()
        };
        assert!(refuses(&|s| s.plan.flows = 0));
        assert!(refuses(&|s| s.plan.flows = FLOWS_MAX + 1));
        assert!(refuses(&|s| s.plan.zipf = Some(f64::NAN)));
        assert!(refuses(&|s| s.plan.vlan = Some(4095)));
        assert!(refuses(&|s| s.plan.fragments_pct = 51.0));
        assert!(refuses(&|s| s.duration = Duration::ZERO));
        assert!(refuses(&|s| s.ramp = s.duration));
        assert!(refuses(&|s| s.lag_max = Duration::MAX));
        assert!(refuses(&|s| (s.plan.syn_flood, s.check) = (true, Check::All)));
        assert!(refuses(&|s| (s.plan.syn_flood, s.plan.zipf) = (true, Some(1.0))));
    }
}
