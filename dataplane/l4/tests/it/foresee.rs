//! What is foreseen of a first packet is what then happens to it, and foreseeing changes nothing.

mod limits;

use crate::rig::*;
use ringlead_flow::{Flow, Tick, Tuple};
use ringlead_l4::drops::Reason;
use ringlead_l4::foresee::{Choice, Foreseen, Step, foresee};
use ringlead_l4::tables::{Chooser, Delivery, Ends, Tables};
use ringlead_pick::{LeastFlows, Maglev, Member, RandomTwo, RoundRobin, Sticky, StickySpec};
use ringlead_wire::build::Packet;
use ringlead_wire::{Endpoint, Ip, Protocol, TcpFlags};
use std::net::SocketAddr;
use std::sync::Arc;

/// On the servers of the rig's nat service, too.
const OTHER4: &str = "192.0.2.20:80";

fn tuple(client: SocketAddr, service: &str) -> Tuple {
    let to: SocketAddr = service.parse().unwrap();
    Tuple {
        src: Ip::from(client.ip()),
        sport: client.port(),
        dst: Ip::from(to.ip()),
        dport: to.port(),
        proto: 6,
    }
}

fn seen(rig: &Rig, tuple: &Tuple) -> Foreseen {
    let tables = rig.shared.tables.load();
    let at = Endpoint { ip: tuple.dst, port: tuple.dport, protocol: Protocol::Tcp };
    let service = tables.listener(at).unwrap();
    foresee(&rig.shared, &tables, service, tuple, Tick::from_nanos(rig.now))
}

fn flow(rig: &Rig, tuple: &Tuple) -> Option<Flow> {
    rig.shared.flows.lookup(tuple, Tick::from_nanos(rig.now))
}

fn open(rig: &mut Rig, client: SocketAddr, service: &str) {
    rig.send(WAN, &[from_client(Packet::tcp(client, service).flags(TcpFlags::SYN)).build()]);
}

fn client(v6: bool, port: u16) -> SocketAddr {
    SocketAddr::new(if v6 { "2001:db8:c::7".parse().unwrap() } else { [198, 51, 100, 7].into() }, port)
}

fn maglev(servers: &[usize]) -> Chooser {
    let members: Vec<Member> = servers.iter().map(|&n| Member { identity: n as u64, weight: 1 }).collect();
    Chooser::Maglev { table: Maglev::build(&members, 251), by: ringlead_pick::HashBy::FiveTuple }
}

#[test]
fn a_computed_server_is_the_one_that_gets_the_flow() {
    let mut rig = Rig::new(&Plan::default());
    let mut servers = std::collections::BTreeSet::new();
    for service in [NAT4, NAT6, DSR4, DSR6, TUNNEL44, TUNNEL66] {
        let v6 = service.starts_with('[');
        for port in 1000..1100 {
            let (client, flows) = (client(v6, port), rig.shared.flows.len());
            let tuple = tuple(client, service);
            let Foreseen { choice: Choice::Algorithm(id), slot: Some(slot), flow: None, .. } =
                seen(&rig, &tuple)
            else {
                panic!("{:?}", seen(&rig, &tuple));
            };
            assert!(slot < 251);
            assert_eq!((rig.shared.flows.len(), flow(&rig, &tuple)), (flows, None), "nothing has changed");
            open(&mut rig, client, service);
            assert_eq!(flow(&rig, &tuple).unwrap().server_id, id, "{client} {service}");
            assert_eq!(seen(&rig, &tuple).choice, Choice::Flow(id));
            servers.insert(id);
        }
    }
    assert_eq!(servers.len(), 6, "three of each family");
}

/// A client's connections from one port to two services on one server would get one another's answers.
#[test]
fn a_server_whose_answers_are_taken_is_passed_over() {
    let mut rig = Rig::new(&Plan::default());
    let other = Extra::new(OTHER4, Delivery::Nat, pool_of(1, maglev(&[2, 0, 1]), &[2, 0, 1], false));
    rig.publish(with_extras(tables(&Plan::default(), 2), &[other]));
    rig.tick();
    let mut passed_over = 0;
    for port in 1000..1200 {
        let client = client(false, port);
        open(&mut rig, client, NAT4);
        let tuple = tuple(client, OTHER4);
        let seen = seen(&rig, &tuple);
        open(&mut rig, client, OTHER4);
        let got = flow(&rig, &tuple).map(|flow| Choice::Algorithm(flow.server_id));
        let foreseen = Some(seen.choice).filter(|choice| *choice != Choice::Nobody(Reason::TupleTaken));
        assert_eq!(got, foreseen, "{client}");
        passed_over += usize::from(!seen.taken.is_empty());
    }
    assert!((20..180).contains(&passed_over), "{passed_over}");
}

