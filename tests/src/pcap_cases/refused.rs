//! What is not forwarded, each by its name: the kernel's, fragments, strangers, dying packets.

use super::scene::{Case, Scene, payload};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::{Packet, arp_request};

const SYN: u8 = TcpFlags::SYN;
const KERNEL: &str = "kernel: not ours";

pub(super) fn cases() -> Vec<Case> {
    vec![not_ours(), fragments(), server_without_flow(), ttl_expired()]
}

/// What the steering program would leave to the kernel: all but the services' own.
fn not_ours() -> Case {
    let mut s = Scene::new("not-ours");
    let client = "198.51.100.7:40000";
    s.wan(arp_request("198.51.100.7", "192.0.2.10"), KERNEL);
    s.wan(Packet::icmp_echo("198.51.100.7", "192.0.2.10"), KERNEL);
    s.wan(Packet::tcp(client, "192.0.2.10:22").flags(SYN), KERNEL); // the service's address, another port
    s.wan(Packet::udp(client, "192.0.2.10:80"), KERNEL); // another protocol
    s.wan(Packet::tcp(client, "192.0.2.99:80").flags(SYN), KERNEL); // another address
    s.wan(Packet::raw("198.51.100.7", "192.0.2.10", 132).payload([0; 16]), KERNEL); // SCTP
    s.wan(Packet::icmp_echo("2001:db8:c::7", "2001:db8::10"), KERNEL);
    s.wan(Packet::tcp("[2001:db8:c::7]:40000", "[2001:db8::10]:80").flags(SYN), KERNEL); // no service of IPv6
    s.wan(Packet::tcp(client, "192.0.2.10:80").flags(SYN), "to server: web (nat) -> web/s1, new flow");
    s.lan(Packet::tcp("10.0.0.11:22", client), KERNEL); // the server's, of another port
    s.lan(Packet::tcp("10.0.0.99:8080", client), KERNEL); // no server
    s.wan(
        Packet::tcp("198.51.100.7:40001", "192.0.2.10:80").flags(SYN).vlan(100),
        "to server: web (nat) -> web/s1, new flow",
    );
    s.end()
}

/// Pieces of datagrams to a service or from a nat server, which this version does not put together.
fn fragments() -> Case {
    let mut s = Scene::new("fragments");
    let drop = "drop: fragment";
    let (client, client6) = ("198.51.100.7:1024", "[2001:db8:c::7]:1024");
    for piece in Packet::udp(client, "192.0.2.53:53").id(1).payload(payload(1, 1000)).fragments(400) {
        s.wan(piece, drop);
    }
    for piece in Packet::udp(client6, "[2001:db8::53]:53").id(2).payload(payload(2, 1000)).fragments(400) {
        s.wan(piece, drop);
    }
    for piece in Packet::udp("10.0.0.11:5353", client).id(3).payload(payload(3, 500)).fragments(400) {
        s.lan(piece, drop);
    }
    // Later pieces have no port: all of the address and protocol is ours. No service, no business.
    s.wan(Packet::udp(client, "192.0.2.53:999").id(4).fragment(80, true).payload([0; 64]), drop);
    s.wan(Packet::tcp(client, "192.0.2.53:53").id(5).fragment(80, true).payload([0; 64]), KERNEL);
    s.wan(Packet::udp(client, "192.0.2.99:53").id(6).fragment(0, true).payload([0; 64]), KERNEL);
    s.wan(Packet::udp(client, "192.0.2.53:53").payload(b"whole"), "to server: dns (nat) -> dns/s1, new flow");
    s.end()
}

/// A nat server speaks first, or after its flow has ended.
fn server_without_flow() -> Case {
    let mut s = Scene::new("server-without-flow");
    let drop = "drop: server-without-flow";
    let (client, server) = ("198.51.100.7:40000", "10.0.0.11:8080");
    s.lan(Packet::tcp(server, client), drop);
    s.lan(Packet::tcp(server, client).flags(SYN), drop);
    s.wan(Packet::tcp(client, "192.0.2.10:80").flags(SYN), "to server: web (nat) -> web/s1, new flow");
    s.lan(Packet::tcp(server, client).flags(SYN | TcpFlags::ACK), "to client: web <- web/s1");
    s.lan(Packet::tcp(server, "198.51.100.7:40001"), drop); // another client's port
    s.lan(Packet::tcp("10.0.0.12:8080", client), drop); // another service's server
    s.end()
}

/// nat routes, and a router lets a packet with TTL 1 die (RFC 1812 section 5.3.1); dsr does not.
fn ttl_expired() -> Case {
    let mut s = Scene::new("ttl-expired");
    let (client, server) = ("198.51.100.7:1024", "10.0.0.11:5353");
    let (client6, server6) = ("[2001:db8:c::7]:1024", "[2001:db8:1::11]:5353");
    let drop = "drop: ttl-expired";
    let ask = |ttl| Packet::udp(client, "192.0.2.53:53").ttl(ttl).payload(b"ask");
    let ask6 = |ttl| Packet::udp(client6, "[2001:db8::53]:53").ttl(ttl).payload(b"ask");
    s.wan(ask(2), "to server: nat4 (nat) -> nat4/s1, new flow");
    s.wan(ask(1), drop);
    s.wan(ask(0), drop);
    s.wan(ask(255), "to server: nat4 (nat) -> nat4/s1, flow");
    s.lan(Packet::udp(server, client).ttl(2), "to client: nat4 <- nat4/s1");
    s.lan(Packet::udp(server, client).ttl(1), drop);
    s.wan(ask6(2), "to server: nat6 (nat) -> nat6/s1, new flow");
    s.wan(ask6(1), drop);
    s.lan(Packet::udp(server6, client6).ttl(1), drop);
    s.lan(Packet::udp(server6, client6).ttl(255), "to client: nat6 <- nat6/s1");
    for ttl in [0, 1, 2] {
        let ask = Packet::udp(format!("198.51.100.8:{}", 1024 + u16::from(ttl)), "192.0.2.20:53");
        s.wan(ask.ttl(ttl), "to server: dsr (dsr) -> dsr/s1, new flow");
    }
    s.end()
}
