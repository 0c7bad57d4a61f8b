//! Every interleaving (up to a number of preemptions) of two threads in the shipped functions.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p ringlead-flow --release --test loom`
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "a test")]
#![cfg(loom)]
#![allow(missing_docs, reason = "a test")]

#[path = "loom/snat.rs"]
mod snat;
mod support;

use loom::sync::Arc;
use loom::thread;
use ringlead_flow::{
    Account, Flow, FlowSpec, FlowTable, Hit, Inserted, Link, Phase, Profile, ServerId, Sizes, Tick, Tuple,
    Volume,
};
use support::{ACK, client, link, new, server, spec};

const NOW: Tick = Tick(7);

/// Tries the interleavings with up to that many preemptions; `LOOM_MAX_PREEMPTIONS` can lower it.
///
/// Each check runs with the roles of the two threads both ways round: loom only remembers the last access to a word, so
/// a read by the thread that runs first is forgotten as soon as the other one reads the same word before writing to it.
fn model(preemptions: usize, check: impl Fn(Order) + Send + Sync + Copy + 'static) {
    for order in [Order::Forth, Order::Back] {
        model_once(preemptions, move || check(order));
    }
}

/// As [`model`], one way round.
fn model_once(preemptions: usize, check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.map_or(preemptions, |n| n.min(preemptions)));
    builder.check(check);
}

/// Which of two threads is the one that was there first, and so starts.
#[derive(Clone, Copy)]
enum Order {
    Forth,
    Back,
}

impl Order {
    /// Runs both at once.
    fn both<A: 'static, B: 'static>(
        self,
        table: &Arc<FlowTable>,
        a: impl FnOnce(&FlowTable) -> A + 'static,
        b: impl FnOnce(&FlowTable) -> B + 'static,
    ) -> (A, B) {
        let other = table.clone();
        match self {
            Self::Forth => {
                let b = thread::spawn(move || b(&other));
                let a = a(table);
                (a, b.join().unwrap())
            }
            Self::Back => {
                let a = thread::spawn(move || a(&other));
                let b = b(table);
                (a.join().unwrap(), b)
            }
        }
    }
}

/// A table with room for that many flows; two buckets of two slots.
fn table(flows_max: usize) -> Arc<FlowTable> {
    Arc::new(FlowTable::new(&Sizes { flows_max, workers: 1, seed: [1, 2, 3, 4] }).unwrap())
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
        table.age(shard, NOW, 9, &mut |gone| panic!("ended: {gone:?}"));
    }
    for n in 0..u32::try_from(size - live).unwrap() {
        let _ = new(table.insert(&spec(client(100 + n, true), None, 0), NOW));
    }
    assert_eq!(table.insert(&spec(client(200, true), None, 0), NOW), Inserted::Full);
}

