//! A configuration of many services over many pools, as one that grew for years.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::{Config, Family, Service};
use crate::{Lab, Node, SERVERS};

/// How many of what. The first half of the addresses, services and pools is IPv4, the second IPv6; all services are nat and
/// TCP, and spread evenly over addresses and pools.
#[derive(Debug, Clone)]
pub struct ManyServices {
    /// Services, a multiple of `addresses` and of `pools`.
    pub services: usize,
    /// Addresses that they listen on, 2 to 500 and even.
    pub addresses: usize,
    /// Pools, even.
    pub pools: usize,
    /// Services by number that listen on another port than they would: what a reload changes.
    pub moved: Vec<usize>,
}

impl ManyServices {
    /// 10 000 services on 200 addresses over 200 pools of 5 servers.
    #[must_use]
    pub fn ten_thousand() -> Self {
        Self { services: 10_000, addresses: 200, pools: 200, moved: Vec::new() }
    }

    /// The same with one more service on another port.
    #[must_use]
    pub fn moving(mut self, service: usize) -> Self {
        self.moved.push(service);
        self
    }

    /// Where a service listens.
    ///
    /// # Panics
    /// When there are fewer, or its port would be none.
    #[must_use]
    pub fn listen(&self, service: usize) -> SocketAddr {
        assert!(service < self.services, "service {service} of {}", self.services);
        let each = self.services / self.addresses;
        let base = if self.moved.contains(&service) { 20_000 } else { 1_000 };
        let port = u16::try_from(base + service % each).expect("a port");
        SocketAddr::new(self.address(service / each), port)
    }

    /// A service's name.
    #[must_use]
    pub fn name(service: usize) -> String {
        format!("many-{service}")
    }

    fn address(&self, number: usize) -> IpAddr {
        let half = self.addresses / 2;
        let host = u8::try_from(number % half + 1).expect("at most 250 addresses a family");
        if number < half {
            Ipv4Addr::new(10, 10, 0, host).into()
        } else {
            Ipv6Addr::new(0xfd0a, 0, 0, 0, 0, 0, 0, host.into()).into()
        }
    }

    /// Has the lab's client send to the services' addresses by way of the balancer.
    pub fn route(lab: &Lab) {
        let v4 = ["route", "add", "10.10.0.0/24", "via", "10.1.0.1", "src", "10.1.0.2"];
        lab.must_run(Node::Client, "ip", &v4);
        let v6 = ["-6", "route", "add", "fd0a::/64", "via", "fd01::1", "src", "fd01::2"];
        lab.must_run(Node::Client, "ip", &v6);
    }

    /// The file's text. Each server of the lab is several of a pool, at its own ports; every 50th pool is checked.
    #[must_use]
    pub fn render(&self, lab: &Lab) -> String {
        let mut text = Config::empty(lab).render();
        for service in 0..self.services {
            let (name, listen) = (Self::name(service), self.listen(service));
            let pool = service * self.pools / self.services;
            let _ = writeln!(
                text,
                "[service.{name}]\nlisten = \"{listen}\"\nprotocol = \"tcp\"\nmode = \"nat\"\npool = \"p{pool}\"\n"
            );
        }
        for pool in 0..self.pools {
            let family = if pool < self.pools / 2 { Family::V4 } else { Family::V6 };
            let health = if pool.is_multiple_of(50) { "health = \"tcp\"\n" } else { "" };
            let _ = writeln!(text, "[pool.p{pool}]\nalgorithm = \"maglev\"\n{health}server = [");
            let ports = [Service::NAT_SERVER_PORT, 80];
            let places = ports.iter().flat_map(|port| (1..=SERVERS).map(move |n| (n, *port)));
            for (number, (server, port)) in places.take(5).enumerate() {
                let address = SocketAddr::new(Lab::server(family, server), port);
                let _ = writeln!(text, "  {{ name = \"s{number}\", address = \"{address}\" }},");
            }
            text.push_str("]\n");
        }
        text
    }
}
