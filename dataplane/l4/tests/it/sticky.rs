//! Source persistence: clients come back to the server that they had.

use crate::rig::*;
use ringlead_l4::drops::Reason;
use ringlead_l4::tables::{Chooser, Delivery, Pool, Server, Tables};
use ringlead_pick::{HashBy, Maglev, Member, RoundRobin, Sticky, StickySpec};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;
use std::sync::Arc;

const AT: &str = "192.0.2.5:80";
const AT6: &str = "[2001:db8::5]:80";
/// Seconds for which clients are remembered: longer than any flow here lives.
const TIMEOUT: u64 = 1200;

fn known(prefix_v4: u8) -> Arc<Sticky> {
    let timeout_ticks = 4 * TIMEOUT as u32;
    let spec = StickySpec { entries: 4096, prefix_v4, prefix_v6: 56, timeout_ticks, seed: [5; 16] };
    Arc::new(Sticky::new(&spec).unwrap())
}

fn turns(servers: &[usize], v6: bool) -> Pool {
    pool_of(1, Chooser::RoundRobin(RoundRobin::new(&vec![1; servers.len()])), servers, v6)
}

fn service(sticky: &Arc<Sticky>, pool: Pool) -> Extra {
    Extra { sticky: Some(Arc::clone(sticky)), ..Extra::new(AT, Delivery::Dsr, pool) }
}

fn with(epoch: u64, extras: &[Extra]) -> Tables {
    with_extras(tables(&Plan::default(), epoch), extras)
}

fn rig(extras: &[Extra]) -> Rig {
    let rig = Rig::new(&Plan::default());
    rig.publish(with(2, extras));
    rig
}

/// A server as something else than it was.
fn change(mut tables: Tables, server: usize, change: impl Fn(&mut Server)) -> Tables {
    let mut servers = tables.servers.to_vec();
    servers.iter_mut().skip(server * 2).take(2).flatten().for_each(change);
    tables.servers = servers.into();
    tables
}

fn syn(ip: &str, port: u16) -> Packet {
    from_client(Packet::tcp(format!("{ip}:{port}"), AT).flags(TcpFlags::SYN))
}

/// Opens a connection; its server.
fn open(rig: &mut Rig, ip: &str, port: u16) -> usize {
    server_of(&rig.one(WAN, &syn(ip, port)).1)
}

/// Lets all flows end.
fn end_all(rig: &mut Rig) {
    rig.now += 301 * SECOND;
    for _ in 0..rig.shared.flows.shards() * 8 {
        rig.tick();
    }
    assert_eq!(rig.shared.flows.len(), 0);
}

#[test]
fn a_client_comes_back_to_its_server_also_after_weights_have_changed() {
    let sticky = known(32);
    let mut rig = rig(&[service(&sticky, turns(&[0, 1, 2], false))]);
    let clients: Vec<String> = (1..20).map(|n| format!("198.51.100.{n}")).collect();
    let servers: Vec<usize> = clients.iter().map(|ip| open(&mut rig, ip, 1000)).collect();
    assert!((0..3).all(|server| servers.contains(&server)), "{servers:?}");
    let again = |rig: &mut Rig, port| clients.iter().map(|ip| open(rig, ip, port)).collect::<Vec<_>>();
    assert_eq!(again(&mut rig, 1001), servers);
    end_all(&mut rig);
    assert_eq!(again(&mut rig, 1002), servers);
    end_all(&mut rig);
    let chooser = Chooser::RoundRobin(RoundRobin::new(&[1, 1, 100]));
    rig.publish(with(3, &[service(&sticky, pool_of(1, chooser, &[0, 1, 2], false))]));
    assert_eq!(again(&mut rig, 1003), servers);
    end_all(&mut rig);
    let members = [0, 1, 2].map(|identity| Member { identity, weight: 1 });
    let chooser = Chooser::Maglev { table: Maglev::build(&members, 251), by: HashBy::FiveTuple };
    rig.publish(with(4, &[service(&sticky, pool_of(1, chooser, &[0, 1, 2], false))]));
    assert_eq!(again(&mut rig, 1004), servers);
}

#[test]
fn a_clients_first_connections_at_once_go_together() {
    let mut rig = rig(&[service(&known(32), turns(&[0, 1, 2], false))]);
    let burst: Vec<_> = (0..6).map(|port| syn("198.51.100.7", 1000 + port).build()).collect();
    let servers: Vec<usize> = rig.send(WAN, &burst).iter().map(|(_, frame)| server_of(frame)).collect();
    assert_eq!(servers, vec![servers[0]; 6]);
}

