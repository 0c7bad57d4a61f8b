//! Who gets a new flow where more than a hash decides: loads, limits, backups, persistence, sorry pools.

use super::scene::{Case, Scene};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;

const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;
const NEW: &str = "to server: * (*) -> *, new flow";

pub(super) fn cases() -> Vec<Case> {
    vec![
        loads("least-flows", 24),
        loads("random-2", 200),
        hash_src(),
        persistence(),
        max_flows(),
        backup(),
        no_server_icmp(),
        sorry(),
        mss_clamp(),
    ]
}

fn syn(client: &str, service: &str) -> Packet {
    Packet::tcp(client, service).flags(SYN).seq(7)
}

/// Many flows that all stay.
fn loads(name: &'static str, flows: u16) -> Case {
    let mut s = Scene::new(name);
    for flow in 0..flows {
        s.wan(
            syn(&format!("198.51.100.7:{}", 40_000 + flow), "192.0.2.10:80"),
            "to server: web (nat) -> web/*, new flow",
        );
    }
    s.wan(Packet::tcp("198.51.100.7:60000", "192.0.2.10:80").payload(b"whose?"), "drop: unknown-flow");
    s.end()
}

/// `hash = "src"` and `"src+dport"`: twenty clients with four ports each.
fn hash_src() -> Case {
    let mut s = Scene::new("hash-src");
    for client in 1..=20 {
        for port in 40_000..40_004 {
            let client = format!("198.51.100.{client}:{port}");
            s.wan(syn(&client, "192.0.2.10:80"), "to server: tcp (nat) -> web/*, new flow");
            s.wan(
                Packet::udp(&client, "192.0.2.10:80").payload(b"ask"),
                "to server: udp (nat) -> web/*, new flow",
            );
            s.wan(syn(&client, "192.0.2.20:80"), "to server: by-port (nat) -> ports/*, new flow");
        }
    }
    s.end()
}

/// A /24 or /56 has one server for ten seconds since its last new flow; then it is its turn again.
fn persistence() -> Case {
    let mut s = Scene::new("persistence");
    let first = |n: u8| format!("198.51.{n}.7:40000");
    // Turns would give 1, 2, 3, 1, and begin with 2 in the other family; coming back does not take one.
    s.wan(syn(&first(1), "192.0.2.10:80"), "to server: web (nat) -> web/s1, new flow");
    s.wan(syn("198.51.1.200:40000", "192.0.2.10:80"), "to server: web (nat) -> web/s1, new flow");
    s.wan(syn(&first(2), "192.0.2.10:80"), "to server: web (nat) -> web/s2, new flow");
    s.wan(syn("198.51.1.9:41000", "192.0.2.10:80"), "to server: web (nat) -> web/s1, new flow");
    s.wan(syn("[2001:db8:c:1::7]:40000", "[2001:db8::10]:80"), "to server: web6 (nat) -> web6/s2, new flow");
    s.wan(syn("[2001:db8:c:ff::8]:40000", "[2001:db8::10]:80"), "to server: web6 (nat) -> web6/s2, new flow");
    s.wan(
        syn("[2001:db8:c:100::7]:40000", "[2001:db8::10]:80"),
        "to server: web6 (nat) -> web6/s3, new flow",
    );
    // Nine seconds later it is still known, and so nine more; then forgotten, and the turn is the third server's.
    s.at_ms(9_000).wan(syn("198.51.1.7:42000", "192.0.2.10:80"), "to server: web (nat) -> web/s1, new flow");
    s.at_ms(18_000).wan(syn("198.51.1.7:43000", "192.0.2.10:80"), "to server: web (nat) -> web/s1, new flow");
    s.at_ms(29_500).wan(syn("198.51.1.7:44000", "192.0.2.10:80"), "to server: web (nat) -> web/s3, new flow");
    s.end()
}

/// Room for five flows; the first ends by its timer, and one more fits.
fn max_flows() -> Case {
    let mut s = Scene::new("max-flows");
    let client = |port: u16| format!("198.51.100.7:{port}");
    for port in 40_000..40_005 {
        s.wan(syn(&client(port), "192.0.2.10:80"), "to server: web (nat) -> web/*, new flow");
    }
    s.wan(syn(&client(40_005), "192.0.2.10:80"), "drop: answered");
    s.wan(syn(&client(40_000), "192.0.2.10:80"), "to server: web (nat) -> web/*, flow"); // established ones go on
    // All but two have ended of silence (opening: 5 s).
    for port in [40_001, 40_002] {
        s.at_ms(4_000 + u64::from(port - 40_000));
        s.wan(syn(&client(port), "192.0.2.10:80"), "to server: web (nat) -> web/*, flow");
    }
    s.at_ms(8_000);
    for port in 41_000..41_003 {
        s.wan(syn(&client(port), "192.0.2.10:80"), "to server: web (nat) -> web/*, new flow");
    }
    s.wan(syn(&client(41_003), "192.0.2.10:80"), "drop: answered");
    s.end()
}

