//! What is said about packets that cannot go on: to whom, what exactly, how often, and about what never.

use crate::rig::*;
use ringlead_flow::snat::{PortSpace, SnatPool};
use ringlead_io::{Frames, MemPort};
use ringlead_l4::drops::Reason;
use ringlead_l4::tables::{Chooser, Delivery, OnNoServer};
use ringlead_l4::{Worker, WorkerConfig};
use ringlead_pick::RoundRobin;
use ringlead_wire::Ip;
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

const SNAT4: &str = "192.0.2.5:80";
const SNAT6: &str = "[2001:db8::5]:80";
const OURS4: &str = "10.2.0.250";
const OURS6: &str = "fd02::250";
/// Of the clients' side, where it is the narrower one.
const MTU: usize = 1400;

/// A flow, seen from its server.
struct Scene {
    rig: Rig,
    name: &'static str,
    server: SocketAddr,
    /// What the server answers to: the client, or an address and port of ours.
    peer: SocketAddr,
    service: SocketAddr,
    index: usize,
}

impl Scene {
    /// With a flow of the service at `at`, whose clients' side lets through no more than [`MTU`].
    fn new(name: &'static str, at: &str) -> Self {
        let mut rig = Rig::new(&Plan::default());
        let ours = [OURS4, OURS6].map(|ip| Ip::from(ip.parse::<IpAddr>().unwrap()));
        let spaces = ours.iter().map(|ip| Arc::new(PortSpace::new(*ip))).collect();
        let ports = Arc::new(SnatPool::new(spaces, 20_032..=21_055, 1).unwrap());
        let extras = [(SNAT4, false), (SNAT6, true)].map(|(at, v6)| {
            let chooser = Chooser::RoundRobin(RoundRobin::new(&[1; 3]));
            Extra::new(at, Delivery::Snat(Arc::clone(&ports)), pool_of(1, chooser, &[0, 1, 2], v6))
        });
        rig.publish(with_ports(with_extras(tables(&Plan::default(), 2), &extras), &ports, &ours));
        let mut wan = MemPort::new("wan", 0, WAN_MAC, 256);
        wan.caps_mut().frame_max = MTU + 14;
        let ports = vec![(WAN as u8, wan), (LAN as u8, MemPort::new("lan", 0, LAN_MAC, 256))];
        let config = WorkerConfig { index: 0, workers: 1, seed: [1; 4] };
        let frames = Frames::in_memory(1024, 2048).unwrap();
        rig.worker = Worker::new(config, frames, ports, rig.shared.clone());

        let service: SocketAddr = at.parse().unwrap();
        let client = if service.is_ipv4() { "198.51.100.7:40000" } else { "[2001:db8:c::7]:40000" };
        let (_, frame) = rig.one(WAN, &from_client(Packet::udp(client, at)));
        let (peer, server) = ends(&frame);
        Self { name, server, peer, service, index: server_of(&frame), rig }
    }

    fn all() -> [Self; 4] {
        [("nat", NAT4), ("nat", NAT6), ("snat", SNAT4), ("snat", SNAT6)].map(|(name, at)| Self::new(name, at))
    }

    /// A datagram of the server's of that many bytes from its IP header on.
    fn reply(&self, len: usize) -> Packet {
        let headers = if self.server.is_ipv4() { 28 } else { 48 };
        from_server(self.index, Packet::udp(self.server, self.peer).payload(vec![7; len - headers]))
    }

    /// The error that the server is to get about a packet of its own.
    fn told(&self, about: &Packet, v4: (u8, u8), v6: (u8, u8), rest: u32) -> Vec<u8> {
        let is_v4 = self.server.is_ipv4();
        let (kind, code) = if is_v4 { v4 } else { v6 };
        let quoted = about.ip();
        // What every host takes: 576 bytes in all, or 1280 (RFC 1812 §4.3.2.3, RFC 4443 §2.4 c).
        let quoted = &quoted[..quoted.len().min(if is_v4 { 548 } else { 1232 })];
        let error = Packet::icmp_error(self.service.ip(), self.server.ip(), kind, code, rest, quoted);
        error.tos(if is_v4 { 0xc0 } else { 0 }).mac(LAN_MAC, server_mac(self.index)).build()
    }
}

#[test]
fn rfc1191_rfc8201_a_server_is_told_what_fits_on_the_way_to_the_client() {
    for mut scene in Scene::all() {
        let (name, fits, long) = (scene.name, scene.reply(MTU), scene.reply(MTU + 1));
        assert_eq!(scene.rig.one(LAN, &fits).0, WAN, "{name}: just fits");
        let told = scene.told(&long, (3, 4), (2, 0), MTU as u32);
        assert_eq!(scene.rig.one(LAN, &long), (LAN, told), "{name} {}", scene.service);
        assert_eq!((scene.rig.drops_of(Reason::TooBig), scene.rig.counters().made.get()), (1, 1));
    }
}

