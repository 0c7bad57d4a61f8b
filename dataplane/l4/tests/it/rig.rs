//! A worker on two in-memory ports, its tables, and what came of each frame.

use ringlead_flow::snat::SnatPool;
use ringlead_flow::{FlowTable, Profile, ServerId, Sizes};
use ringlead_io::{Frames, MemPort};
use ringlead_l4::counters::Counters;
use ringlead_l4::drops::{Drop, OF_SERVICE, Reason};
use ringlead_l4::neighbours::{NeighbourId, NextHop};
use ringlead_l4::tables::{
    Chooser, Delivery, Ends, OnNoServer, Pool, Prefix, Server, Service, ServiceId, Standing, Tables, Tunnel,
};
use ringlead_l4::{Shared, Worker, WorkerConfig};
use ringlead_pick::{FrontHash, HashBy, Maglev, Member, RoundRobin, Sticky};
use ringlead_wire::build::Packet;
use ringlead_wire::tunnel::Encapsulation;
use ringlead_wire::{Endpoint, Ip, Protocol, Vid};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub(crate) const WAN: usize = 0;
pub(crate) const LAN: usize = 1;
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xc1];
pub(crate) const WAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xa0];
pub(crate) const LAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xa1];
pub(crate) const SECOND: u64 = 1_000_000_000;
const FRAMES: u32 = 1024;

/// What to build. Servers are `10.2.0.11`… or `fd02::11`…, on port 8080 for nat.
pub(crate) struct Plan {
    pub(crate) servers: usize,
    pub(crate) round_robin: bool,
    pub(crate) on_no_server: OnNoServer,
    pub(crate) flows_max: usize,
    pub(crate) workers: usize,
    pub(crate) encapsulation: Encapsulation,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            servers: 3,
            round_robin: false,
            on_no_server: OnNoServer::Drop,
            flows_max: 4096,
            workers: 1,
            encapsulation: Encapsulation::Ipip,
        }
    }
}

/// The rig: time stands still until a test moves it.
pub(crate) struct Rig {
    pub(crate) worker: Worker<MemPort>,
    pub(crate) shared: Shared,
    pub(crate) now: u64,
}

/// nat on 192.0.2.1:80 and [2001:db8::1]:80, dsr on 192.0.2.2:80 and [2001:db8::2]:80, each for TCP and UDP.
pub(crate) const NAT4: &str = "192.0.2.1:80";
pub(crate) const NAT6: &str = "[2001:db8::1]:80";
pub(crate) const DSR4: &str = "192.0.2.2:80";
pub(crate) const DSR6: &str = "[2001:db8::2]:80";
/// tunnel: the service's family, then its servers'.
pub(crate) const TUNNEL44: &str = "192.0.2.3:80";
pub(crate) const TUNNEL46: &str = "192.0.2.4:80";
pub(crate) const TUNNEL64: &str = "[2001:db8::3]:80";
pub(crate) const TUNNEL66: &str = "[2001:db8::4]:80";

impl Rig {
    pub(crate) fn new(plan: &Plan) -> Self {
        let sizes = Sizes { flows_max: plan.flows_max, workers: plan.workers, seed: [1, 2, 3, 4] };
        let flows = Arc::new(FlowTable::new(&sizes).unwrap());
        let shared = Shared::new(tables(plan, 1), flows, 64, 64, plan.workers);
        let rig = Self { worker: worker(&shared, plan, 0), shared, now: 10 * SECOND };
        for server in 0..plan.servers {
            rig.resolve(server);
        }
        rig
    }

    /// Lets the next hop of server `index` (both families) be known, untagged.
    pub(crate) fn resolve(&self, index: usize) {
        self.resolve_in(index, None);
    }

    /// The same in a VLAN, or in none.
    pub(crate) fn resolve_in(&self, index: usize, vlan: Option<Vid>) {
        for family in 0..2 {
            let hop = NextHop { port: LAN as u8, vlan, mac: server_mac(index) };
            self.shared.neighbours.set(NeighbourId((index * 2 + family) as u32), Some(hop));
        }
    }

    /// Lets frames arrive on a port, turns once and returns what was sent: (port, frame).
    pub(crate) fn send(&mut self, port: usize, frames: &[Vec<u8>]) -> Vec<(usize, Vec<u8>)> {
        for frame in frames {
            let (memory, port) = self.worker.frames_and_port(port).unwrap();
            assert!(port.inject(memory, frame));
        }
        self.turn()
    }

    pub(crate) fn turn(&mut self) -> Vec<(usize, Vec<u8>)> {
        self.worker.turn(self.now);
        self.sent()
    }

