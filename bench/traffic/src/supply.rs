//! The next frame to send: of the plan's flows, or of a capture.

use crate::capture::Capture;
use crate::error::TrafficError;
use crate::flows::{Picker, Space};
use crate::frame::{ACK, Maker, Order, SYN};
use crate::spec::Plan;
use ringlead_wire::{Protocol, build};
use ringlead_witness::Stamp;
use std::sync::Arc;

/// How many flows send frames with wrong checksums, and how many different fragments there are.
pub(crate) const ODD_MAX: u32 = 256;

/// The flow of frames that belong to none.
pub(crate) const NO_FLOW: u32 = u32::MAX;

/// What a frame counts as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// Part of the trial's loss.
    Plain,
    /// Sent with a wrong checksum.
    BadChecksum,
    /// A fragment.
    Fragment,
}

/// What is in the next place of the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    /// What it counts as.
    pub(crate) class: Class,
    /// IPv4, for the Ethernet address to send it to.
    pub(crate) v4: bool,
    /// Its flow; [`NO_FLOW`] when none is counted.
    pub(crate) flow: u32,
    /// Chooses the sending queue: the same for all of a flow's frames.
    pub(crate) spread: u32,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Made { at: usize, order: Order },
    Ready { index: usize },
}

/// Frames one after the other.
#[derive(Debug)]
pub(crate) enum Supply {
    /// Of a plan.
    Flows(Box<Flows>),
    /// Of a capture, again and again.
    Capture(Arc<Capture>, usize),
}

/// The state of a plan's flows in one trial.
#[derive(Debug)]
pub(crate) struct Flows {
    space: Arc<Space>,
    maker: Arc<Maker>,
    picker: Picker,
    sizes: usize,
    size: usize,
    trial: u8,
    /// How many packets each flow has sent.
    pub(crate) sent: Vec<u32>,
    /// Flows below this one exist at the balancer already.
    primed: u32,
    fragments: Share,
    bad: Share,
    odd: u32,
    /// The first flow of frames with a wrong checksum.
    odd_from: u32,
    ready: Vec<Vec<u8>>,
}

/// Picks a share of a sequence, evenly.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    percent: f64,
    owed: f64,
}

impl Share {
    #[inline]
    fn take(&mut self) -> bool {
        self.owed += self.percent;
        let now = self.owed >= 100.0;
        if now {
            self.owed -= 100.0;
        }
        now
    }
}

impl Flows {
    /// `flows_all` is how many flows the whole trial has, those with wrong checksums not counted, which come behind them;
    /// flows below `primed` exist already.
    pub(crate) fn new(
        plan: &Plan,
        space: &Arc<Space>,
        maker: &Arc<Maker>,
        trial: u8,
        flows_all: u32,
        primed: u32,
    ) -> Self {
        let share = |percent| Share { percent, owed: 0.0 };
        let ready = if plan.fragments_pct > 0.0 { fragments(space, plan) } else { Vec::new() };
        Self {
            space: Arc::clone(space),
            maker: Arc::clone(maker),
            picker: Picker::new(plan),
            sizes: plan.sizes.cycle().len(),
            size: 0,
            trial,
            sent: vec![0; (flows_all + ODD_MAX) as usize],
            primed,
            fragments: share(plan.fragments_pct),
            bad: share(plan.bad_checksums_pct),
            odd: 0,
            odd_from: flows_all,
            ready,
        }
    }

    #[inline]
    fn next(&mut self, planned_ns: u64) -> Next {
        if !self.ready.is_empty() && self.fragments.take() {
            return self.fragment();
        }
        let bad = self.bad.percent > 0.0 && self.bad.take();
        let flow = if bad {
            self.odd = (self.odd + 1) % ODD_MAX;
            self.odd_from + self.odd
        } else {
            self.picker.next(planned_ns)
        };
        let seq = self.count(flow);
        let flags = flags(flow, seq, self.primed);
        let at = self.size;
        self.size = if at + 1 < self.sizes { at + 1 } else { 0 };
        let tuple = self.space.tuple(flow);
        let stamp = Stamp::new(self.trial, flow, seq, planned_ns);
        Next {
            class: if bad { Class::BadChecksum } else { Class::Plain },
            v4: tuple.client.is_ipv4(),
            flow,
            spread: spread(flow),
            what: What::Made { at, order: Order { tuple, stamp, flags, wrong: bad } },
        }
    }

    /// The number of the flow's next packet.
    #[inline]
    fn count(&mut self, flow: u32) -> u32 {
        let Some(count) = self.sent.get_mut(flow as usize) else { return 0 };
        let seq = *count;
        *count = seq.wrapping_add(1);
        seq
    }

    /// A datagram's first fragment; the second follows at once, see [`Supply::companion`].
    fn fragment(&mut self) -> Next {
        let pairs = self.ready.len() / 2;
        self.odd = (self.odd + 1) % ODD_MAX;
        let index = self.odd as usize % pairs * 2;
        let v4 = self.ready.get(index).is_some_and(|frame| is_v4(frame));
        Next {
            class: Class::Fragment,
            v4,
            flow: NO_FLOW,
            spread: spread(self.odd),
            what: What::Ready { index },
        }
    }
}

