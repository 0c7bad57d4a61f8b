//! The generator's ports of one network namespace: packet memory, a socket for each queue, and the program that feeds them.

use crate::error::TrafficError;
use crate::netns;
use crate::setup::{PortRef, Setup};
use crate::tap::Tap;
use ringlead_io::af_xdp::{XdpOptions, XdpPort, XdpSpec, open_worker};
use ringlead_io::device::device_facts;
use ringlead_io::{Frames, MemPort, Port};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// Most queues of a port.
const QUEUES_MAX: u32 = 64;
/// Few, so that a sender that is too slow shows as lag and does not hide in a ring.
const TX_RING: u32 = 256;
/// Many, so that a receiver that pauses for a few milliseconds loses nothing.
const RX_RING: u32 = 8192;

/// A port as it was opened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortInfo {
    /// Which.
    pub port: PortRef,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Its queues, all of which are open.
    pub queues: u32,
    /// Name of its driver.
    pub driver: String,
    /// How it is driven: `af-xdp native copy`.
    pub mode: String,
    /// Largest frame in bytes, FCS not counted.
    pub frame_max: usize,
}

/// A driver that tells what it still has to send.
pub(crate) trait Wire: Port {
    /// Frames handed over whose sending has not completed.
    fn in_flight(&self) -> u64;
}

impl Wire for XdpPort {
    fn in_flight(&self) -> u64 {
        Self::in_flight(self)
    }
}

impl Wire for MemPort {
    /// A frame is sent as soon as it is taken.
    fn in_flight(&self) -> u64 {
        0
    }
}

/// One queue of a port, within its station.
#[derive(Debug)]
pub(crate) struct Lane<P> {
    /// The driver.
    pub(crate) io: P,
    /// Which of the generator's ports it belongs to.
    pub(crate) port: usize,
}

/// See the module; generic so that the engine also runs over ports in memory.
#[derive(Debug)]
pub(crate) struct Station<P> {
    pub(crate) frames: Frames,
    pub(crate) lanes: Vec<Lane<P>>,
    counters: Option<File>,
    _taps: Vec<Tap>,
}

impl Station<XdpPort> {
    /// Opens every queue of `ports` (indices into `all`, of one namespace), the programs attached.
    pub(crate) fn open(
        setup: &Setup,
        all: &[PortRef],
        ports: &[usize],
    ) -> Result<(Self, Vec<PortInfo>), TrafficError> {
        let Some(first) = ports.first().and_then(|port| all.get(*port)) else {
            return Err(TrafficError::Setup("a namespace without ports".to_owned()));
        };
        netns::inside(first.netns.as_deref(), || {
            let mut specs = Vec::new();
            let mut infos = Vec::new();
            for port in ports {
                let info = look(&all[*port])?;
                for queue in 0..info.queues {
                    let device = &info.port.device;
                    let spec = XdpSpec::of_device(device, queue)
                        .map_err(|e| TrafficError::Port(format!("{}: {e}", info.port)))?;
                    specs.push((*port, spec));
                }
                infos.push(info);
            }
            let (station, modes) = sockets(setup, specs, &infos)?;
            for (info, mode) in infos.iter_mut().zip(modes) {
                info.mode = mode;
            }
            Ok((station, infos))
        })
    }
}

fn look(port: &PortRef) -> Result<PortInfo, TrafficError> {
    let facts = device_facts(&port.device).map_err(|e| TrafficError::Port(format!("{port}: {e}")))?;
    if !facts.up {
        return Err(TrafficError::Port(format!("{port} is down: `ip link set {} up`", port.device)));
    }
    if facts.rx_queues > QUEUES_MAX {
        return Err(TrafficError::Port(format!(
            "{port} has {} queues, at most {QUEUES_MAX}",
            facts.rx_queues
        )));
    }
    let frame_max = usize::try_from(facts.mtu).unwrap_or(usize::MAX).saturating_add(14);
    Ok(PortInfo {
        port: port.clone(),
        mac: facts.mac,
        queues: facts.rx_queues,
        driver: facts.driver,
        mode: String::new(),
        frame_max,
    })
}

type Opened = (Station<XdpPort>, Vec<String>);

fn sockets(setup: &Setup, specs: Vec<(usize, XdpSpec)>, infos: &[PortInfo]) -> Result<Opened, TrafficError> {
    let options = XdpOptions {
        rx_ring: RX_RING,
        fill_ring: RX_RING,
        tx_ring: TX_RING,
        completion_ring: TX_RING,
        ..XdpOptions::default()
    };
    let (owners, specs): (Vec<usize>, Vec<XdpSpec>) = specs.into_iter().unzip();
    let (frames, ports, _) = open_worker(&specs, &options).map_err(|e| TrafficError::Port(e.to_string()))?;
    let (mut taps, mut modes) = (Vec::new(), Vec::new());
    for info in infos {
        let device = &info.port.device;
        let mine = ports.iter().filter(|port| port.caps().device == *device);
        let sockets: Vec<_> = mine.clone().map(|port| (port.caps().queue, port.socket_fd())).collect();
        let tap = Tap::attach(setup, device, info.mac, &sockets)?;
        let copying = if ports.iter().all(XdpPort::zero_copy) { "zero-copy" } else { "copy" };
        modes.push(format!("af-xdp {} {copying}", tap.mode));
        taps.push(tap);
    }
    let lanes = ports.into_iter().zip(owners).map(|(io, port)| Lane { io, port }).collect();
    let counters =
        File::open("/proc/thread-self/net/dev").map_err(|e| TrafficError::io("open net/dev", e))?;
    Ok((Station { frames, lanes, counters: Some(counters), _taps: taps }, modes))
}

impl<P: Wire> Station<P> {
    /// A station of ports that are not the kernel's.
    #[cfg(test)]
    pub(crate) fn in_memory(frames: Frames, lanes: Vec<Lane<P>>) -> Self {
        Self { frames, lanes, counters: None, _taps: Vec::new() }
    }

    /// Gives back sent frames and hands out free ones.
    #[inline]
    pub(crate) fn begin(&mut self) {
        for lane in &mut self.lanes {
            lane.io.reap(&mut self.frames);
            lane.io.refill(&mut self.frames);
        }
    }

    /// Tells the kernel what there is to do.
    #[inline]
    pub(crate) fn kick(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.io.kick());
    }

    /// Whether the kernel still has frames to send.
    pub(crate) fn is_sending(&self) -> bool {
        self.lanes.iter().any(|lane| lane.io.in_flight() > 0)
    }

    /// `tx_dropped` of a device of this namespace, from net/dev; `None` where it does not say.
    pub(crate) fn tx_dropped(&mut self, device: &str) -> Option<u64> {
        let file = self.counters.as_mut()?;
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).ok()?;
        file.read_to_string(&mut text).ok()?;
        tx_dropped_in(&text, device)
    }
}

/// Column 12 of a line of net/dev: `name: rx bytes packets errs drop fifo frame compressed multicast, tx bytes packets
/// errs drop …`.
fn tx_dropped_in(text: &str, device: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(device)?.strip_prefix(':'))?;
    line.split_whitespace().nth(11)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_of_dropped_frames_is_found() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n\
            \x20 lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n    c0: 1 2 3 4 5 6 7 8 9 10 11 77 13 14 15 16\n";
        assert_eq!(tx_dropped_in(text, "c0"), Some(77));
        assert_eq!(tx_dropped_in(text, "c"), None);
        assert_eq!(tx_dropped_in(text, "lo"), Some(12));
    }
}
