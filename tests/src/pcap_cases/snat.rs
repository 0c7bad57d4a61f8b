//! snat: both ends translated, between the families too, and errors about either side's packets.
//!
//! Servers answer to an address and port that the worker chose. The seed of a replay is fixed, so they are written here:
//! another order of ports would be another fault than it looks like, replies without a flow.

use super::scene::{Case, Scene, payload};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;

const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;
const NEW: &str = "to server: * (snat) -> app/s1, new flow";
const IN: &str = "to server: * (snat) -> app/s1, flow";
const OUT: &str = "to client: * <- app/s1";

pub(super) fn cases() -> Vec<Case> {
    vec![
        both_ways("snat4", &CLIENT4, &SERVER4),
        both_ways("snat6", &CLIENT6, &SERVER6),
        both_ways("nat64", &CLIENT6, &SERVER4),
        both_ways("nat46", &CLIENT4, &SERVER6),
        exhausted(),
        any_port(),
    ]
}

/// The clients' side of one family.
#[derive(Clone, Copy)]
struct Outside {
    client: &'static str,
    stranger: &'static str,
    service: &'static str,
    router: &'static str,
}

/// The servers' side of one family.
#[derive(Clone, Copy)]
struct Inside {
    server: &'static str,
    /// What the server takes for the client: over TCP, then over UDP.
    mappings: [&'static str; 2],
    /// The next free one: nobody's.
    free: &'static str,
    router: &'static str,
}

const CLIENT4: Outside = Outside {
    client: "198.51.100.7:40000",
    stranger: "198.51.100.8:40000",
    service: "192.0.2.10:80",
    router: "203.0.113.1",
};
const CLIENT6: Outside = Outside {
    client: "[2001:db8:c::7]:40000",
    stranger: "[2001:db8:c::8]:40000",
    service: "[2001:db8::10]:80",
    router: "2001:db8:ffff::1",
};
const SERVER4: Inside = Inside {
    server: "10.0.0.11:8080",
    mappings: ["10.0.0.200:20861", "10.0.0.200:20582"],
    free: "10.0.0.200:20999",
    router: "10.0.0.254",
};
const SERVER6: Inside = Inside {
    server: "[2001:db8:1::11]:8080",
    mappings: ["[2001:db8:1::c8]:20861", "[2001:db8:1::c8]:20582"],
    free: "[2001:db8:1::c8]:20999",
    router: "2001:db8:1::fe",
};

/// Type and code, of this family, of "too big", "port unreachable", "time exceeded" and "host unreachable".
fn kinds(v4: bool) -> [(u8, u8); 4] {
    if v4 { [(3, 4), (3, 3), (11, 0), (3, 1)] } else { [(2, 0), (1, 4), (3, 0), (1, 3)] }
}

fn both_ways(name: &'static str, outside: &Outside, inside: &Inside) -> Case {
    let mut s = Scene::new(name);
    let (Outside { client, service, .. }, Inside { server, mappings: [tcp, udp], .. }) = (*outside, *inside);
    let mss = [2, 4, 0x05, 0xb4, 1, 3, 3, 7];
    let up = |seq, ack| Packet::tcp(client, service).seq(seq).ack(ack).tos(0xba);
    let down = |seq, ack| Packet::tcp(server, tcp).seq(seq).ack(ack).tos(0x29).ttl(63);
    s.wan(up(1000, 0).flags(SYN).tcp_options(&mss), NEW);
    s.lan(down(9000, 1001).flags(SYN | ACK).tcp_options(&mss), OUT);
    s.wan(up(1001, 9001).payload(b"GET / HTTP/1.1\r\nHost: example.net\r\n\r\n"), IN);
    s.lan(down(9001, 1038).payload(payload(1, 1239)), OUT); // an odd length
    s.lan(down(10_240, 1038).vlan(300).payload(b"a server's tags are not the client's"), OUT);
    s.wan(up(1038, 10_240).vlan(100).payload(b"the client moves to a VLAN"), IN);
    s.lan(down(10_276, 1064).payload(b"and is answered there"), OUT);

    let ask = Packet::udp(client, service);
    s.wan(ask.clone().tos(0xb9).payload(b"ask"), NEW);
    s.lan(Packet::udp(server, udp).payload(payload(2, 512)), OUT);
    s.wan(ask.clone().payload(b""), IN);
    let mut padded = ask.clone().payload(b"padded").build();
    padded.resize(padded.len() + 12, 0xee);
    if client.contains('.') {
        s.wan(ask.clone().no_checksum().payload(b"without a checksum"), IN);
        s.wan(ask.clone().dont_fragment(false).id(9).payload(b"may be fragmented"), IN);
    } else {
        s.wan(ask.clone().payload(payload(3, 1400)), IN); // in IPv4 it may not be fragmented
    }
    too_big_and_late(&mut s, outside, inside, &ask);
    s.wan(padded, IN);
    errors_from_outside(&mut s, outside);
    errors_from_inside(&mut s, outside, inside);

    // Who has not been spoken to is nobody: another port of ours, another server of the same address.
    let drop = "drop: server-without-flow";
    s.lan(Packet::tcp(server, inside.free), drop);
    s.lan(Packet::udp(server, tcp), drop);
    s.lan(Packet::tcp(server.replace("8080", "8081"), tcp), drop);
    s.end()
}

/// An IPv6 header is 20 bytes longer, which decides what fits.
fn too_big_and_late(s: &mut Scene, outside: &Outside, inside: &Inside, ask: &Packet) {
    let v4 = outside.client.contains('.');
    let to_v4 = inside.server.contains('.');
    let room = 1500 - if to_v4 { 28 } else { 48 };
    let own_room = 1500 - if v4 { 28 } else { 48 };
    s.wan(ask.clone().payload(payload(4, room.min(own_room))), IN);
    if room <= own_room {
        s.wan(ask.clone().payload(payload(5, room + 1)), "drop: too-big");
    }
    s.wan(ask.clone().ttl(2).payload(b"late"), IN);
    s.wan(ask.clone().ttl(1).payload(b"too late"), "drop: ttl-expired");
    s.lan(Packet::udp(inside.server, inside.mappings[1]).ttl(1).payload(b"too late"), "drop: ttl-expired");
}

/// By a router among the clients and by the client itself, about what the service sent.
fn errors_from_outside(s: &mut Scene, outside: &Outside) {
    let Outside { client, stranger, service, router } = *outside;
    let [(big, exactly), (closed, port), (late, transit), (nowhere, host)] = kinds(client.contains('.'));
    let at = addr(service);
    let page = Packet::tcp(service, client).seq(77).payload(payload(6, 400)).ip();
    s.wan(Packet::icmp_error(router, at, big, exactly, 1400, &page), IN);
    s.wan(Packet::icmp_error(router, at, late, transit, 0, &page), IN);
    s.wan(Packet::icmp_error(router, at, nowhere, host, 0, &page), IN);
    let answer = Packet::udp(service, client).payload(payload(7, 40)).ip();
    s.wan(Packet::icmp_error(addr(client), at, closed, port, 0, &answer), IN);
    let page = Packet::tcp(service, stranger).seq(77).payload(b"of nobody's flow").ip();
    s.wan(Packet::icmp_error(router, at, big, exactly, 1400, &page), "drop: icmp-without-flow");
}

/// By a router among the servers and by the server itself, about what the client sent.
fn errors_from_inside(s: &mut Scene, outside: &Outside, inside: &Inside) {
    let Inside { server, mappings: [tcp, udp], free, router } = *inside;
    let [(big, exactly), (closed, port), (late, transit), (nowhere, host)] = kinds(server.contains('.'));
    let at = addr(tcp);
    let upload = Packet::tcp(tcp, server).seq(81).payload(payload(8, 400)).ip();
    s.lan(Packet::icmp_error(router, at, big, exactly, 1400, &upload), OUT);
    s.lan(Packet::icmp_error(router, at, late, transit, 0, &upload), OUT);
    s.lan(Packet::icmp_error(router, at, nowhere, host, 0, &upload), OUT);
    // The shortest quote: an IP header and eight bytes (RFC 792).
    let shortest = if outside.client.contains('.') == server.contains('.') { 0 } else { 8 };
    let header = if server.contains('.') { 20 } else { 40 };
    s.lan(Packet::icmp_error(router, at, late, transit, 0, &upload[..header + 8 + shortest]), OUT);
    let ask = Packet::udp(udp, server).payload(b"ask").ip();
    s.lan(Packet::icmp_error(addr(server), at, closed, port, 0, &ask), OUT);
    let ask = Packet::udp(free, server).payload(b"of nobody's flow").ip();
    s.lan(Packet::icmp_error(addr(server), at, closed, port, 0, &ask), "drop: icmp-without-flow");
}

/// All ports of the only address have a flow to the only server.
fn exhausted() -> Case {
    let mut s = Scene::new("snat-exhausted");
    let syn = |client: u16, service: &str| {
        Packet::tcp(format!("198.51.100.7:{}", 40_000 + client), service).flags(SYN).seq(7)
    };
    for client in 0..64 {
        s.wan(syn(client, "192.0.2.10:80"), "to server: web (snat) -> app/s1, new flow");
    }
    s.wan(syn(64, "192.0.2.10:80"), "drop: snat-exhausted");
    s.wan(syn(64, "192.0.2.11:80"), "drop: snat-exhausted");
    s.wan(syn(0, "192.0.2.10:80"), "to server: web (snat) -> app/s1, flow");
    s.end()
}

/// Every port of an address, but for the one that another service has.
fn any_port() -> Case {
    let mut s = Scene::new("port-any-snat");
    let (client, client6) = ("198.51.100.7:40000", "[2001:db8:c::7]:40000");
    for port in [1, 22, 81, 65_535] {
        let new = "to server: any (snat) -> any/s1, new flow";
        s.wan(Packet::tcp(client, format!("192.0.2.10:{port}")).flags(SYN), new);
        s.wan(Packet::tcp(client, format!("192.0.2.11:{port}")).flags(SYN), new);
        let ask = Packet::udp(client, format!("192.0.2.10:{port}")).payload(b"ask");
        s.wan(ask, "to server: any-udp (snat) -> any/s1, new flow");
        let new = "to server: any6 (snat) -> any6/s1, new flow";
        s.wan(Packet::tcp(client6, format!("[2001:db8::10]:{port}")).flags(SYN), new);
    }
    s.wan(Packet::tcp(client, "192.0.2.10:80").flags(SYN), "to server: web (nat) -> web/s1, new flow");
    s.wan(Packet::tcp(client6, "[2001:db8::10]:80").flags(SYN), "to server: web6 (dsr) -> web6/s1, new flow");
    // UDP's port 80 is nobody else's. Of the servers' own connections none is taken.
    let ask = Packet::udp(client, "192.0.2.10:80").payload(b"ask");
    s.wan(ask, "to server: any-udp (snat) -> any/s1, new flow");
    s.lan(Packet::tcp("10.0.0.11:22", client), "kernel: not ours");
    s.lan(Packet::udp("10.0.0.11:5353", "203.0.113.9:53").payload(b"ask"), "kernel: not ours");
    s.lan(Packet::tcp("10.0.0.11:40000", "10.0.0.200:19999").flags(SYN), "kernel: not ours");
    // The answer of port 22 comes from it.
    let answer = Packet::tcp("10.0.0.11:22", "10.0.0.200:20775").flags(SYN | ACK);
    s.lan(answer, "to client: any <- any/s1");
    s.end()
}

/// The address of `address:port` alone.
fn addr(endpoint: &str) -> &str {
    endpoint.rsplit_once(':').map_or(endpoint, |(ip, _)| ip.trim_matches(['[', ']']))
}
