//! What is done with each returned frame: told apart, counted, timed, and judged where that is wanted.

use crate::board::End;
use crate::book::Judge;
use crate::mode;
use ringlead_witness::{Arrival, IntervalLog, Latency, Look, Parsed, Stamp, Tunnel, stamp};
use std::time::{Duration, SystemTime};
use std::{fmt, io};

/// Most intervals of a log: a long trial's are longer.
const LOG_INTERVALS_MAX: u32 = 10_000;

/// Latencies by interval, written down as they come.
pub(crate) struct Log {
    writer: IntervalLog<Vec<u8>>,
    interval: Latency,
    from: Duration,
    step: Duration,
}

impl Log {
    /// Of a trial of `duration` that begins about now, in intervals of `step`.
    pub(crate) fn new(step: Duration, duration: Duration) -> io::Result<Self> {
        let writer =
            IntervalLog::new(Vec::new(), SystemTime::now(), "latency from planned sending to a server")?;
        let step = step.max(duration / LOG_INTERVALS_MAX);
        Ok(Self { writer, interval: Latency::new(), from: Duration::ZERO, step })
    }

    /// Closes the interval, when `now` lies behind it.
    fn until(&mut self, now: Duration) {
        if now < self.from + self.step {
            return;
        }
        // Into memory, without a tag: nothing that could fail.
        let _ = self.writer.write(self.from, now - self.from, None, &self.interval);
        self.interval.reset();
        self.from = now;
    }

    fn finish(mut self) -> Option<String> {
        self.until(self.from + self.step);
        String::from_utf8(self.writer.finish().ok()?).ok()
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("from", &self.from).finish_non_exhaustive()
    }
}

/// Counts of one end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Heard {
    /// The trial's own frames.
    pub(crate) counted: u64,
    /// Frames of an earlier trial.
    pub(crate) stale: u64,
    /// Frames without a stamp.
    pub(crate) foreign: u64,
    /// Fragments.
    pub(crate) fragments: u64,
    /// Frames that the judge took for the trial's, and that are none: among the findings.
    pub(crate) wrong: u64,
    /// Sent with a wrong checksum, still wrong.
    pub(crate) bad_checksums: u64,
    /// Sent with a wrong checksum, arrived with a right one.
    pub(crate) repaired: u64,
}

/// How an ear tells the trial's frames from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sign {
    /// By the stamp: frames of this trial; flows from `odd_from` on are counted apart.
    Stamp { trial: u8, odd_from: u32 },
    /// Not at all: frames of a capture have no stamp, and whatever comes counts.
    Any,
}

/// One end's ear.
#[derive(Debug)]
pub(crate) struct Ear {
    /// Which end.
    pub(crate) end: End,
    sign: Sign,
    pub(crate) heard: Heard,
    pub(crate) latency: Latency,
    pub(crate) log: Option<Log>,
    tunnel: Option<Tunnel>,
}

/// What a frame turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    /// One of the trial's, to be answered by a server.
    Ours,
    /// Counted apart.
    Other,
}

impl Ear {
    pub(crate) fn new(end: End, sign: Sign) -> Self {
        Self { end, sign, heard: Heard::default(), latency: Latency::new(), log: None, tunnel: None }
    }

    /// What it hears comes in this tunnel.
    pub(crate) fn behind(mut self, tunnel: Option<Tunnel>) -> Self {
        self.tunnel = tunnel;
        self
    }

    /// Frames come that arrived `at_ns` after the start. Once a burst.
    #[inline]
    pub(crate) fn prick_up(&mut self, at_ns: u64) {
        if let Some(log) = &mut self.log {
            log.until(Duration::from_nanos(at_ns));
        }
    }

    /// The log, when there is one.
    pub(crate) fn take_log(&mut self) -> Option<String> {
        self.log.take().and_then(Log::finish)
    }

    /// Takes in one frame that came to `port`, `at_ns` after the trial's start.
    #[inline]
    pub(crate) fn hear(&mut self, frame: &[u8], port: u16, at_ns: u64, judge: Option<&mut Judge>) -> Sort {
        let Sign::Stamp { trial, odd_from } = self.sign else {
            self.heard.counted += 1;
            return Sort::Ours;
        };
        let Some(packet) = mode::packet(self.tunnel.as_ref(), frame) else {
            // The judge knows more of it than that it is none of ours.
            judge.map(|judge| judge.look(frame, &self.arrival(port, at_ns)));
            self.heard.foreign += 1;
            return Sort::Other;
        };
        if packet.is_fragment() {
            self.heard.fragments += 1;
            return Sort::Other;
        }
        if let Some(judge) = judge {
            return self.judged(judge.look(frame, &self.arrival(port, at_ns)), &packet, at_ns, odd_from);
        }
        match stamp::peek(&packet) {
            Ok(stamp) if stamp.trial == trial => self.ours(&stamp, &packet, at_ns, true, odd_from),
            Ok(_) => {
                self.heard.stale += 1;
                Sort::Other
            }
            Err(_) => {
                self.heard.foreign += 1;
                Sort::Other
            }
        }
    }

    fn judged(&mut self, look: Look, packet: &Parsed<'_>, at_ns: u64, odd_from: u32) -> Sort {
        match look {
            Look::Ours { stamp, first, .. } => self.ours(&stamp, packet, at_ns, first, odd_from),
            Look::Foreign | Look::Fragment => {
                self.heard.foreign += 1;
                Sort::Other
            }
            Look::Wrong => {
                self.heard.wrong += 1;
                Sort::Other
            }
        }
    }

    #[inline]
    fn ours(&mut self, stamp: &Stamp, packet: &Parsed<'_>, at_ns: u64, first: bool, odd_from: u32) -> Sort {
        if stamp.flow >= odd_from {
            let right = packet.l4_checksum_ok();
            *(if right { &mut self.heard.repaired } else { &mut self.heard.bad_checksums }) += 1;
            return Sort::Ours;
        }
        self.heard.counted += 1;
        if first {
            // 0 has no place in the histogram.
            let latency_ns = stamp.latency_ns(at_ns).max(1);
            self.latency.record(latency_ns);
            if let Some(log) = &mut self.log {
                log.interval.record(latency_ns);
            }
        }
        Sort::Ours
    }

    fn arrival(&self, interface: u16, at_ns: u64) -> Arrival {
        let end = match self.end {
            End::Servers => ringlead_witness::End::Servers,
            End::Clients => ringlead_witness::End::Clients,
        };
        Arrival { interface, end, at_ns }
    }
}
