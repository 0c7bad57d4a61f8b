//! tunnel: whole packets inside others, each family in each, and what does not fit.

use super::scene::{Case, Scene, payload};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;

const SYN: u8 = TcpFlags::SYN;
const NEW: &str = "to server: * (tunnel) -> *, new flow";
const IN: &str = "to server: * (tunnel) -> *, flow";

pub(super) fn cases() -> Vec<Case> {
    // Bytes in front of the inner packet where the outer one is of IPv4.
    vec![carries("tunnel-ipip", 20), carries("tunnel-gue1", 28), carries("tunnel-gue0", 32)]
}

/// Each family to servers of each.
fn carries(name: &'static str, overhead_v4: usize) -> Case {
    let mut s = Scene::new(name);
    let (client4, client6) = ("198.51.100.7:40000", "[2001:db8:c::7]:40000");
    for (client, service, outer) in [
        (client4, "192.0.2.10:80", overhead_v4),
        (client4, "192.0.2.20:80", overhead_v4 + 20),
        (client6, "[2001:db8::10]:80", overhead_v4),
        (client6, "[2001:db8::20]:80", overhead_v4 + 20),
    ] {
        one_pair(&mut s, client, service, 1500 - outer);
    }
    s.end()
}

/// One client and one service; the longest packet that fits into the tunnel.
fn one_pair(s: &mut Scene, client: &str, service: &str, fits: usize) {
    let v4 = service.contains('.');
    s.wan(Packet::tcp(client, service).flags(SYN), NEW);
    // Every ECN mark under an expedited DSCP, congestion experienced among them (RFC 6040 §4.1); TTL 1 is not routed here.
    for mark in 0..4 {
        let segment = Packet::tcp(client, service).tos(0xb8 | mark).ttl(1 + mark);
        s.wan(segment.payload(payload(mark, 99)), IN);
    }
    // The outer header is where the tags were.
    s.wan(Packet::tcp(client, service).vlan(0x6064).payload(b"tagged"), IN);
    s.wan(Packet::tcp(client, service).vlan_of_type(0x88a8, 200).vlan(5).payload(b"tagged twice"), IN);
    let mut padded = Packet::tcp(client, service).build();
    padded.resize(padded.len() + 8, 0xee);
    s.wan(padded, IN);

    let ask = Packet::udp(client, service);
    s.wan(ask.clone().payload(b"ask"), NEW);
    if v4 {
        s.wan(ask.clone().dont_fragment(false).id(77).payload(b"may be fragmented"), IN);
        s.wan(ask.clone().no_checksum().ip_options(&[1, 148, 4, 0, 0]).payload(b"options"), IN);
    } else {
        s.wan(ask.clone().hop_by_hop().destination_options().payload(b"extension headers"), IN);
    }
    let room = fits - if v4 { 28 } else { 48 };
    s.wan(ask.clone().payload(payload(5, room)), IN);
    s.wan(ask.clone().payload(payload(6, room + 1)), "drop: too-big");
    s.wan(ask.dont_fragment(false).payload(payload(7, room + 1)), "drop: too-big");

    // A router on the answers' way to the client knows only the service: the error follows the flow to the server.
    let (router, at, kind, code) = if v4 {
        ("203.0.113.1", service.trim_end_matches(":80"), 3, 4)
    } else {
        ("2001:db8:ffff::1", service.trim_start_matches('[').trim_end_matches("]:80"), 2, 0)
    };
    let page = Packet::tcp(service, client).seq(77).payload(payload(8, 400)).ip();
    s.wan(Packet::icmp_error(router, at, kind, code, 1280, &page), IN);
    let answer = Packet::udp(service, client).payload(payload(9, 400)).ip();
    s.wan(Packet::icmp_error(router, at, kind, code, 1280, &answer), IN);
}
