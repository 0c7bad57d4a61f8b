//! ICMP errors: they follow the flow of the packet that they are about (RFC 5508 section 4).

use super::scene::{Case, Scene, payload};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;

const SYN: u8 = TcpFlags::SYN;

pub(super) fn cases() -> Vec<Case> {
    vec![too_big(&V4), too_big(&V6)]
}

/// The ends of one family.
struct Ends {
    name: &'static str,
    client: &'static str,
    nat: &'static str,
    dsr: &'static str,
    server: &'static str,
    /// A router among the clients, one among the servers.
    routers: [&'static str; 2],
    /// Type and code of "too big", and of "port unreachable".
    kinds: [(u8, u8); 2],
    /// The shortest quote: the IP header and eight bytes (RFC 792).
    quote_len: usize,
}

const V4: Ends = Ends {
    name: "icmp-too-big4",
    client: "198.51.100.7:40000",
    nat: "192.0.2.10:80",
    dsr: "192.0.2.20:80",
    server: "10.0.0.11:8080",
    routers: ["203.0.113.1", "10.0.0.254"],
    kinds: [(3, 4), (3, 3)],
    quote_len: 28,
};

const V6: Ends = Ends {
    name: "icmp-too-big6",
    client: "[2001:db8:c::7]:40000",
    nat: "[2001:db8::10]:80",
    dsr: "[2001:db8::20]:80",
    server: "[2001:db8:1::11]:8080",
    routers: ["2001:db8:ffff::1", "2001:db8:1::fe"],
    kinds: [(2, 0), (1, 4)],
    quote_len: 48,
};

/// Path MTU discovery through nat and dsr, from both sides.
fn too_big(ends: &Ends) -> Case {
    let Ends { client, nat, dsr, server, routers: [outside, inside], .. } = *ends;
    let [(kind, code), (unreachable, port)] = ends.kinds;
    let error = |from: &str, to: &str, quote: &[u8]| {
        let to = to.rsplit_once(':').map_or(to, |(ip, _)| ip).trim_matches(['[', ']']);
        Packet::icmp_error(from, to, kind, code, 1280, quote)
    };
    let mut s = Scene::new(ends.name);
    s.wan(Packet::tcp(client, nat).flags(SYN), "to server: nat-tcp (nat) -> nat/s1, new flow");
    s.wan(Packet::udp(client, nat).payload(b"ask"), "to server: nat-udp (nat) -> nat/s1, new flow");
    s.wan(Packet::tcp(client, dsr).flags(SYN), "to server: dsr-tcp (dsr) -> *, new flow");

    // From the clients' side, about what the service sent.
    let page = Packet::tcp(nat, client).seq(77).payload(payload(1, 400)).ip();
    s.wan(error(outside, nat, &page), "to server: nat-tcp (nat) -> nat/s1, flow");
    s.wan(error(outside, nat, &page[..ends.quote_len]), "to server: nat-tcp (nat) -> nat/s1, flow");
    let answer = Packet::udp(nat, client).payload(payload(2, 400)).ip();
    s.wan(error(outside, nat, &answer), "to server: nat-udp (nat) -> nat/s1, flow");
    let page = Packet::tcp(dsr, client).seq(78).payload(payload(3, 400)).ip();
    s.wan(error(outside, dsr, &page), "to server: dsr-tcp (dsr) -> *, flow");
    let stranger = client.replace("40000", "40001");
    let page = Packet::tcp(dsr, &stranger).seq(79).payload(b"of a flow not seen here").ip();
    s.wan(error(outside, dsr, &page), "to server: computed, without a flow");
    let page = Packet::tcp(nat, &stranger).seq(80).payload(b"of a flow not seen here").ip();
    s.wan(error(outside, nat, &page), "drop: icmp-without-flow");

    // From the servers' side, about what the client sent: by a router, and by the server itself.
    let upload = Packet::tcp(client, server).seq(81).payload(payload(4, 400)).ip();
    s.lan(error(inside, client, &upload), "to client: nat-tcp <- nat/s1");
    s.lan(error(inside, client, &upload[..ends.quote_len]), "to client: nat-tcp <- nat/s1");
    let ask = Packet::udp(client, server).payload(b"ask").ip();
    let (alone, to) = (addr(server), addr(client));
    s.lan(Packet::icmp_error(alone, to, unreachable, port, 0, &ask), "to client: nat-udp <- nat/s1");
    let ask = Packet::udp(&stranger, server).payload(b"ask").ip();
    s.lan(Packet::icmp_error(alone, to, unreachable, port, 0, &ask), "drop: icmp-without-flow");
    s.wan(Packet::icmp_echo(addr(client), addr(nat)), "kernel: not ours");
    s.end()
}

/// The address of `address:port` alone.
fn addr(endpoint: &str) -> &str {
    endpoint.rsplit_once(':').map_or(endpoint, |(ip, _)| ip.trim_matches(['[', ']']))
}
