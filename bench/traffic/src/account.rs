//! What became of a trial's frames, put together when nothing arrives any more.

use crate::assignments::Assignments;
use crate::board::End;
use crate::book::Judge;
use crate::error::TrafficError;
use crate::generator::Ends;
use crate::outcome::{Invalid, Lag, LossSplit, Odd, Outcome, Replies, SENT_LEAST};
use crate::phase::Phase;
use crate::sender::{Pace, Taken};
use crate::spec::TrialSpec;
use crate::split::{self, Counters};
use crate::station::{Station, Wire};
use crate::trial::nanos;
use std::sync::{Arc, Mutex, PoisonError};

/// What was counted before the trial.
pub(crate) struct Before {
    pub(crate) balancer: Result<Counters, String>,
    pub(crate) tx_dropped: Option<u64>,
    pub(crate) rx_lost: u64,
    pub(crate) started_at: f64,
    pub(crate) prime_lost: u64,
}

/// Everything that an outcome is made of.
pub(crate) struct Account<'e, 's, P> {
    pub(crate) ends: &'e mut Ends<P>,
    pub(crate) spec: &'s TrialSpec,
    pub(crate) pps: Option<f64>,
    pub(crate) notes: Vec<String>,
    pub(crate) pace: Pace,
    pub(crate) phase: Phase,
    pub(crate) before: Before,
}

impl<P: Wire> Account<'_, '_, P> {
    /// The outcome.
    #[allow(clippy::cast_precision_loss, reason = "rates of counts")]
    pub(crate) fn outcome(mut self, judge: Option<Arc<Mutex<Judge>>>) -> Result<Outcome, TrafficError> {
        let taken = self.phase.sender.taken;
        let sent = taken.plain.saturating_sub(self.unsent());
        let received = self.phase.ears[0].heard.counted;
        let lost = sent.saturating_sub(received);
        let replies = self.replies();
        let rx_lost = self.ends.rx_lost().saturating_sub(self.before.rx_lost);
        let lag = self.lag();
        let total = lost + replies.map_or(0, |replies| replies.lost);
        let loss = self.loss(total, rx_lost);
        let steady_s = self.steady_seconds();
        let (invalid, odd) = (self.invalid(&lag, rx_lost), self.odd());
        let planned = self.planned().map(|planned| planned.saturating_sub(taken.places() - taken.plain));
        let Phase { sender, ears: [mut servers, clients], intervals, .. } = self.phase;
        let counts = sender.supply.into_counts();
        let judge = judge.map(alone).transpose()?;
        let assignments = judge.as_ref().map(|judge| Assignments::of(judge, self.spec.plan.flows));
        // Ends the judge's work: what was sent and has not come is lost.
        let sent_of = |flow: u32| counts.get(flow as usize).copied().map_or(0, u64::from);
        let findings = judge.map(|judge| judge.finish(sent_of));
        Ok(Outcome {
            rate: self.spec.rate,
            requested_pps: self.pps,
            sent_pps: taken.steady as f64 / steady_s,
            sent_bps: taken.steady_bytes as f64 * 8.0 / steady_s,
            seconds: taken.last_ns as f64 / 1e9,
            started_at: self.before.started_at,
            planned,
            sent,
            lag,
            invalid,
            received,
            lost,
            replies,
            loss,
            check: self.spec.check,
            findings,
            assignments,
            odd,
            latency: servers.latency.summary(),
            reply_latency: replies.and_then(|_| clients.latency.summary()),
            intervals,
            notes: self.notes,
            latency_log: servers.take_log(),
            latencies: servers.latency,
            reply_latencies: clients.latency,
        })
    }

    /// Places of the plan.
    fn planned(&self) -> Option<u64> {
        match &self.pace {
            Pace::Planned { pacer, .. } => Some(pacer.total()),
            Pace::Full { .. } => None,
        }
    }

    /// Frames that the clients' ports took and never completed.
    fn unsent(&self) -> u64 {
        in_flight(&self.ends.clients)
    }

    /// Answers that left.
    fn answered(&self) -> u64 {
        self.phase.answered.saturating_sub(in_flight(&self.ends.servers))
    }

    /// Frames that came to servers which were to answer and whose answers did not leave.
    fn unanswered(&self) -> u64 {
        let came = self.phase.ears[0].heard;
        let due = came.counted + came.bad_checksums + came.repaired;
        if self.spec.reply { due.saturating_sub(self.answered()) } else { 0 }
    }

    fn replies(&self) -> Option<Replies> {
        let heard = self.phase.ears[1].heard;
        // Spoilt frames are answered like others.
        let (sent, received) = (self.answered(), heard.counted + heard.bad_checksums + heard.repaired);
        self.spec.reply.then(|| Replies { sent, received, lost: sent.saturating_sub(received) })
    }

