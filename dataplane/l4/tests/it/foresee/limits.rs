//! Where a worker ends its tries: after the fourth server, without room in the flow table, without a source port.

use super::*;
use ringlead_flow::snat::{PortSpace, SnatPool};

/// Services with one server each, number 0 to 4.
const ALONE: [&str; 5] =
    ["192.0.2.21:80", "192.0.2.22:80", "192.0.2.23:80", "192.0.2.24:80", "192.0.2.25:80"];

/// A rig with a service on these servers, of which those numbered below `taken` have a flow of the client already.
fn rig_with_taken(client: SocketAddr, chooser: Chooser, servers: &[usize], taken: usize) -> Rig {
    let plan = Plan { servers: 6, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    let mut extras = vec![Extra::new(OTHER4, Delivery::Nat, pool_of(1, chooser, servers, false))];
    for (n, at) in ALONE.into_iter().enumerate() {
        let index = 2 + u16::try_from(n).unwrap();
        extras.push(Extra::new(at, Delivery::Nat, pool_of(index, maglev(&[n]), &[n], false)));
    }
    rig.publish(with_extras(tables(&plan, 2), &extras));
    rig.tick();
    ALONE[..taken].iter().for_each(|at| open(&mut rig, client, at));
    rig
}

/// With four servers taken before it the fifth may get the flow or not; of three it is certain, and of five that none does.
#[test]
fn a_worker_ends_its_tries_with_the_fourth_server_and_so_does_what_is_foreseen() {
    let all = [0, 1, 2, 3, 4];
    let turns = || Chooser::RoundRobin(RoundRobin::new(&[1; 5]));
    let least = || Chooser::LeastFlows(LeastFlows::new(&[1; 5]));
    let two = || Chooser::RandomTwo(RandomTwo::new(&[1; 5]));
    let choosers: [&dyn Fn() -> Chooser; 3] = [&turns, &least, &two];
    let id = |n: usize| server_id(n, false);
    let ends = Some(Reason::TupleTaken);
    for (kind, chooser) in choosers.into_iter().enumerate() {
        let (mut served, mut dropped) = (0, 0);
        for port in 1000..1020 {
            let client = client(false, port);
            let asked = tuple(client, OTHER4);
            for (taken, choice, unless) in [
                (3, Choice::AnyOf(vec![id(3), id(4)]), None),
                (4, Choice::Algorithm(id(4)), ends),
                (5, Choice::Nobody(Reason::TupleTaken), None),
            ] {
                let mut rig = rig_with_taken(client, chooser(), &all, taken);
                // Another turn for each client, and then all alike.
                (0..port % 5).for_each(|n| open(&mut rig, self::client(false, 2000 + n), OTHER4));
                (0..6).for_each(|n| rig.shared.loads.set(id(n).0, 0));
                let foreseen = seen(&rig, &asked);
                assert_eq!((&foreseen.choice, foreseen.unless), (&choice, unless), "{kind} {taken}");
                open(&mut rig, client, OTHER4);
                match flow(&rig, &asked) {
                    Some(flow) => {
                        let got = flow.server_id;
                        let named = matches!(&choice, Choice::AnyOf(ids) if ids.contains(&got))
                            || choice == Choice::Algorithm(got);
                        assert!(named, "{kind} {taken}: {flow:?}");
                        served += usize::from(taken == 4);
                    }
                    None => {
                        assert!(taken >= 4, "{kind}: nobody gets it");
                        assert_eq!(rig.drops_of(Reason::TupleTaken), 1);
                        dropped += usize::from(taken == 4);
                    }
                }
            }
        }
        assert!(served > 0 && dropped > 0, "{kind}: {served} {dropped}");
    }
}

/// Maglev names its next choices in an order of its own: what is beyond the fourth is not foreseen either.
#[test]
fn of_a_maglev_table_no_fifth_choice_is_foreseen() {
    let (mut nobody, mut somebody) = (0, 0);
    for port in 1000..1100 {
        let client = client(false, port);
        let mut rig = rig_with_taken(client, maglev(&[0, 1, 2, 3, 4, 5]), &[0, 1, 2, 3, 4, 5], 4);
        let asked = tuple(client, OTHER4);
        let foreseen = seen(&rig, &asked).choice;
        open(&mut rig, client, OTHER4);
        match flow(&rig, &asked) {
            Some(flow) => assert_eq!(foreseen, Choice::Algorithm(flow.server_id)),
            None => assert_eq!(foreseen, Choice::Nobody(Reason::TupleTaken)),
        }
        nobody += usize::from(foreseen == Choice::Nobody(Reason::TupleTaken));
        somebody += usize::from(foreseen != Choice::Nobody(Reason::TupleTaken));
    }
    assert!(nobody > 0 && somebody > 0, "{nobody} {somebody}");
}

#[test]
fn a_full_flow_table_is_foreseen_by_family_and_by_who_needs_no_entry() {
    let mut rig = Rig::new(&Plan { flows_max: 8, ..Plan::default() });
    let client = |port| client(false, port);
    let nat = tuple(client(1), NAT4);
    let mut made = 0;
    while rig.shared.flows.count().v4 < 8 {
        made += 1;
        assert!(made < 10_000);
        // With room for an entry the buckets may have none.
        let foreseen = seen(&rig, &tuple(client(1000 + made), NAT4));
        let before = rig.drops_of(Reason::TableFull);
        open(&mut rig, client(1000 + made), NAT4);
        let full = foreseen.choice == Choice::Nobody(Reason::TableFull);
        assert_eq!((full, foreseen.full.is_some()), (rig.drops_of(Reason::TableFull) > before, full));
    }
    let foreseen = seen(&rig, &nat);
    assert_eq!(foreseen.choice, Choice::Nobody(Reason::TableFull));
    let full = foreseen.full.unwrap();
    assert_eq!((full.v4, full.free, full.entries, full.fits), (true, 0, 8, false));
    let before = rig.drops_of(Reason::TableFull);
    open(&mut rig, client(1), NAT4);
    assert_eq!((rig.drops_of(Reason::TableFull), flow(&rig, &nat)), (before + 1, None));
    // Who answers the client directly, and is found again for every packet, gets it all the same.
    let dsr = tuple(client(1), DSR4);
    let foreseen = seen(&rig, &dsr);
    let Choice::Algorithm(id) = foreseen.choice else { panic!("{foreseen:?}") };
    assert_eq!(foreseen.full.map(|room| room.fits), Some(false));
    let sent = rig.send(WAN, &[from_client(Packet::tcp(client(1), DSR4).flags(TcpFlags::SYN)).build()]);
    assert_eq!((sent.len(), flow(&rig, &dsr)), (1, None));
    assert_eq!(server_id(server_of_mac(&sent[0].1), false), id);
    let v6 = seen(&rig, &tuple(super::client(true, 1), NAT6));
    assert!(matches!(v6.choice, Choice::Algorithm(_)) && v6.full.is_none(), "{v6:?}");
}

/// Which server's Ethernet address a frame goes to.
fn server_of_mac(frame: &[u8]) -> usize {
    (0..6).find(|&n| server_mac(n) == frame[..6]).unwrap()
}

#[test]
fn source_ports_that_are_used_up_are_foreseen_and_shares_of_workers() {
    // Two workers with 64 ports each, of which only the first one is driven.
    let plan = Plan { workers: 2, ..Plan::default() };
    let mut rig = Rig::new(&plan);
    let ours = Ip::from_v4([10, 2, 0, 250]);
    let ports = Arc::new(SnatPool::new(vec![Arc::new(PortSpace::new(ours))], 20_032..=20_159, 2).unwrap());
    let pool = pool_of(1, Chooser::RoundRobin(RoundRobin::new(&[1])), &[0], false);
    let extra = Extra::new(OTHER4, Delivery::Snat(Arc::clone(&ports)), pool);
    rig.publish(with_ports(with_extras(tables(&plan, 2), &[extra]), &ports, &[ours]));
    rig.tick();
    let asked = tuple(client(false, 1), OTHER4);
    let have = |v4| [0, 1].map(|worker| ports.has_free(worker, Protocol::Tcp, v4));
    assert_eq!((have(true), have(false)), ([true; 2], [false; 2]), "no IPv6 address");
    for port in 1000..1064 {
        let foreseen = seen(&rig, &asked);
        assert_eq!((foreseen.choice, foreseen.unless), (Choice::Algorithm(server_id(0, false)), None));
        open(&mut rig, client(false, port), OTHER4);
    }
    assert_eq!(have(true), [false, true]);
    let foreseen = seen(&rig, &asked);
    let unless = Some(Reason::SnatExhausted);
    assert_eq!((foreseen.choice, foreseen.unless), (Choice::Algorithm(server_id(0, false)), unless));
    let mut random = ringlead_flow::snat::SnatRandom::new([1, 2, 3, 4]);
    while ports.take(1, Protocol::Tcp, true, &mut random).is_some() {}
    assert_eq!(seen(&rig, &asked).choice, Choice::Nobody(Reason::SnatExhausted));
    open(&mut rig, client(false, 1), OTHER4);
    assert_eq!((rig.drops_of(Reason::SnatExhausted), flow(&rig, &asked)), (1, None));
    let mut datagram = asked;
    datagram.proto = 17;
    assert!(matches!(seen(&rig, &datagram).choice, Choice::Algorithm(_)), "another transport's are free");
}
