//! What the witness needs of a case's configuration, read with a TOML reader alone.

use crate::replay::folder;
use ringlead_tests::pcap_cases::Case;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use toml::Table;

/// A next hop or a client: its Ethernet address, and EtherType and control of its VLAN tags.
pub(crate) type Link = ([u8; 6], Vec<(u16, [u8; 2])>);

/// A service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) listen: SocketAddr,
    pub(crate) nat: bool,
    /// `POOL/NAME` of a server → its address.
    pub(crate) servers: BTreeMap<String, SocketAddr>,
}

/// A case's services and next hops.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) services: BTreeMap<String, Service>,
    neighbours: BTreeMap<IpAddr, Link>,
}

impl Setup {
    pub(crate) fn of(case: &Case) -> Self {
        let read = |name: &str| std::fs::read_to_string(folder(case).join(name)).unwrap_or_default();
        let file: Table = read("config.toml").parse().unwrap();
        let tables = |kind: &str| file[kind].as_table().unwrap().clone();
        let pools = tables("pool");
        let services = tables("service").into_iter().map(|(name, service)| {
            let text = |key: &str| service[key].as_str().unwrap().to_owned();
            let pool = text("pool");
            let servers = pools[&pool]["server"].as_array().unwrap().iter().map(|server| {
                let text = |key: &str| server[key].as_str().unwrap();
                (format!("{}/{}", pool, text("name")), text("address").parse().unwrap())
            });
            let listen = text("listen").parse().unwrap();
            (name, Service { listen, nat: text("mode") == "nat", servers: servers.collect() })
        });
        Self { services: services.collect(), neighbours: neighbours(&read("neighbours")) }
    }

    /// Where frames for a server on the link must go: by the file, or untagged to 02:00 and the last four bytes of its address.
    pub(crate) fn link(&self, ip: IpAddr) -> Link {
        self.neighbours.get(&ip).cloned().unwrap_or_else(|| {
            let bytes = match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let mut mac = [2, 0, 0, 0, 0, 0];
            mac[2..].copy_from_slice(&bytes[bytes.len() - 4..]);
            (mac, Vec::new())
        })
    }
}

fn neighbours(text: &str) -> BTreeMap<IpAddr, Link> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (ip, mac) = (words.next().unwrap(), words.next().unwrap());
        let mac: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let tags = words.map(|vid| (0x8100, vid.parse::<u16>().unwrap().to_be_bytes())).collect();
        (ip.parse().unwrap(), (mac.try_into().unwrap(), tags))
    };
    lines.filter(|line| !line.is_empty()).map(entry).collect()
}
