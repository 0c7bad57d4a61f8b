//! The table's promises, one thread.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "a test")]
#![cfg(not(loom))]
#![allow(missing_docs, reason = "a test")]

mod support;

use ringlead_flow::{
    Account, FlowSpec, FlowTable, Hit, Inserted, Link, Packed, Phase, Profile, Side, Sizes, TableError, Tick,
    Volume,
};
use ringlead_wire::{Ip, TcpFlags};
use support::{ACK, SYN, client, find, link, lookup_bursts, new, server, spec, table};

const NOW: Tick = Tick(u32::MAX - 3);

#[test]
fn both_tuples_find_the_flow_with_all_its_data() {
    let table = table(100);
    for v4 in [true, false] {
        let spec = spec(client(7, v4), Some(server(7, v4)), 42);
        let flow = new(table.insert(&spec, NOW));
        for (tuple, side) in [(spec.client, Side::Client), (server(7, v4), Side::Server)] {
            let found = table.lookup(&tuple, NOW).unwrap();
            assert_eq!(found, ringlead_flow::Flow { side, ..flow });
            assert_eq!(
                (found.server_id, found.service, found.link),
                (spec.server_id, spec.service, spec.link)
            );
            assert_eq!((found.client, found.server), (spec.client, spec.server));
        }
        assert_eq!(table.lookup(&spec.client.reversed(), NOW), None);
        assert_eq!(table.lookup(&client(7, !v4), NOW).is_some(), !v4, "the other family is another table");
    }
    assert_eq!((table.len(), table.count().v4, table.count().v6), (2, 1, 1));
}

#[test]
fn a_flow_without_server_tuple_has_one_key() {
    let table = table(100);
    let flow = new(table.insert(&spec(client(1, true), None, 1), NOW));
    assert_eq!(table.lookup(&client(1, true), NOW), Some(flow));
    assert_eq!(flow.server, None);
    assert_eq!(table.lookup(&server(1, true), NOW), None);
}

#[test]
fn a_burst_finds_what_single_lookups_find() {
    let table = table(1000);
    for n in 0..300 {
        let _ = new(table.insert(&spec(client(n, n % 2 == 0), Some(server(n, n % 2 == 0)), n), NOW));
    }
    let tuples: Vec<_> = (0..200)
        .map(|n| if n % 3 == 0 { server(n * 2, n % 2 == 0) } else { client(n * 2, n % 2 == 0) })
        .collect();
    for len in [0, 1, 63, 64, 65, 200] {
        let burst = lookup_bursts(&table, &tuples[..len], NOW);
        let single: Vec<_> = tuples[..len].iter().map(|t| table.lookup(t, NOW)).collect();
        assert_eq!(burst, single);
        assert!(len < 63 || burst.iter().any(Option::is_some) && burst.iter().any(Option::is_none));
    }
}

#[test]
fn a_burst_takes_no_more_than_64_and_no_more_than_there_is_room_for() {
    let table = table(100);
    for n in 0..70 {
        let _ = new(table.insert(&spec(client(n, true), None, n), NOW));
    }
    let packed: Vec<_> = (0..70).map(|n| Packed::from(&client(n, true))).collect();
    let mut hits = [Hit::NONE; 70];
    assert_eq!(table.lookup_burst(&packed, &mut hits, NOW), u64::MAX);
    assert_eq!(hits[63].server_id().0, 63);
    assert_eq!(hits[64].service(), Hit::NONE.service(), "left alone");
    assert_eq!(table.lookup_burst(&packed, &mut hits[..3], NOW), 7);
    assert_eq!(table.lookup_burst(&packed[..2], &mut hits, NOW), 3);
}

