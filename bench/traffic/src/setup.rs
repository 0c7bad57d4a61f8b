//! Where the generator stands: its ports, the services it speaks to, and the servers it plays.

use crate::error::TrafficError;
use crate::mode::Mode;
use ringlead_wire::Protocol;
use ringlead_witness::{Snat, Tunnel};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Most ports of a generator.
pub const PORTS_MAX: usize = 64;
/// Most services of a generator.
pub const SERVICES_MAX: usize = 1024;

/// A network device, in this namespace or in a named one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PortRef {
    /// A name in /run/netns, or a path; `None`: the namespace that we are in.
    pub netns: Option<String>,
    /// The device's name.
    pub device: String,
}

impl FromStr for PortRef {
    type Err = String;

    /// `eth1`, `lab-c/c0` or `/proc/4711/ns/net/eth1`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (netns, device) = match text.rsplit_once('/') {
            Some((netns, device)) => (Some(netns.to_owned()), device),
            None => (None, text),
        };
        let bad_device = device.is_empty() || device.len() > 15;
        if bad_device || netns.as_ref().is_some_and(String::is_empty) {
            return Err(format!("'{text}' is no port: DEVICE or NETNS/DEVICE"));
        }
        Ok(Self { netns, device: device.to_owned() })
    }
}

impl TryFrom<String> for PortRef {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PortRef> for String {
    fn from(port: PortRef) -> Self {
        port.to_string()
    }
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.netns {
            Some(netns) => write!(f, "{netns}/{}", self.device),
            None => f.write_str(&self.device),
        }
    }
}

/// A service that clients connect to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Service {
    /// Its address and port.
    pub address: SocketAddr,
    /// Its transport.
    pub protocol: Protocol,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.protocol)
    }
}

/// A server that the generator plays: its address and the port that its frames arrive at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Its address and port, as the balancer's configuration has them.
    pub address: SocketAddr,
    /// Where frames for it arrive.
    pub port: PortRef,
}

impl FromStr for Server {
    type Err = String;

    /// `10.2.0.11:80@lab-s1/e0`.
    fn from_str(text: &str) -> Result<Self, String> {
        let why = || format!("'{text}' is no server: ADDRESS:PORT@[NETNS/]DEVICE");
        let (address, port) = text.split_once('@').ok_or_else(why)?;
        Ok(Self { address: address.parse().map_err(|_| why())?, port: port.parse()? })
    }
}

/// A prefix of client addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// The first address; bits behind the length are zero.
    pub base: IpAddr,
    /// Its length in bits.
    pub len: u8,
}

impl Prefix {
    /// How many addresses may be used as a source: at most 2²⁴, never the first and, over IPv4, never the last.
    #[must_use]
    pub fn hosts(&self) -> u32 {
        let (bits, kept) = if self.base.is_ipv4() { (32, 2) } else { (128, 1) };
        let free = (bits - u32::from(self.len)).min(24);
        if free == 0 { 1 } else { (1_u32 << free).saturating_sub(kept).max(1) }
    }

    /// Address `index` of the prefix; only `index` below [`hosts`](Self::hosts) means one that may be used.
    #[must_use]
    pub fn host(&self, index: u32) -> IpAddr {
        let offset = if self.hosts() == 1 { 0 } else { index + 1 };
        match self.base {
            IpAddr::V4(base) => Ipv4Addr::from_bits(base.to_bits() | offset).into(),
            IpAddr::V6(base) => Ipv6Addr::from_bits(base.to_bits() | u128::from(offset)).into(),
        }
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let why = || format!("'{text}' is no prefix: 198.18.0.0/16 or 2001:2:0:1::/64");
        let (base, len) = text.split_once('/').ok_or_else(why)?;
        let base: IpAddr = base.parse().map_err(|_| why())?;
        let len: u8 = len.parse().map_err(|_| why())?;
        let bits = if base.is_ipv4() { 32 } else { 128 };
        if len < 8 || len > bits {
            return Err(why());
        }
        let base = match base {
            IpAddr::V4(base) => {
                Ipv4Addr::from_bits(base.to_bits() & !(u32::MAX.checked_shr(u32::from(len)).unwrap_or(0)))
                    .into()
            }
            IpAddr::V6(base) => {
                Ipv6Addr::from_bits(base.to_bits() & !(u128::MAX.checked_shr(u32::from(len)).unwrap_or(0)))
                    .into()
            }
        };
        Ok(Self { base, len })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.len)
    }
}

/// Everything that stays from trial to trial.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The clients' ports: they send. Frames are spread over their queues by flow.
    pub out: Vec<PortRef>,
    /// Ports besides the servers' that receive.
    pub inputs: Vec<PortRef>,
    /// The servers. But in `dsr` mode an arriving frame must be for one of them: by address and port, in `tunnel` mode by
    /// the outer address.
    pub servers: Vec<Server>,
    /// The port that replies go to directly in `dsr` and `tunnel` mode; `None`: the first of `out`.
    pub back: Option<PortRef>,
    /// The services.
    pub services: Vec<Service>,
    /// How the balancer forwards.
    pub mode: Mode,
    /// Where clients come from at servers in `snat` mode.
    pub snat: Snat,
    /// How frames are wrapped in `tunnel` mode.
    pub tunnel: Tunnel,
    /// The Ethernet address of the balancer; `None`: the kernel of the sending port's namespace is asked.
    pub next_hop: Option<[u8; 6]>,
    /// Source addresses of IPv4 flows. RFC 2544 §C.2.2 set 198.18.0.0/15 aside for this.
    pub clients_v4: Prefix,
    /// Source addresses of IPv6 flows. RFC 5180 §8 set 2001:2::/48 aside.
    pub clients_v6: Prefix,
    /// Threads: 1, or 2 (clients' ports on one, servers' on the other).
    pub threads: u8,
    /// Never sleep: for machines with a core to spare for each thread.
    pub busy: bool,
    /// The balancer's control socket, asked where frames were lost.
    pub control: Option<PathBuf>,
    /// Capture replay: everything TCP or UDP that arrives is the generator's, whatever its addresses.
    pub any_address: bool,
}