/// TCP flags of a flow's packet: its first one opens it, unless the priming did.
#[inline]
pub(crate) fn flags(flow: u32, seq: u32, primed: u32) -> u8 {
    if seq == 0 && flow >= primed { SYN } else { ACK }
}

/// Neighbouring flows are to use different queues, whatever the number of services.
#[inline]
pub(crate) fn spread(flow: u32) -> u32 {
    flow.wrapping_mul(0x9e37_79b1) >> 16
}

fn is_v4(frame: &[u8]) -> bool {
    // EtherType 0x0800, behind a tag perhaps.
    let at = if frame.get(12..14) == Some(&[0x81, 0]) { 16 } else { 12 };
    frame.get(at..at + 2) == Some(&[8, 0])
}

/// UDP datagrams of the first flows, each cut in two: frame `2n` is followed by `2n + 1`.
fn fragments(space: &Space, plan: &Plan) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for flow in 0..ODD_MAX.min(plan.flows) {
        let tuple = space.tuple(flow);
        let service = space.services()[tuple.service];
        let client = std::net::SocketAddr::new(tuple.client, tuple.port);
        let packet = match service.protocol {
            Protocol::Tcp => build::Packet::tcp(client, service.address),
            Protocol::Udp => build::Packet::udp(client, service.address),
        };
        let packet = packet.tos(plan.tos);
        let packet = plan.vlan.map_or(packet.clone(), |vlan| packet.vlan(vlan));
        let pieces = packet.id(flow + 1).payload(vec![0x55; 100]).fragments(64);
        if pieces.len() == 2 {
            frames.extend(pieces);
        }
    }
    frames
}

impl Supply {
    /// What comes next; `planned_ns` is when it is due.
    #[inline]
    pub(crate) fn next(&mut self, planned_ns: u64) -> Next {
        match self {
            Self::Flows(flows) => flows.next(planned_ns),
            Self::Capture(capture, at) => {
                let index = *at;
                *at = if index + 1 < capture.frames.len() { index + 1 } else { 0 };
                let frame = capture.frames.get(index);
                let v4 = frame.is_some_and(|frame| is_v4(frame));
                Next {
                    class: Class::Plain,
                    v4,
                    flow: NO_FLOW,
                    spread: capture.spread(index),
                    what: What::Ready { index },
                }
            }
        }
    }

    /// The second frame of a pair, if `next` is the first.
    #[inline]
    pub(crate) fn companion(&self, next: &Next) -> Option<Next> {
        match next.what {
            What::Ready { index } if next.class == Class::Fragment => {
                Some(Next { what: What::Ready { index: index + 1 }, ..*next })
            }
            What::Ready { .. } | What::Made { .. } => None,
        }
    }

    /// Its length.
    #[inline]
    pub(crate) fn len(&self, next: &Next) -> usize {
        match &next.what {
            What::Made { at, order } => match self {
                Self::Flows(flows) => flows.maker.len(order.tuple.service, *at),
                Self::Capture(..) => 0,
            },
            What::Ready { index } => self.ready(*index).len(),
        }
    }

    /// Writes it into `frame`, which has its length.
    #[inline]
    pub(crate) fn write(&self, frame: &mut [u8], ether: &[u8; 12], next: &Next) {
        match (&next.what, self) {
            (What::Made { at, order }, Self::Flows(flows)) => flows.maker.write(frame, *at, ether, order),
            (What::Made { .. }, Self::Capture(..)) => {}
            (What::Ready { index }, _) => {
                let ready = self.ready(*index);
                if frame.len() == ready.len() && frame.len() >= 14 {
                    frame.copy_from_slice(ready);
                    frame[..12].copy_from_slice(ether);
                }
            }
        }
    }

    fn ready(&self, index: usize) -> &[u8] {
        let frames = match self {
            Self::Flows(flows) => &flows.ready,
            Self::Capture(capture, _) => &capture.frames,
        };
        frames.get(index).map_or(&[], Vec::as_slice)
    }

    /// A flow's last packet was made and not sent.
    pub(crate) fn take_back(&mut self, flow: u32) {
        if let Self::Flows(flows) = self
            && let Some(count) = flows.sent.get_mut(flow as usize)
        {
            *count = count.wrapping_sub(1);
        }
    }

    /// How many packets each flow has sent.
    pub(crate) fn into_counts(self) -> Vec<u32> {
        match self {
            Self::Flows(flows) => flows.sent,
            Self::Capture(..) => Vec::new(),
        }
    }
}

/// How many flows a plan has in all when it runs for `seconds`.
pub(crate) fn flows_all(plan: &Plan, seconds: f64, room: u64) -> Result<u32, TrafficError> {
    let all = if plan.syn_flood {
        f64::from(crate::spec::FLOWS_MAX)
    } else {
        f64::from(plan.flows) + (f64::from(plan.new_flows_per_s) * seconds).ceil() + 1.0
    };
    #[allow(clippy::cast_precision_loss, reason = "a limit")]
    let limit = f64::from(crate::spec::FLOWS_MAX + 1).min(room as f64);
    if all > limit + 1.0 && !plan.syn_flood {
        let why = format!("{all:.0} flows over the trial: at most {limit:.0} have addresses of their own");
        return Err(TrafficError::Setup(why));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most FLOWS_MAX and 2")]
    Ok(all as u32)
}