    pub(crate) fn tick(&mut self) -> Vec<(usize, Vec<u8>)> {
        self.worker.tick(self.now);
        self.sent()
    }

    fn sent(&mut self) -> Vec<(usize, Vec<u8>)> {
        let mut all = Vec::new();
        for port in [WAN, LAN] {
            let (memory, driver) = self.worker.frames_and_port(port).unwrap();
            all.extend(driver.take_sent(memory).into_iter().map(|frame| (port, frame)));
        }
        all
    }

    /// One frame in, exactly one out.
    pub(crate) fn one(&mut self, port: usize, packet: &Packet) -> (usize, Vec<u8>) {
        let mut sent = self.send(port, &[packet.build()]);
        assert_eq!(sent.len(), 1, "drops: {:?}", self.drops());
        sent.remove(0)
    }

    /// One frame in, none out, dropped for this reason.
    pub(crate) fn dropped(&mut self, port: usize, frame: Vec<u8>, reason: impl Into<Drop>) {
        let reason = reason.into();
        let before = self.counters().dropped(reason);
        let sent = self.send(port, &[frame]);
        assert_eq!(
            (sent.len(), self.counters().dropped(reason)),
            (0, before + 1),
            "drops: {:?}",
            self.drops()
        );
    }

    /// One IPv4 frame in, an ICMP error about it out by the same port, the frame itself dropped for this reason; returns
    /// the error from its ICMP header on.
    pub(crate) fn told(&mut self, port: usize, packet: &Packet, reason: impl Into<Drop>) -> Vec<u8> {
        let (reason, made) = (reason.into(), self.counters().made.get());
        let before = self.counters().dropped(reason);
        let (back, answer) = self.one(port, packet);
        let after = (self.counters().dropped(reason), self.counters().made.get());
        assert_eq!((back, after), (port, (before + 1, made + 1)), "drops: {:?}", self.drops());
        let asked = packet.build();
        assert_eq!((&answer[..6], &answer[6..12]), (&asked[6..12], &asked[..6]), "back where it came from");
        assert_eq!(answer[30..34], asked[26..30], "to its sender");
        answer[34..].to_vec()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters[0]
    }

    pub(crate) fn drops(&self) -> Vec<(&'static str, u64)> {
        Drop::all().map(|d| (d.name(), self.counters().dropped(d))).filter(|(_, n)| *n > 0).collect()
    }

    /// The same of those that were counted for a service.
    pub(crate) fn drops_of_services(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counters().services_dropped();
        let named = OF_SERVICE.iter().map(|reason| Drop::from(*reason)).zip(counts);
        let mut named: Vec<_> = named.filter(|(_, n)| *n > 0).collect();
        named.sort_by_key(|(reason, _)| reason.index());
        named.into_iter().map(|(reason, n)| (reason.name(), n)).collect()
    }

    pub(crate) fn drops_of(&self, reason: Reason) -> u64 {
        self.counters().dropped(reason.into())
    }

    /// Publishes another snapshot.
    pub(crate) fn publish(&self, tables: Tables) {
        self.shared.tables.store(Arc::new(tables));
    }
}

impl std::ops::Drop for Rig {
    /// No test may lose a frame.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.worker.finish();
        self.sent();
        let c = self.counters();
        let dropped: u64 = Drop::all().map(|reason| c.dropped(reason)).sum();
        assert_eq!(c.received.get() + c.made.get(), c.sent.get() + dropped + c.held.get(), "a miscount");
        assert_eq!(self.worker.frames().free_count(), FRAMES as usize, "frames were lost");
    }
}

pub(crate) fn worker(shared: &Shared, plan: &Plan, index: usize) -> Worker<MemPort> {
    let frames = Frames::in_memory(FRAMES, 2048).unwrap();
    let ports = vec![
        (WAN as u8, MemPort::new("wan", index as u32, WAN_MAC, 256)),
        (LAN as u8, MemPort::new("lan", index as u32, LAN_MAC, 256)),
    ];
    Worker::new(
        WorkerConfig { index, workers: plan.workers, seed: [index as u64; 4] },
        frames,
        ports,
        shared.clone(),
    )
}

pub(crate) fn server_mac(index: usize) -> [u8; 6] {
    [2, 0, 0, 0, 1, index as u8]
}

/// Which server a frame was sent to.
pub(crate) fn server_of(frame: &[u8]) -> usize {
    assert_eq!(frame[..5], server_mac(0)[..5], "not a server's MAC");
    usize::from(frame[5])
}

