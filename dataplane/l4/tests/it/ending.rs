//! Flows of servers that end theirs: reset, chosen again, and given back once.

mod both_ends;

use crate::rig::*;
use ringlead_flow::snat::{PortSpace, SnatPool};
use ringlead_l4::drops::Reason;
use ringlead_l4::tables::{Delivery, Ends, Tables};
use ringlead_pick::{HashBy, Maglev, Member};
use ringlead_wire::build::Packet;
use ringlead_wire::{Ip, TcpFlags};
use std::net::IpAddr;
use std::sync::Arc;

const CLIENT: &str = "198.51.100.7:40000";

/// The tables with only these servers up; what the others do with their flows.
fn down(mut tables: Tables, up: &[usize], ends: Ends) -> Tables {
    let mut servers = tables.servers.to_vec();
    for (index, server) in servers.iter_mut().enumerate() {
        let is_up = up.contains(&(index / 2));
        let Some(server) = server else { continue };
        (server.down, server.accepts, server.admits) = (!is_up, is_up, is_up);
        server.ends = if is_up { Ends::Keep } else { ends };
    }
    tables.servers = servers.into();
    tables.ends_flows = ends != Ends::Keep;
    tables
}

fn others(plan: &Plan, server: usize) -> Vec<usize> {
    (0..plan.servers).filter(|&other| other != server).collect()
}

fn data(service: &str) -> Packet {
    from_client(Packet::tcp(CLIENT, service).seq(1000).ack(7000).payload(b"x"))
}

/// Flows that began, that ended, and that live by the servers' counts.
fn flows(rig: &Rig) -> (u64, u64, u64) {
    let live = (0..64).map(|id| u64::from(rig.shared.loads.get(id))).sum();
    (rig.counters().flows_created.get(), rig.counters().flows_ended.get(), live)
}

/// A reset with that number, back to who asked.
#[track_caller]
fn is_reset(frame: &[u8], asked: &[u8], seq: u32) {
    assert_eq!((&frame[..6], &frame[6..12]), (&asked[6..12], &asked[..6]), "back where it came from");
    let (from, to) = (ends(asked), ends(frame));
    assert_eq!((from.0, from.1), (to.1, to.0));
    let l4 = if to.0.is_ipv4() { 34 } else { 54 };
    assert_eq!(frame[l4 + 13], TcpFlags::RST);
    assert_eq!(frame[l4 + 4..l4 + 8], seq.to_be_bytes(), "where its receiver is (RFC 5961 3.2)");
}

/// One segment in, and the answer to its sender; the other end gets a frame, too.
#[track_caller]
fn told(rig: &mut Rig, port: usize, packet: &Packet) -> Vec<u8> {
    let sent = rig.send(port, &[packet.build()]);
    assert_eq!(sent.len(), 2, "drops: {:?}", rig.drops());
    sent.into_iter().find(|(by, _)| *by == port).map(|(_, frame)| frame).unwrap()
}

#[test]
fn a_segment_of_a_down_servers_flow_is_reset_where_the_pool_says_so() {
    for service in [NAT4, NAT6, DSR4, TUNNEL44] {
        let plan = Plan::default();
        let mut rig = Rig::new(&plan);
        let client = if service == NAT6 { "[2001:db8:7::7]:40000" } else { CLIENT };
        let data = from_client(Packet::tcp(client, service).seq(1000).ack(7000).payload(b"x"));
        let had = server_of(&rig.one(WAN, &data).1);
        let up = others(&plan, had);
        rig.publish(down(tables_with(&plan, 2, &up), &up, Ends::Keep));
        assert_eq!(server_of(&rig.one(WAN, &data).1), had, "{service}: kept, as nothing else was said");
        rig.publish(down(tables_with(&plan, 3, &up), &up, Ends::Reset));
        let reset = told(&mut rig, WAN, &data);
        assert_eq!(rig.drops(), [("flow-reset", 1)], "{service}");
        is_reset(&reset, &data.build(), 7000);
        assert_eq!(flows(&rig), (1, 0, 1));
    }
}

