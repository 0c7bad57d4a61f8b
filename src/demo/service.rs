//! The eight services of the demo: each mode, family and protocol once.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The port of every service.
pub(super) const SERVICE_PORT: u16 = 80;

/// Where the servers of nat services listen. Another port than the service's, so that the translation is seen.
pub(super) const NAT_SERVER_PORT: u16 = 8080;

/// The client's source addresses end in 2 to this number.
const CLIENT_LAST: u8 = 60;

/// How a service reaches its servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// Destination translated; replies come back through the balancer.
    Nat,
    /// Sent on untouched but for the Ethernet address; replies go around the balancer.
    Dsr,
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
    pub(super) mode: Mode,
    /// The family of all its addresses.
    pub(super) family: Family,
    /// Its protocol.
    pub(super) protocol: Protocol,
}

impl Service {
    /// All eight.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        [Mode::Nat, Mode::Dsr].into_iter().flat_map(|mode| {
            [Family::Ipv4, Family::Ipv6].into_iter().flat_map(move |family| {
                [Protocol::Tcp, Protocol::Udp].map(|protocol| Self { mode, family, protocol })
            })
        })
    }

    /// Where clients connect to.
    pub(super) fn listen(self) -> SocketAddr {
        SocketAddr::new(service_address(self.family, self.mode), SERVICE_PORT)
    }

    /// Where the balancer finds a server.
    pub(super) fn server(self, number: u8) -> SocketAddr {
        let port = if self.mode == Mode::Nat { NAT_SERVER_PORT } else { SERVICE_PORT };
        SocketAddr::new(server_address(self.family, number), port)
    }
}

/// `nat-ipv4-tcp`: the name in the configuration, in the report and in what `ringlead status` shows.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.mode.word(), self.family.word(), self.protocol.word())
    }
}

impl Mode {
    /// As the configuration and the report write it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Dsr => "dsr",
        }
    }
}

impl Family {
    /// The family of an address.
    pub(super) fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
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

/// The address of the services of a mode: nat 10.9.0.1 and fd09::1, dsr 10.9.0.2 and fd09::2.
pub(super) fn service_address(family: Family, mode: Mode) -> IpAddr {
    address(family, 9, if mode == Mode::Nat { 1 } else { 2 })
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

/// 10.NETWORK.0.HOST, or fd0NETWORK::HOST where the host's decimal digits are read as they stand (10 is ::10).
fn address(family: Family, network: u8, host: u8) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::new(10, network, 0, host).into(),
        Family::Ipv6 => {
            let digits = u16::from(host / 10) * 16 + u16::from(host % 10);
            Ipv6Addr::new(0xfd00 + u16::from(network), 0, 0, 0, 0, 0, 0, digits).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_lab() {
        let script = super::super::lab::SCRIPT;
        assert_eq!(service_address(Family::Ipv4, Mode::Nat).to_string(), "10.9.0.1");
        assert_eq!(service_address(Family::Ipv6, Mode::Dsr).to_string(), "fd09::2");
        assert_eq!(server_address(Family::Ipv6, 3).to_string(), "fd02::13");
        assert_eq!(client_address(Family::Ipv4, 58).to_string(), "10.1.0.60");
        assert_eq!(client_address(Family::Ipv6, 59).to_string(), "fd01::2");
        assert!(script.contains("dsr 10.9.0.2") && script.contains("10.1.0.2 (and .3-.60)"));
    }

    #[test]
    fn each_service_is_named_once() {
        let names: std::collections::BTreeSet<String> = Service::all().map(|s| s.to_string()).collect();
        assert_eq!(names.len(), 8);
        assert!(names.contains("dsr-ipv6-udp"), "{names:?}");
    }
}