#[test]
fn inserts_of_one_key_end_with_one_flow() {
    model(3, |order| {
        let table = table(2);
        let insert = |table: &FlowTable, id| {
            table.insert(&FlowSpec { server_id: ServerId(id), ..spec(client(1, true), None, 1) }, NOW)
        };
        let (a, b) = order.both(&table, move |t| insert(t, 1), move |t| insert(t, 2));
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
    // Clients enough that some two prefer different buckets, and then see different ones as the emptier. A model each, side by
    // side: it is by far the longest test.
    std::thread::scope(|scope| {
        (2..7).for_each(|rival| {
            scope.spawn(move || model(2, move |order| one_gets_it(order, rival)));
        });
    });
}

fn one_gets_it(order: Order, rival: u32) {
    let table = table(2);
    let insert = |table: &FlowTable, n| table.insert(&spec(client(n, true), Some(server(1, true)), n), NOW);
    let (a, b) = order.both(&table, move |t| insert(t, 1), move |t| insert(t, rival));
    let found = table.lookup(&server(1, true), NOW);
    let (winner, loser) = match (a, b) {
        (Inserted::New(flow), Inserted::TupleTaken | Inserted::Contended) => (flow, rival),
        (Inserted::TupleTaken | Inserted::Contended, Inserted::New(flow)) => (flow, 1),
        (Inserted::Contended, Inserted::Contended) => return assert_eq!(found, None),
        odd => panic!("{odd:?}"),
    };
    assert_eq!(found.map(|flow| flow.client), Some(winner.client));
    assert_eq!(table.lookup(&client(loser, true), NOW), None);
}

#[test]
fn an_entry_that_a_third_thread_reuses_is_not_mistaken_for_the_old_flow() {
    model(3, |order| {
        let table = table(1);
        let old = new(table.insert(&spec(client(1, true), None, 1), NOW));
        let reuser = table.clone();
        let reuser = thread::spawn(move || {
            let _ =
                reuser.insert(&FlowSpec { service: 5, link: link(5), ..spec(client(1, true), None, 5) }, NOW);
        });
        let (removed, found) =
            order.both(&table, move |t| t.remove(&old).is_some(), |t| t.lookup(&client(1, true), NOW));
        reuser.join().unwrap();
        assert!(removed);
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
fn a_lookup_never_returns_another_flows_data() {
    model(4, |order| {
        let table = table(1);
        let old = new(table.insert(&spec(client(1, true), None, 1), NOW));
        let (reused, ()) = order.both(
            &table,
            move |t| {
                assert!(t.remove(&old).is_some());
                t.insert(&spec(client(2, true), None, 2), NOW)
            },
            move |t| {
                for tuple in [client(1, true), client(2, true)] {
                    if let Some(flow) = t.lookup(&tuple, NOW) {
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
    model(8, |order| {
        let table = table(1);
        let old = new(table.insert(&spec(client(1, true), None, 1), NOW));
        let (_, found) = order.both(
            &table,
            move |t| {
                assert!(t.remove(&old).is_some());
                new(t.insert(&FlowSpec { service: 5, link: link(5), ..spec(client(1, true), None, 5) }, NOW))
            },
            move |t| t.lookup(&client(1, true), NOW),
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

/// The room for accounts is there before anybody asks; an account of its own for each flow.
fn accounting_table() -> Arc<FlowTable> {
    let table = table(1);
    table.keep_accounts().unwrap();
    table
}

fn accounted(n: u32) -> FlowSpec {
    let account = Account { why: u8::try_from(n).unwrap(), began_us: 5, last_us: 5, ..Account::default() };
    FlowSpec { account: Some(account), ..spec(client(n, true), None, n) }
}

#[test]
fn a_packet_that_is_late_is_not_counted_for_the_entrys_next_flow() {
    model(8, |order| {
        let table = accounting_table();
        let old = new(table.insert(&accounted(1), NOW));
        let ((gone, next), ()) = order.both(
            &table,
            move |t| (t.remove(&old).unwrap(), new(t.insert(&accounted(2), NOW))),
            move |t| t.add_to_account(&Hit::from(&old), 60, 9),
        );
        let had = gone.account.unwrap();
        assert!(
            (had.why, had.began_us) == (1, 5)
                && had.client.packets <= 1
                && [0, 60].contains(&had.client.bytes)
        );
        assert_eq!(table.account(&next), accounted(2).account);
    });
}

#[test]
fn packets_that_two_workers_count_at_once_are_all_counted() {
    model(8, |order| {
        let table = accounting_table();
        let flow = new(table.insert(&accounted(1), NOW));
        let add = move |t: &FlowTable, bytes, at| t.add_to_account(&Hit::from(&flow), bytes, at);
        order.both(&table, move |t| add(t, 60, 9), move |t| add(t, 40, 7));
        let account = table.remove(&flow).unwrap().account.unwrap();
        assert_eq!((account.client, account.last_us), (Volume { packets: 2, bytes: 100 }, 9));
    });
}

#[test]
fn a_refreshed_flow_is_not_swept_and_a_swept_one_is_not_refreshed() {
    model(8, |order| {
        let table = table(1);
        let flow = new(table.insert(&spec(client(1, true), Some(server(1, true)), 1), NOW));
        let over = NOW.plus(Profile::Lb.timer(Phase::Established) + 1);
        let (ended, touched) = order.both(
            &table,
            move |t| {
                let mut ended = 0;
                t.age(0, over, 1, &mut |gone| {
                    assert_whole(&gone.flow, client(1, true));
                    ended += 1;
                });
                ended
            },
            move |t| t.touch(&flow, ACK, over),
        );
        assert_eq!(ended, usize::from(!touched));
        assert_eq!(table.lookup(&client(1, true), over).is_some(), touched);
        assert_eq!(table.lookup(&server(1, true), over).is_some(), touched);
    });
}

#[test]
fn a_flow_ends_once() {
    model(8, |order| {
        let table = table(1);
        let flow = new(table.insert(&spec(client(1, true), None, 1), NOW));
        let over = NOW.plus(100_000);
        let (swept, removed) = order.both(
            &table,
            move |t| {
                let mut ended = 0;
                t.age(0, over, 1, &mut |_| ended += 1);
                ended
            },
            move |t| usize::from(t.remove(&flow).is_some()),
        );
        assert_eq!(swept + removed, 1);
        assert_nothing_leaked(&table, 0, 1);
    });
}

#[test]
fn an_expired_flow_is_displaced_and_reported_once() {
    model(8, |order| {
        let table = table(2);
        let _ = new(table.insert(&spec(client(1, true), None, 1), NOW));
        let over = NOW.plus(100_000);
        let (mut ended, inserted) = order.both(
            &table,
            move |t| {
                let mut ended = 0;
                (0..2).for_each(|shard| t.age(shard, over, 1, &mut |_| ended += 1));
                ended
            },
            move |t| new(t.insert(&spec(client(1, true), None, 2), over)),
        );
        assert_eq!(table.lookup(&client(1, true), over), Some(inserted));
        (0..2).for_each(|shard| table.age(shard, over, 1, &mut |_| ended += 1));
        assert_eq!((ended, table.len()), (1, 1));
    });
}

#[test]
fn two_links_do_not_mix() {
    model(8, |order| {
        let table = table(1);
        let flow = new(table.insert(&spec(client(1, true), None, 1), NOW));
        order.both(
            &table,
            move |t| t.set_link(&flow, link(2)),
            move |t| {
                t.set_link(&flow, link(3));
                let seen = t.lookup(&client(1, true), NOW).unwrap().link;
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
    model(8, |order| {
        let table = table(1);
        let old = new(table.insert(&spec(client(1, true), None, 1), NOW));
        order.both(
            &table,
            move |t| t.set_link(&old, link(9)),
            move |t| {
                assert!(t.remove(&old).is_some());
                let _ = new(t.insert(&spec(client(2, true), None, 2), NOW));
            },
        );
        let seen = table.lookup(&client(2, true), NOW).unwrap().link;
        assert!([link(2), Link::NONE].contains(&seen), "{seen:?}");
    });
}
