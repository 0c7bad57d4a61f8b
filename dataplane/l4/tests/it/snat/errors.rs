//! ICMP errors in both directions: who gets one must find its own packet in it.

use super::{CLIENT4, CLIENT6, OURS4, RANGE, SNAT4, SNAT6, begin, rig_of};
use crate::rig::*;
use ringlead_l4::drops::Reason;
use ringlead_l4::tables::OnNoServer;
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;
use std::net::SocketAddr;

/// A flow and everybody around it.
struct Scene {
    rig: Rig,
    client: SocketAddr,
    service: SocketAddr,
    mapping: SocketAddr,
    server: SocketAddr,
    index: usize,
    router: &'static str,
    tcp: bool,
}

impl Scene {
    fn new(v6: bool, tcp: bool) -> Self {
        let (mut rig, _) = rig_of(&Plan::default(), RANGE);
        let (client, service) = if v6 { (CLIENT6, SNAT6) } else { (CLIENT4, SNAT4) };
        let packet = if tcp {
            Packet::tcp(client, service).flags(TcpFlags::SYN)
        } else {
            Packet::udp(client, service)
        };
        let (mapping, index) = begin(&mut rig, &from_client(packet));
        Self {
            rig,
            client: client.parse().unwrap(),
            service: service.parse().unwrap(),
            mapping,
            server: server_address(index, v6).parse().unwrap(),
            index,
            router: if v6 { "2001:db8:f::1" } else { "203.0.113.1" },
            tcp,
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|(v6, tcp)| Self::new(v6, tcp))
            .into_iter()
    }

    /// "Too big" about a packet, quoted whole with all its checksums.
    fn error(&self, from: &str, to: SocketAddr, quoted: (SocketAddr, SocketAddr)) -> Packet {
        let (src, dst) = quoted;
        let packet = if self.tcp { Packet::tcp(src, dst) } else { Packet::udp(src, dst) };
        let quoted = packet.payload([9; 101]).ttl(7).ip();
        let (kind, code) = if src.is_ipv4() { (3, 4) } else { (2, 0) };
        Packet::icmp_error(from, to.ip(), kind, code, 1280, &quoted)
    }
}

#[test]
fn rfc5508_r4_an_error_about_our_packet_reaches_the_client_as_about_its_own() {
    for mut scene in Scene::all() {
        let (router, server, service) = (scene.router, scene.server.ip().to_string(), scene.service.ip());
        for (from, told_by) in [(router, router.to_owned()), (&server, service.to_string())] {
            let error = scene.error(from, scene.mapping, (scene.mapping, scene.server));
            let out = scene.rig.one(LAN, &from_server(scene.index, error.ttl(64)));
            let told = scene.error(&told_by, scene.client, (scene.client, scene.service));
            assert_eq!(
                out,
                (WAN, told.mac(WAN_MAC, CLIENT_MAC).ttl(63).build()),
                "{} from {from}",
                scene.client
            );
        }
    }
}

#[test]
fn rfc5508_r5_an_error_about_an_answer_reaches_the_server_as_about_its_own() {
    for mut scene in Scene::all() {
        let (router, client, ours) = (scene.router, scene.client.ip().to_string(), scene.mapping.ip());
        for (from, told_by) in [(router, router.to_owned()), (&client, ours.to_string())] {
            let error = scene.error(from, scene.service, (scene.service, scene.client));
            let out = scene.rig.one(WAN, &from_client(error.ttl(64)));
            let told = scene.error(&told_by, scene.server, (scene.server, scene.mapping));
            let expected = told.mac(LAN_MAC, server_mac(scene.index)).ttl(63).build();
            assert_eq!(out, (LAN, expected), "{} from {from}", scene.client);
        }
    }
}

#[test]
fn rfc4787_r12_errors_neither_end_nor_refresh_a_flow() {
    let mut scene = Scene::new(false, false);
    let reply = from_server(scene.index, Packet::udp(scene.server, scene.mapping));
    let errors = |scene: &mut Scene| {
        for (kind, code) in (0..16).map(|code| (3, code)).chain([(11, 0), (12, 0)]) {
            let quoted = Packet::udp(scene.mapping, scene.server).ip();
            let packet = Packet::icmp_error(scene.router, OURS4, kind, code, 0, &quoted);
            scene.rig.one(LAN, &from_server(scene.index, packet));
            let quoted = Packet::udp(scene.service, scene.client).ip();
            let packet = Packet::icmp_error(scene.router, scene.service.ip(), kind, code, 0, &quoted);
            scene.rig.one(WAN, &from_client(packet));
        }
    };
    scene.rig.now += 200 * SECOND;
    errors(&mut scene);
    scene.rig.now += 99 * SECOND;
    assert_eq!(scene.rig.one(LAN, &reply).0, WAN, "the flow lives");
    scene.rig.now += 290 * SECOND;
    errors(&mut scene);
    scene.rig.now += 20 * SECOND;
    scene.rig.dropped(LAN, reply.build(), Reason::ServerWithoutFlow);
}

#[test]
fn an_error_about_nobodys_packet_makes_no_flow_and_is_not_answered() {
    let plan = Plan { on_no_server: OnNoServer::Unreachable, ..Plan::default() };
    let (mut rig, ports) = rig_of(&plan, RANGE);
    let ours = format!("{OURS4}:20100");
    let about_ours = Packet::udp(&ours, server_address(0, false)).ip();
    let about_answer = Packet::udp(SNAT4, CLIENT4).ip();
    for (port, to, quoted) in [(LAN, OURS4, about_ours), (WAN, "192.0.2.5", about_answer)] {
        let error = Packet::icmp_error("203.0.113.1", to, 3, 1, 0, &quoted);
        rig.dropped(port, error.build(), Reason::IcmpWithoutFlow);
    }
    assert_eq!(
        (rig.counters().flows_created.get(), rig.counters().made.get(), ports.usage().udp.used),
        (0, 0, 0)
    );
}