/// One server is ready, one drains, one is a backup.
fn backup() -> Case {
    let mut s = Scene::new("backup");
    for port in 40_000..40_006 {
        let client = format!("198.51.100.7:{port}");
        s.wan(syn(&client, "192.0.2.10:80"), "to server: one (dsr) -> one/s1, new flow");
        s.wan(syn(&client, "192.0.2.11:80"), "to server: two (dsr) -> two/*, new flow");
    }
    s.end()
}

/// `icmp-unreachable`; never about an error, nor about a reset.
fn no_server_icmp() -> Case {
    let mut s = Scene::new("no-server-icmp");
    let drop = "drop: no-server";
    for (client, service) in
        [("198.51.100.7:40000", "192.0.2.10:80"), ("[2001:db8:c::7]:40000", "[2001:db8::10]:80")]
    {
        s.wan(syn(client, service), drop);
        s.wan(syn(client, service).vlan(100), drop);
        s.wan(Packet::udp(client, service).payload(b"ask"), drop);
        s.wan(Packet::tcp(client, service).flags(TcpFlags::RST), drop);
    }
    s.end()
}

/// Nobody is ready, nobody has room, and nobody in the sorry pool either.
fn sorry() -> Case {
    let mut s = Scene::new("sorry");
    let client = |port: u16| format!("198.51.100.7:{port}");
    s.wan(syn(&client(40_000), "192.0.2.10:80"), "to server: web (nat) -> sorry/s1, new flow");
    s.lan(Packet::tcp("10.0.0.99:8080", client(40_000)).flags(SYN | ACK), "to client: web <- sorry/s1");
    s.wan(syn(&client(40_001), "192.0.2.11:80"), "to server: full (nat) -> small/s1, new flow");
    s.wan(syn(&client(40_002), "192.0.2.11:80"), "to server: full (nat) -> sorry/s1, new flow");
    s.wan(syn(&client(40_003), "192.0.2.12:80"), "to server: nobody (nat) -> small2/s1, new flow");
    s.wan(syn(&client(40_004), "192.0.2.12:80"), "drop: answered");
    s.end()
}

/// Offers above 1300 are lowered, those below and all other packets are left alone; options of every alignment.
fn mss_clamp() -> Case {
    let mut s = Scene::new("mss-clamp");
    let offer = |mss: u16| [&[2, 4][..], &mss.to_be_bytes(), &[1, 3, 3, 7]].concat();
    let odd = |mss: u16| [&[1, 2, 4][..], &mss.to_be_bytes(), &[3, 3, 7]].concat();
    let (client4, client6) = ("198.51.100.7", "2001:db8:c::7");
    for (client, service) in [
        (client4, "192.0.2.10:80"),
        (client4, "192.0.2.20:80"),
        (client4, "192.0.2.30:80"),
        (client6, "[2001:db8::30]:80"),
        (client4, "192.0.2.40:80"),
        (client6, "[2001:db8::40]:80"),
    ] {
        let from = |port: u16| {
            if client == client4 { format!("{client}:{port}") } else { format!("[{client}]:{port}") }
        };
        s.wan(syn(&from(40_000), service).tcp_options(&offer(1460)), NEW);
        s.wan(syn(&from(40_001), service).tcp_options(&odd(1460)), NEW);
        s.wan(syn(&from(40_002), service).tcp_options(&offer(1200)), NEW);
        s.wan(syn(&from(40_003), service), NEW);
        let known = "to server: * (*) -> *, flow";
        s.wan(Packet::tcp(from(40_000), service).tcp_options(&offer(1460)).payload(b"no SYN"), known);
    }
    let answer = Packet::tcp("10.0.0.11:8080", "198.51.100.7:40000").flags(SYN | ACK);
    s.lan(answer.tcp_options(&offer(1460)), "to client: nat <- nat/s1");
    s.end()
}
