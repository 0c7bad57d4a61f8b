//! Services whose servers are of the other family, beside the rig's own: NAT64 and NAT46.

use crate::rig::*;
use ringlead_flow::snat::{PortSpace, SnatPool};
use ringlead_flow::{FlowTable, Profile, Sizes};
use ringlead_io::{Frames, MemPort};
use ringlead_l4::tables::{Delivery, Service, ServiceId, Tables};
use ringlead_l4::{Shared, Worker, WorkerConfig};
use ringlead_wire::{Endpoint, Ip, Protocol};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// An IPv6 service on the rig's IPv4 servers.
pub(crate) const NAT64: &str = "[2001:db8::64]:80";
/// An IPv4 service on the rig's IPv6 servers.
pub(crate) const NAT46: &str = "192.0.2.46:80";
/// Where they see both services' clients come from.
pub(crate) const OURS4: &str = "10.2.0.250";
pub(crate) const OURS6: &str = "fd02::250";

/// Source ports of both our addresses.
pub(crate) fn ports() -> Arc<SnatPool> {
    let space = |ip: &str| Arc::new(PortSpace::new(ip.parse::<IpAddr>().unwrap().into()));
    Arc::new(SnatPool::new(vec![space(OURS4), space(OURS6)], 20_000..=20_999, 1).unwrap())
}

/// The tables with both services, for TCP and UDP.
pub(crate) fn with_mixed(mut tables: Tables, ports: &Arc<SnatPool>) -> Tables {
    let mut services = tables.services.slots().to_vec();
    let mut listen = (*tables.listen).clone();
    // Each has the servers of the rig's own service of the other family.
    for (at, like) in [(NAT64, NAT4), (NAT46, NAT6)] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let like = tables.listener(endpoint(like, protocol)).unwrap();
            let id = ServiceId { slot: services.len() as u16, generation: 1 };
            services.push(Some(Arc::new(Service {
                id,
                name: format!("snat-{at}-{protocol}").into(),
                delivery: Delivery::Snat(Arc::clone(ports)),
                pool: Arc::clone(&like.pool),
                on_no_server: like.on_no_server,
                sorry: None,
                sticky: None,
                mss: None,
                own: None,
                profile: Profile::Lb,
            })));
            listen.insert(endpoint(at, protocol), id.slot);
        }
    }
    tables.services = services.into();
    tables.listen = Arc::new(listen);
    let addresses = [OURS4, OURS6].map(|ip| Ip::from(ip.parse::<IpAddr>().unwrap()));
    tables.snat = Arc::new(addresses.into_iter().map(|ip| (ip, Arc::clone(ports))).collect());
    tables.snat_pools = Arc::from([Arc::clone(ports)]);
    tables.mixed = true;
    tables
}

fn endpoint(at: &str, protocol: Protocol) -> Endpoint {
    let at: SocketAddr = at.parse().unwrap();
    Endpoint { ip: at.ip().into(), port: at.port(), protocol }
}

/// A rig with both services, on ports that were set up by `set_up`: the client's and then the servers'.
pub(crate) fn mixed_rig(plan: &Plan, set_up: impl FnOnce(&mut [MemPort; 2])) -> (Rig, Arc<SnatPool>) {
    let pool = ports();
    let sizes = Sizes { flows_max: plan.flows_max, workers: 1, seed: [1, 2, 3, 4] };
    let flows = Arc::new(FlowTable::new(&sizes).unwrap());
    let shared = Shared::new(with_mixed(tables(plan, 1), &pool), flows, 64, 64, 1);
    let mut ports = [MemPort::new("wan", 0, WAN_MAC, 256), MemPort::new("lan", 0, LAN_MAC, 256)];
    set_up(&mut ports);
    let ports = [WAN as u8, LAN as u8].into_iter().zip(ports).collect();
    let frames = Frames::in_memory(1024, 2048).unwrap();
    let config = WorkerConfig { index: 0, workers: 1, seed: [7; 4] };
    let rig = Rig { worker: Worker::new(config, frames, ports, shared.clone()), shared, now: 10 * SECOND };
    for server in 0..plan.servers {
        rig.resolve(server);
    }
    (rig, pool)
}