#[test]
fn turns_and_draws_are_told_as_those_who_may_get_it() {
    let mut rig = Rig::new(&Plan::default());
    let all = [0, 1, 2];
    let publish = |rig: &mut Rig, chooser: Chooser, sorry: Option<&[usize]>, full: &[usize]| {
        let mut pool = pool_of(1, chooser, &all, false);
        pool.limits = full.iter().map(|&n| (server_id(n, false), 0)).collect();
        let sorry = sorry.map(|of| {
            Arc::new(pool_of(2, Chooser::RoundRobin(RoundRobin::new(&vec![1; of.len()])), of, false))
        });
        let extra = Extra { sorry, ..Extra::new(OTHER4, Delivery::Dsr, pool) };
        let epoch = rig.shared.tables.load().epoch + 1;
        rig.publish(with_extras(tables(&Plan::default(), epoch), &[extra]));
        rig.tick();
    };
    let id = |n: usize| server_id(n, false);
    let turns = || Chooser::RoundRobin(RoundRobin::new(&[1; 3]));
    let asked = tuple(client(false, 1), OTHER4);
    publish(&mut rig, turns(), None, &[1]);
    assert_eq!(seen(&rig, &asked).choice, Choice::AnyOf(vec![id(0), id(2)]));
    publish(&mut rig, turns(), None, &[0, 1]);
    assert_eq!(seen(&rig, &asked).choice, Choice::Algorithm(id(2)), "only one is left");
    publish(&mut rig, turns(), None, &all);
    assert_eq!(seen(&rig, &asked).choice, Choice::Nobody(Reason::NoServer));
    open(&mut rig, client(false, 1), OTHER4);
    assert_eq!((rig.drops_of(Reason::NoServer), flow(&rig, &asked)), (1, None));
    publish(&mut rig, turns(), Some(&[1]), &all);
    let stands_in = seen(&rig, &asked);
    assert_eq!((stands_in.choice, stands_in.stands_in), (Choice::Algorithm(id(1)), true));
    // Least flows: the equals, and after one more flow those that are left.
    publish(&mut rig, Chooser::LeastFlows(LeastFlows::new(&[1, 1, 2])), None, &[]);
    assert_eq!(seen(&rig, &asked).choice, Choice::Algorithm(id(2)), "twice the weight");
    open(&mut rig, client(false, 1), OTHER4);
    assert_eq!(flow(&rig, &asked).unwrap().server_id, id(2));
    let next = tuple(client(false, 2), OTHER4);
    assert_eq!(seen(&rig, &next).choice, Choice::AnyOf(vec![id(0), id(1), id(2)]), "(0+1)/1 and (1+1)/2");
}

/// Where all equals' answers are taken the worker goes on to the next best, as long as that has room.
#[test]
fn least_flows_goes_on_to_the_next_where_the_equals_are_taken() {
    for limit in [None, Some(10)] {
        let mut rig = Rig::new(&Plan::default());
        let mut least = pool_of(1, Chooser::LeastFlows(LeastFlows::new(&[1, 1, 1])), &[0, 1, 2], false);
        least.limits = limit.map(|limit| (server_id(2, false), limit)).into_iter().collect();
        let one = |index, server: usize| pool_of(index, maglev(&[server]), &[server], false);
        let extras = [
            Extra::new(OTHER4, Delivery::Nat, least),
            Extra::new("192.0.2.21:80", Delivery::Nat, one(2, 0)),
            Extra::new("192.0.2.22:80", Delivery::Nat, one(3, 1)),
        ];
        rig.publish(with_extras(tables(&Plan::default(), 2), &extras));
        rig.tick();
        rig.shared.loads.set(server_id(2, false).0, 10);
        let client = client(false, 1);
        open(&mut rig, client, "192.0.2.21:80");
        let asked = tuple(client, OTHER4);
        assert_eq!(seen(&rig, &asked).choice, Choice::Algorithm(server_id(1, false)), "0 has a flow, 1 none");
        open(&mut rig, client, "192.0.2.22:80");
        let foreseen = seen(&rig, &asked);
        assert_eq!(foreseen.taken, [server_id(0, false), server_id(1, false)]);
        open(&mut rig, client, OTHER4);
        let got = flow(&rig, &asked).map(|flow| flow.server_id);
        if limit.is_none() {
            assert_eq!(
                (foreseen.choice, got),
                (Choice::Algorithm(server_id(2, false)), Some(server_id(2, false)))
            );
        } else {
            assert_eq!((foreseen.choice, got), (Choice::Nobody(Reason::TupleTaken), None), "it is full");
            assert_eq!(rig.drops_of(Reason::TupleTaken), 1);
        }
    }
}

