//! Plain forwarding: dsr and nat, TCP and UDP, IPv4 and IPv6.

use super::scene::{Case, Scene, payload};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;

const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;
const FIN: u8 = TcpFlags::FIN;
const RST: u8 = TcpFlags::RST;
const PSH: u8 = 0x08;
/// Expedited forwarding and ECT(0): both must survive.
const TOS: u8 = 0xba;

pub(super) fn cases() -> Vec<Case> {
    vec![
        dsr_udp("dsr-udp4", "192.0.2.53:53", ["198.51.100.7", "198.51.100.8"]),
        dsr_udp("dsr-udp6", "[2001:db8::53]:53", ["2001:db8:c::7", "2001:db8:c::8"]),
        nat_tcp("nat-tcp4", "192.0.2.10:80", "10.0.0.11:8080", "198.51.100.7:40000"),
        nat_tcp("nat-tcp6", "[2001:db8::10]:80", "[2001:db8:1::11]:8080", "[2001:db8:c::7]:40000"),
        nat_udp4(),
        nat_udp6(),
        port_any(),
        partial_checksum(),
    ]
}

/// The packet is not touched, a client keeps its server, and what the server answers does not pass here.
fn dsr_udp(name: &'static str, service: &str, clients: [&str; 2]) -> Case {
    let mut s = Scene::new(name);
    for (number, client) in (0..).zip(clients) {
        let endpoint = |port: u16| match client.contains(':') {
            true => format!("[{client}]:{port}"),
            false => format!("{client}:{port}"),
        };
        for port in [1024, 40_000, 65_535] {
            let ask = Packet::udp(endpoint(port), service).tos(TOS);
            s.wan(ask.clone().payload(payload(number, 29)), "to server: dns (dsr) -> *, new flow");
            s.wan(ask.clone().payload(payload(number + 2, 1)), "to server: dns (dsr) -> *, flow");
            s.wan(ask.payload(b"").ttl(1), "to server: dns (dsr) -> *, flow");
        }
        let largest = if client.contains(':') { 1452 } else { 1472 };
        let full = Packet::udp(endpoint(1024), service).payload(payload(number, largest));
        s.wan(full, "to server: dns (dsr) -> *, flow");
    }
    s.end()
}

/// A whole connection, SYN to the last ACK, then its address reused, and a reset.
fn nat_tcp(name: &'static str, service: &str, server: &str, client: &str) -> Case {
    const IN: &str = "to server: web (nat) -> web/s1, flow";
    const OUT: &str = "to client: web <- web/s1";
    let mss = [2, 4, 0x05, 0xb4, 1, 3, 3, 7]; // MSS 1460, window scale 7
    let up = |seq, ack| Packet::tcp(client, service).seq(seq).ack(ack).tos(TOS);
    let down = |seq, ack| Packet::tcp(server, client).seq(seq).ack(ack).ttl(63);
    let mut s = Scene::new(name);
    s.wan(up(1000, 0).flags(SYN).tcp_options(&mss), "to server: web (nat) -> web/s1, new flow");
    s.lan(down(9000, 1001).flags(SYN | ACK).tcp_options(&mss), OUT);
    s.wan(up(1001, 9001), IN);
    s.wan(up(1001, 9001).flags(ACK | PSH).payload(b"GET / HTTP/1.1\r\nHost: example.net\r\n\r\n"), IN);
    s.lan(down(9001, 1038), OUT);
    s.lan(down(9001, 1038).payload(payload(1, 1400)), OUT);
    s.lan(down(10_401, 1038).flags(ACK | PSH).payload(payload(2, 333)), OUT); // an odd length
    s.wan(up(1038, 10_734), IN);
    s.lan(down(10_734, 1038).flags(FIN | ACK), OUT);
    s.wan(up(1038, 10_735), IN);
    s.wan(up(1038, 10_735).flags(FIN | ACK), IN);
    s.lan(down(10_735, 1039), OUT);
    // RFC 9293 section 3.6.1: the address pair opens again, and is then reset by the server.
    s.at_ms(1000).wan(up(70_000, 0).flags(SYN), IN);
    s.lan(down(0, 70_001).flags(RST | ACK), OUT);
    // A second client.
    let other = if client.contains('.') { "198.51.100.8:40000" } else { "[2001:db8:c::8]:40000" };
    s.wan(Packet::tcp(other, service).flags(SYN).seq(5), "to server: web (nat) -> web/s1, new flow");
    s.lan(Packet::tcp(server, other).flags(SYN | ACK).seq(6).ack(6), OUT);
    s.end()
}

