//! How servers are reached: the kernel is asked once an address, and again when routes change.

use super::Engine;
use super::devices::{Devices, Outlet};
use crate::config::diagnostics::FINDINGS_MAX;
use crate::config::{Config, Diagnostics, Mode};
use crate::machine::Judge;
use crate::net::{Net, NetError, NextHop};
use crate::plan::{HopKey, Obstacle, Plan, Reach, Unreachable, Way};
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

impl Routes {
    /// Asks the kernel for the routes to servers' addresses, each once. Of one that it cannot be asked about the last answer
    /// is forgotten: what followed from it stands, and the next change asks again.
    pub(super) async fn ask(&mut self, net: &Net, plan: &Plan, ask: Ask) {
        let ips: BTreeSet<IpAddr> = plan.servers().map(|server| server.key.address.ip()).collect();
        match ask {
            Ask::All => self.0.clear(),
            Ask::New => self.0.retain(|ip, _| ips.contains(ip)),
        }
        let unknown: Vec<IpAddr> = ips.into_iter().filter(|ip| !self.0.contains_key(ip)).collect();
        for (ip, answer) in net.routes_to(unknown).await {
            let answer = match answer {
                Ok(hop) => Answer::Via(hop),
                Err(error @ NetError::LocalAddress { .. }) => Answer::Local(error.to_string()),
                Err(error @ NetError::NoRoute { .. }) => Answer::None(error.to_string()),
                Err(error) => {
                    tracing::warn!(event = "server", server = %ip, %error, "cannot ask for the route; the last one stands");
                    continue;
                }
            };
            self.0.insert(ip, answer);
        }
    }

    /// How servers are reached, of those for whom that is news.
    pub(super) fn news(&self, plan: &Plan, devices: &Devices) -> Vec<(ServerId, Result<Way, Unreachable>)> {
        let direct = direct_servers(plan.config());
        let own = plan.own_nodes();
        plan.servers()
            .filter_map(|server| {
                let must_be_direct = direct.contains(server.key.pool.as_str());
                let ip = server.key.address.ip();
                let reach = self.reach(devices, ip, own.contains(&server.id), must_be_direct)?;
                (!server.reach.is(&reach)).then_some((server.id, reach))
            })
            .collect()
    }

    /// How a server is reached, or why it is not; `None` when the kernel has not said. `own`: it is to be this node.
    fn reach(
        &self,
        devices: &Devices,
        ip: IpAddr,
        own: bool,
        must_be_direct: bool,
    ) -> Option<Result<Way, Unreachable>> {
        let no = |what, why: &str| Some(Err(Unreachable { what, why: why.to_owned() }));
        let hop = match self.0.get(&ip)? {
            Answer::Local(_) if own => return Some(Ok(Way::Itself)),
            Answer::Local(why) => return no(Obstacle::OwnAddress, why),
            Answer::None(why) => return no(Obstacle::NoRoute, why),
            Answer::Via(_) if own => {
                let why = "it is to be this node, by [node] name, which has no such address";
                return no(Obstacle::NotThisNode, why);
            }
            Answer::Via(hop) => hop,
        };
        let Some(Outlet { port, vlan }) = devices.outlet(hop.ifindex) else {
            let why = "neither a port of ours nor an 802.1Q device on one";
            let why = format!("its route leaves by interface {}, {why}", hop.ifindex);
            return no(Obstacle::NoPort, &why);
        };
        if must_be_direct && hop.gateway != ip {
            let why = "dsr needs the server on a port's own network, its route goes via";
            return no(Obstacle::Router, &format!("{why} {}", hop.gateway));
        }
        Some(Ok(Way::Via(HopKey { port, vlan, ip: hop.gateway })))
    }
}

impl Engine {
    /// Finds out how each server is reached; returns whether anything is different.
    pub(super) async fn resolve_routes(&mut self, ask: Ask) -> bool {
        self.routes.ask(&self.net, &self.plan, ask).await;
        let news = self.routes.news(&self.plan, &self.devices);
        let mut changed = Vec::new();
        for (id, reach) in news {
            match Arc::make_mut(&mut self.plan).set_reach(id, reach) {
                Ok(true) => changed.push(id),
                Ok(false) => {}
                Err(error) => tracing::error!(event = "server", server = id.0, %error),
            }
        }
        self.tell_reach(&changed).await;
        !changed.is_empty()
    }

    /// Tells changes of how servers are reached. Reads the configuration's text where some are not, so off this thread.
    async fn tell_reach(&self, changed: &[ServerId]) {
        let mut unreachable = Vec::new();
        for id in changed {
            let Some(server) = self.plan.server(*id) else { continue };
            match &server.reach {
                Reach::Unreachable(_) => unreachable.push(*id),
                Reach::Via { hop, .. } => {
                    let name = format!("{}/{}", server.key.pool, server.key.name);
                    tracing::debug!(event = "server", server = name, next_hop = %hop.ip);
                }
                Reach::Unknown | Reach::Itself => {}
            }
        }
        if unreachable.is_empty() {
            return;
        }
        let (plan, origin) = (Arc::clone(&self.plan), self.undo.origin());
        let more = unreachable.len().saturating_sub(FINDINGS_MAX);
        let told = tokio::task::spawn_blocking(move || {
            let mut judge = Judge::new(plan.config(), &origin);
            let told = unreachable.iter().filter_map(|id| judge.unreachable(&plan, *id));
            let mut named: Vec<_> = told.take(FINDINGS_MAX).collect();
            // As the findings will be.
            named.sort_by_key(|(place, _)| *place);
            (named, judge.end())
        });
        match told.await {
            Ok((names, found)) => tell_servers(&names, &found, more),
            Err(error) => tracing::error!(event = "server", %error, "servers are unreachable"),
        }
    }
}

/// Each finding with its server's name, in the same order, and how many more there are.
fn tell_servers(names: &[(usize, String)], found: &Diagnostics, more: usize) {
    for ((_, server), entry) in names.iter().zip(found.entries()) {
        tracing::warn!(event = "server", server, code = entry.code, "{entry}");
    }
    if more > 0 {
        tracing::warn!(event = "server", servers = more, "so many more are unreachable");
    }
}

/// The pools of dsr services: their servers must be on a port's own network.
fn direct_servers(config: &Config) -> BTreeSet<&str> {
    let dsr = config.services.iter().filter(|service| service.mode == Mode::Dsr);
    let pools: BTreeSet<usize> = dsr.flat_map(|service| service.pools()).collect();
    pools.into_iter().filter_map(|pool| config.pools.get(pool)).map(|pool| pool.name.as_str()).collect()
}
