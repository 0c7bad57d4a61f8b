//! A network interface that took part in a run.

use nix::ifaddrs::getifaddrs;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// A network interface that took part.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct PortFacts {
    /// Its name.
    pub name: String,
    /// The network namespace that it is in; `None`: the one that the run was started in.
    pub netns: Option<String>,
    /// What the run used it for: `out`, `in`.
    pub role: Option<String>,
    /// The kernel driver.
    pub driver: Option<String>,
    /// The line's speed in Mbit/s.
    pub speed_mbps: Option<u64>,
    /// The largest IP packet in bytes.
    pub mtu: Option<u64>,
    /// How many receive queues it has.
    pub rx_queues: Option<usize>,
    /// How its AF_XDP sockets work: `native, zero-copy`, `generic, copy`.
    pub xdp_mode: Option<String>,
}

impl PortFacts {
    /// What the kernel says about the interface of this name. Call it on a thread that is in the interface's network
    /// namespace *and* sees that namespace's /sys; where /sys is another namespace's, only the name is known.
    #[must_use]
    pub fn gather(name: &str) -> Self {
        let bare = Self { name: name.to_string(), ..Self::default() };
        // /sys shows the network namespace that mounted it, so the same name may be another interface there.
        let index = nix::net::if_::if_nametoindex(name).ok();
        let dir = Path::new("/sys/class/net").join(name);
        let is_it = !name.contains('/') && index.is_some() && number(&dir, "ifindex") == index.map(u64::from);
        if !is_it || mac(&dir) != mac_of(name) {
            return bare;
        }
        let driver = fs::read_link(dir.join("device/driver")).ok();
        Self {
            driver: driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
            speed_mbps: number(&dir, "speed"),
            mtu: number(&dir, "mtu"),
            rx_queues: fs::read_dir(dir.join("queues")).ok().map(|queues| {
                queues
                    .flatten()
                    .filter(|queue| queue.file_name().to_string_lossy().starts_with("rx-"))
                    .count()
            }),
            ..bare
        }
    }

    /// In one line, without what is not known.
    #[must_use]
    pub fn text(&self) -> String {
        let netns = self.netns.as_ref().map(|netns| format!("{netns}/")).unwrap_or_default();
        let facts = [
            self.role.clone(),
            self.driver.as_ref().map(|driver| format!("driver {driver}")),
            self.speed_mbps.map(|mbps| format!("{mbps} Mbit/s")),
            self.mtu.map(|mtu| format!("MTU {mtu}")),
            self.rx_queues.map(|queues| format!("{queues} rx queue{}", if queues == 1 { "" } else { "s" })),
            self.xdp_mode.as_ref().map(|mode| format!("XDP {mode}")),
        ];
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        let colon = if facts.is_empty() { "" } else { ": " };
        format!("{netns}{}{colon}{}", self.name, facts.join(", "))
    }
}

/// The number in one of the interface's files. The speed of a port without a link reads as -1, which is no number here.
fn number(dir: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
}

fn mac(dir: &Path) -> Option<String> {
    fs::read_to_string(dir.join("address")).ok().map(|text| text.trim().to_string())
}

/// The interface's MAC address as this thread's network namespace knows it.
fn mac_of(name: &str) -> Option<String> {
    let found = getifaddrs().ok()?.filter(|entry| entry.interface_name == name);
    let bytes = found.filter_map(|entry| entry.address?.as_link_addr()?.addr()).next()?;
    Some(bytes.map(|byte| format!("{byte:02x}")).join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_known() {
        let port = PortFacts::gather("lo");
        assert_eq!(port.mtu, Some(65_536), "{port:?}");
        assert!(port.rx_queues.is_some_and(|queues| queues >= 1), "{port:?}");
    }

    #[test]
    fn a_port_reads_in_one_line() {
        let port = PortFacts {
            name: "c0".into(),
            netns: Some("lab".into()),
            driver: Some("veth".into()),
            rx_queues: Some(1),
            ..PortFacts::default()
        };
        assert_eq!(port.text(), "lab/c0: driver veth, 1 rx queue");
        assert_eq!(PortFacts { name: "e0".into(), ..PortFacts::default() }.text(), "e0");
    }

    #[test]
    fn of_a_port_that_is_not_there_only_the_name_is_known() {
        for name in ["nosuchport0", "../../..", ""] {
            assert_eq!(PortFacts::gather(name), PortFacts { name: name.to_string(), ..PortFacts::default() });
        }
    }
}
