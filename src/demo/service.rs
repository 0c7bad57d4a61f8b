//! The services of the demo: each way to a server in each family and protocol.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The client's source addresses end in 2 to this number.
const CLIENT_LAST: u8 = 60;

/// The last numbers of the balancer's source addresses in the servers' network.
const SOURCE_HOSTS: std::ops::RangeInclusive<u8> = 200..=203;

/// A mode as the configuration and the report write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// Destination translated; replies come back through the balancer.
    Nat,
    /// Sent on untouched but for the Ethernet address; replies go around the balancer.
    Dsr,
    /// Source translated too: servers see addresses of the balancer and answer to them.
    Snat,
    /// Sent on whole inside another packet; replies go around the balancer.
    Tunnel,
    /// Left to the balancer's own kernel, whose listeners accept.
    L7,
}

/// How a service reaches its servers: a mode with what can be chosen in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Mode nat.
    Nat,
    /// Mode dsr.
    Dsr,
    /// Mode snat, servers of the clients' family.
    Snat,
    /// Mode snat, servers of the other family: IPv4 servers for IPv6 clients (NAT64) and the reverse (NAT46).
    Translated,
    /// Mode tunnel by IPIP, outer headers of the clients' family.
    Ipip,
    /// Mode tunnel by GUE, outer headers of the other family. So the two tunnels show all four combinations.
    Gue,
    /// Layer l7: a listener on the balancer, one of several, by the flow's hash.
    L7,
}

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// One service and its pool of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Service {
    /// How it reaches its servers.
    pub(super) way: Way,
    /// The family of its clients.
    pub(super) family: Family,
    /// Its protocol.
    pub(super) protocol: Protocol,
}

impl Service {
    /// Those of layer l7. They share their addresses with those of mode nat.
    pub(super) fn l7() -> impl Iterator<Item = Self> {
        [Family::Ipv4, Family::Ipv6]
            .map(|family| Self { way: Way::L7, family, protocol: Protocol::Tcp })
            .into_iter()
    }

    /// All that servers serve.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        [Way::Nat, Way::Dsr, Way::Snat, Way::Translated, Way::Ipip, Way::Gue].into_iter().flat_map(Self::by)
    }

    /// One way of each mode: those that a reload and a server's death are shown with.
    pub(super) fn of_each_mode() -> impl Iterator<Item = Self> {
        [Way::Nat, Way::Dsr, Way::Snat, Way::Gue].into_iter().flat_map(Self::by)
    }

    /// The four of one way.
    fn by(way: Way) -> impl Iterator<Item = Self> {
        [Family::Ipv4, Family::Ipv6].into_iter().flat_map(move |family| {
            [Protocol::Tcp, Protocol::Udp].map(|protocol| Self { way, family, protocol })
        })
    }

    /// Where clients connect to.
    pub(super) fn listen(self) -> SocketAddr {
        SocketAddr::new(address(self.family, 9, self.way.service_host()), self.way.service_port())
    }

    /// Where the balancer finds a server.
    pub(super) fn server(self, number: u8) -> SocketAddr {
        let family = match self.way {
            Way::Nat | Way::Dsr | Way::Snat | Way::Ipip | Way::L7 => self.family,
            Way::Translated | Way::Gue => self.family.other(),
        };
        SocketAddr::new(server_address(family, number), self.way.server_port())
    }

    /// Where a server finds a client's packet addressed to: the service itself unless the balancer translates.
    pub(super) fn arrival(self, number: u8) -> SocketAddr {
        if self.way.translates() { self.server(number) } else { self.listen() }
    }
}

/// `nat-ipv4-tcp`, `tunnel-gue-ipv6-udp`, `nat64-tcp`: the name in the configuration, in the report and in what
/// `ringlead status` shows.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (family, protocol) = (self.family.word(), self.protocol.word());
        match (self.way, self.family) {
            (Way::Nat | Way::Dsr | Way::Snat | Way::L7, _) => {
                write!(f, "{}-{family}-{protocol}", self.way.mode().word())
            }
            (Way::Translated, Family::Ipv4) => write!(f, "nat46-{protocol}"),
            (Way::Translated, Family::Ipv6) => write!(f, "nat64-{protocol}"),
            (Way::Ipip, _) => write!(f, "tunnel-ipip-{family}-{protocol}"),
            (Way::Gue, _) => write!(f, "tunnel-gue-{family}-{protocol}"),
        }
    }
}

impl Way {
    /// The mode of the configuration.
    pub(super) fn mode(self) -> Mode {
        match self {
            Self::Nat => Mode::Nat,
            Self::Dsr => Mode::Dsr,
            Self::Snat | Self::Translated => Mode::Snat,
            Self::Ipip | Self::Gue => Mode::Tunnel,
            Self::L7 => Mode::L7,
        }
    }

    /// Whether the balancer writes the server's address into the packet, and so must see the replies.
    pub(super) fn translates(self) -> bool {
        matches!(self.mode(), Mode::Nat | Mode::Snat)
    }

    /// The last number of the service's address, as the lab has it: servers hold those of dsr and tunnel on lo.
    fn service_host(self) -> u8 {
        match self.mode() {
            Mode::Nat | Mode::L7 => 1,
            Mode::Dsr => 2,
            Mode::Tunnel => 3,
            Mode::Snat => 4,
        }
    }