impl Setup {
    /// A setup with nothing in it but defaults: no ports, no services, `nat`, two threads.
    ///
    /// # Panics
    /// Never: the default prefixes are prefixes.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        let v4 = Prefix { base: Ipv4Addr::new(198, 18, 0, 0).into(), len: 16 };
        let v6 = Prefix { base: Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 0).into(), len: 64 };
        Self {
            out: Vec::new(),
            inputs: Vec::new(),
            servers: Vec::new(),
            back: None,
            services: Vec::new(),
            mode,
            snat: Snat::default(),
            tunnel: Tunnel::default(),
            next_hop: None,
            clients_v4: v4,
            clients_v6: v6,
            threads: 2,
            busy: false,
            control: None,
            any_address: false,
        }
    }

    /// All ports, each once: those that send first, then servers', then others.
    #[must_use]
    pub fn ports(&self) -> Vec<PortRef> {
        let servers = self.servers.iter().map(|server| &server.port);
        let mut all: Vec<PortRef> = Vec::new();
        for port in self.out.iter().chain(servers).chain(&self.inputs).chain(&self.back) {
            if !all.contains(port) {
                all.push(port.clone());
            }
        }
        all
    }

    /// Refuses what cannot work, before anything is opened.
    ///
    /// # Errors
    /// What is wrong, in a sentence.
    pub fn check(&self) -> Result<(), TrafficError> {
        let refuse = |why: String| Err(TrafficError::Setup(why));
        if self.out.is_empty() {
            return refuse("no port to send from (--out)".to_owned());
        }
        if self.servers.is_empty() && self.inputs.is_empty() {
            return refuse("no port that receives: name servers (--server) or ports (--in)".to_owned());
        }
        if self.services.is_empty() && !self.any_address {
            return refuse("no service to send to (--to)".to_owned());
        }
        if self.services.len() > SERVICES_MAX || self.ports().len() > PORTS_MAX {
            return refuse(format!("at most {SERVICES_MAX} services and {PORTS_MAX} ports"));
        }
        if !(1..=2).contains(&self.threads) {
            return refuse(format!("{} threads: 1 or 2", self.threads));
        }
        if !self.clients_v4.base.is_ipv4() || self.clients_v6.base.is_ipv4() {
            return refuse("a client prefix of each family: an IPv4 and an IPv6 one".to_owned());
        }
        self.check_mode()?;
        let both =
            |port: &&PortRef| self.servers.iter().any(|s| s.port == **port) || self.inputs.contains(port);
        match self.out.iter().find(both) {
            Some(port) => refuse(format!("{port} cannot be a client's and a server's port at once")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_servers_are_read() {
        let port: PortRef = "lab-c/c0".parse().unwrap();
        assert_eq!((port.netns.as_deref(), port.device.as_str()), (Some("lab-c"), "c0"));
        let path: PortRef = "/proc/7/ns/net/eth1".parse().unwrap();
        assert_eq!(path.netns.as_deref(), Some("/proc/7/ns/net"));
        assert_eq!("eth0".parse::<PortRef>().unwrap().netns, None);
        let server: Server = "[fd02::11]:8080@lab-s1/e0".parse().unwrap();
        assert_eq!((server.address.port(), server.port.to_string().as_str()), (8080, "lab-s1/e0"));
        for text in ["", "c/", "/c", "a-name-of-16-byt"] {
            assert!(text.parse::<PortRef>().is_err(), "{text}");
        }
        assert!("10.0.0.1:80".parse::<Server>().is_err());
    }

    #[test]
    fn prefixes_give_their_hosts_and_no_network_address() {
        let prefix: Prefix = "198.18.7.9/16".parse().unwrap();
        assert_eq!((prefix.to_string().as_str(), prefix.hosts()), ("198.18.0.0/16", 65_534));
        assert_eq!(prefix.host(0).to_string(), "198.18.0.1");
        assert_eq!(prefix.host(65_533).to_string(), "198.18.255.254");
        assert_eq!("10.1.0.2/32".parse::<Prefix>().unwrap().host(0).to_string(), "10.1.0.2");
        let v6: Prefix = "2001:2:0:1::/64".parse().unwrap();
        assert_eq!((v6.hosts(), v6.host(255).to_string().as_str()), ((1 << 24) - 1, "2001:2:0:1::100"));
        assert!("10.0.0.0/4".parse::<Prefix>().is_err() && "10.0.0.0".parse::<Prefix>().is_err());
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let mut setup = Setup::new(Mode::Nat);
        let says = |setup: &Setup, word: &str| setup.check().is_err_and(|why| why.to_string().contains(word));
        assert!(says(&setup, "--out"));
        setup.out = vec!["c0".parse().unwrap()];
        assert!(says(&setup, "receives"));
        setup.servers = vec!["10.2.0.11:80@e0".parse().unwrap()];
        assert!(says(&setup, "--to"));
        let address = "10.9.0.1:80".parse().unwrap();
        setup.services = vec![Service { address, protocol: Protocol::Tcp }];
        setup.check().unwrap();
        setup.inputs = vec!["c0".parse().unwrap()];
        assert!(says(&setup, "at once"));
    }
}
