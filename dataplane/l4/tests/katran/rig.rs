//! A set's services on the shipped worker, behind the front that decides what is ours.

use crate::suite::{Set, Suite, Vip};
use ringlead_flow::{FlowTable, Profile, ServerId, Sizes};
use ringlead_io::steer::{RuleSet, Rules, Verdict, verdict};
use ringlead_io::{Frames, MemPort};
use ringlead_l4::drops::Drop;
use ringlead_l4::neighbours::{NeighbourId, NextHop};
use ringlead_l4::tables::{
    Chooser, Delivery, Ends, OnNoServer, Pool, Prefix, Server, Service, ServiceId, Tables, Tunnel,
};
use ringlead_l4::{Shared, Worker, WorkerConfig};
use ringlead_pick::{FrontHash, HashBy, Maglev, Member};
use ringlead_wire::Ip;
use ringlead_wire::tunnel::{Encapsulation, Variant};
use std::net::IpAddr;
use std::sync::Arc;

/// Where packets come in; longer ones than go out.
const OUTSIDE: u8 = 0;
/// Where packets go out.
const INSIDE: u8 = 1;
/// The inputs' destination, and so the outputs' source.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0];
const ROUTER: NeighbourId = NeighbourId(0);
/// Time of every packet, in nanoseconds.
const NOW: u64 = 1_000_000_000;
const FRAMES: u32 = 256;
/// The front's key, chosen so that no case holds by luck: the clients of the cases about destination ports have different
/// servers, and the case about a server that is down would have gone to that one.
const KEY: [u8; 16] = [9; 16];

/// Where outer IPIP packets come from.
pub(crate) const IPIP_SOURCES: [(&str, u8); 2] = [("172.16.0.0", 16), ("100::", 96)];

