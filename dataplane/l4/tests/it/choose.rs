//! Which server a new flow gets: by load, by hash, within limits, and who stands in when nobody can.

use crate::rig::*;
use ringlead_l4::drops::{OF_SERVICE, Reason};
use ringlead_l4::tables::{Chooser, Delivery, OnNoServer, Pool, Tables};
use ringlead_pick::{HashBy, LeastFlows, Maglev, Member, RandomTwo, RoundRobin};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;
use std::sync::Arc;

const AT: &str = "192.0.2.5:80";
const BESIDE: &str = "192.0.2.6:80";
const SECURE: &str = "192.0.2.5:443";
const POOL: u16 = 1;
const SORRY: u16 = 2;

fn least(weights: &[u16]) -> Chooser {
    Chooser::LeastFlows(LeastFlows::new(weights))
}

fn turns(weights: &[u16]) -> Chooser {
    Chooser::RoundRobin(RoundRobin::new(weights))
}

fn maglev(servers: &[usize], by: HashBy) -> Chooser {
    let members: Vec<Member> =
        servers.iter().map(|&server| Member { identity: server as u64 * 977, weight: 1 }).collect();
    Chooser::Maglev { table: Maglev::build(&members, 251), by }
}

/// Those that count flows or can pass over a server.
fn choosers(servers: usize) -> [Chooser; 3] {
    let weights = vec![1; servers];
    [least(&weights), turns(&weights), Chooser::RandomTwo(RandomTwo::new(&weights))]
}

/// No server of these has more than that many flows.
fn limited(mut pool: Pool, limit: u32) -> Pool {
    pool.limits = pool.members.iter().map(|id| (*id, limit)).collect();
    pool
}

fn with(epoch: u64, extras: &[Extra]) -> Tables {
    with_extras(tables(&Plan::default(), epoch), extras)
}

fn rig(extras: &[Extra]) -> Rig {
    let rig = Rig::new(&Plan::default());
    rig.publish(with(2, extras));
    rig
}

fn dsr(chooser: Chooser) -> Extra {
    Extra::new(AT, Delivery::Dsr, pool_of(POOL, chooser, &[0, 1, 2], false))
}

fn client(n: usize, to: &str) -> Packet {
    from_client(Packet::udp(format!("198.51.{}.{}:5353", n / 250, n % 250), to))
}

fn frames(clients: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    clients.map(|n| client(n, AT).build()).collect()
}

/// How many of these frames went to each server.
fn counts(sent: &[(usize, Vec<u8>)]) -> [usize; 3] {
    let mut counts = [0; 3];
    sent.iter().for_each(|(_, frame)| counts[server_of(frame)] += 1);
    counts
}

fn loads(rig: &Rig) -> [u32; 3] {
    [0, 1, 2].map(|server| rig.shared.loads.get(server_id(server, false).0))
}

#[test]
fn least_flows_follows_weights_within_a_burst_too() {
    let mut rig = rig(&[dsr(least(&[1, 2, 3]))]);
    assert_eq!(counts(&rig.send(WAN, &frames(0..60))), [10, 20, 30]);
    for n in 60..66 {
        rig.one(WAN, &client(n, AT));
    }
    assert_eq!(loads(&rig), [11, 22, 33]);
}

#[test]
fn least_flows_fills_up_who_lost_its_flows() {
    let mut rig = rig(&[dsr(least(&[1, 1, 1]))]);
    let all = frames(0..30);
    let sent = rig.send(WAN, &all);
    assert_eq!(counts(&sent), [10, 10, 10]);
    // The first server's clients fall silent; the others' go on.
    rig.now += 200 * SECOND;
    let rest: Vec<_> =
        all.iter().zip(&sent).filter(|(_, (_, out))| server_of(out) != 0).map(|(f, _)| f.clone()).collect();
    rig.send(WAN, &rest);
    rig.now += 200 * SECOND;
    for _ in 0..rig.shared.flows.shards() * 8 {
        rig.tick();
    }
    assert_eq!(loads(&rig), [0, 10, 10]);
    assert_eq!(counts(&rig.send(WAN, &frames(100..110))), [10, 0, 0]);
    assert_eq!(counts(&rig.send(WAN, &frames(110..113))), [1, 1, 1]);
}

