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
    for (key, at) in places(&loaded.config) {
        if let Err(error) = could_bind(at, served) {
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

/// Whether a listener could be had by the daemon that runs, which listens at `served`: what overlaps with that is busy with it, and
/// it moves. Somebody else whom the new place overlaps, too, is not told from it.
fn could_bind(at: SocketAddr, served: &[SocketAddr]) -> io::Result<()> {
    match can_bind(at) {
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse
                && served.iter().any(|served| overlap(*served, at)) =>
        {
            Ok(())
        }
        tried => tried,
    }
}

/// Whether a listener at the one is in the way of one at the other: `[::]` takes connections of both families.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |all: IpAddr, one: IpAddr| match all {
        IpAddr::V4(all) => all.is_unspecified() && one.is_ipv4(),
        IpAddr::V6(all) => all.is_unspecified(),
    };
    let (one, other) = (a.ip().to_canonical(), b.ip().to_canonical());
    a.port() == b.port() && (one == other || covers(one, other) || covers(other, one))
}

/// Whether a listener could be had. Nobody can connect to it: it is bound, and gone.
fn can_bind(at: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())
}

#[cfg(test)]
mod tests {
    use super::{can_bind, could_bind};
    use std::io::ErrorKind;
    use std::net::{SocketAddr, TcpListener};

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

    #[test]
    fn only_a_place_that_overlaps_with_the_daemons_own_may_be_busy() {
        let held = TcpListener::bind("127.0.0.2:0").unwrap();
        let at = held.local_addr().unwrap();
        let same_port = |ip: &str| SocketAddr::new(ip.parse().unwrap(), at.port());
        for (served, wanted) in [
            ("127.0.0.2", "127.0.0.2"),
            ("127.0.0.2", "0.0.0.0"),
            ("0.0.0.0", "127.0.0.2"),
            ("::", "127.0.0.2"),
        ] {
            could_bind(same_port(wanted), &[same_port(served)])
                .unwrap_or_else(|error| panic!("{wanted}: {error}"));
        }
        let refused = |served: SocketAddr, wanted: &str| {
            could_bind(same_port(wanted), &[served]).err().map(|error| error.kind())
        };
        // Somebody else beside the daemon, on another port of it, and in another family.
        for served in [same_port("127.0.0.1"), SocketAddr::new(at.ip(), 1), same_port("::1")] {
            assert_eq!(refused(served, "127.0.0.2"), Some(ErrorKind::AddrInUse), "beside {served}");
        }
        // The port is the daemon's, the address nobody's here.
        for served in ["127.0.0.1", "0.0.0.0", "192.0.2.1"] {
            let error = refused(same_port(served), "192.0.2.1");
            assert_eq!(error, Some(ErrorKind::AddrNotAvailable), "beside {served}");
        }
    }
}