#[test]
fn a_hit_says_what_its_flow_says() {
    for (v4, two_sided) in [(true, true), (true, false), (false, true), (false, false)] {
        let table = table(10);
        let flow = new(table.insert(&spec(client(7, v4), two_sided.then(|| server(7, v4)), 5), NOW));
        let mut hits = [Hit::NONE; 1];
        assert_eq!(table.lookup_burst(&[Packed::from(&flow.client)], &mut hits, NOW), 1);
        for hit in [hits[0], Hit::from(&flow)] {
            assert_eq!(hit.flow(), flow);
            assert_eq!(
                (hit.side(), hit.server_id(), hit.service()),
                (flow.side, flow.server_id, flow.service)
            );
            assert_eq!((hit.link(), hit.state(), hit.is_two_sided()), (flow.link, flow.state, two_sided));
            assert_eq!(hit.is_v4(), v4);
            let service = (flow.client.dst, flow.client.dport.to_be_bytes());
            let server = flow.server.map(|server| (server.src, server.sport.to_be_bytes()));
            let v4_end = |(ip, port): ([u8; 4], [u8; 2])| (Ip::from_v4(ip), port);
            let v6_end = |(ip, port): ([u8; 16], [u8; 2])| (Ip::from_v6(ip), port);
            assert_eq!(if v4 { v4_end(hit.service_v4()) } else { v6_end(hit.service_v6()) }, service);
            let client = (flow.client.src, flow.client.sport.to_be_bytes());
            assert_eq!(if v4 { v4_end(hit.client_v4()) } else { v6_end(hit.client_v6()) }, client);
            let mapping = flow.server.map(|server| (server.dst, server.dport.to_be_bytes()));
            let to = if v4 { v4_end(hit.mapping_v4()) } else { v6_end(hit.mapping_v6()) };
            assert!(mapping.is_none_or(|mapping| mapping == to));
            assert!(!hit.is_mixed());
            let known = if v4 { v4_end(hit.server_v4()) } else { v6_end(hit.server_v6()) };
            assert!(server.is_none_or(|server| server == known));
            let Link { mac: [a, b, c, d, e, f], port, vlans, vlan } = flow.link;
            let mac = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
            assert_eq!(hit.way_back(), (mac, port, vlans, vlan));
            assert!(hit.has_link(mac, port, vlans, vlan));
        }
    }
}

/// Two packets of one flow in one burst: the second must not be judged by what the look-up read before the first.
#[test]
fn packets_of_one_burst_count_one_after_the_other() {
    let rst = TcpFlags(TcpFlags::RST);
    let fin = TcpFlags(TcpFlags::FIN | TcpFlags::ACK);
    let after = |packets: &[(u8, TcpFlags)]| {
        let table = table(10);
        let flow = new(table.insert(&spec(client(1, true), Some(server(1, true)), 3), NOW));
        let keys = [Packed::from(&flow.client), Packed::from(&flow.server.unwrap())];
        let mut hits = [Hit::NONE; 2];
        assert_eq!(table.lookup_burst(&keys, &mut hits, NOW), 3);
        let mut changed = false;
        for (side, flags) in packets {
            table.touch_hit(&hits[usize::from(*side)], *flags, NOW, &mut changed, &mut |_, _| {});
        }
        table.lookup(&flow.client, NOW).unwrap().state.phase()
    };
    assert_eq!(after(&[(0, ACK), (1, ACK)]), Phase::Established);
    assert_eq!(after(&[(0, rst)]), Phase::Reset);
    assert_eq!(
        after(&[(0, rst), (1, ACK)]),
        Phase::Established,
        "a blind reset is undone by the next segment"
    );
    assert_eq!(after(&[(0, fin), (1, fin)]), Phase::Closed);
    assert_eq!(after(&[(0, fin), (1, fin), (0, SYN)]), Phase::Opening);
    assert_eq!(after(&[(0, fin), (1, fin), (0, SYN), (1, ACK), (0, ACK)]), Phase::Established);
}