/// The plan's tables.
pub(crate) fn tables(plan: &Plan, epoch: u64) -> Tables {
    let all: Vec<usize> = (0..plan.servers).collect();
    tables_with(plan, epoch, &all)
}

/// The plan's tables with only these servers up; the others stay known, but down.
pub(crate) fn tables_with(plan: &Plan, epoch: u64, up: &[usize]) -> Tables {
    let hash = FrontHash::new([7; 16]);
    let mut servers = Vec::new();
    for index in 0..plan.servers {
        for (family, address) in
            [format!("10.2.0.{}", 11 + index), format!("fd02::{}", 11 + index)].iter().enumerate()
        {
            servers.push(Some(Server {
                name: format!("pool/s{index}").into(),
                ip: Ip::from(address.parse::<IpAddr>().unwrap()),
                port: 8080,
                neighbour: NeighbourId((index * 2 + family) as u32),
                down: !up.contains(&index),
                accepts: up.contains(&index),
                admits: up.contains(&index),
                ends: Ends::Keep,
            }));
        }
    }
    let mut services = Vec::new();
    let mut listen = ahash::AHashMap::new();
    let mut nat_servers = ahash::AHashMap::new();
    let tunnel = Delivery::Tunnel(tunnel(plan));
    for (delivery, address, family) in [
        (Delivery::Nat, NAT4, 0),
        (Delivery::Nat, NAT6, 1),
        (Delivery::Dsr, DSR4, 0),
        (Delivery::Dsr, DSR6, 1),
        (tunnel.clone(), TUNNEL44, 0),
        (tunnel.clone(), TUNNEL46, 1),
        (tunnel.clone(), TUNNEL64, 0),
        (tunnel, TUNNEL66, 1),
    ] {
        let address: SocketAddr = address.parse().unwrap();
        let members: Vec<usize> = up.iter().map(|index| index * 2 + family).collect();
        let pool = Arc::new(pool(plan, &members));
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let id = ServiceId { slot: services.len() as u16, generation: 3 };
            services.push(Some(Arc::new(Service {
                id,
                name: format!("{}-{protocol}", delivery.mode().name()).into(),
                delivery: delivery.clone(),
                pool: Arc::clone(&pool),
                on_no_server: plan.on_no_server,
                sorry: None,
                sticky: None,
                mss: None,
                own: None,
                profile: Profile::Lb,
            })));
            listen.insert(Endpoint { ip: address.ip().into(), port: address.port(), protocol }, id.slot);
            if delivery.is_two_sided() {
                for server in servers.iter().skip(family).step_by(2).flatten() {
                    nat_servers.insert(Endpoint { ip: server.ip, port: server.port, protocol }, ());
                }
            }
        }
    }
    Tables {
        epoch,
        services: services.into(),
        servers: servers.into(),
        listen: Arc::new(listen),
        nat_servers: Arc::new(nat_servers),
        ..Tables::empty(hash)
    }
}

/// Where outer packets come from.
pub(crate) const OUTER4: [u8; 2] = [172, 16];
pub(crate) const OUTER6: &str = "100::";

fn tunnel(plan: &Plan) -> Tunnel {
    let prefix = |ip: IpAddr, bits| Prefix::new(ip.into(), bits).unwrap();
    Tunnel {
        encapsulation: plan.encapsulation,
        source_v4: prefix([172, 16, 0, 0].into(), 16),
        source_v6: prefix(OUTER6.parse().unwrap(), 64),
    }
}

fn pool(plan: &Plan, members: &[usize]) -> Pool {
    let chooser = if plan.round_robin {
        Chooser::RoundRobin(RoundRobin::new(&vec![1; members.len()]))
    } else {
        let members: Vec<Member> =
            members.iter().map(|&m| Member { identity: m as u64 * 977, weight: 1 }).collect();
        Chooser::Maglev { table: Maglev::build(&members, 251), by: HashBy::FiveTuple }
    };
    Pool {
        index: 0,
        name: "pool".into(),
        chooser,
        members: members.iter().map(|&m| ServerId(m as u32)).collect(),
        limits: ahash::AHashMap::default(),
        salt: 0,
        standing: Standing::Whole,
    }
}

/// A client's packet as it arrives on the wan port.
pub(crate) fn from_client(packet: Packet) -> Packet {
    packet.mac(CLIENT_MAC, WAN_MAC)
}

/// A server's packet as it arrives on the lan port.
pub(crate) fn from_server(index: usize, packet: Packet) -> Packet {
    packet.mac(server_mac(index), LAN_MAC)
}

