//! What stands in front of the IP header: VLAN tags and Ethernet addresses.

use super::scene::{Case, ROUTER, Scene};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;

pub(super) fn cases() -> Vec<Case> {
    vec![vlan(), vlan_servers(), neighbours_file(), too_big()]
}

/// EtherType of an outer tag (IEEE 802.1ad).
const OUTER: u16 = 0x88a8;

/// Servers are reached untagged, replies carry the tags of the client's last packet.
fn vlan() -> Case {
    const NEW: &str = "to server: dns (nat) -> dns/s1, new flow";
    const OUT: &str = "to client: dns <- dns/s1";
    let mut s = Scene::new("vlan");
    let (service, server) = ("192.0.2.53:53", "10.0.0.11:5353");
    let reply = |client: &str| Packet::udp(server, client).payload(b"answer");
    let ask = |client: &str| Packet::udp(client, service).payload(b"ask");
    let (one, two) = ("198.51.100.7:1024", "198.51.100.8:1024");
    s.wan(ask(one).vlan(0x6064), NEW); // priority 3, VLAN 100
    s.lan(reply(one), OUT);
    s.wan(ask(two).vlan_of_type(OUTER, 200).vlan(5), NEW);
    s.lan(reply(two), OUT);
    // Both clients move: to another VLAN and router, and to none.
    s.client_mac = [0x02, 0xc1, 0, 0, 0, 0x02];
    s.wan(ask(one).vlan(101), "to server: dns (nat) -> dns/s1, flow");
    s.lan(reply(one), OUT);
    s.client_mac = ROUTER;
    s.wan(ask(two), "to server: dns (nat) -> dns/s1, flow");
    s.lan(reply(two), OUT);
    // A server's own tags mean nothing to the client.
    s.lan(reply(one).vlan(300), OUT);

    let (client6, server6) = ("[2001:db8:c::7]:1024", "[2001:db8:1::11]:5353");
    let ask6 = Packet::udp(client6, "[2001:db8::53]:53").vlan(100).payload(b"ask");
    s.wan(ask6, "to server: dns6 (nat) -> dns6/s1, new flow");
    s.lan(Packet::udp(server6, client6).payload(b"answer"), "to client: dns6 <- dns6/s1");
    let syn = Packet::tcp(one, "192.0.2.20:80").flags(TcpFlags::SYN).vlan_of_type(OUTER, 200).vlan(5);
    s.wan(syn, "to server: web (dsr) -> *, new flow");
    s.end()
}

/// Servers in VLANs: each frame towards them has their tag alone, whatever tags the client's has; their replies come tagged.
fn vlan_servers() -> Case {
    let mut s = Scene::new("vlan-servers");
    let (client, service, server) = ("198.51.100.7:1024", "192.0.2.53:53", "10.0.0.11:5353");
    let ask = || Packet::udp(client, service).payload(b"ask");
    let reply = || Packet::udp(server, client).payload(b"answer").vlan(20);
    let known = "to server: dns (nat) -> dns/s1, flow";
    s.wan(ask(), "to server: dns (nat) -> dns/s1, new flow");
    s.lan(reply(), "to client: dns <- dns/s1");
    s.wan(ask().vlan(0x6064), known); // priority 3, VLAN 100: the server's tag has priority 0
    s.lan(reply(), "to client: dns <- dns/s1");
    s.wan(ask().vlan_of_type(OUTER, 200).vlan(5), known);
    s.lan(reply().payload(b"longer answer"), "to client: dns <- dns/s1");
    s.wan(ask().vlan(20), known); // the very VLAN of the server
    // The MTU is the IP packet's: a tag takes nothing of it.
    s.wan(ask().payload(vec![b'a'; 1472]), known);
    s.wan(ask().payload(vec![b'a'; 1473]), "drop: too-big");
    s.lan(Packet::udp(server, client).payload(vec![b'b'; 1473]).vlan(20), "drop: too-big");
    s.lan(reply().ttl(1), "drop: ttl-expired");

    let (client6, server6) = ("[2001:db8:c::7]:1024", "[2001:db8:1::12]:5353");
    let ask6 = Packet::udp(client6, "[2001:db8::53]:53").vlan(100).payload(b"ask");
    s.wan(ask6, "to server: dns6 (nat) -> dns6/s2, new flow");
    s.lan(Packet::udp(server6, client6).payload(b"answer").vlan(4094), "to client: dns6 <- dns6/s2");

    let syn = |client: &str, service: &str| Packet::tcp(client, service).flags(TcpFlags::SYN);
    s.wan(syn(client, "192.0.2.20:80").vlan(100), "to server: web (dsr) -> web/s2, new flow");
    s.wan(syn(client6, "[2001:db8::20]:80"), "to server: web6 (dsr) -> web6/s1, new flow");
    s.wan(syn(client, "192.0.2.21:80").vlan(100), "to server: old (dsr) -> old/s3, new flow");
    s.end()
}

/// Next hops' Ethernet addresses from a file; who is not in it has the made-up one.
fn neighbours_file() -> Case {
    let mut s = Scene::new("neighbours-file");
    for (service, name) in [
        ("192.0.2.10:1", "to server: one (dsr) -> one/s1, new flow"),
        ("192.0.2.10:2", "to server: two (dsr) -> two/s2, new flow"),
        ("[2001:db8::10]:1", "to server: six (dsr) -> six/s1, new flow"),
    ] {
        let client = if service.contains('[') { "[2001:db8:c::7]:1024" } else { "198.51.100.7:1024" };
        s.wan(Packet::udp(client, service).payload(b"ask"), name);
    }
    s.end()
}

/// Ethernet's MTU: one byte more is dropped by name, tags do not count, and what no frame holds is never received.
fn too_big() -> Case {
    let mut s = Scene::new("too-big");
    let ask = |len: usize| Packet::udp("198.51.100.7:1024", "192.0.2.53:53").payload(vec![b'a'; len]);
    s.wan(ask(1472), "to server: dns (nat) -> dns/s1, new flow");
    s.wan(ask(1473), "drop: too-big");
    s.wan(ask(1472).vlan(100), "to server: dns (nat) -> dns/s1, flow");
    let answer = |len: usize| Packet::udp("10.0.0.11:5353", "198.51.100.7:1024").payload(vec![b'b'; len]);
    s.lan(answer(1472), "to client: dns <- dns/s1"); // tagged on its way out: 1518 bytes
    s.lan(answer(1473), "drop: too-big");
    // As a local capture shows segments before the network card cuts them.
    s.wan(ask(9000), "not replayed: 9042 bytes, a frame holds 1792");
    s.end()
}