#[test]
fn a_packet_in_a_later_tick_refreshes_its_flow() {
    let table = table(10);
    let flow = new(table.insert(&spec(client(1, true), Some(server(1, true)), 3), NOW));
    let mut hits = [Hit::NONE; 1];
    let later = NOW.plus(4);
    assert_eq!(table.lookup_burst(&[Packed::from(&flow.client)], &mut hits, later), 1);
    let mut changed = false;
    table.touch_hit(&hits[0], ACK, later, &mut changed, &mut |_, _| {});
    assert_eq!(table.lookup(&flow.client, later).unwrap().state.last_seen(), later);
    assert!(!changed, "only when it was last seen");
}

#[test]
fn inserting_twice_adopts_the_first() {
    let table = table(100);
    let flow = new(table.insert(&spec(client(1, true), Some(server(1, true)), 1), NOW));
    let again = table.insert(&spec(client(1, true), Some(server(2, true)), 2), NOW);
    assert_eq!(again, Inserted::Existing(flow));
    assert_eq!(table.lookup(&server(2, true), NOW), None);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_taken_server_tuple_leaves_nothing_behind() {
    let table = table(2);
    let _ = new(table.insert(&spec(client(1, true), Some(server(1, true)), 1), NOW));
    for _ in 0..10 {
        let taken = table.insert(&spec(client(2, true), Some(server(1, true)), 2), NOW);
        assert_eq!(taken, Inserted::TupleTaken);
    }
    assert_eq!(table.lookup(&client(2, true), NOW), None);
    let _ = new(table.insert(&spec(client(2, true), Some(server(2, true)), 2), NOW));
    let same = table.insert(&spec(client(3, true), Some(client(3, true)), 3), NOW);
    assert_eq!(same, Inserted::TupleTaken);
}

#[test]
fn removing_frees_both_tuples_and_the_entry_at_once() {
    let table = table(1);
    for n in 0..100 {
        let flow = new(table.insert(&spec(client(n, true), Some(server(n, true)), n), NOW));
        assert_eq!(table.insert(&spec(client(n + 1, true), None, 0), NOW), Inserted::Full);
        assert!(table.remove(&flow).is_some());
        assert!(table.remove(&flow).is_none(), "only one caller ends a flow");
        assert_eq!(table.lookup(&client(n, true), NOW), None);
        assert_eq!(table.lookup(&server(n, true), NOW), None);
        assert!(table.is_empty());
    }
}

#[test]
fn a_stale_flow_touches_nobody() {
    let table = table(1);
    let old = new(table.insert(&spec(client(1, true), None, 1), NOW));
    assert!(table.remove(&old).is_some());
    let new = new(table.insert(&spec(client(1, true), None, 2), NOW));
    assert!(!table.touch(&old, TcpFlags(TcpFlags::RST), NOW.plus(9)));
    table.set_link(&old, link(99));
    assert!(table.remove(&old).is_none());
    assert_eq!(table.lookup(&client(1, true), NOW), Some(new));
}

#[test]
fn a_link_can_be_changed_and_forgotten() {
    let table = table(10);
    let flow = new(table.insert(&spec(client(1, true), None, 1), NOW));
    for n in 0..600 {
        let link = if n % 7 == 0 { Link::NONE } else { link(n) };
        table.set_link(&flow, link);
        assert_eq!(table.lookup(&client(1, true), NOW).unwrap().link, link);
    }
}

#[test]
fn silence_ends_a_flow_before_and_by_the_sweep() {
    let table = table(10);
    let flow = new(table.insert(&spec(client(1, true), Some(server(1, true)), 1), NOW));
    let timer = Profile::Lb.timer(Phase::Established);
    let (last, over) = (NOW.plus(timer), NOW.plus(timer + 1));
    assert!(table.lookup(&client(1, true), last).is_some());
    assert_eq!(sweep(&table, last), vec![]);
    assert_eq!(table.lookup(&client(1, true), over), None, "expired is a miss before it is swept");
    assert_eq!(table.lookup(&server(1, true), over), None);
    assert_eq!(table.len(), 1);
    assert_eq!(sweep(&table, over), vec![flow.client]);
    assert_eq!((sweep(&table, over), table.len()), (vec![], 0));
}

#[test]
fn touching_keeps_a_flow_and_moves_its_phase() {
    let table = table(10);
    let opening = FlowSpec { first: SYN, ..spec(client(1, true), Some(server(1, true)), 1) };
    let flow = new(table.insert(&opening, NOW));
    assert_eq!(flow.state.phase(), Phase::Opening);
    let later = NOW.plus(15);
    let server = table.lookup(&server(1, true), later).unwrap();
    assert!(table.touch(&server, TcpFlags(TcpFlags::SYN | TcpFlags::ACK), later));
    assert!(table.touch(&flow, ACK, later));
    let found = table.lookup(&client(1, true), later.plus(1000)).unwrap();
    assert_eq!((found.state.phase(), found.state.last_seen()), (Phase::Established, later));
    assert!(table.touch(&flow, ACK, NOW), "an older clock does not turn last-seen back");
    assert_eq!(table.lookup(&client(1, true), later).unwrap().state.last_seen(), later);
}

/// A flow is known to be reset only once each end that can be seen was answered; what follows undoes the reset, not that.
#[test]
fn a_reset_counts_for_the_end_that_was_answered() {
    let table = table(10);
    let flow = new(table.insert(&spec(client(1, true), Some(server(1, true)), 1), NOW));
    let found = || table.lookup(&client(1, true), NOW).unwrap();
    let answers = table.lookup(&server(1, true), NOW).unwrap();
    table.reset(&answers, NOW);
    assert_eq!((found().state.phase(), found().state.is_reset_to_all()), (Phase::Reset, false));
    assert!(table.touch(&flow, ACK, NOW));
    assert_eq!(found().state.phase(), Phase::Established);
    table.reset(&flow, NOW);
    assert_eq!((found().state.phase(), found().state.is_reset_to_all()), (Phase::Reset, true));
    assert!(table.touch(&flow, SYN, NOW));
    assert_eq!(
        (found().state.phase(), found().state.is_reset_to_all()),
        (Phase::Opening, false),
        "a new one"
    );
    let alone = new(table.insert(&spec(client(2, true), None, 2), NOW));
    assert!(!alone.state.is_reset_to_all());
    table.reset(&alone, NOW);
    assert!(table.lookup(&client(2, true), NOW).unwrap().state.is_reset_to_all(), "nobody else is seen");
    assert!(table.remove(&alone).is_some());
    let next = new(table.insert(&spec(client(3, true), None, 3), NOW));
    table.reset(&alone, NOW);
    assert_eq!(table.lookup(&client(3, true), NOW).unwrap().state, next.state, "an entry's next flow");
}

#[test]
fn an_expired_flow_gives_its_tuples_to_a_new_one_and_is_still_reported() {
    let table = table(4);
    let first = new(table.insert(&spec(client(1, true), Some(server(1, true)), 1), NOW));
    let _ = new(table.insert(&spec(client(2, true), Some(server(2, true)), 2), NOW));
    let over = NOW.plus(Profile::Lb.timer(Phase::Established) + 1);
    let second = new(table.insert(&spec(client(1, true), Some(server(1, true)), 3), over));
    let _ = new(table.insert(&spec(client(3, true), Some(server(2, true)), 4), over));
    assert!(!table.touch(&first, ACK, over));
    assert!(table.remove(&first).is_none(), "the sweep accounts for it");
    let mut ended = sweep_ids(&table, over);
    ended.sort_unstable();
    assert_eq!(ended, [1, 2]);
    assert_eq!(table.lookup(&client(1, true), over), Some(second));
    assert_eq!(table.lookup(&server(2, true), over).unwrap().server_id.0, 4);
    assert_eq!(table.len(), 2);
}

#[test]
fn the_sweep_keeps_its_budget_and_its_place() {
    let table = table(1000);
    for n in 0..900 {
        let _ = new(table.insert(&spec(client(n, n % 2 == 0), None, n), NOW));
    }
    let over = NOW.plus(100_000);
    let mut ended = 0;
    let mut calls = 0;
    while ended < 900 {
        for shard in 0..table.shards() {
            let mut now = 0;
            table.age(shard, over, 7, &mut |_| now += 1);
            assert!(now <= 7);
            ended += now;
        }
        calls += 1;
        assert!(calls < 100, "the sweep does not get round: {ended}");
    }
    assert!(table.is_empty());
    table.age(table.shards(), over, 7, &mut |_| unreachable!());
}

#[test]
fn the_sweep_ends_flows_of_services_that_are_gone_and_no_others() {
    let table = table(100);
    for n in 0..60 {
        let v4 = n % 2 == 0;
        let spec = FlowSpec { service: n % 3, ..spec(client(n, v4), Some(server(n, v4)), n) };
        let _ = new(table.insert(&spec, NOW));
    }
    let mut ended = Vec::new();
    for shard in 0..table.shards() {
        table.sweep(shard, NOW, usize::MAX, &mut |_, service, _| service == 1, &mut |gone| {
            ended.push(gone.flow.server_id.0);
        });
    }
    ended.sort_unstable();
    assert!(ended.into_iter().eq((0..60).filter(|n| n % 3 == 1)));
    for n in 0..60 {
        for tuple in [client(n, n % 2 == 0), server(n, n % 2 == 0)] {
            assert_eq!(table.lookup(&tuple, NOW).is_some(), n % 3 != 1, "{n}");
        }
    }
    assert_eq!(table.len(), 40);
}

#[test]
fn a_visit_shows_every_flow_once() {
    let table = table(500);
    for n in 0..300 {
        let _ = new(table.insert(&spec(client(n, n < 200), None, n), NOW));
    }
    let (mut seen, mut from) = (Vec::new(), Some(0));
    while let Some(at) = from {
        from = table.visit(at, 33, NOW, &mut |flow| seen.push(flow.server_id.0));
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..300));
}

