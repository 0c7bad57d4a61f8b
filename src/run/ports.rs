//! The configured ports on this machine: what their devices are, which worker owns which queue, what cannot work.

use ringlead_control::config::{self, Config, PortConfig, Queues, RxChecksum};
use ringlead_io::af_xdp::{XdpOptions, XdpSpec, ZeroCopy};
use ringlead_io::device::{DeviceFacts, device_facts};
use ringlead_io::frames::HEADROOM;
use ringlead_io::steer::{Attach, SteerPort};
use ringlead_l4::counters::QUEUES_MAX;

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

/// Looks at every port's device; refuses what would lose traffic, with the fix.
pub(crate) fn look_at(config: &Config) -> Result<Vec<PortPlan>, String> {
    let mut plans = Vec::new();
    for (index, port) in (0_u8..).zip(&config.ports) {
        let device = &port.device;
        let facts = device_facts(device).map_err(|e| format!("port {}: device {device}: {e}", port.name))?;
        let queues = owned_queues(port, &facts, config.dataplane.cores.len())?;
        if !facts.up {
            return Err(format!("port {}: device {device} is down. Fix: ip link set {device} up", port.name));
        }
        if facts.strips_vlan {
            let fix = format!("if clients are tagged: ethtool -K {device} rxvlan off");
            tracing::debug!(
                port = port.name,
                device,
                fix,
                "the device strips VLAN tags before XDP sees them"
            );
        }
        plans.push(PortPlan { config: port.clone(), index, facts, queues });
    }
    let owned = |worker| {
        plans.iter().flat_map(|plan: &PortPlan| &plan.queues).filter(|(_, owner)| *owner == worker).count()
    };
    if let Some(worker) = (0..config.dataplane.cores.len()).find(|&worker| owned(worker) > QUEUES_MAX) {
        return Err(format!(
            "worker {worker} would own {} queues, the most is {QUEUES_MAX}: use more cores",
            owned(worker)
        ));
    }
    let wishes =
        |wish| config.ports.iter().find(|port| port.zero_copy == wish).map(|port| port.name.as_str());
    if let (Some(require), Some(off)) = (wishes(config::ZeroCopy::Require), wishes(config::ZeroCopy::Off)) {
        let why = "a worker's ports share their memory and with it the mode";
        return Err(format!("port {require} requires zero-copy and port {off} turns it off: {why}"));
    }
    Ok(plans)
}

/// Every receive queue must have a worker, or its frames are lost.
fn owned_queues(port: &PortConfig, facts: &DeviceFacts, workers: usize) -> Result<Vec<(u32, usize)>, String> {
    let all: Vec<u32> = (0..facts.rx_queues).collect();
    let owned = match &port.queues {
        Queues::Auto => all.clone(),
        Queues::List(list) => list.clone(),
    };
    let (name, device, has) = (&port.name, &port.device, facts.rx_queues);
    if let Some(missing) = owned.iter().find(|queue| **queue >= has) {
        return Err(format!("port {name}: queues names queue {missing}, but device {device} has {has}"));
    }
    let unowned: Vec<String> =
        all.iter().filter(|queue| !owned.contains(queue)).map(u32::to_string).collect();
    if !unowned.is_empty() {
        let wanted = owned.len();
        let contiguous = owned.iter().copied().eq(0..u32::try_from(wanted).unwrap_or(u32::MAX));
        let fix = if contiguous {
            format!(
                "ethtool -L {device} combined {wanted} (or rx {wanted}), or keep traffic off it: ethtool -X {device} equal {wanted}"
            )
        } else {
            "queues = \"auto\"".to_owned()
        };
        return Err(format!(
            "port {name}: no worker owns receive queue {} of device {device}, so its traffic would be lost. Fix: queues = \"auto\", or {fix}",
            unowned.join(", ")
        ));
    }
    if owned.len() < workers {
        // A worker sends by its own queues only: what it receives for this port it could not deliver.
        let fix =
            format!("ethtool -L {device} combined {workers} (or rx {workers} tx {workers}), or fewer cores");
        return Err(format!(
            "port {name}: {workers} workers but {has} receive queue(s) of device {device}. Fix: {fix}"
        ));
    }
    Ok(owned.into_iter().map(|queue| (queue, queue as usize % workers.max(1))).collect())
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
