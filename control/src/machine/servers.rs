//! Servers that cannot be reached from this machine.

use super::Judge;
use super::network::uses;
use crate::config::{Mode, codes};
use crate::plan::{Obstacle, Plan, Reach, Unreachable};
use ringlead_flow::ServerId;

impl Judge<'_> {
    /// C202, C209: tells that a server is unreachable. Returns its place in the file and its name; `None` where it is not
    /// unreachable, or not in the configuration any more.
    pub fn unreachable(&mut self, plan: &Plan, id: ServerId) -> Option<(usize, String)> {
        let record = plan.server(id)?;
        let Reach::Unreachable(reach) = &record.reach else { return None };
        let name = format!("{}/{}", record.key.pool, record.key.name);
        let found = self.config.pools.iter().enumerate().find(|(_, pool)| pool.name == record.key.pool);
        let at = found.and_then(|(index, pool)| {
            let server = |server: &crate::config::ServerConfig| {
                server.name == record.key.name && server.address == record.key.address
            };
            Some((index, pool.servers.iter().position(server)?))
        });
        let (pool, server) = at?;
        let path = ["pool", &record.key.pool, "server", &server.to_string(), "address"].map(str::to_owned);
        let path = path.each_ref().map(String::as_str);
        let start = self.at(&path).start;
        if reach.what == Obstacle::Router {
            self.not_adjacent(&path, pool, &name, reach);
        } else {
            self.no_way(&path, &name, record.key.address.ip(), reach);
        }
        Some((start, name))
    }

    fn not_adjacent(&mut self, path: &[&str], pool: usize, name: &str, reach: &Unreachable) {
        let config = self.config;
        let dsr = uses(&config.services, pool).find(|service| service.mode == Mode::Dsr);
        let mode = dsr.map(|service| {
            let key = if service.own_node.is_some() { "hand-off" } else { "mode" };
            self.at(&["service", &service.name, key])
        });
        let message = format!("server `{name}` is behind a router: {}", reach.why);
        let entry = self.warning(codes::NOT_ADJACENT, path, message);
        entry.label("it gets no flows");
        if let Some(mode) = mode {
            entry.also(&mode, "dsr changes the Ethernet address only");
        }
        entry.help("use mode = \"tunnel\", which passes routers (or nat, snat); or put it into a network of this node");
    }

    fn no_way(&mut self, path: &[&str], name: &str, ip: std::net::IpAddr, reach: &Unreachable) {
        let node = self.at(&["node", "name"]);
        let entry = self.warning(
            codes::UNREACHABLE,
            path,
            format!("server `{name}` cannot be reached: {}", reach.why),
        );
        entry.label("it gets no flows");
        match reach.what {
            Obstacle::NoRoute => entry.help(format!(
                "`ip route get {ip}` asks the kernel; add a route, or an address in its network"
            )),
            Obstacle::OwnAddress => entry.help("write the server's own address: this one is this machine's"),
            Obstacle::NotThisNode => {
                entry.also(&node, "this node's name");
                entry.help("give this node that address, or correct [node] name")
            }
            Obstacle::NoPort | Obstacle::Router => entry.help(format!(
                "`ip route get {ip}` names the device; add a [port.NAME] for it, or route by a port"
            )),
        };
    }
}