#[test]
fn workers_share_what_is_known() {
    let plan = Plan { workers: 2, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    rig.publish(with_extras(tables(&plan, 2), &[service(&known(32), turns(&[0, 1, 2], false))]));
    let mut other = worker(&rig.shared, &plan, 1);
    for n in 1..10 {
        let ip = format!("198.51.100.{n}");
        let server = open(&mut rig, &ip, 1000);
        let sent = through(&mut other, rig.now, WAN, &[syn(&ip, 1001).build()]);
        assert_eq!(server_of(&sent[0].1), server);
    }
    other.finish();
}

#[test]
fn clients_of_one_prefix_go_together() {
    let sticky = known(24);
    let at6 = Extra { at: AT6, ..service(&sticky, turns(&[0, 1, 2], true)) };
    let mut rig = rig(&[service(&sticky, turns(&[0, 1, 2], false)), at6]);
    let server = open(&mut rig, "198.51.100.1", 1000);
    for n in 2..9 {
        assert_eq!(open(&mut rig, &format!("198.51.100.{n}"), 1000), server);
    }
    let others: Vec<usize> = (101..103).map(|net| open(&mut rig, &format!("198.51.{net}.1"), 1000)).collect();
    assert!(!others.contains(&server) && others[0] != others[1], "one turn each: {server}, {others:?}");

    let mut open6 =
        |ip: &str| server_of(&rig.one(WAN, &from_client(Packet::udp(format!("[{ip}]:1000"), AT6))).1);
    let server = open6("2001:db8:c:1::1");
    assert_eq!([open6("2001:db8:c:2::9"), open6("2001:db8:c:ff::1")], [server; 2]);
    assert_ne!(open6("2001:db8:c:100::1"), server);
}

#[test]
fn who_stays_away_for_long_is_forgotten_and_who_comes_is_not() {
    let mut rig = rig(&[service(&known(32), turns(&[0, 1, 2], false))]);
    let server = open(&mut rig, "198.51.100.7", 1000);
    for port in 1001..1004 {
        rig.now += (TIMEOUT - 1) * SECOND;
        assert_eq!(open(&mut rig, "198.51.100.7", port), server);
    }
    rig.now += TIMEOUT * SECOND;
    assert_ne!(open(&mut rig, "198.51.100.7", 2000), server, "the next in turn");
}

#[test]
fn a_draining_server_keeps_its_clients_and_one_that_is_offline_does_not() {
    let sticky = known(32);
    let mut rig = rig(&[service(&sticky, turns(&[0, 1, 2], false))]);
    let server = open(&mut rig, "198.51.100.7", 1000);
    let rest: Vec<usize> = (0..3).filter(|other| *other != server).collect();
    let without = |epoch| with(epoch, &[service(&sticky, turns(&rest, false))]);
    rig.publish(change(without(3), server, |s| s.accepts = false));
    assert_eq!(open(&mut rig, "198.51.100.7", 1001), server, "it drains");
    for n in 20..26 {
        assert_ne!(open(&mut rig, &format!("198.51.100.{n}"), 1000), server, "nobody new comes");
    }
    rig.publish(change(without(4), server, |s| (s.accepts, s.admits) = (false, false)));
    let next = open(&mut rig, "198.51.100.7", 1002);
    assert_ne!(next, server);
    // It is back, but its clients have another server by now.
    rig.publish(with(5, &[service(&sticky, turns(&[0, 1, 2], false))]));
    assert_eq!(open(&mut rig, "198.51.100.7", 1003), next);
}

#[test]
fn a_full_servers_client_goes_elsewhere_and_stays_there() {
    let mut pool = turns(&[0, 1, 2], false);
    pool.limits = pool.members.iter().map(|id| (*id, 2)).collect();
    let mut rig = rig(&[service(&known(32), pool)]);
    let servers: Vec<usize> = (0..6).map(|port| open(&mut rig, "198.51.100.7", 1000 + port)).collect();
    let [a, b, c] = [servers[0], servers[2], servers[4]];
    assert_eq!(servers, [a, a, b, b, c, c]);
    assert!(a != b && b != c && a != c, "{servers:?}");
    rig.dropped(WAN, syn("198.51.100.7", 1006).build(), Reason::NoServer);
}

#[test]
fn who_was_served_by_a_stand_in_is_not_sent_back_to_it() {
    let sticky = known(32);
    let sorry = Arc::new(pool_of(2, Chooser::RoundRobin(RoundRobin::new(&[1])), &[2], false));
    let with_sorry = |epoch, servers: &[usize]| {
        let service = service(&sticky, turns(servers, false));
        with(epoch, &[Extra { sorry: Some(Arc::clone(&sorry)), ..service }])
    };
    let mut rig = Rig::new(&Plan::default());
    rig.publish(with_sorry(2, &[]));
    assert_eq!(open(&mut rig, "198.51.100.7", 1000), 2);
    rig.publish(with_sorry(3, &[0, 1]));
    assert_ne!(open(&mut rig, "198.51.100.7", 1001), 2);
}

#[test]
fn what_is_remembered_cannot_be_computed_again() {
    let members = [0, 1, 2].map(|identity| Member { identity, weight: 1 });
    let chooser = Chooser::Maglev { table: Maglev::build(&members, 251), by: HashBy::FiveTuple };
    let plan = Plan { flows_max: 1024, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    let service = service(&known(32), pool_of(1, chooser, &[0, 1, 2], false));
    rig.publish(with_extras(tables(&plan, 2), &[service]));
    let ack = from_client(Packet::tcp("198.51.100.7:1000", AT));
    rig.dropped(WAN, ack.build(), Reason::UnknownFlow);
    let quoted = Packet::tcp(AT, "198.51.100.7:1000").ip();
    let error = from_client(Packet::icmp_error("203.0.113.1", "192.0.2.5", 3, 4, 1400, &quoted));
    rig.dropped(WAN, error.build(), Reason::IcmpWithoutFlow);
    let server = open(&mut rig, "198.51.100.7", 1000);
    assert_eq!(
        [&ack, &error].map(|packet| server_of(&rig.one(WAN, packet).1)),
        [server; 2],
        "of a flow it can"
    );
    for burst in 0..40 {
        let frames: Vec<_> = (0..64).map(|n| syn("198.51.100.8", 1000 + burst * 64 + n).build()).collect();
        rig.send(WAN, &frames);
    }
    assert!(rig.drops_of(Reason::TableFull) > 1000, "drops: {:?}", rig.drops());
    assert_eq!(rig.counters().stateless.get(), 0);
}
