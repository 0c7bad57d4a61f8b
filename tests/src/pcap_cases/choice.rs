//! Who gets a packet without a flow: the algorithms, their limits, and pools without a server.

use super::scene::{Case, Scene};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;

const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;
const RST: u8 = TcpFlags::RST;

pub(super) fn cases() -> Vec<Case> {
    vec![maglev_mid_connection(), round_robin(), tuple_taken(), no_server()]
}

/// After 400 s of silence the flow is gone; maglev sends the next segment, no SYN, to the same server again.
fn maglev_mid_connection() -> Case {
    let mut s = Scene::new("maglev-mid-connection");
    let clients = || (40_000..40_016).map(|port| format!("198.51.100.7:{port}"));
    let services = [
        ("192.0.2.20:80", "to server: dsr (dsr) -> *, new flow"),
        ("192.0.2.10:80", "to server: nat (nat) -> *, new flow"),
    ];
    for (service, new) in services {
        for client in clients() {
            s.wan(Packet::tcp(&client, service).flags(SYN), new);
        }
    }
    s.at_ms(400_000);
    for (service, new) in services {
        for client in clients() {
            s.wan(Packet::tcp(&client, service).seq(1).payload(b"go on"), new);
        }
    }
    // A connection that began before the capture did.
    s.wan(
        Packet::tcp("198.51.100.9:50000", services[0].0).payload(b"hello"),
        "to server: dsr (dsr) -> *, new flow",
    );
    s.end()
}

/// Turns cannot be computed again: only a SYN, or a datagram, opens a flow.
fn round_robin() -> Case {
    let mut s = Scene::new("round-robin-unknown-flow");
    let services = [("192.0.2.10:80", "nat"), ("192.0.2.20:80", "dsr")];
    for (service, mode) in services {
        let new = if mode == "nat" {
            "to server: nat (nat) -> *, new flow"
        } else {
            "to server: dsr (dsr) -> *, new flow"
        };
        let known =
            if mode == "nat" { "to server: nat (nat) -> *, flow" } else { "to server: dsr (dsr) -> *, flow" };
        for port in 40_000..40_004 {
            let segment = Packet::tcp(format!("198.51.100.7:{port}"), service);
            s.wan(segment.clone().payload(b"data"), "drop: unknown-flow");
            s.wan(segment.clone().flags(SYN | ACK), "drop: unknown-flow");
            s.wan(segment.clone().flags(RST), "drop: unknown-flow");
            s.wan(segment.clone().flags(SYN), new);
            s.wan(segment.payload(b"data"), known);
        }
    }
    for port in 1024..1027 {
        let ask = Packet::udp(format!("198.51.100.7:{port}"), "192.0.2.10:53").payload(b"ask");
        s.wan(ask, "to server: dns (nat) -> *, new flow");
    }
    s.end()
}

/// Two services share servers, and a client uses one port for both: the server could not tell the flows apart.
fn tuple_taken() -> Case {
    let mut s = Scene::new("tuple-taken");
    for port in 40_000..40_004 {
        let client = format!("198.51.100.7:{port}");
        let syn = |service: &str| Packet::tcp(&client, service).flags(SYN);
        // One server: the second flow has nowhere to go.
        s.wan(syn("192.0.2.10:80"), "to server: one (nat) -> one/s1, new flow");
        s.wan(syn("192.0.2.11:80"), "drop: tuple-taken");
        // Two: it gets the other one.
        s.wan(syn("192.0.2.12:80"), "to server: two (nat) -> *, new flow");
        s.wan(syn("192.0.2.13:80"), "to server: two-again (nat) -> *, new flow");
    }
    s.wan(
        Packet::tcp("198.51.100.7:50000", "192.0.2.11:80").flags(SYN),
        "to server: one-again (nat) -> one/s1, new flow",
    );
    s.end()
}

/// No server is ready: a reset for TCP, silence for UDP and where the file says so.
fn no_server() -> Case {
    let mut s = Scene::new("no-server");
    let syn = |service: &str| {
        let client = if service.contains('[') { "[2001:db8:c::7]:40000" } else { "198.51.100.7:40000" };
        Packet::tcp(client, service).flags(SYN).seq(7)
    };
    s.wan(syn("192.0.2.10:80"), "drop: answered");
    s.wan(syn("192.0.2.10:80").vlan(100), "drop: answered");
    s.wan(syn("192.0.2.10:80").flags(ACK).ack(99).payload(b"data"), "drop: answered");
    s.wan(syn("192.0.2.10:80").flags(RST), "drop: no-server"); // a reset is never answered
    s.wan(syn("[2001:db8::10]:80"), "drop: answered");
    s.wan(syn("192.0.2.10:81"), "drop: no-server");
    s.wan(Packet::udp("198.51.100.7:40000", "192.0.2.10:53").payload(b"ask"), "drop: no-server");
    s.wan(syn("192.0.2.10:82"), "drop: answered"); // the pool's only server drains
    s.end()
}
