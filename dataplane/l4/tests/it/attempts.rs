//! What clients' attempts to connect show of servers, and what counts nowhere.

use crate::rig::*;
use ringlead_flow::ServerId;
use ringlead_l4::attempts::Attempted;
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;

const CLIENT: &str = "198.51.100.7:40000";
const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;
const RST: u8 = TcpFlags::RST;

/// One server, one client.
fn rig() -> Rig {
    Rig::new(&Plan { servers: 1, ..Plan::default() })
}

fn counted(rig: &Rig, v6: bool) -> Attempted {
    rig.shared.attempts[0].of(server_id(0, v6))
}

fn says(rig: &mut Rig, service: &str, flags: u8) {
    rig.send(WAN, &[from_client(Packet::tcp(CLIENT, service).flags(flags)).build()]);
}

fn answers(rig: &mut Rig, flags: u8) {
    let packet = Packet::tcp(server_address(0, false), CLIENT).flags(flags);
    rig.send(LAN, &[from_server(0, packet).build()]);
}

/// Ages every shard until the flows of now have ended.
fn end(rig: &mut Rig) {
    rig.now += 400 * SECOND;
    for _ in 0..1_000 {
        rig.tick();
    }
    assert!(rig.shared.flows.is_empty());
}

fn only(answered: u32, unanswered: u32, refused: u32, unreachable: u32) -> Attempted {
    Attempted { answered, unanswered, refused, unreachable }
}

#[test]
fn an_answered_connection_counts_once() {
    let mut rig = rig();
    says(&mut rig, NAT4, SYN);
    assert_eq!(counted(&rig, false), only(0, 0, 0, 0), "nothing is known yet");
    answers(&mut rig, SYN | ACK);
    says(&mut rig, NAT4, ACK);
    answers(&mut rig, ACK);
    answers(&mut rig, RST);
    end(&mut rig);
    assert_eq!(counted(&rig, false), only(1, 0, 0, 0));
}

#[test]
fn a_repeated_syn_is_one_failure_however_often_it_is_repeated() {
    let mut rig = rig();
    for _ in 0..4 {
        says(&mut rig, NAT4, SYN);
        rig.now += SECOND;
    }
    assert_eq!(counted(&rig, false), only(0, 1, 0, 0));
    end(&mut rig);
    assert_eq!(counted(&rig, false), only(0, 1, 0, 0), "told already");
}

#[test]
fn a_flow_that_ends_without_an_answer_is_a_failure() {
    let mut rig = rig();
    says(&mut rig, NAT4, SYN);
    end(&mut rig);
    assert_eq!(counted(&rig, false), only(0, 1, 0, 0));
}

#[test]
fn a_servers_reset_is_a_refusal_and_a_clients_is_nothing() {
    let mut refused = rig();
    says(&mut refused, NAT4, SYN);
    answers(&mut refused, RST | ACK);
    answers(&mut refused, RST | ACK);
    says(&mut refused, NAT4, SYN);
    end(&mut refused);
    assert_eq!(counted(&refused, false), only(0, 0, 1, 0));

    let mut taken_back = rig();
    says(&mut taken_back, NAT4, SYN);
    says(&mut taken_back, NAT4, RST);
    end(&mut taken_back);
    assert_eq!(counted(&taken_back, false), only(0, 0, 0, 0));
}

#[test]
fn where_only_the_client_is_seen_its_packets_tell() {
    let mut rig = rig();
    says(&mut rig, DSR4, SYN);
    says(&mut rig, DSR4, ACK);
    assert_eq!(counted(&rig, false), only(1, 0, 0, 0), "it acknowledged an answer");
    // It closes, and opens anew on the same ports.
    says(&mut rig, DSR4, TcpFlags::FIN | ACK);
    for _ in 0..3 {
        says(&mut rig, DSR4, SYN);
    }
    assert_eq!(counted(&rig, false), only(1, 1, 0, 0), "another attempt");
}

/// A client resets only what it is answered from the service's own address and port.
#[test]
fn rfc9293_3_10_7_where_only_the_client_is_seen_its_reset_tells_of_an_answer() {
    let mut late = rig();
    says(&mut late, DSR4, SYN);
    says(&mut late, DSR4, RST);
    says(&mut late, DSR4, RST);
    end(&mut late);
    assert_eq!(counted(&late, false), only(1, 0, 0, 0), "it had given up, or never asked");

    // RFC 9293 §3.5.1: the server still has the old connection, and is reset before the new one opens.
    let mut half_open = rig();
    for flags in [SYN, RST, SYN, ACK] {
        says(&mut half_open, DSR4, flags);
    }
    end(&mut half_open);
    assert_eq!(counted(&half_open, false), only(2, 0, 0, 0), "two attempts, both answered");

    let mut silent = rig();
    for flags in [SYN, RST, SYN] {
        says(&mut silent, DSR4, flags);
    }
    end(&mut silent);
    assert_eq!(counted(&silent, false), only(1, 1, 0, 0), "the second one was not");
}

#[test]
fn an_unreachable_about_an_unanswered_connection_counts_and_about_others_does_not() {
    let error = |kind, code| {
        let quoted = Packet::tcp(CLIENT, server_address(0, false)).flags(SYN).ip();
        let to = CLIENT.trim_end_matches(":40000");
        from_server(0, Packet::icmp_error("10.2.0.1", to, kind, code, 0, &quoted)).build()
    };
    let mut lost = rig();
    lost.send(LAN, &[error(3, 1)]);
    assert_eq!(counted(&lost, false), only(0, 0, 0, 0), "there is no such flow");
    says(&mut lost, NAT4, SYN);
    lost.send(LAN, &[error(3, 4), error(11, 0)]);
    assert_eq!(counted(&lost, false), only(0, 0, 0, 0), "its size, its time: not its server");
    lost.send(LAN, &[error(3, 1), error(3, 13)]);
    end(&mut lost);
    assert_eq!(counted(&lost, false), only(0, 0, 0, 1));

    let mut open = rig();
    says(&mut open, NAT4, SYN);
    answers(&mut open, SYN | ACK);
    open.send(LAN, &[error(3, 1)]);
    assert_eq!(counted(&open, false), only(1, 0, 0, 0), "anybody could forge it");
}

#[test]
fn a_flow_that_is_picked_up_in_its_middle_says_nothing() {
    let mut rig = rig();
    says(&mut rig, NAT4, ACK);
    answers(&mut rig, ACK);
    end(&mut rig);
    assert_eq!(counted(&rig, false), Attempted::default());
    assert_eq!(rig.shared.attempts[0].of(ServerId(u32::MAX)), Attempted::default(), "not an id of ours");
}

#[test]
fn datagrams_are_no_attempts() {
    let mut rig = rig();
    rig.send(WAN, &[from_client(Packet::udp(CLIENT, NAT4)).build()]);
    end(&mut rig);
    assert_eq!(counted(&rig, false), Attempted::default());
}
