//! A port that receives from a capture file and sends into another: `replay`.
//!
//! The capture's own time drives the run: the caller asks [`PcapRun::next_time`], sets [`PcapRun::set_time`] and makes a
//! turn; each port then gives at most one frame a call, and only frames whose time has come.

mod run;
mod source;

pub use run::PcapRun;

use crate::frames::{Frames, HEADROOM};
use crate::port::{Caps, FrameList, Port, PortStats};
use crate::steer::{RuleSet, Verdict, verdict};
use source::{Packet, Source};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// What a replayed port says of itself.
#[derive(Clone, Debug)]
pub struct PcapSpec {
    /// Name of the port; the output has the interfaces `NAME in` and `NAME out`.
    pub device: String,
    /// Its queue.
    pub queue: u32,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Largest frame that it sends, in bytes, Ethernet header included.
    pub frame_max: usize,
    /// Whether received frames may carry partial L4 checksums, as those captured on the sending machine do.
    pub partial_checksums: bool,
    /// Which packets of the file arrive here.
    pub take: Take,
    /// The rules of the front: what they leave to the kernel is written down as such and never received. `None`: everything
    /// is received.
    pub front: Option<Arc<RuleSet>>,
}

/// Which packets of a capture a port takes, by the name of their pcapng interface (`if_name`). Classic pcap has no names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Take {
    /// All.
    #[default]
    All,
    /// Those of the interface of this name.
    Only(String),
    /// All but those of the interfaces of these names.
    AllBut(Vec<String>),
}

impl Take {
    /// Whether packets of an interface of this name are taken.
    fn takes(&self, name: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Only(only) => name == Some(only),
            Self::AllBut(others) => !others.iter().any(|other| name == Some(other)),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct PcapPort {
    caps: Caps,
    run: PcapRun,
    source: Source,
    /// The packet to receive next, read ahead for its time.
    next: Option<Packet>,
    /// This port's place in the run.
    slot: usize,
    interface_in: u32,
    interface_out: u32,
    front: Option<Arc<RuleSet>>,
    stats: PortStats,
}

impl PcapPort {
    /// A port that receives what the pcap or pcapng file at `input` holds (`None`: nothing) and sends into `run`.
    ///
    /// # Errors
    /// Those of opening and reading the file; `InvalidData` when it is no capture of Ethernet frames.
    pub fn open(run: &PcapRun, spec: &PcapSpec, input: Option<&Path>) -> io::Result<Self> {
        let input = input.map(File::open).transpose()?;
        Self::new(run, spec, input.map(|file| Box::new(file) as Box<dyn Read>))
    }

    /// As [`open`](Self::open), from any reader.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn new(run: &PcapRun, spec: &PcapSpec, input: Option<Box<dyn Read>>) -> io::Result<Self> {
        let source = match input {
            Some(input) => Source::new(input, spec.take.clone())?,
            None => Source::Nothing,
        };
        let mut port = Self {
            caps: Caps {
                device: spec.device.clone(),
                queue: spec.queue,
                mac: spec.mac,
                frame_max: spec.frame_max,
                partial_checksums: spec.partial_checksums,
                mode: "pcap".to_owned(),
            },
            run: run.clone(),
            source,
            next: None,
            slot: run.join(),
            interface_in: run.interface(&format!("{} in", spec.device)),
            interface_out: run.interface(&format!("{} out", spec.device)),
            front: spec.front.clone(),
            stats: PortStats::default(),
        };
        port.next = port.source.next()?;
        port.announce();
        Ok(port)
    }

    /// When the next packet of this port was captured, in nanoseconds since 1970; `None` after the last.
    #[must_use]
    pub fn next_time(&self) -> Option<u64> {
        self.next.as_ref().map(|packet| packet.time_ns)
    }

    /// Takes the next packet and reads the one after it.
    fn take_next(&mut self) -> Option<Packet> {
        let taken = self.next.take()?;
        self.next = self.source.next().unwrap_or_else(|error| {
            self.run.fail(io::Error::new(error.kind(), format!("{}: {error}", self.caps.device)));
            self.source = Source::Nothing;
            None
        });
        self.announce();
        Some(taken)
    }

    fn announce(&self) {
        self.run.announce(self.slot, self.next_time());
    }
}

impl Port for PcapPort {
    const NOTES: bool = true;
    const AHEAD: bool = false;

    /// At most one frame, so that each packet's verdict is plain. A packet too long for a chunk (a segment that the
    /// capturing machine had not cut up yet) is counted as lost and written down as such.
    fn rx(&mut self, frames: &mut Frames, list: &mut FrameList) -> usize {
        if list.is_full() {
            return 0;
        }
        let room = frames.chunk_size() - HEADROOM;
        while self.next_time().is_some_and(|time| time <= self.run.time()) {
            // Without a free frame the packet waits.
            let Some(mut frame) = frames.alloc() else { return 0 };
            let Some(packet) = self.take_next() else {
                frames.free(frame);
                return 0;
            };
            if !frames.copy_in(&mut frame, &packet.bytes) || packet.bytes.len() > room {
                frames.free(frame);
                self.stats.rx_lost += 1;
                let why = format!("not replayed: {} bytes, a frame holds {room}", packet.bytes.len());
                self.run.write(self.interface_in, &packet, Some(&why));
                continue;
            }
            if self.front.as_deref().is_some_and(|front| verdict(front, &packet.bytes) == Verdict::Kernel) {
                frames.free(frame);
                self.run.write(self.interface_in, &packet, Some("kernel: not ours"));
                continue;
            }
            self.run.received(self.interface_in, frames, &frame, packet);
            self.stats.rx += 1;
            list.push(frame);
            return 1;
        }
        0
    }

    /// Takes all: a file has room. Empty frames are counted as invalid.
    fn tx(&mut self, frames: &mut Frames, list: &mut FrameList) -> usize {
        let count = list.len();
        for frame in list.drain(..) {
            if frame.is_empty() {
                self.stats.tx_invalid += 1;
            } else {
                self.run.sent(self.interface_out, frames, &frame);
                self.stats.tx += 1;
            }
            frames.free(frame);
        }
        count
    }

    fn reap(&mut self, _frames: &mut Frames) {}

    fn refill(&mut self, _frames: &mut Frames) {}

    fn kick(&mut self) {}

    fn stats(&self) -> PortStats {
        self.stats
    }

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn note(&mut self, frames: &Frames, frame: &crate::Frame, text: &dyn std::fmt::Display) {
        self.run.noted(frames, frame, &text.to_string());
    }
}

#[cfg(test)]
mod tests;
