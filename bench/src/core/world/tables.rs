//! The snapshot: TCP services of each family, each with a pool of its own over the same servers, by Maglev.

use crate::core::cell::Family;
use crate::core::world::{Shape, narrow, traffic};
use ahash::{AHashMap, RandomState};
use ringlead_flow::snat::{PortSpace, SnatPool};
use ringlead_flow::{Profile, ServerId};
use ringlead_l4::neighbours::NeighbourId;
use ringlead_l4::tables::{
    Chooser, Delivery, Ends, Mode, OnNoServer, Pool, Prefix, Server, Service, ServiceId, Standing, Tables,
    Tunnel,
};
use ringlead_pick::{FrontHash, HashBy, Maglev, Member, default_size};
use ringlead_wire::tunnel::{Encapsulation, Variant};
use ringlead_wire::{Endpoint, Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// What tunnel packets get.
pub(super) const ENCAPSULATION: Encapsulation = Encapsulation::Gue { variant: Variant::One, port: 6080 };
/// Fixed, so that instruction counts repeat.
const SEED: RandomState = RandomState::with_seeds(5, 6, 7, 8);

/// The tables of a shape. Server ids are `2 * server + family`.
pub(super) fn tables(shape: &Shape) -> Tables {
    let hash = FrontHash::new([7; 16]);
    let ports = Arc::new(source_ports(shape));
    let servers: Vec<Server> = (0..2 * shape.servers).map(server).collect();
    let mut listen = AHashMap::with_hasher(SEED);
    let mut nat_servers = AHashMap::with_hasher(SEED);
    let mut services = Vec::new();
    for &family in &shape.families {
        let ids = || (0..shape.servers).map(|server| 2 * server + usize::from(family.is_v6()));
        let members: Vec<Member> = ids()
            .map(|id| Member { identity: hash.server(servers[id].ip, servers[id].port), weight: 1 })
            .collect();
        let maglev = Maglev::build(&members, default_size(shape.servers));
        for n in 0..shape.services {
            let slot = u16::try_from(services.len()).expect("services fit into the table");
            let pool = Pool {
                index: slot,
                name: "pool".into(),
                chooser: Chooser::Maglev { table: maglev.clone(), by: HashBy::FiveTuple },
                members: ids().map(|id| ServerId(narrow(id))).collect(),
                limits: AHashMap::with_hasher(SEED),
                salt: 0,
                standing: Standing::Whole,
            };
            listen.insert(endpoint(traffic::service(n, family)), slot);
            services.push(Some(Arc::new(Service {
                id: ServiceId { slot, generation: 1 },
                name: format!("{}-{n}", family.name()).into(),
                delivery: delivery(shape.mode, &ports),
                pool: Arc::new(pool),
                on_no_server: OnNoServer::Drop,
                sorry: None,
                sticky: None,
                mss: None,
                own: None,
                profile: Profile::Lb,
            })));
        }
        if shape.mode == Mode::Nat {
            nat_servers.extend((0..shape.servers).map(|n| (endpoint(traffic::server(n, family)), ())));
        }
    }
    let mut addresses = AHashMap::with_hasher(SEED);
    if shape.mode == Mode::Snat {
        let all =
            shape.families.iter().flat_map(|&f| (0..snat_addresses(shape)).map(move |n| traffic::snat(n, f)));
        addresses.extend(all.map(|ip| (ip.into(), Arc::clone(&ports))));
    }
    Tables {
        epoch: 1,
        services: services.into(),
        servers: servers.into_iter().map(Some).collect(),
        listen: Arc::new(listen),
        nat_servers: Arc::new(nat_servers),
        snat: Arc::new(addresses),
        snat_pools: Arc::from([ports]),
        mixed: false,
        ends_flows: false,
        hash,
    }
}

/// The server with this id: of IPv4 where that is even.
fn server(id: usize) -> Server {
    let at = traffic::server(id / 2, Family::ALL[id % 2]);
    Server {
        name: format!("pool/s{}", id / 2).into(),
        ip: at.ip().into(),
        port: at.port(),
        neighbour: NeighbourId(narrow(id)),
        down: false,
        accepts: true,
        admits: true,
        ends: Ends::Keep,
    }
}

/// GUE in its default variant, between addresses of the family.
fn delivery(mode: Mode, ports: &Arc<SnatPool>) -> Delivery {
    let prefix = |ip: IpAddr, bits| Prefix::new(ip.into(), bits).expect("a prefix");
    match mode {
        Mode::Nat => Delivery::Nat,
        Mode::Dsr => Delivery::Dsr,
        Mode::Snat => Delivery::Snat(Arc::clone(ports)),
        Mode::Tunnel => Delivery::Tunnel(Tunnel {
            encapsulation: ENCAPSULATION,
            source_v4: prefix(Ipv4Addr::new(172, 16, 0, 0).into(), 16),
            source_v6: prefix(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0).into(), 64),
        }),
    }
}

/// Addresses of each family to send from: enough for all flows and those of a round, at most half of the ports in use.
fn snat_addresses(shape: &Shape) -> usize {
    1 + 2 * shape.capacity() / 60_000
}

fn source_ports(shape: &Shape) -> SnatPool {
    let of = |&family: &Family| {
        (0..snat_addresses(shape)).map(move |n| Arc::new(PortSpace::new(traffic::snat(n, family).into())))
    };
    let spaces = shape.families.iter().flat_map(of).collect();
    SnatPool::new(spaces, 1024..=65_535, shape.workers).expect("addresses to send from")
}

fn endpoint(at: SocketAddr) -> Endpoint {
    Endpoint { ip: at.ip().into(), port: at.port(), protocol: Protocol::Tcp }
}