/// What goes on of a connection whose next SYN would choose again.
#[test]
fn what_a_segment_of_the_connection_meets_is_foreseen_beside_the_first_packet() {
    for (down, ends, segment) in [
        (true, Ends::Keep, Step::Keep),
        (true, Ends::Reset, Step::Reset),
        (false, Ends::Reset, Step::Reset),
        (true, Ends::Reselect, Step::ChooseAgain),
    ] {
        let mut rig = Rig::new(&Plan::default());
        let client = client(false, 1);
        let tuple = tuple(client, NAT4);
        open(&mut rig, client, NAT4);
        let had = flow(&rig, &tuple).unwrap().server_id;
        assert_eq!(seen(&rig, &tuple).segment, Some(Step::Keep));
        let others: Vec<usize> = (0..3).filter(|&n| server_id(n, false) != had).collect();
        let mut tables = tables_with(&Plan::default(), 2, &others);
        let mut servers = tables.servers.to_vec();
        servers.iter_mut().flatten().filter(|server| server.down).for_each(|server| {
            (server.down, server.ends) = (down, ends);
        });
        (tables.servers, tables.ends_flows) = (servers.into(), ends != Ends::Keep);
        rig.publish(tables);
        rig.tick();
        let foreseen = seen(&rig, &tuple);
        assert_eq!(foreseen.segment, Some(segment));
        assert!(matches!(foreseen.choice, Choice::Algorithm(id) if id != had), "{:?}", foreseen.choice);
        rig.send(WAN, &[from_client(Packet::tcp(client, NAT4)).build()]);
        let now = flow(&rig, &tuple).unwrap().server_id;
        let resets = rig.drops_of(Reason::FlowReset);
        assert_eq!((now == had, resets), (segment != Step::ChooseAgain, u64::from(segment == Step::Reset)));
    }
}

#[test]
fn a_client_that_comes_back_is_foreseen_without_being_counted_as_come() {
    let spec = StickySpec { entries: 64, prefix_v4: 32, prefix_v6: 128, timeout_ticks: 40, seed: [1; 16] };
    let sticky = Arc::new(Sticky::new(&spec).unwrap());
    let with = |epoch: u64, up: &[usize]| -> Tables {
        let turns = Chooser::RoundRobin(RoundRobin::new(&[1; 3]));
        let pool = pool_of(1, turns, &[0, 1, 2], false);
        let extra = Extra { sticky: Some(Arc::clone(&sticky)), ..Extra::new(OTHER4, Delivery::Dsr, pool) };
        with_extras(tables_with(&Plan::default(), epoch, up), &[extra])
    };
    let mut rig = Rig::new(&Plan::default());
    rig.publish(with(2, &[0, 1, 2]));
    rig.tick();
    let (first, again) = (client(false, 1), tuple(client(false, 2), OTHER4));
    assert_eq!(seen(&rig, &again).remembered, None);
    open(&mut rig, first, OTHER4);
    let home = flow(&rig, &tuple(first, OTHER4)).unwrap().server_id;
    rig.now += 9 * SECOND;
    assert_eq!(seen(&rig, &again).choice, Choice::Client(home));
    assert_eq!(seen(&rig, &again).remembered.map(|known| (known.idle, known.counts)), Some((36, true)));
    let others: Vec<usize> = (0..3).filter(|&n| server_id(n, false) != home).collect();
    rig.publish(with(3, &others));
    rig.tick();
    let known = seen(&rig, &again).remembered.unwrap();
    assert!(!known.counts, "it is down");
    rig.now += 2 * SECOND;
    assert_eq!(seen(&rig, &again).remembered, None, "nobody came for ten seconds");
}

/// A server that ends its flows, or is down, loses those that begin anew.
#[test]
fn a_flow_of_a_server_that_ends_it_is_given_up_by_its_next_first_packet() {
    let mut rig = Rig::new(&Plan::default());
    let client = client(false, 1);
    let tuple = tuple(client, NAT4);
    open(&mut rig, client, NAT4);
    let before = flow(&rig, &tuple).unwrap().server_id;
    assert_eq!(seen(&rig, &tuple).choice, Choice::Flow(before));
    let others: Vec<usize> = (0..3).filter(|&n| server_id(n, false) != before).collect();
    let mut tables = tables_with(&Plan::default(), 2, &others);
    let mut servers = tables.servers.to_vec();
    for server in servers.iter_mut().flatten().filter(|server| server.down) {
        // Closed by an operator, and healthy.
        (server.down, server.ends) = (false, Ends::Reset);
    }
    (tables.servers, tables.ends_flows) = (servers.into(), true);
    rig.publish(tables);
    rig.tick();
    let Choice::Algorithm(next) = seen(&rig, &tuple).choice else { panic!("{:?}", seen(&rig, &tuple)) };
    assert_ne!(next, before);
    open(&mut rig, client, NAT4);
    assert_eq!(flow(&rig, &tuple).unwrap().server_id, next);
}
