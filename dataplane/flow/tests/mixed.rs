//! Flows with a tuple of each family, as NAT64 and NAT46 make them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "a test")]
#![cfg(not(loom))]
#![allow(missing_docs, reason = "a test")]

mod support;

use ringlead_flow::{Flow, FlowSpec, FlowTable, Hit, Inserted, Packed, Phase, Profile, Side, Tick, Tuple};
use ringlead_wire::TcpFlags;
use support::{ACK, SYN, client, find, link, new, server, spec, table};

const NOW: Tick = Tick(u32::MAX - 3);

/// An IPv4 client of an IPv6 server (`true`), or the other way round.
fn mixed(n: u32, v4_client: bool) -> FlowSpec {
    spec(client(n, v4_client), Some(server(n, !v4_client)), n)
}

/// Of the flow's two tuples, the IPv4 one.
fn narrow(spec: &FlowSpec) -> Tuple {
    if spec.client.is_v4() { spec.client } else { spec.server.unwrap() }
}

fn is_there(table: &FlowTable, spec: &FlowSpec, now: Tick) -> bool {
    let found = [spec.client, spec.server.unwrap()].map(|tuple| find(table, &tuple, now).is_some());
    assert_eq!(found[0], found[1]);
    found[0]
}

#[test]
fn both_tuples_find_the_flow_and_its_hit_says_that_it_is_mixed() {
    for v4_client in [true, false] {
        let table = table(10);
        let profile = if v4_client { Profile::Rfc5382 } else { Profile::Lb };
        let spec = FlowSpec { profile, ..mixed(7, v4_client) };
        let flow = new(table.insert(&spec, NOW));
        for (tuple, side) in [(spec.client, Side::Client), (spec.server.unwrap(), Side::Server)] {
            let hit = find(&table, &tuple, NOW).unwrap();
            for hit in [hit, Hit::from(&Flow { side, ..flow })] {
                assert_eq!(hit.flow(), Flow { side, ..flow });
                assert_eq!((hit.flow().client, hit.flow().server), (spec.client, spec.server));
                assert_eq!((hit.is_mixed(), hit.is_v4(), hit.is_two_sided()), (true, false, true));
                assert_eq!(hit.flow().client.is_v4(), v4_client);
                assert_eq!(hit.flow().server.unwrap().is_v4(), !v4_client);
                assert_eq!(hit.service_v6().0, spec.client.dst.octets(), "IPv4 in mapped form");
                assert_eq!(hit.server_v6().0, spec.server.unwrap().src.octets());
                let timer = profile.timer(Phase::Established);
                assert_eq!((hit.state().profile(), hit.state().timer()), (profile, timer));
            }
        }
        assert_eq!(table.lookup(&narrow(&spec), NOW), None, "not among the IPv4 flows");
        assert_eq!((table.count().v4, table.count().v6), (0, 1));
    }
}

#[test]
fn flows_of_one_family_are_not_mixed_and_are_not_found_by_a_wider_lookup() {
    for (v4, profile) in [(true, Profile::Lb), (false, Profile::Rfc5382), (true, Profile::Rfc5382)] {
        let table = table(10);
        let flow =
            new(table.insert(&FlowSpec { profile, ..spec(client(7, v4), Some(server(7, v4)), 1) }, NOW));
        assert!(!Hit::from(&flow).is_mixed());
        assert_eq!(flow.state.profile(), profile);
        assert!(table.lookup_widened(&Packed::from(&flow.client), NOW).is_none());
        assert_eq!(Packed::from(&flow.client).widened().is_some(), v4, "an IPv6 tuple has no wider form");
    }
}

#[test]
fn packets_of_both_ends_move_the_flow_and_keep_it_mixed() {
    for v4_client in [true, false] {
        let table = table(10);
        let spec = FlowSpec { first: SYN, ..mixed(3, v4_client) };
        let flow = new(table.insert(&spec, NOW));
        assert_eq!(flow.state.phase(), Phase::Opening);
        let later = NOW.plus(9);
        let mut changed = false;
        let hit = find(&table, &spec.server.unwrap(), later).unwrap();
        table.touch_hit(&hit, TcpFlags(TcpFlags::SYN | TcpFlags::ACK), later, &mut changed, &mut |_, _| {});
        assert!(table.touch(&flow, ACK, later));
        table.set_link(&flow, link(9));
        let hit = find(&table, &spec.client, later).unwrap();
        assert_eq!((hit.state().phase(), hit.state().last_seen()), (Phase::Established, later));
        assert_eq!((hit.link(), hit.is_mixed(), changed), (link(9), true, true));
    }
}

#[test]
fn removing_and_ageing_free_both_tuples() {
    for v4_client in [true, false] {
        let table = table(1);
        let spec = mixed(3, v4_client);
        for _ in 0..3 {
            let flow = new(table.insert(&spec, NOW));
            assert!(is_there(&table, &spec, NOW));
            assert!(table.remove(&flow).is_some());
            assert!(!is_there(&table, &spec, NOW));
        }
        let _ = new(table.insert(&spec, NOW));
        let over = NOW.plus(Profile::Lb.timer(Phase::Established) + 1);
        assert!(is_there(&table, &spec, over.plus(u32::MAX)) && !is_there(&table, &spec, over));
        let mut ended = Vec::new();
        for shard in 0..table.shards() {
            table.age(shard, over, usize::MAX, &mut |gone| ended.push((gone.flow.client, gone.flow.server)));
        }
        assert_eq!(ended, [(spec.client, spec.server)]);
        assert!(table.is_empty());
    }
}

#[test]
fn a_tuple_has_one_flow_whatever_the_family_of_the_other() {
    let table = table(10);
    let v4 = new(table.insert(&spec(client(1, true), Some(server(1, true)), 1), NOW));
    assert_eq!(table.insert(&mixed(1, true), NOW), Inserted::Existing(v4));
    let taken = spec(client(9, false), Some(server(1, true)), 2);
    assert_eq!(table.insert(&taken, NOW), Inserted::TupleTaken);
    for v4_client in [true, false] {
        let first = new(table.insert(&mixed(2, v4_client), NOW));
        assert_eq!(table.insert(&mixed(2, v4_client), NOW), Inserted::Existing(first));
        let rival = FlowSpec { client: client(5, v4_client), ..mixed(2, v4_client) };
        assert_eq!(table.insert(&rival, NOW), Inserted::TupleTaken);
        assert!(find(&table, &rival.client, NOW).is_none());
    }
    assert_eq!(table.len(), 3);
}
