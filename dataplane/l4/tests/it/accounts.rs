//! What flows carry, counted for those whose account is kept.

use crate::rig::*;
use ringlead_flow::{Account, Volume};
use ringlead_l4::chosen::{Among, By, Chosen};
use ringlead_l4::drops::Reason;
use ringlead_l4::ends::{Accounts, Ended, Why};
use ringlead_l4::tables::{Chooser, Delivery, Pool, Standing};
use ringlead_pick::{RoundRobin, Sticky, StickySpec};
use ringlead_wire::TcpFlags;
use ringlead_wire::build::Packet;
use std::sync::Arc;

/// One service more.
const AT: &str = "192.0.2.5:80";
const CLIENT: &str = "198.51.100.1:1000";
/// Longer than every timer.
const LONG: u64 = 20_000 * SECOND;

/// Of every flow.
fn counting(plan: &Plan) -> Rig {
    let rig = Rig::new(plan);
    rig.shared.flows.keep_accounts().unwrap();
    rig.shared.ends.take(1, &[], Accounts::Sampled);
    rig
}

fn ended(rig: &mut Rig) -> Vec<Ended> {
    rig.now += LONG;
    rig.shared.sweep(ringlead_flow::Tick::from_nanos(rig.now));
    std::iter::from_fn(|| rig.shared.ends.next()).collect()
}

fn account(rig: &mut Rig) -> Account {
    let all = ended(rig);
    let [one] = &all[..] else { panic!("{all:?}") };
    one.gone.account.unwrap()
}

#[test]
fn both_ends_packets_and_bytes_are_counted_from_the_first_to_the_last() {
    for (service, v6) in [(NAT4, false), (NAT6, true)] {
        let mut rig = counting(&Plan::default());
        let client = if v6 { "[2001:db8:9::1]:1000" } else { CLIENT };
        let syn = from_client(Packet::tcp(client, service).flags(TcpFlags::SYN));
        let data = from_client(Packet::tcp(client, service).payload([7; 900]));
        let began = rig.now;
        let server = server_of(&rig.one(WAN, &syn).1);
        let answer = from_server(server, Packet::tcp(server_address(server, v6), client).payload([8; 100]));
        rig.now += 3_000_000;
        let answers = [answer.build(), answer.build()];
        assert_eq!(rig.send(LAN, &answers).len(), 2, "{:?}", rig.drops());
        rig.now += 4_000_000;
        rig.one(WAN, &data);
        // What is not sent on is not counted.
        let late = from_client(Packet::tcp(client, service).ttl(1)).build();
        rig.send(WAN, &[late]);
        assert_eq!(rig.drops_of(Reason::TtlExpired), 1);
        let account = account(&mut rig);
        let bytes = |packet: &Packet| packet.build().len() as u64;
        assert_eq!((account.began_us, account.last_us), (began / 1000, began / 1000 + 7000));
        assert_eq!(account.client, Volume { packets: 2, bytes: bytes(&syn) + bytes(&data) });
        assert_eq!(account.server, Volume { packets: 2, bytes: 2 * bytes(&answer) });
    }
}

#[test]
fn every_mode_counts() {
    for service in [DSR4, DSR6, TUNNEL44, TUNNEL46, TUNNEL64, TUNNEL66] {
        let mut rig = counting(&Plan::default());
        let client = if service.starts_with('[') { "[2001:db8:9::1]:1000" } else { CLIENT };
        let data = from_client(Packet::tcp(client, service).payload([7; 100]));
        rig.one(WAN, &data);
        rig.one(WAN, &data);
        let bytes = data.build().len() as u64;
        let account = account(&mut rig);
        assert_eq!(account.client, Volume { packets: 2, bytes: 2 * bytes }, "{service}");
        assert_eq!(account.server, Volume::default(), "{service}");
    }
}

#[test]
fn only_flows_that_are_asked_for_have_an_account() {
    let mut rig = counting(&Plan::default());
    let begin = |rig: &mut Rig, ports: std::ops::Range<u16>| {
        for port in ports {
            rig.one(WAN, &from_client(Packet::udp(format!("198.51.100.1:{port}"), NAT4)));
        }
    };
    let with = |rig: &mut Rig| {
        let all = ended(rig);
        (all.len(), all.iter().filter(|ended| ended.gone.account.is_some()).count())
    };
    rig.shared.ends.take(4, &[Why::Idle], Accounts::Sampled);
    begin(&mut rig, 1000..1200);
    let (all, some) = with(&mut rig);
    assert!(all == 200 && (20..80).contains(&some), "{some} of {all}");
    rig.shared.ends.take(4, &[Why::Idle], Accounts::All);
    begin(&mut rig, 1000..1200);
    assert_eq!(with(&mut rig), (200, 200));
    // Off for those that begin: the others keep theirs.
    begin(&mut rig, 1000..1010);
    rig.shared.ends.take(1, &[], Accounts::Sampled);
    begin(&mut rig, 1010..1020);
    rig.shared.ends.take(0, &[], Accounts::All);
    begin(&mut rig, 1020..1030);
    rig.shared.ends.take(0, &[Why::Idle], Accounts::Sampled);
    assert_eq!(with(&mut rig), (30, 20));
}

