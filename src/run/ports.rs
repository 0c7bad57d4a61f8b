//! The configured ports on this machine: what their devices are, and which worker owns which queue.

use ringlead_control::config::{self, Config, PortConfig, Queues, RxChecksum};
use ringlead_io::af_xdp::{XdpOptions, XdpSpec, ZeroCopy};
use ringlead_io::device::DeviceFacts;
use ringlead_io::frames::HEADROOM;
use ringlead_io::steer::{Attach, SteerPort};

/// A configured port and its device.
#[derive(Debug)]
pub(crate) struct PortPlan {
    /// Its configuration.
    pub(crate) config: PortConfig,
    /// Its place in the configuration.
    pub(crate) index: u8,
    /// Its device.
    pub(crate) facts: DeviceFacts,
    /// (queue, worker) pairs: queue i belongs to worker i mod N.
    pub(crate) queues: Vec<(u32, usize)>,
}

/// A queue that a worker owns.
#[derive(Debug)]
pub(crate) struct OwnedQueue {
    /// The configured port's place.
    pub(crate) port: u8,
    /// The device's index.
    pub(crate) ifindex: u32,
    /// What the driver needs.
    pub(crate) spec: XdpSpec,
}

/// The ports on devices that were found good for them, in the same order.
pub(crate) fn on_devices(config: &Config, devices: Vec<DeviceFacts>) -> Vec<PortPlan> {
    let workers = config.dataplane.cores.len();
    let ports = (0_u8..).zip(&config.ports).zip(devices);
    ports
        .map(|((index, port), facts)| {
            if facts.strips_vlan {
                tell_stripping(port);
            }
            let owned = match &port.queues {
                Queues::Auto => (0..facts.rx_queues).collect(),
                Queues::List(list) => list.clone(),
            };
            let queues = owned.into_iter().map(|queue| (queue, queue as usize % workers.max(1))).collect();
            PortPlan { config: port.clone(), index, facts, queues }
        })
        .collect()
}

fn tell_stripping(port: &PortConfig) {
    let device = &port.device;
    let fix = format!("if clients are tagged: ethtool -K {device} rxvlan off");
    tracing::debug!(port = port.name, device, fix, "the device strips VLAN tags before XDP sees them");
}

impl PortPlan {
    /// What the steering program needs.
    pub(crate) fn steer_port(&self) -> SteerPort {
        SteerPort {
            device: self.config.device.clone(),
            ifindex: self.facts.ifindex,
            queues: self.facts.rx_queues,
            attach: match self.config.attach {
                config::Attach::Auto => Attach::Auto,
                config::Attach::Native => Attach::Native,
                config::Attach::Generic => Attach::Generic,
            },
        }
    }

    fn spec(&self, queue: u32) -> XdpSpec {
        XdpSpec {
            device: self.config.device.clone(),
            queue,
            mac: self.facts.mac,
            frame_max: self.frame_max(),
            partial_checksums: match self.config.rx_checksum {
                RxChecksum::Auto => self.facts.partial_checksums(),
                RxChecksum::Trust => false,
                RxChecksum::FixPartial => true,
            },
        }
    }

    /// The largest frame: MTU and Ethernet header.
    fn frame_max(&self) -> usize {
        self.facts.mtu as usize + 14
    }
}

/// The queues of all ports that one worker owns.
pub(crate) fn queues_of(ports: &[PortPlan], worker: usize) -> Vec<OwnedQueue> {
    let mut owned = Vec::new();
    for port in ports {
        for &(queue, _) in port.queues.iter().filter(|(_, owner)| *owner == worker) {
            owned.push(OwnedQueue { port: port.index, ifindex: port.facts.ifindex, spec: port.spec(queue) });
        }
    }
    owned
}

/// The driver's options: one memory for all queues of a worker, so the strictest port decides on zero-copy.
pub(crate) fn options(config: &Config, ports: &[PortPlan], queues: usize) -> XdpOptions {
    let wishes = || ports.iter().map(|port| port.config.zero_copy);
    let zero_copy = if wishes().any(|wish| wish == config::ZeroCopy::Off) {
        ZeroCopy::Off
    } else if wishes().any(|wish| wish == config::ZeroCopy::Require) {
        ZeroCopy::Require
    } else {
        ZeroCopy::Prefer
    };
    let defaults = XdpOptions::default();
    let fits = |chunk: usize| ports.iter().all(|port| port.frame_max() <= chunk - HEADROOM);
    let chunk_size = if fits(defaults.chunk_size) { defaults.chunk_size } else { 2 * defaults.chunk_size };
    // Full rings must leave frames for answers and for those that wait.
    let ring = (config.dataplane.frames / 4 / u32::try_from(queues.max(1)).unwrap_or(1))
        .clamp(64, defaults.fill_ring);
    let ring = if ring.is_power_of_two() { ring } else { ring.next_power_of_two() / 2 };
    XdpOptions {
        frames: config.dataplane.frames,
        chunk_size,
        zero_copy,
        rx_ring: ring,
        tx_ring: ring,
        fill_ring: ring,
        completion_ring: ring,
        ..defaults
    }
}
