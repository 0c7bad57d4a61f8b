//! What a configuration and this machine's network make impossible for some packets: nothing is refused for it, but people
//! should know before their clients do.

use super::Plan;
use crate::config::{Config, Faces, Mode, ServiceConfig};
use ringlead_wire::Ip;
use std::net::IpAddr;

/// How much longer an IPv6 header is than an IPv4 one.
const FAMILIES_DIFFER: i64 = 20;
/// What stands before a TCP segment at least (RFC 6691 §2).
const HEADERS_V4: i64 = 40;
const HEADERS_V6: i64 = 60;

/// A server of the configuration, by its places there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spot {
    /// Its pool, an index into [`Config::pools`].
    pub pool: usize,
    /// An index into the pool's servers.
    pub server: usize,
    /// The port that it is reached by, an index into [`Config::ports`].
    pub port: u8,
}

/// A nat service with a server in the network of clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beside<'p> {
    /// The service.
    pub service: &'p ServiceConfig,
    /// The server.
    pub at: Spot,
}

/// A service with packets that fit where they come from and not where they go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Narrow<'p> {
    /// The service.
    pub service: &'p ServiceConfig,
    /// One of its servers, whose port is the narrow one.
    pub at: Spot,
    /// The largest MTU of the ports that face clients, bytes.
    pub clients_mtu: u32,
    /// The MTU of the port that its server is reached by.
    pub servers_mtu: u32,
    /// The MTU that it would need.
    pub needed: u32,
    /// The largest packet of a client's that fits.
    pub fits: u32,
}

impl Plan {
    /// The services whose packets may outgrow the way to a server: by an outer header, by the other family's header, or because
    /// that way is narrower anyway. One entry a service; none where `mss-clamp` of nat or snat sees to it.
    ///
    /// `mtus`: of the ports, in the configuration's order. Servers without a known next hop are left out.
    #[must_use]
    pub fn too_narrow(&self, mtus: &[u32]) -> Vec<Narrow<'_>> {
        let facing = self.config.ports.iter().zip(mtus).filter(|(port, _)| port.faces != Faces::Servers);
        let Some(clients_mtu) = facing.map(|(_, mtu)| *mtu).max() else { return Vec::new() };
        let narrow = |service| self.narrow(service, clients_mtu, mtus);
        self.config.services.iter().filter_map(narrow).collect()
    }

    fn narrow<'p>(
        &'p self,
        service: &'p ServiceConfig,
        clients_mtu: u32,
        mtus: &[u32],
    ) -> Option<Narrow<'p>> {
        let ends = |(at, ip, _): (Spot, IpAddr, IpAddr)| {
            let servers_mtu = *mtus.get(usize::from(at.port))?;
            let growth = service.listen.iter().map(|to| growth(&self.config, service, to.ip, ip)).max()?;
            let needed = u32::try_from(i64::from(clients_mtu) + growth).ok()?;
            let fits = u32::try_from(i64::from(servers_mtu) - growth).ok()?;
            let narrow = Narrow { service, at, clients_mtu, servers_mtu, needed, fits };
            (needed > servers_mtu && !clamped(service, fits)).then_some(narrow)
        };
        self.next_hops(service).find_map(ends)
    }

    /// The nat services with a server beside clients, and which: on the network of a port that faces clients, too. A server
    /// answers clients in its own network directly, from an address that they never asked.
    #[must_use]
    pub fn beside_clients(&self) -> Vec<Beside<'_>> {
        let faces_clients = |port: u8| {
            self.config.ports.get(usize::from(port)).is_some_and(|port| port.faces != Faces::Servers)
        };
        let beside = |service| {
            let on_link =
                |(at, server, hop): &(Spot, IpAddr, IpAddr)| server == hop && faces_clients(at.port);
            self.next_hops(service).find(on_link).map(|(at, ..)| Beside { service, at })
        };
        let nat = self.config.services.iter().filter(|service| service.mode == Mode::Nat);
        nat.filter_map(beside).collect()
    }

    /// A service's servers, their addresses and next hops: the first with a next hop of each pool stands for all, or thousands of services would be gone through server by server.
    fn next_hops<'p>(
        &'p self,
        service: &'p ServiceConfig,
    ) -> impl Iterator<Item = (Spot, IpAddr, IpAddr)> + 'p {
        let pools = [Some(service.pool), service.sorry].into_iter().flatten();
        let pools = pools.filter_map(|index| Some((index, self.config.pools.get(index)?)));
        pools.filter_map(move |(index, pool)| {
            pool.servers.iter().enumerate().find_map(move |(number, config)| {
                let hop = self.server(self.server_id(pool, config)?)?.reach.hop()?;
                let at = Spot { pool: index, server: number, port: hop.port };
                Some((at, config.address.ip(), hop.ip))
            })
        })
    }
}

/// By how many bytes a packet to this address of a service grows on its way to a server; below 0 it shrinks.
fn growth(config: &Config, service: &ServiceConfig, to: Ip, server: IpAddr) -> i64 {
    match service.mode {
        Mode::Tunnel { tunnel } => config.tunnels.get(tunnel).map_or(0, |tunnel| {
            i64::try_from(tunnel.encapsulation.overhead(server.is_ipv4())).unwrap_or_default()
        }),
        Mode::Snat { .. } => match (to.is_v4(), server.is_ipv4()) {
            (true, false) => FAMILIES_DIFFER,
            (false, true) => -FAMILIES_DIFFER,
            _ => 0,
        },
        Mode::Nat | Mode::Dsr => 0,
    }
}

/// Whether what clients may send at most is clamped to what fits. Only where servers' SYN-ACKs pass this node: what they offer
/// bounds what clients send.
fn clamped(service: &ServiceConfig, fits: u32) -> bool {
    if !matches!(service.mode, Mode::Nat | Mode::Snat { .. }) {
        return false;
    }
    let v4 = service.listen.iter().all(|at| at.ip.is_v4());
    let headers = if v4 { HEADERS_V4 } else { HEADERS_V6 };
    service.mss.is_some_and(|mss| i64::from(mss) + headers <= i64::from(fits))
}