#[test]
fn rfc5508_a_full_table_leaves_old_flows_alone() {
    for (size, v4) in [(1, true), (1, false), (100, true), (20_000, true), (20_000, false)] {
        let table = table(size as usize);
        for n in 0..size {
            let _ = new(table.insert(&spec(client(n, v4), Some(server(n, v4)), n), NOW));
        }
        for n in size..size * 2 {
            assert_eq!(table.insert(&spec(client(n, v4), Some(server(n, v4)), n), NOW), Inserted::Full);
            assert_eq!(table.lookup(&client(n, v4), NOW), None);
        }
        for n in 0..size {
            assert_eq!(table.lookup(&client(n, v4), NOW).unwrap().server_id.0, n);
            assert_eq!(table.lookup(&server(n, v4), NOW).unwrap().server_id.0, n);
        }
        assert_eq!(table.len(), size as usize);
    }
}

#[test]
fn sizes_out_of_range_are_refused() {
    let sizes = |flows_max, workers| Sizes { flows_max, workers, seed: [0; 4] };
    assert_eq!(FlowTable::new(&sizes(0, 1)).unwrap_err(), TableError::Flows(0));
    assert_eq!(FlowTable::new(&sizes(1 << 30, 1)).unwrap_err(), TableError::Flows(1 << 30));
    assert_eq!(FlowTable::new(&sizes(1, 0)).unwrap_err(), TableError::NoWorkers);
    assert!(FlowTable::new(&sizes(3, 1000)).is_ok());
    let bytes = FlowTable::bytes_for(1_000_000);
    assert!((240_000_000..256_000_000).contains(&bytes), "{bytes}");
}

