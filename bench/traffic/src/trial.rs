//! One trial from its preparation to its account.

use crate::account::{Account, Before};
use crate::board::End;
use crate::book::{Book, Judge, expectation};
use crate::capture::Capture;
use crate::ear::{Ear, Log, Sign};
use crate::engine::Side;
use crate::error::TrafficError;
use crate::flows::Space;
use crate::frame::{Maker, Tags, least};
use crate::generator::Ends;
use crate::observer::Observer;
use crate::outcome::Outcome;
use crate::pacer::{Pacer, Recorded, Steady};
use crate::phase::{Phase, Run, start_ns};
use crate::rate::Rate;
use crate::receiver::{Answer, Receiver};
use crate::sender::{Outlet, Pace, Sender};
use crate::size::{FCS, Sizes};
use crate::spec::{Check, FLOWS_MAX, Plan, TrialSpec};
use crate::split::{self, Counters};
use crate::station::Wire;
use crate::supply::{Flows, ODD_MAX, Supply, flows_all};
use ringlead_witness::{Limits, Witness};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Frames of the priming may be this late: the flows are to exist.
const PRIME_GRACE_NS: u64 = 10_000_000_000;
/// The sender gets at least this long after the plan's end for its last frames.
const GRACE_LEAST: Duration = Duration::from_millis(10);

/// A trial in preparation.
pub(crate) struct Trial<'e, 's, P> {
    ends: &'e mut Ends<P>,
    spec: &'s TrialSpec,
    /// After the ramp; `None`: as fast as it goes.
    pps: Option<f64>,
    flows: u32,
    capture: Option<Arc<Capture>>,
    notes: Vec<String>,
}

/// The pieces of a phase that differ between priming and measuring.
struct Part {
    pace: Pace,
    supply: Supply,
    sign: Sign,
    answer: bool,
    judge: Option<Arc<Mutex<Judge>>>,
}

impl<'e, 's, P: Wire + Send> Trial<'e, 's, P> {
    pub(crate) fn new(ends: &'e mut Ends<P>, spec: &'s TrialSpec) -> Result<Self, TrafficError> {
        spec.check()?;
        let mut notes = Vec::new();
        let capture = capture(ends, &spec.plan)?;
        let mean = match &capture {
            Some(capture) => capture.mean_len(),
            None => mean_len(ends, &spec.plan, &mut notes)?,
        };
        let pps = spec.rate.pps(mean, ends.line_bps).map_err(TrafficError::Setup)?;
        if spec.check == Check::All && capture.is_some() {
            return Err(TrafficError::Setup("frames of a capture carry no stamp to be judged by".to_owned()));
        }
        let room = Space::new(&ends.setup).room();
        let flows = flows_all(&spec.plan, spec.duration.as_secs_f64(), room)?;
        if spec.plan.fragments_pct > 0.0 {
            notes.push("fragments are counted apart, not judged".to_owned());
        }
        if let Some(all) = flood_repeats(&spec.plan, pps, spec.duration, room) {
            notes.push(format!("the flood has {all} flows of its own, and then begins with the first again"));
        }
        if spec.rate == Rate::Full {
            notes.push("at full rate there is no plan: latency counts from each frame's making".to_owned());
        }
        if let Some(left_out) = capture.as_ref().map(|capture| capture.left_out).filter(|n| *n > 0) {
            notes.push(format!("{left_out} frames of the capture cannot be sent and were left out"));
        }
        Ok(Self { ends, spec, pps, flows, capture, notes })
    }

    pub(crate) fn run(mut self, observer: &mut dyn Observer) -> Result<Outcome, TrafficError> {
        let control = self.ends.setup.control.clone();
        let balancer = match (&control, self.spec.explain_loss) {
            (Some(socket), true) => split::ask(socket),
            (None, _) => Err("no control socket was given (--control)".to_owned()),
            (_, false) => Err("the balancer was not asked".to_owned()),
        };
        let primed = self.spec.prime && self.capture.is_none() && !self.spec.plan.syn_flood;
        let prime_lost = if primed { self.prime()? } else { 0 };
        if prime_lost > 0 {
            let note = format!("{prime_lost} of the flows' first packets did not arrive: prime more slowly");
            self.notes.push(note);
        }
        let part = self.measured(if primed { self.spec.plan.flows } else { 0 })?;
        let before = Before {
            balancer: if primed && balancer.is_ok() { self.ask() } else { balancer },
            tx_dropped: self.ends.tx_dropped(),
            rx_lost: self.ends.rx_lost(),
            started_at: now(),
            prime_lost,
        };
        let (judge, pace) = (part.judge.clone(), part.pace.clone());
        let phase = self.phase(part, Some((self.spec.interval, observer)))?;
        let Self { ends, spec, pps, notes, .. } = self;
        Account { ends, spec, pps, notes, pace, phase, before }.outcome(judge)
    }

    fn ask(&self) -> Result<Counters, String> {
        let socket = self.ends.setup.control.as_deref();
        socket.map_or_else(|| Err("no control socket was given (--control)".to_owned()), split::ask)
    }

