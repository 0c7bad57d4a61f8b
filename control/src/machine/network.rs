//! What this machine's network makes impossible for some packets, or for ringlead: addresses, ports, MTUs.

use super::facts::EPHEMERAL;
use super::{Judge, TOLD_MAX};
use crate::config::{Addresses, Mode, PoolConfig, ServiceConfig, codes};
use crate::plan::{Plan, Spot, snat_clash};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

impl Judge<'_> {
    /// C210. Ports of source addresses that this node's own sockets take too (`ephemeral`): the kernel would give one to a socket
    /// while a flow has it. Only where the node has the address for itself (`own`); one that ringlead adds is never a socket's
    /// choice.
    pub fn sources(&mut self, own: &BTreeSet<IpAddr>, ephemeral: Option<RangeInclusive<u16>>) {
        let config = self.config;
        if config.snats.is_empty() {
            return;
        }
        let Some(ephemeral) = ephemeral else {
            let message = format!("{EPHEMERAL} does not say which ports this machine's own sockets use");
            self.error(codes::PORTS_SHARED, &["snat"], message);
            return;
        };
        let Some((snat, ip)) = snat_clash(config, own, &ephemeral) else { return };
        let addresses = self.at(&["snat", &snat.name, "addresses"]);
        let (first, last) = (ephemeral.start(), ephemeral.end());
        let message = format!(
            "[snat.{}]: this machine's own sockets use {ip}, and ports {first}-{last} of it; ports {}-{} overlap",
            snat.name,
            snat.ports.start(),
            snat.ports.end()
        );
        self.error(codes::PORTS_SHARED, &["snat", &snat.name, "ports"], message)
            .also(&addresses, format!("{ip} is this machine's own"))
            .help("choose an address that nothing else uses: ringlead adds it")
            .help(format!("or other ports: {EPHEMERAL} says {first} {last}"));
    }

    /// C203, C204, C213: what is told of services once servers' next hops are known. `mtus`: of the ports, in their order;
    /// `local`: the addresses that this node has.
    pub fn network(&mut self, plan: &Plan, mtus: &[u32], local: &BTreeSet<IpAddr>) {
        self.narrow(plan, mtus);
        self.beside_clients(plan);
        self.absent(plan, local);
    }

    fn narrow(&mut self, plan: &Plan, mtus: &[u32]) {
        for narrow in plan.too_narrow(mtus).into_iter().take(TOLD_MAX) {
            let (service, needed) = (narrow.service, narrow.needed);
            let smaller = match service.mode {
                Mode::Nat | Mode::Snat { .. } => "`mss-clamp` for TCP",
                Mode::Dsr | Mode::Tunnel { .. } => "servers that offer smaller segments (advmss)",
            };
            let device = self.port_place(narrow.at.port);
            let message = format!(
                "service `{}`: clients' packets of up to {} bytes do not fit on the way to its servers: up to {} do",
                service.name, narrow.clients_mtu, narrow.fits
            );
            let mode = if service.own_node.is_some() { "hand-off" } else { "mode" };
            self.warning(codes::NARROW, &["service", &service.name, mode], message)
                .label(format!("needs an MTU of {needed} towards its servers"))
                .also(&device, format!("has {}", narrow.servers_mtu))
                .help(format!("an MTU of {needed} towards the servers, or {smaller}"))
                .help("until then such a packet is answered by ICMP, with the size that fits");
        }
    }

    fn beside_clients(&mut self, plan: &Plan) {
        for beside in plan.beside_clients().into_iter().take(TOLD_MAX) {
            let (service, at) = (beside.service, beside.at);
            let Some((pool, path)) = self.server_path(at) else { continue };
            let Some(server) = pool.servers.get(at.server) else { continue };
            let place = self.at(&path.each_ref().map(String::as_str));
            let message = format!(
                "service `{}`: clients in the network of server `{}` get no answers: those go past this node",
                service.name, server.name
            );
            let port = self.config.ports.get(usize::from(at.port)).map_or("?", |port| port.name.as_str());
            self.warning(codes::BESIDE_CLIENTS, &["service", &service.name, "mode"], message)
                .also(&place, format!("on a network of port `{port}`, which faces clients"))
                .help("use mode = \"snat\", or, where no client is in that network, faces = \"servers\" for its port");
        }
    }

    /// Addresses that somebody else keeps must be there, or nothing will arrive.
    fn absent(&mut self, plan: &Plan, local: &BTreeSet<IpAddr>) {
        let expected = plan.listens(Addresses::Expect);
        for (service, ip) in expected.filter(|(_, ip)| !local.contains(ip)).take(TOLD_MAX) {
            let listen = self.at(&["service", service, "listen"]);
            let message = format!("service `{service}` expects {ip} on this node, which does not have it");
            self.warning(codes::ADDRESS_ABSENT, &["service", service, "addresses"], message)
                .also(&listen, "clients connect to it")
                .help("right on a standby node; else add it, or use addresses = \"manage\"");
        }
    }

    /// C212. What came of listening for scrapes (`metrics`) or reports (`report`).
    pub fn listening(&mut self, key: &str, at: SocketAddr, error: &io::Error) {
        let message = format!("[observe] {key}: cannot listen at {at}: {error}");
        let entry = self.error(codes::LISTEN_BUSY, &["observe", key], message);
        entry.help(if error.kind() == io::ErrorKind::AddrInUse {
            let port = at.port();
            format!("`ss -ltnp 'sport = :{port}'` says who listens there; choose another port")
        } else if error.kind() == io::ErrorKind::AddrNotAvailable {
            "this node has no such address (`ip -br address`); [::] and 0.0.0.0 are all of them".to_owned()
        } else {
            "choose another place".to_owned()
        });
    }

    fn port_place(&self, port: u8) -> std::ops::Range<usize> {
        let port = self.config.ports.get(usize::from(port));
        port.map_or(0..0, |port| self.at(&["port", &port.name, "device"]))
    }

    /// A server's pool, and the path of its address.
    fn server_path(&self, at: Spot) -> Option<(&PoolConfig, [String; 5])> {
        let pool = self.config.pools.get(at.pool)?;
        let path = ["pool", &pool.name, "server", &at.server.to_string(), "address"].map(str::to_owned);
        Some((pool, path))
    }
}

/// The services that send flows to a pool.
pub(super) fn uses(services: &[ServiceConfig], pool: usize) -> impl Iterator<Item = &ServiceConfig> {
    services.iter().filter(move |service| service.pools().any(|used| used == pool))
}