/// The address of server `index`, with its port.
pub(crate) fn server_address(index: usize, v6: bool) -> String {
    if v6 { format!("[fd02::{}]:8080", 11 + index) } else { format!("10.2.0.{}:8080", 11 + index) }
}

/// One more service of a rig, for TCP and UDP alike.
pub(crate) struct Extra {
    pub(crate) at: &'static str,
    pub(crate) delivery: Delivery,
    pub(crate) pool: Arc<Pool>,
    pub(crate) on_no_server: OnNoServer,
    pub(crate) sorry: Option<Arc<Pool>>,
    pub(crate) sticky: Option<Arc<Sticky>>,
    pub(crate) mss: Option<u16>,
    pub(crate) own: Option<ServerId>,
}

impl Extra {
    /// A service without anything special.
    pub(crate) fn new(at: &'static str, delivery: Delivery, pool: Pool) -> Self {
        let on_no_server = OnNoServer::Drop;
        let pool = Arc::new(pool);
        Self { at, delivery, pool, on_no_server, sorry: None, sticky: None, mss: None, own: None }
    }
}

/// The tables with more services; the same ones get the same ids in every snapshot.
pub(crate) fn with_extras(mut tables: Tables, extras: &[Extra]) -> Tables {
    let mut services = tables.services.slots().to_vec();
    let mut listen = (*tables.listen).clone();
    for extra in extras {
        let at: SocketAddr = extra.at.parse().unwrap();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let id = ServiceId { slot: services.len() as u16, generation: 1 };
            services.push(Some(Arc::new(Service {
                id,
                name: format!("{}-{protocol}", extra.at).into(),
                delivery: extra.delivery.clone(),
                pool: Arc::clone(&extra.pool),
                on_no_server: extra.on_no_server,
                sorry: extra.sorry.clone(),
                sticky: extra.sticky.clone(),
                mss: extra.mss,
                own: extra.own,
                profile: Profile::Lb,
            })));
            listen.insert(Endpoint { ip: at.ip().into(), port: at.port(), protocol }, id.slot);
        }
    }
    tables.services = services.into();
    tables.listen = Arc::new(listen);
    tables
}

/// The tables with a pool of source ports at these addresses.
pub(crate) fn with_ports(mut tables: Tables, ports: &Arc<SnatPool>, addresses: &[Ip]) -> Tables {
    tables.snat = Arc::new(addresses.iter().map(|ip| (*ip, Arc::clone(ports))).collect());
    tables.snat_pools = Arc::from([Arc::clone(ports)]);
    tables
}

/// A pool of these servers of the plan, of one family, without limits; the chooser counts them in this order.
pub(crate) fn pool_of(index: u16, chooser: Chooser, servers: &[usize], v6: bool) -> Pool {
    Pool {
        index,
        name: "extra".into(),
        chooser,
        members: servers.iter().map(|&server| server_id(server, v6)).collect(),
        limits: ahash::AHashMap::default(),
        salt: u32::from(index),
        standing: Standing::Whole,
    }
}

/// The id of server `index` of a family.
pub(crate) fn server_id(index: usize, v6: bool) -> ServerId {
    ServerId((index * 2 + usize::from(v6)) as u32)
}

/// Lets frames arrive at any worker, turns it until all have been looked at, and returns what was sent.
pub(crate) fn through(
    worker: &mut Worker<MemPort>,
    now: u64,
    port: usize,
    frames: &[Vec<u8>],
) -> Vec<(usize, Vec<u8>)> {
    for frame in frames {
        let (memory, driver) = worker.frames_and_port(port).unwrap();
        assert!(driver.inject(memory, frame));
    }
    while worker.turn(now) > 0 {}
    let mut all = Vec::new();
    for port in [WAN, LAN] {
        let (memory, driver) = worker.frames_and_port(port).unwrap();
        all.extend(driver.take_sent(memory).into_iter().map(|frame| (port, frame)));
    }
    all
}

/// Source and destination of a TCP or UDP packet in a frame, as etherparse reads it.
pub(crate) fn ends(frame: &[u8]) -> (SocketAddr, SocketAddr) {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let (src, dst): (IpAddr, IpAddr) = match packet.net.unwrap() {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Arp(_) => panic!("no IP packet"),
    };
    let (sport, dport) = match packet.transport {
        Some(TransportSlice::Tcp(tcp)) => (tcp.source_port(), tcp.destination_port()),
        Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port()),
        Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_)) | None => {
            panic!("neither TCP nor UDP")
        }
    };
    ((src, sport).into(), (dst, dport).into())
}
