//! The ports' devices: there, up, with queues that workers own, and frames that packet memory holds.

use super::Judge;
use crate::config::{PortConfig, Queues, codes};
use ringlead_io::device::DeviceFacts;
use ringlead_io::frames::HEADROOM;
use ringlead_l4::counters::QUEUES_MAX;

/// The longest that a chunk of packet memory is.
const CHUNK_MAX: usize = 4096;
/// What stands before an IP packet in a frame.
const ETHERNET: usize = 14;

impl Judge<'_> {
    /// C201, C206, C207, C214. `devices`: of the ports, in their order.
    pub(super) fn devices(&mut self, devices: &[Result<DeviceFacts, String>]) {
        let config = self.config;
        for (port, device) in config.ports.iter().zip(devices) {
            match device {
                Ok(facts) => self.device(port, facts),
                Err(why) => {
                    let message = format!("port `{}`: device {}: {why}", port.name, port.device);
                    self.error(codes::DEVICE, &["port", &port.name, "device"], message)
                        .help("`ip -br link` lists this machine's devices");
                }
            }
        }
        let queues =
            devices.iter().flatten().zip(&config.ports).map(|(facts, port)| owned(port, facts).len());
        let (queues, workers) = (queues.sum::<usize>(), config.dataplane.cores.len());
        if queues.div_ceil(workers.max(1)) > QUEUES_MAX {
            let message =
                format!("{queues} receive queues for {workers} workers: a worker can own {QUEUES_MAX}");
            self.error(codes::QUEUE_COUNT, &["dataplane", "cores"], message)
                .help("use more cores, or give the devices fewer queues: ethtool -L DEVICE combined N");
        }
    }

    fn device(&mut self, port: &PortConfig, facts: &DeviceFacts) {
        let (name, device) = (&port.name, &port.device);
        if !facts.up {
            self.error(
                codes::DEVICE,
                &["port", name, "device"],
                format!("port `{name}`: device {device} is down"),
            )
            .help(format!("bring it up: ip link set {device} up"));
        }
        let mtu_max = CHUNK_MAX - HEADROOM - ETHERNET;
        if usize::try_from(facts.mtu).is_ok_and(|mtu| mtu > mtu_max) {
            let message =
                format!("port `{name}`: device {device} has an MTU of {}, the most is {mtu_max}", facts.mtu);
            self.error(codes::FRAMES_LONG, &["port", name, "device"], message).help(format!(
                "lower it: ip link set {device} mtu {mtu_max}, and the same on its neighbours"
            ));
        }
        self.queues(port, facts);
    }

    fn queues(&mut self, port: &PortConfig, facts: &DeviceFacts) {
        let (name, device, has) = (&port.name, &port.device, facts.rx_queues);
        let owned = owned(port, facts);
        if let Some(missing) = owned.iter().find(|queue| **queue >= has) {
            let message = format!("port `{name}`: device {device} has no receive queue {missing}");
            self.error(codes::QUEUE_COUNT, &["port", name, "queues"], message)
                .label(format!("it has {has}, from 0"))
                .help(format!(
                    "use queues = \"auto\", or give it more: ethtool -L {device} combined {}",
                    missing + 1
                ));
            return;
        }
        let unowned: Vec<String> =
            (0..has).filter(|queue| !owned.contains(queue)).map(|q| q.to_string()).collect();
        if !unowned.is_empty() {
            self.unowned(port, &owned, &unowned);
            return;
        }
        let workers = self.config.dataplane.cores.len();
        if owned.len() < workers {
            // A worker sends by its own queues only: what it receives for this port it could not deliver.
            let cores = self.at(&["dataplane", "cores"]);
            let message =
                format!("port `{name}`: {workers} workers, but {has} receive queue(s) of device {device}");
            self.error(codes::QUEUE_COUNT, &["port", name, "device"], message)
                .label("a worker sends by its own queues only")
                .also(&cores, "one worker each")
                .help(format!(
                    "ethtool -L {device} combined {workers} (or rx {workers} tx {workers}), or fewer cores"
                ));
        }
    }

    /// Every receive queue must have a worker, or its frames are lost.
    fn unowned(&mut self, port: &PortConfig, owned: &[u32], unowned: &[String]) {
        let (name, device, wanted) = (&port.name, &port.device, owned.len());
        let place = self.at(&["port", name, "device"]);
        let message = format!(
            "port `{name}`: no worker owns receive queue {} of device {device}, so its traffic would be lost",
            unowned.join(", ")
        );
        let entry = self.error(codes::QUEUE_UNOWNED, &["port", name, "queues"], message);
        entry.label("only these have one").also(&place, format!("it has {} of them", wanted + unowned.len()));
        entry.help("use queues = \"auto\"");
        if owned.iter().copied().eq(0..u32::try_from(wanted).unwrap_or(u32::MAX)) {
            entry.help(format!(
                "or: ethtool -L {device} combined {wanted} (or rx {wanted}), or keep traffic off the others: \
                 ethtool -X {device} equal {wanted}"
            ));
        }
    }
}

/// The queues that workers are to own.
fn owned(port: &PortConfig, facts: &DeviceFacts) -> Vec<u32> {
    match &port.queues {
        Queues::Auto => (0..facts.rx_queues).collect(),
        Queues::List(list) => list.clone(),
    }
}