    /// One packet of each flow, gently. Returns how many did not arrive.
    fn prime(&mut self) -> Result<u64, TrafficError> {
        let plan = Plan {
            flows: self.spec.plan.flows,
            sizes: Sizes::one(64).map_err(TrafficError::Setup)?,
            vlan: self.spec.plan.vlan,
            tos: self.spec.plan.tos,
            ..Plan::default()
        };
        let space = Arc::new(Space::new(&self.ends.setup));
        let maker = Arc::new(Maker::new(&space, plan.sizes.cycle(), Tags::of(&plan))?);
        let trial = self.next_phase();
        let pps = self.pps.map_or(self.spec.prime_pps, |pps| pps.min(self.spec.prime_pps));
        let pacer = Pacer::Steady(Steady::exactly(u64::from(plan.flows), pps));
        let grace_ns = PRIME_GRACE_NS + pacer.duration_ns();
        let part = Part {
            supply: Supply::Flows(Box::new(Flows::new(&plan, &space, &maker, trial, plan.flows, 0))),
            pace: Pace::Planned { pacer, grace_ns },
            sign: Sign::Stamp { trial, odd_from: u32::MAX },
            // A connection is open when both ends have spoken, where the balancer hears both.
            answer: self.spec.reply || self.ends.setup.mode.replies_pass(),
            judge: None,
        };
        let phase = self.phase(part, None)?;
        Ok(phase.sender.taken.plain.saturating_sub(phase.ears[0].heard.counted))
    }

    /// The trial proper.
    fn measured(&mut self, primed: u32) -> Result<Part, TrafficError> {
        let trial = self.next_phase();
        let pace = self.pace()?;
        let young_from = if self.spec.plan.syn_flood { 0 } else { self.spec.plan.flows };
        let space = Space::new(&self.ends.setup).with_young(young_from, self.ends.young_offset);
        let space = Arc::new(space);
        self.ends.young_offset = self.ends.young_offset.wrapping_add(self.flows - young_from.min(self.flows));
        if let Some(capture) = &self.capture {
            let supply = Supply::Capture(Arc::clone(capture), 0);
            return Ok(Part { pace, supply, sign: Sign::Any, answer: false, judge: None });
        }
        let maker = Arc::new(Maker::new(&space, self.spec.plan.sizes.cycle(), Tags::of(&self.spec.plan))?);
        let flows = Flows::new(&self.spec.plan, &space, &maker, trial, self.flows, primed);
        let judge = match self.spec.check {
            Check::Count => None,
            Check::All => Some(Arc::new(Mutex::new(self.judge(&space, trial, primed)?))),
        };
        Ok(Part {
            supply: Supply::Flows(Box::new(flows)),
            pace,
            sign: Sign::Stamp { trial, odd_from: self.flows },
            answer: self.spec.reply,
            judge,
        })
    }

    fn pace(&self) -> Result<Pace, TrafficError> {
        let duration = self.spec.duration;
        let pacer = match (self.spec.rate, self.pps, &self.capture) {
            (Rate::Recorded, _, Some(capture)) => {
                Pacer::Recorded(Recorded::new(capture, duration).ok_or_else(|| {
                    TrafficError::Capture("all its frames have one time: give a rate".to_owned())
                })?)
            }
            (Rate::Recorded, _, None) => {
                return Err(TrafficError::Setup("only a capture has a recorded rate".to_owned()));
            }
            (_, Some(pps), _) => Pacer::Steady(Steady::new(pps, self.spec.ramp, duration)),
            (_, None, _) => return Ok(Pace::Full { duration_ns: nanos(duration) }),
        };
        // What is later than this is too late to count as sent.
        Ok(Pace::Planned { pacer, grace_ns: nanos(self.spec.lag_max.max(GRACE_LEAST)) })
    }

    fn judge(&self, space: &Arc<Space>, trial: u8, primed: u32) -> Result<Judge, TrafficError> {
        let setup = &self.ends.setup;
        let back = self.back_mac();
        let outlets = self.outlets();
        let macs = outlets.iter().map(|outlet| {
            let own = outlet.ether[0].last_chunk().copied();
            if setup.mode.replies_pass() { own.unwrap_or_default() } else { back }
        });
        let book = Book {
            space: Arc::clone(space),
            primed,
            odd_from: self.flows,
            client_macs: macs.collect(),
            tos: self.spec.plan.tos,
            vlan: self.spec.plan.vlan.filter(|_| setup.mode.replies_pass()),
        };
        let expectation = expectation(setup, &self.ends.ports)?;
        let limits = Limits {
            replies: self.spec.reply,
            may_vanish_from: self.flows,
            ..Limits::flows(self.flows + ODD_MAX)
        };
        Witness::new(expectation, book, trial, limits).map_err(|why| TrafficError::Setup(why.to_string()))
    }

