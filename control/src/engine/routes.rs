//! How servers are reached: the kernel is asked once an address, and again when routes change.

use super::Engine;
use super::devices::Outlet;
use crate::config::{Config, Mode};
use crate::net::{NetError, NextHop};
use crate::plan::{HopKey, Reach, Way};
use ringlead_flow::ServerId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Whom to ask the kernel about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Everybody.
    All,
    /// Those about whom it has not said anything since it last told of a change: a reload costs what it changes.
    New,
}

/// What the kernel last said of each server's address.
#[derive(Debug, Default)]
pub(super) struct Routes(BTreeMap<IpAddr, Answer>);

/// What the kernel says of one address.
#[derive(Debug)]
enum Answer {
    /// Its next hop.
    Via(NextHop),
    /// It is this node's own, in words.
    Local(String),
    /// There is no way to it, in words.
    None(String),
}

impl Engine {
    /// Finds out how each server is reached; returns whether anything is different.
    pub(super) async fn resolve_routes(&mut self, ask: Ask) -> bool {
        self.ask_routes(ask).await;
        let direct = direct_servers(self.plan.config());
        let own = self.plan.own_nodes();
        let news: Vec<(ServerId, Result<Way, String>)> = (self.plan.servers())
            .filter_map(|server| {
                let must_be_direct = direct.contains(server.key.pool.as_str());
                let reach = self.reach(server.key.address.ip(), own.contains(&server.id), must_be_direct)?;
                (!server.reach.is(&reach)).then_some((server.id, reach))
            })
            .collect();
        let mut changed = false;
        for (id, reach) in news {
            match Arc::make_mut(&mut self.plan).set_reach(id, reach) {
                Ok(true) => {
                    changed = true;
                    self.tell_reach(id);
                }
                Ok(false) => {}
                Err(error) => tracing::error!(event = "server", server = id.0, %error),
            }
        }
        changed
    }

    /// Asks the kernel for the routes to servers' addresses, each once. Of one that it cannot be asked about the last answer
    /// is forgotten: what followed from it stands, and the next change asks again.
    async fn ask_routes(&mut self, ask: Ask) {
        let ips: BTreeSet<IpAddr> = self.plan.servers().map(|server| server.key.address.ip()).collect();
        match ask {
            Ask::All => self.routes.0.clear(),
            Ask::New => self.routes.0.retain(|ip, _| ips.contains(ip)),
        }
        let unknown: Vec<IpAddr> = ips.into_iter().filter(|ip| !self.routes.0.contains_key(ip)).collect();
        for (ip, answer) in self.net.routes_to(unknown).await {
            let answer = match answer {
                Ok(hop) => Answer::Via(hop),
                Err(error @ NetError::LocalAddress { .. }) => Answer::Local(error.to_string()),
                Err(error @ NetError::NoRoute { .. }) => Answer::None(error.to_string()),
                Err(error) => {
                    tracing::warn!(event = "server", server = %ip, %error, "cannot ask for the route; the last one stands");
                    continue;
                }
            };
            self.routes.0.insert(ip, answer);
        }
    }

    /// How a server is reached, or why it is not; `None` when the kernel has not said. `own`: it is to be this node.
    fn reach(&self, ip: IpAddr, own: bool, must_be_direct: bool) -> Option<Result<Way, String>> {
        let hop = match self.routes.0.get(&ip)? {
            Answer::Local(_) if own => return Some(Ok(Way::Itself)),
            Answer::Local(why) | Answer::None(why) => return Some(Err(why.clone())),
            Answer::Via(_) if own => {
                let why = "it is to be this node, by [node] name, which has no such address";
                return Some(Err(why.to_owned()));
            }
            Answer::Via(hop) => hop,
        };
        let Some(Outlet { port, vlan }) = self.devices.outlet(hop.ifindex) else {
            let why = "neither a port of ours nor an 802.1Q device on one";
            return Some(Err(format!("its route leaves by interface {}, {why}", hop.ifindex)));
        };
        if must_be_direct && hop.gateway != ip {
            let why = "dsr needs the server on a port's own network, its route goes via";
            return Some(Err(format!("{why} {}", hop.gateway)));
        }
        Some(Ok(Way::Via(HopKey { port, vlan, ip: hop.gateway })))
    }

    /// Tells a change of how a server is reached.
    fn tell_reach(&self, id: ServerId) {
        let Some(server) = self.plan.server(id) else { return };
        let name = format!("{}/{}", server.key.pool, server.key.name);
        match &server.reach {
            Reach::Unreachable(why) => {
                tracing::warn!(event = "server", server = name, why, "unreachable: it gets no flows")
            }
            Reach::Via { hop, .. } => tracing::debug!(event = "server", server = name, next_hop = %hop.ip),
            Reach::Unknown | Reach::Itself => {}
        }
    }
}

/// The pools of dsr services: their servers must be on a port's own network.
fn direct_servers(config: &Config) -> BTreeSet<&str> {
    let dsr = config.services.iter().filter(|service| service.mode == Mode::Dsr);
    let pools: BTreeSet<usize> = dsr.flat_map(|service| service.pools()).collect();
    pools.into_iter().filter_map(|pool| config.pools.get(pool)).map(|pool| pool.name.as_str()).collect()
}