    /// The service's port, where one address and mode has two ways.
    fn service_port(self) -> u16 {
        match self {
            Self::Nat | Self::Dsr | Self::Snat | Self::Ipip => 80,
            Self::Translated | Self::Gue => 81,
            Self::L7 => 443,
        }
    }

    /// Where servers listen: at another port wherever it can be translated, so that this is seen.
    fn server_port(self) -> u16 {
        match self {
            Self::Nat => 8080,
            Self::Snat | Self::Translated => 8081,
            Self::Dsr | Self::Ipip | Self::Gue | Self::L7 => self.service_port(),
        }
    }
}

impl Mode {
    /// As the configuration and the report write it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Dsr => "dsr",
            Self::Snat => "snat",
            Self::Tunnel => "tunnel",
            Self::L7 => "l7",
        }
    }
}

impl Family {
    /// The family of an address.
    pub(super) fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// IPv6 for IPv4 and the reverse.
    fn other(self) -> Self {
        match self {
            Self::Ipv4 => Self::Ipv6,
            Self::Ipv6 => Self::Ipv4,
        }
    }

    /// As the report writes it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

impl Protocol {
    /// As the configuration and the report write it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// The name of a server, everywhere: `s1`.
pub(super) fn server_name(number: u8) -> String {
    format!("s{number}")
}

/// A server's own address: 10.2.0.11 and fd02::11 for the first.
pub(super) fn server_address(family: Family, number: u8) -> IpAddr {
    address(family, 2, 10 + number)
}

/// A source address of the client for its stream of this number, all of them in turn.
pub(super) fn client_address(family: Family, stream: u16) -> IpAddr {
    let host = 2 + stream % u16::from(CLIENT_LAST - 1);
    address(family, 1, u8::try_from(host).unwrap_or(CLIENT_LAST))
}

/// The client's address in the servers' network, by which it reaches them around the balancer.
pub(super) fn client_beside_servers(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::new(10, 2, 0, 254).into(),
        Family::Ipv6 => Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 0xfe).into(),
    }
}

/// The balancer's source addresses for servers of a family: 10.2.0.200 to .203, fd02::200 to ::203.
pub(super) fn sources(family: Family) -> impl Iterator<Item = IpAddr> {
    SOURCE_HOSTS.map(move |host| address(family, 2, host))
}

/// 10.NETWORK.0.HOST, or fd0NETWORK::HOST where the host's decimal digits are read as they stand (10 is ::10).
fn address(family: Family, network: u8, host: u8) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::new(10, network, 0, host).into(),
        Family::Ipv6 => {
            let host = u16::from(host);
            let digits = host / 100 * 256 + host / 10 % 10 * 16 + host % 10;
            Ipv6Addr::new(0xfd00 + u16::from(network), 0, 0, 0, 0, 0, 0, digits).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn addresses_are_those_of_the_lab() {
        let script = super::super::lab::SCRIPT;
        let at = |way, family| Service { way, family, protocol: Protocol::Tcp }.listen().to_string();
        assert_eq!(at(Way::Nat, Family::Ipv4), "10.9.0.1:80");
        assert_eq!(at(Way::Gue, Family::Ipv6), "[fd09::3]:81");
        assert_eq!(server_address(Family::Ipv6, 3).to_string(), "fd02::13");
        assert_eq!(client_address(Family::Ipv4, 58).to_string(), "10.1.0.60");
        assert_eq!(client_address(Family::Ipv6, 59).to_string(), "fd01::2");
        let sources: Vec<String> = sources(Family::Ipv6).map(|ip| ip.to_string()).collect();
        assert_eq!(sources, ["fd02::200", "fd02::201", "fd02::202", "fd02::203"]);
        assert!(script.contains("dsr 10.9.0.2") && script.contains("tunnel 10.9.0.3"));
        assert!(script.contains("snat 10.9.0.4") && script.contains("10.1.0.2 (and .3-.60)"));
    }

    #[test]
    fn each_service_is_named_once_and_listens_alone() {
        let shown = || Service::all().chain(Service::l7());
        let names: BTreeSet<String> = shown().map(|s| s.to_string()).collect();
        assert_eq!(names.len(), 26);
        for name in
            ["l7-ipv6-tcp", "dsr-ipv6-udp", "snat-ipv4-tcp", "tunnel-gue-ipv6-udp", "nat64-tcp", "nat46-udp"]
        {
            assert!(names.contains(name), "{name} is not in {names:?}");
        }
        let listen: BTreeSet<_> = shown().map(|s| (s.listen(), s.protocol.word())).collect();
        assert_eq!(listen.len(), 26);
    }

    #[test]
    fn servers_of_the_other_family_serve_translated_services_and_outer_headers() {
        let udp = |way, family| Service { way, family, protocol: Protocol::Udp };
        assert_eq!(udp(Way::Translated, Family::Ipv6).server(1).to_string(), "10.2.0.11:8081");
        assert_eq!(udp(Way::Translated, Family::Ipv6).arrival(1).to_string(), "10.2.0.11:8081");
        assert_eq!(udp(Way::Gue, Family::Ipv4).server(2).to_string(), "[fd02::12]:81");
        assert_eq!(udp(Way::Gue, Family::Ipv4).arrival(2).to_string(), "10.9.0.3:81");
    }
}