/// Three servers, replies of each, and what the wire may look like: no checksum, IP options, Ethernet padding.
fn nat_udp4() -> Case {
    const IN: &str = "to server: dns (nat) -> dns/s1, flow";
    const OUT: &str = "to client: dns <- dns/s1";
    let (service, s1) = ("192.0.2.53:53", "10.0.0.11:5353");
    let mut s = Scene::new("nat-udp4");
    // Which server a client gets is the hash's choice, the same on every machine: its key is in the file.
    for (client, server, new, out) in [
        ("198.51.100.7:1024", s1, "to server: dns (nat) -> dns/s1, new flow", OUT),
        ("198.51.100.7:1029", S2, "to server: dns (nat) -> dns/s2, new flow", "to client: dns <- dns/s2"),
        ("198.51.100.7:1026", S3, "to server: dns (nat) -> dns/s3, new flow", "to client: dns <- dns/s3"),
    ] {
        s.wan(Packet::udp(client, service).tos(TOS).id(77).dont_fragment(false).payload(b"ask"), new);
        s.lan(Packet::udp(server, client).tos(0x28).id(78).payload(payload(3, 512)), out);
    }
    let ask = Packet::udp("198.51.100.7:1024", service);
    s.wan(ask.clone().no_checksum().payload(b"without a checksum"), IN);
    s.wan(ask.clone().payload(b""), IN);
    s.wan(ask.clone().ip_options(&[1, 148, 4, 0, 0]).payload(b"NOP and router alert"), IN);
    let mut padded = ask.payload(b"short").build();
    padded.resize(60, 0xee);
    s.wan(padded, IN);
    s.lan(Packet::udp(s1, "198.51.100.7:1024").no_checksum().payload(b"neither here"), OUT);
    s.end()
}

/// The other servers of nat-udp4.
const S2: &str = "10.0.0.12:5353";
const S3: &str = "10.0.0.13:5353";

/// As nat-udp4, with extension headers in the place of options; an atomic fragment is whole (RFC 6946).
fn nat_udp6() -> Case {
    const NEW: &str = "to server: dns (nat) -> dns/s1, new flow";
    const IN: &str = "to server: dns (nat) -> dns/s1, flow";
    const OUT: &str = "to client: dns <- dns/s1";
    let (client, service, server) = ("[2001:db8:c::7]:1024", "[2001:db8::53]:53", "[2001:db8:1::11]:5353");
    let ask = Packet::udp(client, service).tos(TOS);
    let mut s = Scene::new("nat-udp6");
    s.wan(ask.clone().payload(b"ask"), NEW);
    s.lan(Packet::udp(server, client).payload(payload(3, 512)), OUT);
    s.wan(ask.clone().payload(b""), IN);
    s.wan(ask.clone().hop_by_hop().destination_options().payload(b"two extension headers"), IN);
    s.wan(ask.clone().routing(0).payload(b"a routing header that is done"), IN);
    s.wan(ask.id(9).fragment(0, false).payload(b"an atomic fragment"), IN);
    s.lan(Packet::udp(server, client).hop_by_hop().payload(b"answer"), OUT);
    s.end()
}

/// One dsr service on every TCP port of an address; UDP there is nobody's.
fn port_any() -> Case {
    const NEW: &str = "to server: all (dsr) -> *, new flow";
    let address = "192.0.2.10";
    let mut s = Scene::new("port-any");
    for port in [1, 22, 80, 65_535] {
        let syn = Packet::tcp("198.51.100.7:40000", format!("{address}:{port}")).flags(SYN);
        s.wan(syn.clone(), NEW);
        s.wan(syn.flags(ACK).payload(b"data"), "to server: all (dsr) -> *, flow");
    }
    s.wan(Packet::udp("198.51.100.7:40000", "192.0.2.10:80").payload(b"udp"), "kernel: not ours");
    s.wan(Packet::tcp("198.51.100.7:40000", "192.0.2.11:80").flags(SYN), "kernel: not ours");
    s.end()
}

/// A port whose frames may carry the checksum that a local sender left to its hardware.
fn partial_checksum() -> Case {
    let mut s = Scene::new("partial-checksum");
    let ends = [
        ("198.51.100.7:40000", "192.0.2.10:80", "192.0.2.10:81"),
        ("[2001:db8:c::7]:40000", "[2001:db8::10]:80", "[2001:db8::10]:81"),
    ];
    for (client, nat, dsr) in ends {
        let syn = |to: &str| Packet::tcp(client, to).flags(SYN).tcp_options(&[2, 4, 5, 0xb4]);
        s.wan(syn(nat).partial_checksum(), "to server: nat-tcp* (nat) -> nat*/s1, new flow");
        s.wan(syn(dsr).partial_checksum(), "to server: dsr-tcp* (dsr) -> dsr*/s1, new flow");
        let ask = |to: &str| Packet::udp(client, to).payload(payload(4, 601));
        s.wan(ask(nat).partial_checksum(), "to server: nat-udp* (nat) -> nat*/s1, new flow");
        s.wan(ask(dsr).partial_checksum(), "to server: dsr-udp* (dsr) -> dsr*/s1, new flow");
        s.wan(syn(nat), "to server: nat-tcp* (nat) -> nat*/s1, flow");
        s.wan(ask(dsr), "to server: dsr-udp* (dsr) -> dsr*/s1, flow");
    }
    let none = Packet::udp("198.51.100.7:40000", "192.0.2.10:80").no_checksum().payload(b"none");
    s.wan(none, "to server: nat-udp* (nat) -> nat*/s1, flow");
    s.end()
}
