//! A look at this machine for a configuration that is not in force: what a start would find out, without starting.

use super::devices::Devices;
use super::routes::{Ask, Routes};
use super::{Engine, EngineError, failed};
use crate::config::{Config, Diagnostics, Loaded};
use crate::machine::{Judge, Machine, before, ephemeral, tell};
use crate::net::{Net, NodeAddress};
use crate::plan::Plan;
use ringlead_flow::ServerId;
use socket2::{Domain, Socket, Type};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// All that this machine says of a configuration. Nothing is attached, added or kept. `served`: where a daemon that runs here
/// listens by its own configuration, which is no other program's place then. Must be called on a runtime.
///
/// # Errors
/// When the kernel cannot be asked.
pub async fn look(
    loaded: &Loaded,
    machine: &Machine,
    served: &[SocketAddr],
) -> Result<Diagnostics, EngineError> {
    let found = before(loaded, machine);
    let mut judge = Judge::new(&loaded.config, &loaded.origin);
    // A place that overlaps with one of its own is no hindrance either.
    let own_port = |at: &SocketAddr| served.iter().any(|served| served.port() == at.port());
    for (key, at) in places(&loaded.config).filter(|(_, at)| !own_port(at)) {
        if let Err(error) = can_bind(at) {
            judge.listening(key, at, &error);
        }
    }
    let kernel = |error| failed("cannot ask the kernel", error);
    let (net, _events) = Net::open().map_err(kernel)?;
    let addresses = net.addresses().await.map_err(kernel)?;
    let local: BTreeSet<IpAddr> = addresses.iter().map(|address| address.ip).collect();
    judge.sources(&own(&addresses), ephemeral());
    let mut plan = Plan::new(loaded.config.clone()).map_err(|error| EngineError(error.to_string()))?;
    let mut mtus = Vec::new();
    // Without all ports every server behind the others would be told as unreachable.
    if let Some(facts) = machine.devices() {
        mtus = facts.iter().map(|facts| facts.mtu).collect();
        let mut devices = Devices::of(facts.iter().map(|facts| facts.ifindex));
        devices.replace(&net.links().await.map_err(kernel)?);
        let mut routes = Routes::default();
        routes.ask(&net, &plan, Ask::All).await;
        for (id, reach) in routes.news(&plan, &devices) {
            plan.set_reach(id, reach).map_err(|error| EngineError(error.to_string()))?;
        }
    }
    let servers: Vec<ServerId> = plan.servers().map(|server| server.id).collect();
    for id in servers {
        judge.unreachable(&plan, id);
    }
    judge.network(&plan, &mtus, &local);
    Ok(found.and(judge.end()))
}

impl Engine {
    /// Tells of services whose packets may not arrive here, after another configuration came into force.
    pub(super) async fn tell_misfits(&self) {
        let (plan, origin, mtus) = (Arc::clone(&self.plan), self.undo.origin(), self.mtus());
        let local = self.local.clone();
        let judged = tokio::task::spawn_blocking(move || {
            let mut judge = Judge::new(plan.config(), &origin);
            judge.network(&plan, &mtus, &local);
            judge.end()
        });
        match judged.await {
            Ok(found) => tell(&found),
            Err(error) => tracing::error!(event = "config", %error, "what does not fit was not found out"),
        }
    }

    /// The addresses that this node has for itself: not those that ringlead adds.
    pub(super) fn own_addresses(&self) -> BTreeSet<IpAddr> {
        own(&self.networks)
    }

    /// The MTUs of the ports, in their order.
    pub(super) fn mtus(&self) -> Vec<u32> {
        self.node.ports.iter().map(|port| port.mtu).collect()
    }
}

/// Where a configuration would have the daemon listen, and by which keys.
pub fn places(config: &Config) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let reports = config.observe.reports.as_ref().map(|reports| reports.at);
    [("metrics", config.observe.metrics), ("report", reports)]
        .into_iter()
        .filter_map(|(key, at)| Some((key, at?)))
}

fn own(addresses: &[NodeAddress]) -> BTreeSet<IpAddr> {
    addresses.iter().filter(|address| !address.ours).map(|address| address.ip).collect()
}

/// Whether a listener could be had. Nobody can connect to it: it is bound, and gone.
fn can_bind(at: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())
}

#[cfg(test)]
mod tests {
    use super::can_bind;
    use std::io::ErrorKind;
    use std::net::TcpListener;

    #[test]
    fn a_place_that_somebody_listens_at_is_told_from_a_free_one() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = taken.local_addr().unwrap();
        assert_eq!(can_bind(at).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(taken);
        can_bind(at).unwrap();
        let other = can_bind("192.0.2.1:80".parse().unwrap()).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::AddrNotAvailable);
    }
}