/// What became of one frame.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The front leaves it to the kernel.
    Kernel,
    /// Dropped under this name.
    Dropped(&'static str),
    /// Sent on as this.
    Sent(Vec<u8>),
    /// Dropped under this name, and this sent back.
    Answered(&'static str, Vec<u8>),
}

pub(crate) struct Rig {
    front: RuleSet,
    worker: Worker<MemPort>,
}

impl Rig {
    pub(crate) fn new(suite: &Suite, set: &Set) -> Self {
        let tables = tables(suite, set);
        let rules = Rules { services: tables.listen.keys().copied().collect(), ..Rules::default() };
        let sizes = Sizes { flows_max: 1024, workers: 1, seed: [1, 2, 3, 4] };
        let flows = Arc::new(FlowTable::new(&sizes).unwrap());
        let shared = Shared::new(tables, flows, 1, 256, 1);
        shared.neighbours.set(ROUTER, Some(NextHop { port: INSIDE, vlan: None, mac: suite.router }));
        let mut inside = MemPort::new("inside", 0, MAC, 16);
        inside.caps_mut().frame_max = suite.frame_max;
        let ports = vec![(OUTSIDE, MemPort::new("outside", 0, MAC, 16)), (INSIDE, inside)];
        let frames = Frames::in_memory(FRAMES, 2048).unwrap();
        let config = WorkerConfig { index: 0, workers: 1, seed: [0; 4] };
        Self { front: RuleSet::from(&rules), worker: Worker::new(config, frames, ports, shared) }
    }

    /// Lets one frame arrive.
    pub(crate) fn put(&mut self, frame: &[u8]) -> Outcome {
        if verdict(&self.front, frame) == Verdict::Kernel {
            return Outcome::Kernel;
        }
        let counts = |worker: &Worker<MemPort>| {
            let drops: Vec<u64> = Drop::all().map(|drop| worker.counters().dropped(drop)).collect();
            (drops, worker.counters().made.get())
        };
        let before = counts(&self.worker);
        let (memory, port) = self.worker.frames_and_port(usize::from(OUTSIDE)).unwrap();
        assert!(port.inject(memory, frame), "{} bytes did not go in", frame.len());
        self.worker.turn(NOW);
        self.worker.tick(NOW);
        let after = counts(&self.worker);
        let dropped =
            Drop::all().zip(before.0.iter().zip(&after.0)).find(|(_, (b, a))| a > b).map(|(d, _)| d.name());
        let mut sent = Vec::new();
        for port in [OUTSIDE, INSIDE] {
            let (memory, port) = self.worker.frames_and_port(usize::from(port)).unwrap();
            sent.extend(port.take_sent(memory));
        }
        assert!(sent.len() <= 1, "one frame became {}", sent.len());
        match (sent.pop(), dropped, after.1 - before.1) {
            (Some(frame), None, 0) => Outcome::Sent(frame),
            (None, Some(name), 0) => Outcome::Dropped(name),
            (Some(frame), Some(name), 1) => Outcome::Answered(name, frame),
            other => panic!("{other:?}"),
        }
    }
}

fn tables(suite: &Suite, set: &Set) -> Tables {
    let mut tables = Tables::empty(FrontHash::new(KEY));
    let delivery = Delivery::Tunnel(tunnel(suite, set.gue));
    let (mut servers, mut services) = (Vec::new(), Vec::new());
    let mut listen = ahash::AHashMap::new();
    for (slot, vip) in (0_u16..).zip(&set.vips) {
        let pool = Arc::new(pool(suite, &tables.hash, vip, slot, &mut servers));
        let id = ServiceId { slot, generation: 1 };
        listen.insert(vip.at, slot);
        services.push(Some(Arc::new(Service {
            id,
            name: format!("vip{slot}").into(),
            delivery: delivery.clone(),
            pool,
            on_no_server: OnNoServer::Drop,
            sorry: None,
            sticky: None,
            mss: None,
            own: None,
            profile: Profile::Lb,
        })));
    }
    tables.services = services.into();
    tables.servers = servers.into();
    tables.listen = Arc::new(listen);
    tables
}

/// A vip's servers, those that are up eligible. Servers of two vips are two servers, as in two pools.
fn pool(suite: &Suite, hash: &FrontHash, vip: &Vip, index: u16, servers: &mut Vec<Option<Server>>) -> Pool {
    let (mut ids, mut members) = (Vec::new(), Vec::new());
    for real in &vip.reals {
        let up = !vip.down.contains(real);
        if up {
            ids.push(ServerId(servers.len().try_into().unwrap()));
            members.push(Member { identity: hash.server(*real, 0), weight: 1 });
        }
        let name = format!("pool{index}/{real}").into();
        servers.push(Some(Server {
            name,
            ip: *real,
            port: 0,
            neighbour: ROUTER,
            down: !up,
            accepts: up,
            admits: up,
            ends: Ends::Keep,
        }));
    }
    Pool {
        index,
        name: format!("pool{index}").into(),
        chooser: Chooser::Maglev { table: Maglev::build(&members, suite.table_size), by: HashBy::FiveTuple },
        members: ids.into(),
        limits: ahash::AHashMap::default(),
        salt: 0,
        standing: ringlead_l4::tables::Standing::Whole,
    }
}

fn tunnel(suite: &Suite, gue: bool) -> Tunnel {
    if gue {
        return Tunnel {
            encapsulation: Encapsulation::Gue { variant: Variant::One, port: suite.gue_port },
            source_v4: Prefix::new(suite.gue_source_v4, 32).unwrap(),
            source_v6: Prefix::new(suite.gue_source_v6, 128).unwrap(),
        };
    }
    let [v4, v6] = IPIP_SOURCES.map(|(ip, bits)| {
        let ip: IpAddr = ip.parse().unwrap();
        Prefix::new(Ip::from(ip), bits).unwrap()
    });
    Tunnel { encapsulation: Encapsulation::Ipip, source_v4: v4, source_v6: v6 }
}