    fn phase(
        &mut self,
        part: Part,
        watch: Option<(Duration, &mut dyn Observer)>,
    ) -> Result<Phase, TrafficError> {
        let outlets = self.outlets();
        let macs: Vec<[u8; 6]> = self.ends.ports.iter().map(|info| info.mac).collect();
        let answer = match (part.answer, self.ends.setup.mode.replies_pass()) {
            (false, _) => Answer::No,
            (true, true) => Answer::Back,
            (true, false) => Answer::Around(self.back_mac()),
        };
        let tunnel = self.ends.setup.tunnelled();
        let start_ns = start_ns();
        let Part { pace, supply, sign, judge, .. } = part;
        let Ends { clients, servers, setup, .. } = &mut *self.ends;
        let at_clients = Receiver::new(clients, Answer::No, macs.clone(), judge.clone(), start_ns);
        let at_servers = Receiver::new(servers, answer, macs, judge, start_ns).behind(tunnel.clone());
        let sender = Sender::new(outlets, pace.clone(), supply);
        let clients = Side { stations: clients, receiver: at_clients, sender: Some(sender) };
        let servers = Side { stations: servers, receiver: at_servers, sender: None };
        let mut ear = Ear::new(End::Servers, sign).behind(tunnel);
        if watch.is_some() && self.spec.latency_log {
            let log = Log::new(self.spec.interval, self.spec.duration);
            ear.log = Some(log.map_err(|e| TrafficError::io("begin a latency log", e))?);
        }
        let run = Run {
            clients: (clients, Ear::new(End::Clients, sign)),
            servers: (servers, ear),
            pace,
            start_ns,
            threads: setup.threads,
            busy: setup.busy,
            watch,
        };
        let gone = || TrafficError::Setup("an end's thread was lost".to_owned());
        run.run().ok_or_else(gone)
    }

    /// Every queue of every sending port.
    fn outlets(&self) -> Vec<Outlet> {
        let mut outlets = Vec::new();
        for (station, ports) in self.ends.clients.iter().enumerate() {
            for (lane, queue) in ports.lanes.iter().enumerate() {
                let Some(hops) = self.ends.hops.get(queue.port) else { continue };
                let source = self.ends.ports.get(queue.port).map_or([0; 6], |info| info.mac);
                let ether = hops.map(|hop| {
                    let mut ether = [0; 12];
                    ether[..6].copy_from_slice(&hop);
                    ether[6..].copy_from_slice(&source);
                    ether
                });
                outlets.push(Outlet { station, lane, ether });
            }
        }
        outlets
    }

    /// Where servers whose replies go around the balancer send their replies.
    fn back_mac(&self) -> [u8; 6] {
        let setup = &self.ends.setup;
        let back = setup.back.as_ref().or(setup.out.first());
        let info = self.ends.ports.iter().find(|info| Some(&info.port) == back);
        info.map_or([0; 6], |info| info.mac)
    }

    fn next_phase(&mut self) -> u8 {
        self.ends.phase = self.ends.phase.wrapping_add(1);
        self.ends.phase
    }
}

/// How many flows a flood has before they come again, where it lasts so long or may.
fn flood_repeats(plan: &Plan, pps: Option<f64>, duration: Duration, room: u64) -> Option<u64> {
    let all = room.min(FLOWS_MAX.into());
    #[allow(clippy::cast_precision_loss, reason = "at most FLOWS_MAX")]
    let reached = pps.is_none_or(|pps| pps * duration.as_secs_f64() > all as f64);
    (plan.syn_flood && reached).then_some(all)
}

fn capture<P>(ends: &Ends<P>, plan: &Plan) -> Result<Option<Arc<Capture>>, TrafficError> {
    let Some(path) = &plan.capture else { return Ok(None) };
    Capture::read(path, frame_max(ends)).map(|capture| Some(Arc::new(capture)))
}

/// The longest frame that every port takes, without FCS.
fn frame_max<P>(ends: &Ends<P>) -> usize {
    ends.ports.iter().map(|info| info.frame_max).min().unwrap_or(0)
}

/// Mean size of the plan's frames, FCS included; refuses sizes that a port cannot carry.
#[allow(clippy::cast_precision_loss, reason = "a mean")]
fn mean_len<P>(ends: &Ends<P>, plan: &Plan, notes: &mut Vec<String>) -> Result<f64, TrafficError> {
    let (longest, most) = (plan.sizes.longest() - FCS, frame_max(ends));
    let tag = usize::from(plan.vlan.is_some()) * 4;
    if longest > most + tag {
        let why =
            format!("frames of {} bytes do not fit: a port's MTU allows {}", longest + FCS, most + tag + FCS);
        return Err(TrafficError::Setup(why));
    }
    let leasts = ends.setup.services.iter().map(|service| least(service, plan.vlan.is_some()));
    let (mut sum, mut raised) = (0.0, 0);
    for least in leasts {
        sum += plan.sizes.mean(least);
        if plan.sizes.cycle().iter().any(|size| *size < least) {
            raised = raised.max(least);
        }
    }
    if raised > 0 {
        notes.push(format!(
            "a stamp does not fit every frame of the sizes asked for: some are longer, up to {raised} bytes"
        ));
    }
    Ok(sum / ends.setup.services.len().max(1) as f64)
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