/// Before there is room nothing is kept, whoever asks.
#[test]
fn a_table_without_room_for_accounts_has_none() {
    let mut rig = Rig::new(&Plan::default());
    rig.shared.ends.take(1, &[], Accounts::All);
    rig.one(WAN, &from_client(Packet::udp(CLIENT, NAT4)));
    let all = ended(&mut rig);
    assert_eq!((all.len(), all[0].gone.account), (1, None));
}

#[test]
fn the_account_says_how_the_server_was_chosen() {
    let chosen = |rig: &mut Rig| Chosen::from_mark(account(rig).why).unwrap();
    let by = |by, midway| Chosen { by, among: Among::Pool, tried: 0, midway };
    let mut rig = counting(&Plan::default());
    rig.one(WAN, &from_client(Packet::tcp(CLIENT, NAT4).flags(TcpFlags::SYN)));
    assert_eq!(chosen(&mut rig), by(By::Maglev, false));
    rig.one(WAN, &from_client(Packet::tcp(CLIENT, NAT4)));
    assert_eq!(chosen(&mut rig), by(By::Maglev, true), "picked up in the middle");

    let plan = Plan { round_robin: true, ..Plan::default() };
    let mut rig = counting(&plan);
    rig.one(WAN, &from_client(Packet::udp(CLIENT, NAT4)));
    assert_eq!(chosen(&mut rig), by(By::RoundRobin, false));
}

#[test]
fn the_account_says_of_which_servers_one_was_chosen() {
    let spec =
        StickySpec { entries: 64, prefix_v4: 32, prefix_v6: 56, timeout_ticks: 1_000_000, seed: [5; 16] };
    let sticky = Arc::new(Sticky::new(&spec).unwrap());
    let turns = |servers: &[usize]| {
        pool_of(1, Chooser::RoundRobin(RoundRobin::new(&vec![1; servers.len()])), servers, false)
    };
    let mut rig = counting(&Plan::default());
    let mut epoch = 1;
    let mut chosen = |pool: Pool, sorry: Option<Pool>, sticky: Option<&Arc<Sticky>>| {
        epoch += 1;
        let (sticky, sorry) = (sticky.cloned(), sorry.map(Arc::new));
        let service = Extra { sticky, sorry, ..Extra::new(AT, Delivery::Dsr, pool) };
        rig.publish(with_extras(tables(&Plan::default(), epoch), &[service]));
        rig.one(WAN, &from_client(Packet::tcp(CLIENT, AT).flags(TcpFlags::SYN)));
        let chosen = Chosen::from_mark(account(&mut rig).why).unwrap();
        (chosen.by, chosen.among)
    };
    assert_eq!(chosen(turns(&[0, 1]), None, Some(&sticky)), (By::RoundRobin, Among::Pool));
    assert_eq!(chosen(turns(&[0, 1]), None, Some(&sticky)), (By::Sticky, Among::Pool), "known by now");
    let with = |standing| Pool { standing, ..turns(&[0, 1]) };
    assert_eq!(chosen(with(Standing::Backups), None, None), (By::RoundRobin, Among::Backups));
    assert_eq!(chosen(with(Standing::Panic), None, None), (By::RoundRobin, Among::Panic));
    assert_eq!(chosen(turns(&[]), Some(turns(&[1])), None), (By::RoundRobin, Among::Sorry));
}

/// The reply's addresses and ports are another flow's at the first server.
#[test]
fn the_account_says_how_many_were_tried_before() {
    let mut rig = counting(&Plan::default());
    let turns = |index, servers: &[usize]| {
        pool_of(index, Chooser::RoundRobin(RoundRobin::new(&vec![1; servers.len()])), servers, false)
    };
    let beside = "192.0.2.6:80";
    let extras = [(AT, 1, &[0][..]), (beside, 2, &[0, 1])]
        .map(|(at, pool, to)| Extra::new(at, Delivery::Nat, turns(pool, to)));
    rig.publish(with_extras(tables(&Plan::default(), 2), &extras));
    // Of two turns one is the first server's, at least.
    for (client, at) in
        [CLIENT, "198.51.100.1:1001"].into_iter().flat_map(|client| [(client, AT), (client, beside)])
    {
        rig.one(WAN, &from_client(Packet::udp(client, at)));
    }
    let tried = ended(&mut rig).into_iter().map(|ended| ended.gone.account.unwrap().why);
    let mut tried: Vec<u8> = tried.map(|why| Chosen::from_mark(why).unwrap().tried).collect();
    tried.sort_unstable();
    assert!(tried.len() == 4 && tried[..2] == [0, 0] && tried[3] == 1, "{tried:?}");
}
