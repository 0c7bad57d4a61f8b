//! What the witness needs of a case's configuration, read with a TOML reader alone.

use crate::replay::folder;
use ringlead_tests::pcap_cases::Case;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use toml::{Table, Value};

/// A next hop or a client: its Ethernet address, and EtherType and control of its VLAN tags.
pub(crate) type Link = ([u8; 6], Vec<(u16, [u8; 2])>);

/// A service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) listen: Vec<SocketAddr>,
    /// IANA's number.
    pub(crate) protocol: u8,
    pub(crate) way: Way,
    /// `POOL/NAME` of a server → its address; those of a sorry pool, too.
    pub(crate) servers: BTreeMap<String, SocketAddr>,
    /// `mss-clamp`.
    pub(crate) mss: Option<u16>,
}

/// Its mode.
#[derive(Debug)]
pub(crate) enum Way {
    Nat,
    Dsr,
    Tunnel(Packing),
    Snat(Sources),
}

/// What stands in front of a packet in a tunnel.
#[derive(Debug)]
pub(crate) enum Packing {
    Ipip,
    Gue { variant: i64 },
}

/// Addresses and ports that servers see in place of clients'.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) addresses: BTreeSet<IpAddr>,
    pub(crate) ports: RangeInclusive<u16>,
}

impl Service {
    /// Whether clients reach it there; port 0 is every port.
    pub(crate) fn listens_at(&self, asked: SocketAddr) -> bool {
        self.listen.contains(&asked) || self.listen.contains(&SocketAddr::new(asked.ip(), 0))
    }

    /// Bytes by which its packets to a server grow: an outer header, or the other family's.
    pub(crate) fn growth(&self, client: IpAddr) -> i64 {
        let v4 = self.servers.values().all(SocketAddr::is_ipv4);
        match (&self.way, client.is_ipv4(), v4) {
            (Way::Tunnel(packing), ..) => packing.overhead(v4),
            (Way::Snat(_), true, false) => 20,
            (Way::Snat(_), false, true) => -20,
            _ => 0,
        }
    }
}

impl Packing {
    pub(crate) fn overhead(&self, v4: bool) -> i64 {
        let ip = if v4 { 20 } else { 40 };
        ip + match self {
            Self::Ipip => 0,
            Self::Gue { variant: 0 } => 12,
            Self::Gue { .. } => 8,
        }
    }
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
        let servers = |pool: &str| {
            let list = pools[pool]["server"].as_array().unwrap();
            let server = |server: &Value| {
                let text = |key: &str| server[key].as_str().unwrap();
                (format!("{pool}/{}", text("name")), text("address").parse().unwrap())
            };
            list.iter().map(server).collect::<Vec<(String, SocketAddr)>>()
        };
        let services = tables("service").into_iter().map(|(name, service)| {
            let text = |key: &str| service.get(key).and_then(Value::as_str);
            let sorry = text("on-no-server").and_then(|no_server| no_server.strip_prefix("sorry:"));
            let pools = text("pool").into_iter().chain(sorry);
            let listen = strings(&service["listen"]).map(|at| at.parse().unwrap()).collect();
            let mss = service.get("mss-clamp").map(|mss| mss.as_integer().unwrap().try_into().unwrap());
            let protocol = if text("protocol") == Some("tcp") { 6 } else { 17 };
            let service = Service {
                listen,
                protocol,
                way: way(&file, &service),
                servers: pools.flat_map(servers).collect(),
                mss,
            };
            (name, service)
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

/// A string, or a list of them.
fn strings(value: &Value) -> impl Iterator<Item = &str> {
    let many = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    value.as_str().into_iter().chain(many)
}

fn way(file: &Table, service: &Value) -> Way {
    let text = |key: &str| service.get(key).and_then(Value::as_str);
    match text("mode").unwrap() {
        "nat" => Way::Nat,
        "dsr" => Way::Dsr,
        "tunnel" => Way::Tunnel(match text("tunnel").unwrap_or("gue") {
            "ipip" => Packing::Ipip,
            "gue" => Packing::Gue { variant: 1 },
            name => Packing::Gue { variant: file["tunnel"][name]["variant"].as_integer().unwrap() },
        }),
        "snat" => {
            let pools = file["snat"].as_table().unwrap();
            let pool = text("snat").map_or_else(|| pools.values().next().unwrap(), |name| &pools[name]);
            let (first, last) = pool["ports"].as_str().unwrap().split_once('-').unwrap();
            Way::Snat(Sources {
                addresses: strings(&pool["addresses"]).map(|ip| ip.parse().unwrap()).collect(),
                ports: first.parse().unwrap()..=last.parse().unwrap(),
            })
        }
        other => panic!("the witness does not know mode {other}"),
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