#[test]
fn flows_of_other_services_and_workers_count() {
    let plan = Plan { workers: 2, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    let beside = pool_of(SORRY, turns(&[1]), &[1], false);
    let extras = [dsr(least(&[1, 1, 1])), Extra::new(BESIDE, Delivery::Dsr, beside)];
    rig.publish(with_extras(tables(&plan, 2), &extras));
    let mut other = worker(&rig.shared, &plan, 1);
    let burst: Vec<_> = (500..505).map(|n| client(n, BESIDE).build()).collect();
    assert_eq!(counts(&through(&mut other, rig.now, WAN, &burst)), [0, 5, 0]);
    assert_eq!(counts(&rig.send(WAN, &frames(0..10))), [5, 0, 5]);
    other.finish();
}

#[test]
fn random_two_avoids_the_fullest() {
    let mut rig = rig(&[dsr(Chooser::RandomTwo(RandomTwo::new(&[1, 1, 1])))]);
    rig.shared.loads.set(server_id(1, false).0, 1000);
    let [first, fullest, last] = counts(&rig.send(WAN, &frames(0..60)));
    assert_eq!(fullest, 0, "of any two it has the more flows");
    assert!(first.abs_diff(last) <= 2, "{first} and {last}: two draws keep the others level");
}

#[test]
fn a_limit_is_kept_and_room_is_used_again() {
    for chooser in choosers(3) {
        let name = format!("{chooser:?}");
        let pool = limited(pool_of(POOL, chooser, &[0, 1, 2], false), 4);
        let mut rig = rig(&[Extra::new(AT, Delivery::Dsr, pool)]);
        let first = frames(0..20);
        let sent = rig.send(WAN, &first);
        assert_eq!((counts(&sent), loads(&rig)), ([4; 3], [4; 3]), "{name}");
        assert_eq!((rig.drops_of(Reason::NoServer), rig.drops().len()), (8, 1), "{name}: {:?}", rig.drops());
        let of_service = OF_SERVICE.map(|reason| if reason == Reason::NoServer { 8 } else { 0 });
        assert_eq!(rig.counters().services_dropped(), of_service, "{name}");
        let slots = (0..u16::MAX).filter(|slot| rig.counters().service_dropped(*slot) == of_service);
        assert_eq!(slots.count(), 1, "{name}: one service's");
        assert_eq!(rig.send(WAN, &first[..12]), sent, "who has a flow is served");
        rig.now += 301 * SECOND;
        for _ in 0..rig.shared.flows.shards() * 8 {
            rig.tick();
        }
        assert_eq!((loads(&rig), counts(&rig.send(WAN, &frames(30..42)))), ([0; 3], [4; 3]), "{name}");
    }
}

/// Two packets of a client that is not known yet, one behind the other: the flow that the first one makes serves both, even
/// where it took the last place, and whoever stands in is not asked.
#[test]
fn a_burst_that_repeats_a_first_packet_makes_one_flow() {
    let syn = Packet::tcp("198.51.100.7:5353", AT).flags(TcpFlags::SYN);
    let packets = [syn, Packet::udp("198.51.100.7:5353", AT)];
    let cases = packets.iter().flat_map(|packet| [(packet, false), (packet, true)]);
    for ((packet, sorry), chooser) in cases.flat_map(|case| choosers(1).map(|chooser| (case, chooser))) {
        let pool = limited(pool_of(POOL, chooser, &[0], false), 1);
        let stands_in = Arc::new(pool_of(SORRY, turns(&[1]), &[2], false));
        let mut rig = rig(&[Extra {
            on_no_server: OnNoServer::Reset,
            sorry: sorry.then_some(stands_in),
            ..Extra::new(AT, Delivery::Dsr, pool)
        }]);
        let frame = from_client(packet.clone()).build();
        let sent = rig.send(WAN, &[frame.clone(), frame]);
        let servers: Vec<_> = sent.iter().map(|(port, frame)| (*port, server_of(frame))).collect();
        assert_eq!(servers, [(LAN, 0); 2], "{:?}", rig.drops());
        assert_eq!((rig.counters().flows_created.get(), rig.shared.loads.get(server_id(0, false).0)), (1, 1));
    }
}

#[test]
fn a_server_without_a_limit_takes_the_rest() {
    for chooser in choosers(3) {
        let mut pool = limited(pool_of(POOL, chooser, &[0, 1, 2], false), 4);
        pool.limits.remove(&server_id(2, false));
        let mut rig = rig(&[Extra::new(AT, Delivery::Dsr, pool)]);
        rig.send(WAN, &frames(0..40));
        let [first, second, rest] = loads(&rig);
        assert!(first <= 4 && second <= 4 && first + second + rest == 40, "{:?}", loads(&rig));
        assert!(rest >= 32);
    }
}

#[test]
fn a_limit_is_exact_with_two_workers_at_once() {
    let plan = Plan { workers: 2, ..Plan::default() };
    for chooser in choosers(3) {
        let rig = Rig::new(&plan);
        let pool = limited(pool_of(POOL, chooser, &[0, 1, 2], false), 50);
        rig.publish(with_extras(tables(&plan, 2), &[Extra::new(AT, Delivery::Dsr, pool)]));
        let workers = [worker(&rig.shared, &plan, 0), worker(&rig.shared, &plan, 1)];
        let sent = std::thread::scope(|scope| {
            let now = rig.now;
            let all = workers.into_iter().enumerate().map(|(index, mut worker)| {
                scope.spawn(move || {
                    let mut sent = 0;
                    for n in 0..200 {
                        sent +=
                            through(&mut worker, now, WAN, &frames(1000 * index + n..1000 * index + n + 1))
                                .len();
                    }
                    worker.finish();
                    sent
                })
            });
            all.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!((sent, loads(&rig)), (150, [50; 3]));
    }
}

#[test]
fn a_place_that_came_to_nothing_is_free_again() {
    for chooser in 0..3 {
        let pool = || limited(pool_of(POOL, choosers(1).into_iter().nth(chooser).unwrap(), &[0], false), 3);
        let mut rig = rig(&[AT, BESIDE].map(|at| Extra::new(at, Delivery::Nat, pool())));
        // The same flow three times in a burst, and another service's, whose replies could not be told from its own.
        let [frame, same] = [AT, BESIDE].map(|at| client(1, at).build());
        assert_eq!(rig.send(WAN, &[frame.clone(), frame.clone(), frame]).len(), 3);
        rig.dropped(WAN, same, Reason::TupleTaken);
        assert_eq!(loads(&rig), [1, 0, 0]);
        assert_eq!(rig.send(WAN, &frames(2..9)).len(), 2);
    }
}

#[test]
fn one_hash_of_the_source_keeps_a_client_on_one_server_whatever_it_asks() {
    let services = |by| {
        [AT, BESIDE, SECURE]
            .map(|at| Extra::new(at, Delivery::Dsr, pool_of(POOL, maglev(&[0, 1, 2], by), &[0, 1, 2], false)))
    };
    let ask = |rig: &mut Rig, n: usize, port: u16, at: &str| {
        let from = format!("198.51.100.{n}:{port}");
        let [tcp, udp] = [Packet::tcp(&from, at).flags(TcpFlags::SYN), Packet::udp(&from, at)]
            .map(|packet| server_of(&rig.one(WAN, &from_client(packet)).1));
        (tcp, udp)
    };
    for by in [HashBy::Source, HashBy::SourceAndPort] {
        let mut rig = rig(&services(by));
        let (mut seen, mut apart) = ([0; 3], 0);
        for n in 1..60 {
            let (server, _) = ask(&mut rig, n, 1, AT);
            seen[server] += 1;
            for (port, at) in [(1, AT), (2, AT), (40_000, AT), (1, BESIDE), (3, BESIDE)] {
                assert_eq!(ask(&mut rig, n, port, at), (server, server), "{by:?}");
            }
            apart += usize::from(ask(&mut rig, n, 1, SECURE).0 != server);
        }
        assert!(seen.iter().all(|n| *n > 5), "{by:?}: clients spread: {seen:?}");
        assert_eq!(
            apart > 20,
            by == HashBy::SourceAndPort,
            "{by:?}: {apart} of 59 have another server on another port"
        );
    }
}

#[test]
fn a_server_whose_reply_could_not_be_told_is_passed_over() {
    // One client port, three services, two servers: each can hold only one of its flows.
    for chooser in 0..3 {
        let pool = || pool_of(POOL, choosers(2).into_iter().nth(chooser).unwrap(), &[0, 1], false);
        let mut rig = rig(&[AT, BESIDE, SECURE].map(|at| Extra::new(at, Delivery::Nat, pool())));
        let first = server_of(&rig.one(WAN, &client(1, AT)).1);
        // It stays the emptier one by far, and so every algorithm's first choice at some time.
        rig.shared.loads.set(server_id(1 - first, false).0, 100);
        assert_eq!(server_of(&rig.one(WAN, &client(1, BESIDE)).1), 1 - first);
        rig.dropped(WAN, client(1, SECURE).build(), Reason::TupleTaken);
        assert_eq!(loads(&rig)[first], 1);
    }
}

#[test]
fn the_sorry_pool_serves_while_nobody_else_can() {
    let sorry = Arc::new(limited(pool_of(SORRY, turns(&[1]), &[2], false), 5));
    let service = |full: bool, pool: Pool| Extra {
        sorry: Some(Arc::clone(&sorry)),
        on_no_server: OnNoServer::Unreachable,
        ..Extra::new(AT, Delivery::Dsr, if full { limited(pool, 1) } else { pool })
    };
    let healthy = || pool_of(POOL, turns(&[1, 1]), &[0, 1], false);
    for none in
        [pool_of(POOL, turns(&[]), &[], false), pool_of(POOL, maglev(&[], HashBy::Source), &[], false)]
    {
        let mut rig = rig(&[service(false, none)]);
        assert_eq!(counts(&rig.send(WAN, &frames(0..5))), [0, 0, 5]);
        let told = rig.told(WAN, &client(9, AT), Reason::NoServer);
        assert_eq!(told[..2], [3, 1], "it is full, too");
        // The pool is back: all that is new is its own.
        rig.publish(with(3, &[service(false, healthy())]));
        assert_eq!(counts(&rig.send(WAN, &frames(10..30))), [10, 10, 0]);
        assert_eq!(counts(&rig.send(WAN, &frames(0..5))), [0, 0, 5], "flows stay where they are");
    }
    let mut rig = rig(&[service(true, healthy())]);
    assert_eq!(counts(&rig.send(WAN, &frames(0..4))), [1, 1, 2]);
}

#[test]
fn a_full_table_does_not_spray_a_flow_over_stand_ins() {
    let plan = Plan { flows_max: 1024, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    let none = pool_of(POOL, maglev(&[], HashBy::FiveTuple), &[], false);
    let sorry = Arc::new(pool_of(SORRY, turns(&[1, 1, 1]), &[0, 1, 2], false));
    let service = Extra { sorry: Some(sorry), ..Extra::new(AT, Delivery::Dsr, none) };
    rig.publish(with_extras(tables(&plan, 2), &[service]));
    for burst in 0..40 {
        rig.send(WAN, &frames(burst * 64..burst * 64 + 64));
    }
    assert!(rig.drops_of(Reason::TableFull) > 1000, "drops: {:?}", rig.drops());
    assert_eq!(rig.counters().stateless.get(), 0);
}
