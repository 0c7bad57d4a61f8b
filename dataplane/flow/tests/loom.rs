//! Every interleaving (up to a number of preemptions) of two threads in the shipped functions.
//!
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test -p ringlead-flow --release --test loom`
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "a test")]
#![cfg(loom)]
#![allow(missing_docs, reason = "a test")]

mod support;

use loom::sync::Arc;
use loom::thread;
use ringlead_flow::{
    Flow, FlowSpec, FlowTable, Inserted, Link, Phase, Profile, ServerId, Sizes, Tick, Tuple,
};
use support::{ACK, client, link, new, server, spec};

const NOW: Tick = Tick(7);

/// A table with room for that many flows; two buckets of two slots.
fn table(flows_max: usize) -> Arc<FlowTable> {
    Arc::new(FlowTable::new(&Sizes { flows_max, workers: 1, seed: [1, 2, 3, 4] }).unwrap())
}

/// Runs both at once, the second on this thread.
fn both<A: 'static, B>(a: impl FnOnce() -> A + 'static, b: impl FnOnce() -> B) -> (A, B) {
    let a = thread::spawn(a);
    let b = b();
    (a.join().unwrap(), b)
}

/// The flows that a client's tuple and a server's tuple lead to are whole: no field is another flow's.
fn assert_whole(flow: &Flow, tuple: Tuple) {
    let spec = spec(flow.client, flow.server, flow.server_id.0);
    assert!(flow.client == tuple || flow.server == Some(tuple));
    assert_eq!((flow.service, flow.client), (spec.service, client(flow.server_id.0, true)));
    assert!(flow.link == spec.link || flow.link == Link::NONE);
}

/// The table holds exactly `live` of its `size` flows, and the rest of it can be used.
fn assert_nothing_leaked(table: &FlowTable, live: usize, size: usize) {
    assert_eq!(table.len(), live);
    for shard in 0..table.shards() {
        table.age(shard, NOW, 9, &mut |flow| panic!("ended: {flow:?}"));
    }
    for n in 0..u32::try_from(size - live).unwrap() {
        let _ = new(table.insert(&spec(client(100 + n, true), None, 0), NOW));
    }
    assert_eq!(table.insert(&spec(client(200, true), None, 0), NOW), Inserted::Full);
}

#[test]
fn inserts_of_one_key_end_with_one_flow() {
    loom::model(|| {
        let table = table(2);
        let other = table.clone();
        let insert = |table: &FlowTable, id| {
            table.insert(&FlowSpec { server_id: ServerId(id), ..spec(client(1, true), None, 1) }, NOW)
        };
        let (a, b) = both(move || insert(&other, 1), || insert(&table, 2));
        let found = table.lookup(&client(1, true), NOW);
        match (a, b) {
            (Inserted::New(flow), Inserted::Existing(same))
            | (Inserted::Existing(same), Inserted::New(flow)) => {
                assert_eq!((flow, found), (same, Some(flow)));
            }
            (Inserted::New(flow), Inserted::Contended) | (Inserted::Contended, Inserted::New(flow)) => {
                assert_eq!(found, Some(flow));
            }
            (Inserted::Contended, Inserted::Contended) => assert_eq!(found, None),
            odd => panic!("{odd:?}"),
        }
        assert_nothing_leaked(&table, usize::from(found.is_some()), 2);
    });
}

#[test]
fn one_of_two_clients_gets_a_server_tuple() {
    loom::model(|| {
        let table = table(2);
        let other = table.clone();
        let insert =
            |table: &FlowTable, n| table.insert(&spec(client(n, true), Some(server(1, true)), n), NOW);
        let (a, b) = both(move || insert(&other, 1), || insert(&table, 2));
        let found = table.lookup(&server(1, true), NOW);
        let (winner, loser) = match (a, b) {
            (Inserted::New(flow), Inserted::TupleTaken | Inserted::Contended) => (flow, 2),
            (Inserted::TupleTaken | Inserted::Contended, Inserted::New(flow)) => (flow, 1),
            (Inserted::Contended, Inserted::Contended) => return assert_eq!(found, None),
            odd => panic!("{odd:?}"),
        };
        assert_eq!(found.map(|flow| flow.client), Some(winner.client));
        assert_eq!(table.lookup(&client(loser, true), NOW), None);
    });
}

#[test]
fn a_lookup_never_returns_another_flows_data() {
    loom::model(|| {
        let table = table(1);
        let old = new(table.insert(&spec(client(1, true), None, 1), NOW));
        let other = table.clone();
        let (reused, ()) = both(
            move || {
                assert!(other.remove(&old));
                other.insert(&spec(client(2, true), None, 2), NOW)
            },
            || {
                for tuple in [client(1, true), client(2, true)] {
                    if let Some(flow) = table.lookup(&tuple, NOW) {
                        assert_whole(&flow, tuple);
                    }
                }
            },
        );
        assert_eq!(table.lookup(&client(2, true), NOW), Some(new(reused)));
        assert_eq!(table.lookup(&client(1, true), NOW), None);
    });
}

#[test]
fn a_reader_that_hits_the_same_key_again_gets_the_old_or_the_new_flow() {
    loom::model(|| {
        let table = table(1);
        let old = new(table.insert(&spec(client(1, true), None, 1), NOW));
        let other = table.clone();
        let (_, found) = both(
            move || {
                assert!(other.remove(&old));
                new(other
                    .insert(&FlowSpec { service: 5, link: link(5), ..spec(client(1, true), None, 5) }, NOW))
            },
            || table.lookup(&client(1, true), NOW),
        );
        if let Some(flow) = found {
            let whole = (flow.server_id, flow.service, flow.link);
            assert!(
                [(ServerId(1), 1 ^ 0xffff, link(1)), (ServerId(5), 5, link(5))].contains(&whole),
                "{flow:?}"
            );
        }
    });
}

#[test]
fn a_refreshed_flow_is_not_swept_and_a_swept_one_is_not_refreshed() {
    loom::model(|| {
        let table = table(1);
        let flow = new(table.insert(&spec(client(1, true), Some(server(1, true)), 1), NOW));
        let other = table.clone();
        let over = NOW.plus(Profile::Lb.timer(Phase::Established) + 1);
        let (ended, touched) = both(
            move || {
                let mut ended = 0;
                other.age(0, over, 1, &mut |flow| {
                    assert_whole(flow, client(1, true));
                    ended += 1;
                });
                ended
            },
            || table.touch(&flow, ACK, over),
        );
        assert_eq!(ended, usize::from(!touched));
        assert_eq!(table.lookup(&client(1, true), over).is_some(), touched);
        assert_eq!(table.lookup(&server(1, true), over).is_some(), touched);
    });
}

#[test]
fn a_flow_ends_once() {
    loom::model(|| {
        let table = table(1);
        let flow = new(table.insert(&spec(client(1, true), None, 1), NOW));
        let other = table.clone();
        let over = NOW.plus(100_000);
        let (swept, removed) = both(
            move || {
                let mut ended = 0;
                other.age(0, over, 1, &mut |_| ended += 1);
                ended
            },
            || usize::from(table.remove(&flow)),
        );
        assert_eq!(swept + removed, 1);
        assert_nothing_leaked(&table, 0, 1);
    });
}

#[test]
fn an_expired_flow_is_displaced_and_reported_once() {
    loom::model(|| {
        let table = table(2);
        let _ = new(table.insert(&spec(client(1, true), None, 1), NOW));
        let other = table.clone();
        let over = NOW.plus(100_000);
        let (mut ended, inserted) = both(
            move || {
                let mut ended = 0;
                (0..2).for_each(|shard| other.age(shard, over, 1, &mut |_| ended += 1));
                ended
            },
            || new(table.insert(&spec(client(1, true), None, 2), over)),
        );
        assert_eq!(table.lookup(&client(1, true), over), Some(inserted));
        (0..2).for_each(|shard| table.age(shard, over, 1, &mut |_| ended += 1));
        assert_eq!((ended, table.len()), (1, 1));
    });
}

#[test]
fn two_links_do_not_mix() {
    loom::model(|| {
        let table = table(1);
        let flow = new(table.insert(&spec(client(1, true), None, 1), NOW));
        let other = table.clone();
        both(
            move || other.set_link(&flow, link(2)),
            || {
                table.set_link(&flow, link(3));
                let seen = table.lookup(&client(1, true), NOW).unwrap().link;
                assert!([link(1), link(2), link(3), Link::NONE].contains(&seen), "{seen:?}");
            },
        );
        let seen = table.lookup(&client(1, true), NOW).unwrap().link;
        assert!([link(2), link(3), Link::NONE].contains(&seen), "{seen:?}");
        table.set_link(&flow, link(4));
        assert_eq!(table.lookup(&client(1, true), NOW).unwrap().link, link(4));
    });
}

#[test]
fn a_late_link_does_not_get_into_the_next_flow() {
    loom::model(|| {
        let table = table(1);
        let old = new(table.insert(&spec(client(1, true), None, 1), NOW));
        let other = table.clone();
        both(
            move || other.set_link(&old, link(9)),
            || {
                assert!(table.remove(&old));
                let _ = new(table.insert(&spec(client(2, true), None, 2), NOW));
            },
        );
        let seen = table.lookup(&client(2, true), NOW).unwrap().link;
        assert!([link(2), Link::NONE].contains(&seen), "{seen:?}");
    });
}