fn sweep(table: &FlowTable, now: Tick) -> Vec<ringlead_flow::Tuple> {
    let mut ended = Vec::new();
    for shard in 0..table.shards() {
        table.age(shard, now, usize::MAX, &mut |gone| ended.push(gone.flow.client));
    }
    ended
}

fn sweep_ids(table: &FlowTable, now: Tick) -> Vec<u32> {
    let mut ended = Vec::new();
    for shard in 0..table.shards() {
        table.age(shard, now, usize::MAX, &mut |gone| ended.push(gone.flow.server_id.0));
    }
    ended
}

#[test]
fn a_flow_of_another_table_is_restored_with_its_state_and_age() {
    let (there, here) = (table(10), table(10));
    let fin = TcpFlags(TcpFlags::ACK | TcpFlags::FIN);
    for (n, (flags, phase)) in
        (0..).zip([(SYN, Phase::Opening), (ACK, Phase::Established), (fin, Phase::HalfClosed)])
    {
        let spec = FlowSpec { first: flags, ..spec(client(n, true), Some(server(n, true)), n) };
        let had = new(there.insert(&spec, NOW));
        assert_eq!(had.state.phase(), phase);
        let now = NOW.plus(10);
        // What the first packet here would have shown is of no account.
        let _ = new(here.restore(&FlowSpec { first: ACK, ..spec }, had.state.marks(), 10, now));
        let found = here.lookup(&server(n, true), now).unwrap();
        assert_eq!((found.state.phase(), found.state.last_seen()), (phase, NOW));
        assert_eq!((found.link, found.service, found.server), (had.link, had.service, had.server));
    }
    let flow = here.lookup(&client(0, true), NOW).unwrap();
    let timer = flow.state.timer();
    assert!(here.lookup(&client(0, true), NOW.plus(timer)).is_some());
    assert!(here.lookup(&client(0, true), NOW.plus(timer + 1)).is_none(), "its age came along");
    let again = here.restore(&spec(client(1, true), None, 9), 0, 0, NOW);
    assert!(matches!(again, Inserted::Existing(flow) if flow.server_id.0 == 1), "{again:?}");
}