#[test]
fn rfc1812_rfc4443_a_server_is_told_that_its_packet_came_too_far() {
    for mut scene in Scene::all() {
        let late = scene.reply(100).ttl(1);
        let told = scene.told(&late, (11, 0), (3, 0), 0);
        assert_eq!(scene.rig.one(LAN, &late), (LAN, told), "{} {}", scene.name, scene.service);
        assert_eq!((scene.rig.drops_of(Reason::TtlExpired), scene.rig.counters().made.get()), (1, 1));
    }
}

#[test]
fn rfc1812_rfc4443_servers_are_told_no_more_than_sixteen_times_a_tick() {
    for mut scene in Scene::all() {
        let flood = vec![scene.reply(100).ttl(1).build(); 40];
        for _ in 0..2 {
            assert_eq!(scene.rig.send(LAN, &flood).len(), 16, "{}", scene.name);
            assert_eq!(
                scene.rig.send(LAN, &flood).len(),
                0,
                "{}: nothing is left for later bursts",
                scene.name
            );
            scene.rig.tick();
        }
        assert_eq!((scene.rig.drops_of(Reason::TtlExpired), scene.rig.counters().made.get()), (160, 32));
    }
}

#[test]
fn rfc1122_rfc4443_nothing_is_ever_said_about_an_error() {
    for mut scene in Scene::all() {
        let v4 = scene.server.is_ipv4();
        let (kind, code) = if v4 { (3, 3) } else { (1, 4) };
        let error = |quoted: (SocketAddr, SocketAddr), from: SocketAddr, payload: usize| {
            let (src, dst) = quoted;
            let quoted = Packet::udp(src, dst).payload(vec![9; payload]).ip();
            Packet::icmp_error(from.ip(), src.ip(), kind, code, 0, &quoted)
        };
        // A server's, too far travelled and too long for the clients' side; and a client's.
        let about = (scene.peer, scene.server);
        let late = from_server(scene.index, error(about, scene.server, 8).ttl(1));
        scene.rig.dropped(LAN, late.build(), Reason::TtlExpired);
        let long = from_server(scene.index, error(about, scene.server, MTU));
        scene.rig.dropped(LAN, long.build(), Reason::TooBig);
        let client: SocketAddr =
            if v4 { "198.51.100.7:40000" } else { "[2001:db8:c::7]:40000" }.parse().unwrap();
        let late = from_client(error((scene.service, client), client, 8).ttl(1));
        scene.rig.dropped(WAN, late.build(), Reason::TtlExpired);
        assert_eq!(scene.rig.counters().made.get(), 0, "{}", scene.name);
    }
}

#[test]
fn rfc792_rfc4443_a_client_without_a_server_is_told_that_the_host_is_unreachable() {
    let plan = Plan { on_no_server: OnNoServer::Unreachable, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    rig.publish(tables_with(&plan, 2, &[]));
    for (client, service) in [
        ("198.51.100.7:40000", NAT4),
        ("198.51.100.7:40000", DSR4),
        ("198.51.100.7:40000", TUNNEL46),
        ("[2001:db8:c::7]:40000", NAT6),
        ("[2001:db8:c::7]:40000", TUNNEL64),
    ] {
        let (from, to): (SocketAddr, SocketAddr) = (service.parse().unwrap(), client.parse().unwrap());
        let (kind, code, tos) = if to.is_ipv4() { (3, 1, 0xc0) } else { (1, 3, 0) };
        for packet in [Packet::tcp(client, service).flags(TcpFlags::SYN), Packet::udp(client, service)] {
            let packet = from_client(packet.payload(b"hello").vlan(7));
            let told = Packet::icmp_error(from.ip(), to.ip(), kind, code, 0, &packet.ip());
            let expected = told.tos(tos).mac(WAN_MAC, CLIENT_MAC).vlan(7).build();
            assert_eq!(rig.one(WAN, &packet), (WAN, expected), "{service}");
        }
    }
    assert_eq!((rig.drops_of(Reason::NoServer), rig.counters().made.get()), (10, 10));
    // Sixteen a tick, and none about errors.
    rig.tick();
    let flood = |kind: fn(&str) -> Packet| -> Vec<_> {
        (0..40).map(|n| from_client(kind(&format!("198.51.100.9:{}", 2000 + n))).build()).collect()
    };
    assert_eq!(rig.send(WAN, &flood(|from| Packet::udp(from, NAT4))).len(), 16);
    assert_eq!(rig.send(WAN, &flood(|from| Packet::tcp(from, DSR4).flags(TcpFlags::SYN))).len(), 0);
    rig.tick();
    assert_eq!(rig.send(WAN, &flood(|from| Packet::tcp(from, DSR4).flags(TcpFlags::SYN))).len(), 16);
    rig.tick();
    for service in [NAT4, DSR4, TUNNEL44] {
        let quoted = Packet::udp(service, "198.51.100.7:40000").ip();
        let to = service.trim_end_matches(":80");
        let error = from_client(Packet::icmp_error("203.0.113.1", to, 3, 4, 1400, &quoted));
        rig.dropped(WAN, error.build(), Reason::IcmpWithoutFlow);
    }
}