    fn lag(&self) -> Lag {
        let lag = self.phase.sender.lag.histogram();
        let (p50_ns, p99_ns) = (lag.value_at_quantile(0.5), lag.value_at_quantile(0.99));
        Lag { p50_ns, p99_ns, max_ns: lag.max(), bound_ns: nanos(self.spec.lag_max) }
    }

    #[allow(clippy::cast_precision_loss, reason = "a ratio of counts")]
    fn invalid(&self, lag: &Lag, rx_lost: u64) -> Option<Invalid> {
        // What a port took and never sent was not sent.
        let places = self.phase.sender.taken.places().saturating_sub(self.unsent());
        if places == 0 {
            return Some(Invalid::Nothing);
        }
        if let Some(planned) = self.planned() {
            if (places as f64) < planned as f64 * SENT_LEAST {
                return Some(Invalid::TooFew { planned, sent: places });
            }
            if lag.p99_ns > lag.bound_ns {
                return Some(Invalid::TooLate { p99_ns: lag.p99_ns, bound_ns: lag.bound_ns });
            }
        }
        if rx_lost > 0 {
            return Some(Invalid::ReceiverOverrun { frames: rx_lost });
        }
        let frames = self.unanswered();
        (frames > 0).then_some(Invalid::Unanswered { frames })
    }

    /// From the ramp's end to the last frame.
    #[allow(clippy::cast_precision_loss, reason = "seconds of a trial")]
    fn steady_seconds(&self) -> f64 {
        let Taken { last_ns, .. } = self.phase.sender.taken;
        let (from, least) = match &self.pace {
            // The last frame stands for its own share of time.
            Pace::Planned { pacer, .. } => {
                (pacer.steady_from_ns(), pacer.duration_ns().saturating_sub(pacer.steady_from_ns()))
            }
            Pace::Full { .. } => (0, 1),
        };
        last_ns.saturating_sub(from).max(least).max(1) as f64 / 1e9
    }

    fn odd(&self) -> Odd {
        let taken = self.phase.sender.taken;
        let [servers, clients] = self.phase.ears.each_ref().map(|ear| ear.heard);
        Odd {
            fragments_sent: taken.fragments,
            fragments_received: servers.fragments,
            bad_checksums_sent: taken.bad_checksums,
            bad_checksums_received: servers.bad_checksums,
            bad_checksums_repaired: servers.repaired,
            stale: servers.stale + clients.stale,
            foreign: servers.foreign + clients.foreign,
            prime_lost: self.before.prime_lost,
        }
    }

    /// Asks the balancer, when there is something to explain.
    fn loss(&mut self, total: u64, after_rings: u64) -> LossSplit {
        let taken = self.phase.sender.taken;
        let port_dropped = self.ends.tx_dropped().zip(self.before.tx_dropped);
        let through = self.ends.setup.mode.replies_pass() && self.spec.reply;
        let all = |end: End| {
            let heard = self.phase.ears[end as usize].heard;
            heard.counted + heard.bad_checksums + heard.repaired + heard.fragments + heard.wrong
        };
        let answered = if through { self.answered() } else { 0 };
        let around = self.replies().filter(|_| !through);
        let ends = split::Ends {
            given: taken.plain + taken.bad_checksums + taken.fragments + answered,
            got: all(End::Servers) + if through { all(End::Clients) } else { 0 },
            around: around.map(|replies| replies.lost),
            total,
            port_dropped: port_dropped.map(|(now, before)| now.saturating_sub(before)),
            after_rings,
        };
        let before = match &self.before.balancer {
            Err(why) if total > 0 => return split::split(&ends, Err(why.clone())),
            Err(_) => return split::nothing_lost(&ends),
            Ok(before) => before,
        };
        let odd = self.odd();
        let spoilt_came = odd.bad_checksums_received + odd.bad_checksums_repaired;
        let odd_came = odd.fragments_received >= odd.fragments_sent && spoilt_came >= odd.bad_checksums_sent;
        if total == 0 && odd_came {
            return split::nothing_lost(&ends);
        }
        let socket = self.ends.setup.control.as_deref();
        let after = socket.map_or_else(|| Err("no control socket".to_owned()), split::ask_fresh);
        split::split(&ends, after.as_ref().map(|after| (before, after)).map_err(Clone::clone))
    }
}

/// Frames that ports took and have not completed.
fn in_flight<P: Wire>(stations: &[Station<P>]) -> u64 {
    stations.iter().flat_map(|station| &station.lanes).map(|lane| lane.io.in_flight()).sum()
}

/// The judge, when both ends are done with it.
fn alone(judge: Arc<Mutex<Judge>>) -> Result<Judge, TrafficError> {
    let judge =
        Arc::into_inner(judge).ok_or_else(|| TrafficError::Setup("an end still judges".to_owned()))?;
    Ok(judge.into_inner().unwrap_or_else(PoisonError::into_inner))
}
