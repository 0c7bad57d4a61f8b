//! The snapshot: one TCP service a family, its pool by Maglev over all servers.

use crate::world::{SERVERS, narrow, traffic};
use ringlead_flow::{Profile, ServerId};
use ringlead_l4::neighbours::NeighbourId;
use ringlead_l4::tables::{Chooser, Mode, OnNoServer, Pool, Server, Service, ServiceId, Tables};
use ringlead_pick::{FrontHash, Maglev, Member};
use ringlead_wire::{Endpoint, Protocol};
use std::sync::Arc;

const MAGLEV_SIZE: u32 = 2039;

/// The tables of one mode. Server ids are `2 * server + family`.
pub(super) fn tables(mode: Mode) -> Tables {
    let ids = |v6: usize| (0..SERVERS).map(move |server| 2 * server + v6);
    let server = |id: usize| {
        let at = traffic::server(id / 2, id % 2 == 1);
        let neighbour = NeighbourId(narrow(id));
        Server {
            name: format!("pool/s{}", id / 2).into(),
            ip: at.ip().into(),
            port: at.port(),
            neighbour,
            down: false,
            accepts: true,
        }
    };
    let servers: Vec<Server> = (0..2 * SERVERS).map(server).collect();
    let mut listen = ahash::AHashMap::new();
    let mut nat_servers = ahash::AHashMap::new();
    let mut services = Vec::new();
    for v6 in [0, 1] {
        let members: Vec<Member> =
            ids(v6).map(|id| Member { identity: id as u64 * 977, weight: 1 }).collect();
        let pool = Pool {
            index: 0,
            name: "pool".into(),
            chooser: Chooser::Maglev(Maglev::build(&members, MAGLEV_SIZE)),
            members: ids(v6).map(|id| ServerId(narrow(id))).collect(),
        };
        let id = ServiceId { slot: u16::try_from(v6).unwrap_or(0), generation: 1 };
        let at = traffic::service(v6 == 1);
        listen.insert(Endpoint { ip: at.ip().into(), port: at.port(), protocol: Protocol::Tcp }, id.slot);
        if mode == Mode::Nat {
            for server in servers.iter().skip(v6).step_by(2) {
                let from = Endpoint { ip: server.ip, port: server.port, protocol: Protocol::Tcp };
                nat_servers.insert(from, ());
            }
        }
        services.push(Some(Arc::new(Service {
            id,
            name: format!("web{v6}").into(),
            mode,
            pool: Arc::new(pool),
            on_no_server: OnNoServer::Drop,
            profile: Profile::Lb,
        })));
    }
    Tables {
        epoch: 1,
        services,
        servers: servers.into_iter().map(Some).collect(),
        listen: Arc::new(listen),
        nat_servers: Arc::new(nat_servers),
        hash: FrontHash::new([7; 16]),
    }
}