#[test]
fn an_account_is_its_flows_and_goes_with_it() {
    for v4 in [true, false] {
        let table = table(2);
        let begun = Account { why: 9, began_us: 100, last_us: 100, ..Account::default() };
        let spec = |n| FlowSpec { account: Some(begun), ..spec(client(n, v4), Some(server(n, v4)), n) };
        let before = new(table.insert(&spec(1), NOW));
        assert!(!before.state.is_accounted(), "there is no room yet");
        table.keep_accounts().unwrap();
        assert_eq!(table.account(&before), None);
        let flow = new(table.insert(&spec(2), NOW));
        assert!(flow.state.is_accounted());
        // The mark outlives what packets make of the state.
        assert!(
            table.touch(&flow, SYN, NOW.plus(9)) && table.touch(&flow, TcpFlags(TcpFlags::RST), NOW.plus(9))
        );
        for (tuple, bytes, at) in [(spec(2).client, 70, 300), (server(2, v4), 80, 200)] {
            let hit = find(&table, &tuple, NOW).unwrap();
            assert!(hit.state().is_accounted());
            table.add_to_account(&hit, bytes, at);
        }
        let volume = |bytes| Volume { packets: 1, bytes };
        let account = Account { last_us: 300, client: volume(70), server: volume(80), ..begun };
        assert_eq!(table.account(&flow), Some(account));
        // Once more leaves what is there.
        table.keep_accounts().unwrap();
        let gone = table.remove(&flow).unwrap();
        assert_eq!((gone.flow.client, gone.account), (flow.client, Some(account)));
        assert_eq!(table.remove(&before).unwrap().account, None);
        let next = new(table.insert(&spec(3), NOW));
        assert_eq!(table.account(&next), Some(begun), "a new flow begins anew, in the same entry or not");
        let mut swept = Vec::new();
        for shard in 0..table.shards() {
            table.age(shard, NOW.plus(1 << 20), usize::MAX, &mut |gone| swept.push(gone.account));
        }
        assert_eq!(swept, [Some(begun)]);
    }
}