/// A reset that crosses with data has an old number: whoever says so gets another, until all is quiet.
#[test]
fn rfc5961_3_2_a_reset_flow_is_known_for_a_while_and_then_given_back_once() {
    let plan = Plan { flows_max: 100, round_robin: true, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    let syn = from_client(Packet::tcp(CLIENT, NAT4).flags(TcpFlags::SYN));
    let had = server_of(&rig.one(WAN, &syn).1);
    let from = server_address(had, false);
    let answer = from_server(had, Packet::tcp(&from, CLIENT).seq(1).ack(2));
    rig.one(LAN, &answer);
    rig.one(WAN, &data(NAT4));
    let up = others(&plan, had);
    rig.publish(down(tables_with(&plan, 2, &up), &up, Ends::Reset));
    for ack in [7000, 8000, 8001] {
        let asked = from_client(Packet::tcp(CLIENT, NAT4).ack(ack));
        is_reset(&told(&mut rig, WAN, &asked), &asked.build(), ack);
    }
    // The server, which may be half alive, is told as well, and what an end says itself passes.
    let more = from_server(had, Packet::tcp(&from, CLIENT).seq(9).ack(1001).payload(b"more"));
    is_reset(&told(&mut rig, LAN, &more), &more.build(), 1001);
    let farewell = from_client(Packet::tcp(CLIENT, NAT4).flags(TcpFlags::RST));
    assert_eq!(server_of(&rig.one(WAN, &farewell).1), had);
    (0..100).for_each(|_| drop(rig.tick()));
    assert_eq!(flows(&rig), (1, 0, 1), "it is still known");
    rig.now += 3 * SECOND;
    (0..100).for_each(|_| drop(rig.tick()));
    assert_eq!(flows(&rig), (1, 1, 0));
    (0..100).for_each(|_| drop(rig.tick()));
    assert_eq!((flows(&rig), rig.shared.flows.len()), ((1, 1, 0), 0));
    rig.dropped(WAN, data(NAT4).build(), Reason::UnknownFlow);
}

/// A server that is back in time goes on with a connection whose reset got lost.
#[test]
fn a_flow_whose_server_is_back_goes_on() {
    let plan = Plan::default();
    let mut rig = Rig::new(&plan);
    let had = server_of(&rig.one(WAN, &data(NAT4)).1);
    let up = others(&plan, had);
    rig.publish(down(tables_with(&plan, 2, &up), &up, Ends::Reset));
    told(&mut rig, WAN, &data(NAT4));
    rig.publish(tables(&plan, 3));
    assert_eq!(server_of(&rig.one(WAN, &data(NAT4)).1), had);
    rig.now += 3 * SECOND;
    (0..100).for_each(|_| drop(rig.tick()));
    assert_eq!(flows(&rig), (1, 0, 1));
}

/// No more than a worker's budget of answers; the rest stays as it was and is answered when it comes again.
#[test]
fn more_resets_than_answers_in_a_millisecond_wait_for_the_next() {
    let plan = Plan::default();
    let mut rig = Rig::new(&plan);
    let client =
        |n: usize| from_client(Packet::tcp(format!("198.51.100.7:{}", 2000 + n), NAT4).ack(1)).build();
    let all: Vec<Vec<u8>> = (0..40).map(client).collect();
    rig.send(WAN, &all);
    rig.publish(down(tables_with(&plan, 2, &[]), &[], Ends::Reset));
    rig.tick();
    let to = |sent: &[(usize, Vec<u8>)], port| sent.iter().filter(|(by, _)| *by == port).count();
    let sent = rig.send(WAN, &all);
    assert_eq!((to(&sent, WAN), to(&sent, LAN)), (16, 16), "and to the servers no more than were answered");
    assert_eq!((rig.drops_of(Reason::FlowReset), rig.drops_of(Reason::ServerClosed)), (16, 24));
    assert_eq!(rig.drops_of_services(), [("flow-reset", 16), ("server-closed", 24)]);
    rig.tick();
    assert_eq!(to(&rig.send(WAN, &all[16..32]), WAN), 16);
    assert_eq!(rig.drops_of(Reason::FlowReset), 32);
}

#[test]
fn datagrams_and_first_segments_choose_again_whatever_is_said() {
    for ends in [Ends::Keep, Ends::Reset, Ends::Reselect] {
        let plan = Plan::default();
        let mut rig = Rig::new(&plan);
        let udp = from_client(Packet::udp(CLIENT, NAT4));
        let syn = from_client(Packet::tcp(CLIENT, DSR4).flags(TcpFlags::SYN));
        for packet in [udp, syn] {
            let had = server_of(&rig.one(WAN, &packet).1);
            let up = others(&plan, had);
            rig.publish(down(tables_with(&plan, 2, &up), &up, ends));
            let now = server_of(&rig.one(WAN, &packet).1);
            assert_ne!(now, had, "{ends:?}");
            assert_eq!(server_of(&rig.one(WAN, &packet).1), now, "and stays there");
            rig.publish(tables(&plan, 3));
        }
        assert_eq!(flows(&rig), (4, 2, 2), "{ends:?}");
        assert!(rig.drops().is_empty());
    }
}

/// An operator closes a server that is up: datagrams leave it, too.
#[test]
fn datagrams_leave_a_server_that_is_closed_though_it_is_up() {
    let plan = Plan::default();
    let mut rig = Rig::new(&plan);
    let udp = from_client(Packet::udp(CLIENT, NAT4));
    let had = server_of(&rig.one(WAN, &udp).1);
    let up = others(&plan, had);
    let mut tables = down(tables_with(&plan, 2, &up), &up, Ends::Reset);
    let mut servers = tables.servers.to_vec();
    servers.iter_mut().flatten().for_each(|server| server.down = false);
    tables.servers = servers.into();
    rig.publish(tables);
    assert_ne!(server_of(&rig.one(WAN, &udp).1), had);
    assert_eq!(flows(&rig), (2, 1, 1));
}

#[test]
fn a_segment_goes_to_another_server_where_it_can_be_computed_and_is_reset_where_not() {
    for (round_robin, service) in [(false, DSR4), (false, NAT4), (true, DSR4)] {
        let plan = Plan { round_robin, ..Plan::default() };
        let mut rig = Rig::new(&plan);
        let syn = from_client(Packet::tcp(CLIENT, service).flags(TcpFlags::SYN));
        let had = server_of(&rig.one(WAN, &syn).1);
        rig.one(WAN, &data(service));
        let up = others(&plan, had);
        rig.publish(down(tables_with(&plan, 2, &up), &up, Ends::Reselect));
        if round_robin {
            is_reset(&told(&mut rig, WAN, &data(service)), &data(service).build(), 7000);
            assert_eq!(flows(&rig), (1, 0, 1));
        } else {
            let (port, frame) = rig.one(WAN, &data(service));
            assert_eq!((port, server_of(&frame) == had, flows(&rig)), (LAN, false, (2, 1, 1)));
            assert!(rig.drops().is_empty());
        }
    }
}

#[test]
fn a_reset_flow_gives_its_source_port_back_once() {
    const SNAT: &str = "192.0.2.9:80";
    let plan = Plan { flows_max: 100, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    let ours: Ip = "10.2.0.250".parse::<IpAddr>().unwrap().into();
    let ports = SnatPool::new(vec![Arc::new(PortSpace::new(ours))], 20_032..=20_095, 1).unwrap();
    let ports = Arc::new(ports);
    let with = |epoch, up: &[usize]| {
        let members: Vec<Member> = up.iter().map(|&n| Member { identity: n as u64, weight: 1 }).collect();
        let chooser = ringlead_l4::tables::Chooser::Maglev {
            table: Maglev::build(&members, 251),
            by: HashBy::FiveTuple,
        };
        let extra = Extra::new(SNAT, Delivery::Snat(Arc::clone(&ports)), pool_of(1, chooser, up, false));
        with_ports(with_extras(tables_with(&plan, epoch, up), &[extra]), &ports, &[ours])
    };
    rig.publish(with(2, &[0, 1, 2]));
    let syn = from_client(Packet::tcp(CLIENT, SNAT).flags(TcpFlags::SYN));
    let (_, frame) = rig.one(WAN, &syn);
    let (had, mapping) = (server_of(&frame), ends(&frame).0);
    let answer = from_server(had, Packet::tcp(server_address(had, false), mapping.to_string()).seq(1).ack(2));
    rig.one(LAN, &answer);
    rig.one(WAN, &data(SNAT));
    let usage = || (ports.usage().tcp.used, ports.usage().tcp.quarantined);
    assert_eq!(usage(), (1, 0));
    let up = others(&plan, had);
    rig.publish(down(with(3, &up), &up, Ends::Reset));
    is_reset(&told(&mut rig, WAN, &data(SNAT)), &data(SNAT).build(), 7000);
    is_reset(&told(&mut rig, LAN, &answer), &answer.build(), 2);
    assert_eq!(usage(), (1, 0), "held while the flow is known");
    rig.now += 3 * SECOND;
    (0..100).for_each(|_| drop(rig.tick()));
    assert_eq!((flows(&rig), usage()), ((1, 1, 0), (0, 1)));
}
