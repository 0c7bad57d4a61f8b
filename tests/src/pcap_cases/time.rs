//! Ageing in the capture's own time: a silent flow lives for its timer and no longer.

use super::scene::{Case, Scene};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;

const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;
const FIN: u8 = TcpFlags::FIN;

pub(super) fn cases() -> Vec<Case> {
    vec![ageing()]
}

const GONE: &str = "drop: server-without-flow";

/// Each timer from both sides: a second before its end the server's packet passes, a second after it does not.
fn ageing() -> Case {
    let mut s = Scene::new("ageing");
    datagrams(&mut s);
    for (late_ms, verdict) in [(4_000, "to client: web <- web/s1"), (6_000, GONE)] {
        let conn = Connection { client: format!("198.51.100.7:{}", 10_000 + late_ms / 1000), ..WEB };
        s.at_ms(0).wan(conn.up(SYN), "to server: web (nat) -> web/s1, new flow");
        s.at_ms(late_ms).lan(conn.down(SYN | ACK), verdict);
    }
    for (late_ms, verdict) in [(239_000, "to client: slow <- slow/s1"), (241_000, GONE)] {
        let conn = Connection { client: format!("198.51.100.7:{}", 20_000 + late_ms / 1000), ..SLOW };
        s.at_ms(0).wan(conn.up(SYN), "to server: slow (nat) -> slow/s1, new flow");
        s.at_ms(late_ms).lan(conn.down(SYN | ACK), verdict);
    }
    for (late_ms, verdict) in [(299_000, "to client: web <- web/s1"), (301_000, GONE)] {
        let conn = Connection { client: format!("198.51.100.7:{}", 30_000 + late_ms / 1000), ..WEB };
        conn.opens(&mut s);
        s.at_ms(2 + late_ms).lan(conn.down(ACK), verdict);
    }
    for (late_ms, verdict) in [(29_000, "to client: web <- web/s1"), (31_000, GONE)] {
        let conn = Connection { client: format!("198.51.100.7:{}", 40_000 + late_ms / 1000), ..WEB };
        conn.opens(&mut s);
        s.wan(conn.up(FIN | ACK), "to server: web (nat) -> web/s1, flow");
        s.lan(conn.down(FIN | ACK), "to client: web <- web/s1");
        s.at_ms(4 + late_ms).lan(conn.down(ACK), verdict);
    }
    s.end()
}

/// RFC 4787 REQ-5: five minutes of silence, counted from the last packet of either side.
fn datagrams(s: &mut Scene) {
    let (service, server) = ("192.0.2.10:53", "10.0.0.11:5353");
    let (one, two) = ("198.51.100.7:1024", "198.51.100.7:1025");
    let answer = |client: &str| Packet::udp(server, client).payload(b"answer");
    for client in [one, two] {
        s.wan(Packet::udp(client, service).payload(b"ask"), "to server: dns (nat) -> dns/s1, new flow");
    }
    s.at_ms(299_000).lan(answer(one), "to client: dns <- dns/s1");
    s.at_ms(301_500).lan(answer(two), GONE);
    // The answer at 299 s was a packet, too.
    s.at_ms(598_000).lan(answer(one), "to client: dns <- dns/s1");
    s.at_ms(899_500).lan(answer(one), GONE);
    s.wan(Packet::udp(one, service).payload(b"again"), "to server: dns (nat) -> dns/s1, new flow");
}

/// One client of a TCP service.
struct Connection {
    client: String,
    service: &'static str,
    server: &'static str,
}

/// Timers of a load balancer: opening 5 s, established 300 s, closed 30 s.
const WEB: Connection =
    Connection { client: String::new(), service: "192.0.2.10:80", server: "10.0.0.11:8080" };
/// Timers of RFC 5382: opening 240 s.
const SLOW: Connection =
    Connection { client: String::new(), service: "192.0.2.10:81", server: "10.0.0.11:8081" };

impl Connection {
    fn up(&self, flags: u8) -> Packet {
        Packet::tcp(&self.client, self.service).flags(flags)
    }

    fn down(&self, flags: u8) -> Packet {
        Packet::tcp(self.server, &self.client).flags(flags)
    }

    fn opens(&self, s: &mut Scene) {
        s.at_ms(0).wan(self.up(SYN), "to server: web (nat) -> web/s1, new flow");
        s.lan(self.down(SYN | ACK), "to client: web <- web/s1");
        s.wan(self.up(ACK), "to server: web (nat) -> web/s1, flow");
    }
}
