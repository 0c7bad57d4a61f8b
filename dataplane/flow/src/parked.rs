//! A thread that stops for good between any two steps of an insert, removal or sweep blocks nobody.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "a test")]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use ringlead_wire::{Ip, TcpFlags};

use crate::step::hook::on_step;
use crate::{Flow, FlowSpec, FlowTable, Inserted, Link, Phase, Profile, ServerId, Sizes, Tick, Tuple};

const NOW: Tick = Tick(1);
const STEPS_MAX: usize = 128;

/// A thread that stands still at one step.
struct Parked<T> {
    go_on: Sender<()>,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Parked<T> {
    /// Starts `work` and waits until it stands at its step number `at`; `Err` with the result if it has fewer steps.
    fn start(at: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<Self, T> {
        let (arrived, arrivals) = channel::<()>();
        let (go_on, leave): (Sender<()>, Receiver<()>) = channel();
        let thread = thread::spawn(move || {
            let mut count = 0;
            on_step(move || {
                count += 1;
                if count == at {
                    arrived.send(()).unwrap();
                    leave.recv().unwrap();
                }
            });
            let result = work();
            on_step(|| ());
            result
        });
        match arrivals.recv() {
            Ok(()) => Ok(Self { go_on, thread }),
            Err(_) => Err(thread.join().unwrap()),
        }
    }

    fn go_on(self) -> T {
        self.go_on.send(()).unwrap();
        self.thread.join().unwrap()
    }
}

/// Runs a check with the work parked at each of its steps in turn; returns how many there were.
fn at_every_step(mut check: impl FnMut(usize) -> bool) -> usize {
    let steps = (1..STEPS_MAX).take_while(|at| check(*at)).count();
    assert!(steps + 2 < STEPS_MAX, "not all steps were tried");
    steps
}

fn table(flows_max: usize) -> Arc<FlowTable> {
    Arc::new(FlowTable::new(&Sizes { flows_max, workers: 1, seed: [5, 6, 7, 8] }).unwrap())
}

fn tuple(n: u8) -> Tuple {
    let (src, dst) = (Ip::from_v4([10, 0, 0, n]), Ip::from_v4([192, 0, 2, 1]));
    Tuple { src, dst, sport: 1000, dport: 80, proto: 6 }
}

fn spec(client: u8, server: u8, id: u32) -> FlowSpec {
    FlowSpec {
        client: tuple(client),
        server: Some(tuple(server).reversed()),
        server_id: ServerId(id),
        service: 0,
        profile: Profile::Lb,
        link: Link::NONE,
        first: TcpFlags(TcpFlags::ACK),
        account: None,
    }
}

fn new(inserted: Inserted) -> Flow {
    match inserted {
        Inserted::New(flow) => flow,
        other => panic!("no new flow: {other:?}"),
    }
}

/// Other flows come and go as if nobody stood still.
fn others_work(table: &FlowTable) {
    for n in 100..110 {
        let flow = new(table.insert(&spec(n, n, n.into()), NOW));
        assert!(table.lookup(&tuple(n), NOW).is_some());
        assert!(table.lookup(&tuple(n).reversed(), NOW).is_some());
        assert!(table.remove(&flow).is_some());
        assert_eq!(table.lookup(&tuple(n), NOW), None);
    }
    for shard in 0..table.shards() {
        table.age(shard, NOW, usize::MAX, &mut |gone| panic!("ended: {gone:?}"));
    }
}

/// Fills the table to the last entry and empties it again.
fn assert_nothing_leaked(table: &FlowTable, size: u8) {
    let free = usize::from(size) - table.len();
    let flows: Vec<_> = (100..).take(free).map(|n| new(table.insert(&spec(n, n, 0), NOW))).collect();
    assert_eq!(table.insert(&spec(99, 99, 0), NOW), Inserted::Full);
    assert!(flows.iter().all(|flow| table.remove(flow).is_some()));
}

#[test]
fn an_insert_of_the_same_key_goes_on() {
    let steps = at_every_step(|at| {
        let table = table(20);
        let theirs = table.clone();
        let parked = match Parked::start(at, move || theirs.insert(&spec(1, 1, 1), NOW)) {
            Ok(parked) => parked,
            Err(alone) => {
                let _ = new(alone);
                return false;
            }
        };
        others_work(&table);
        let seen = table.lookup(&tuple(1), NOW);
        let mine = table.insert(&spec(1, 1, 2), NOW);
        let winner = match mine {
            Inserted::New(flow) => {
                assert_eq!(seen, None);
                flow
            }
            Inserted::Existing(flow) => {
                assert_eq!(seen, Some(flow));
                flow
            }
            other => panic!("step {at}: blocked: {other:?}"),
        };
        for found in [tuple(1), tuple(1).reversed()].map(|tuple| table.lookup(&tuple, NOW)) {
            assert_eq!(found.map(|flow| flow.entry), Some(winner.entry), "step {at}");
        }
        others_work(&table);
        match parked.go_on() {
            Inserted::New(flow) | Inserted::Existing(flow) => {
                assert_eq!(flow.entry, winner.entry, "step {at}")
            }
            other => panic!("step {at}: {other:?}"),
        }
        assert_eq!(table.len(), 1);
        assert_nothing_leaked(&table, 20);
        true
    });
    assert!(steps >= 8, "{steps}");
}

#[test]
fn two_inserts_of_one_key_that_stand_still_do_not_stop_a_third() {
    let mut pairs = 0;
    at_every_step(|first| {
        at_every_step(|second| {
            let table = table(20);
            let [a, b] = [1, 2].map(|id| {
                let table = table.clone();
                move || table.insert(&spec(1, 1, id), NOW)
            });
            let Ok(a) = Parked::start(first, a) else { return false };
            let b = match Parked::start(second, b) {
                Ok(b) => b,
                Err(_) => {
                    let _ = a.go_on();
                    return false;
                }
            };
            let flow = match table.insert(&spec(1, 1, 3), NOW) {
                Inserted::New(flow) | Inserted::Existing(flow) => flow,
                other => panic!("steps {first} and {second}: {other:?}"),
            };
            others_work(&table);
            let (a, b) = if (first + second) % 2 == 0 {
                let a = a.go_on();
                (a, b.go_on())
            } else {
                let b = b.go_on();
                (a.go_on(), b)
            };
            for theirs in [a, b] {
                let (Inserted::New(their) | Inserted::Existing(their)) = theirs else {
                    panic!("steps {first} and {second}: {theirs:?}")
                };
                assert_eq!(their.entry, flow.entry, "steps {first} and {second}");
            }
            assert_nothing_leaked(&table, 20);
            pairs += 1;
            true
        });
        // The first thread has as many steps as it has alone.
        let table = table(20);
        match Parked::start(first, move || table.insert(&spec(1, 1, 1), NOW)) {
            Ok(parked) => matches!(parked.go_on(), Inserted::New(_)),
            Err(_) => false,
        }
    });
    assert!(pairs > 60, "{pairs}");
}

#[test]
fn an_insert_for_the_same_server_tuple_goes_on() {
    at_every_step(|at| {
        let table = table(20);
        let theirs = table.clone();
        let Ok(parked) = Parked::start(at, move || theirs.insert(&spec(1, 9, 1), NOW)) else { return false };
        let mine = table.insert(&spec(2, 9, 2), NOW);
        let won = match mine {
            Inserted::New(_) => true,
            Inserted::TupleTaken => false,
            other => panic!("step {at}: {other:?}"),
        };
        others_work(&table);
        let theirs = parked.go_on();
        assert!(matches!(theirs, Inserted::New(_)) != won, "step {at}: {theirs:?}");
        assert!(!won || theirs == Inserted::TupleTaken, "step {at}: {theirs:?}");
        let owner = if won { 2 } else { 1 };
        assert_eq!(table.lookup(&tuple(9).reversed(), NOW).unwrap().client, tuple(owner));
        assert_eq!(table.lookup(&tuple(3 - owner), NOW), None);
        assert_nothing_leaked(&table, 20);
        true
    });
}

#[test]
fn an_insert_that_slept_through_its_rivals_whole_life_is_right_in_the_end() {
    at_every_step(|at| {
        let table = table(20);
        let theirs = table.clone();
        let Ok(parked) = Parked::start(at, move || theirs.insert(&spec(1, 1, 1), NOW)) else { return false };
        let had_it = table.lookup(&tuple(1), NOW).is_some();
        match table.insert(&spec(1, 1, 2), NOW) {
            Inserted::New(flow) | Inserted::Existing(flow) => assert!(table.remove(&flow).is_some()),
            other => panic!("step {at}: {other:?}"),
        }
        let theirs = parked.go_on();
        let found = table.lookup(&tuple(1), NOW).map(|flow| flow.server_id);
        assert!(matches!(theirs, Inserted::New(_)), "step {at}: {theirs:?}");
        assert_eq!(found, (!had_it).then_some(ServerId(1)), "step {at}");
        assert_nothing_leaked(&table, 20);
        true
    });
}

#[test]
fn a_removal_that_stands_still_is_a_removal_or_none() {
    let steps = at_every_step(|at| {
        let table = table(20);
        let flow = new(table.insert(&spec(1, 1, 1), NOW));
        let theirs = table.clone();
        let Ok(parked) = Parked::start(at, move || theirs.remove(&flow)) else { return false };
        others_work(&table);
        let still = table.lookup(&tuple(1), NOW).is_some();
        assert_eq!(table.lookup(&tuple(1).reversed(), NOW).is_some(), still, "both tuples end together");
        let again = table.insert(&spec(1, 1, 2), NOW);
        assert_eq!(matches!(again, Inserted::Existing(_)), still);
        assert!(still || matches!(again, Inserted::New(_)), "step {at}: {again:?}");
        assert!(parked.go_on().is_some());
        assert_eq!(table.lookup(&tuple(1), NOW).map(|flow| flow.server_id), (!still).then_some(ServerId(2)));
        assert_nothing_leaked(&table, 20);
        true
    });
    assert!(steps >= 5, "{steps}");
}

#[test]
fn a_lookup_that_stands_still_finds_what_was_there_all_the_time() {
    for removal in 1..5 {
        let table = table(20);
        let old = new(table.insert(&spec(1, 1, 1), NOW));
        let (theirs, reader) = (table.clone(), table.clone());
        let Ok(removal) = Parked::start(removal, move || theirs.remove(&old)) else {
            panic!("too few steps")
        };
        let Inserted::New(flow) = table.insert(&spec(1, 1, 2), NOW) else {
            assert!(removal.go_on().is_some());
            continue;
        };
        // It saw the tags of the old flow's slots and of the new one's, and then the old ones go.
        let Ok(reader) = Parked::start(1, move || reader.lookup(&tuple(1), NOW)) else { panic!("no step") };
        assert!(removal.go_on().is_some());
        assert_eq!(reader.go_on(), Some(flow));
    }
}

#[test]
fn a_sweep_that_stands_still_is_taken_over() {
    let steps = at_every_step(|at| {
        let table = table(20);
        let over = NOW.plus(Profile::Lb.timer(Phase::Established) + 1);
        let _ = new(table.insert(&spec(1, 1, 1), NOW));
        let _ = new(table.insert(&spec(2, 2, 2), NOW));
        let sweep = move |table: &FlowTable| {
            let mut ended = Vec::new();
            for shard in 0..table.shards() {
                table.age(shard, over, usize::MAX, &mut |gone| ended.push(gone.flow.server_id.0));
            }
            ended
        };
        let theirs = table.clone();
        let Ok(parked) = Parked::start(at, move || sweep(&theirs)) else { return false };
        assert_eq!(table.lookup(&tuple(1), over), None);
        let mut ended = sweep(&table);
        let again = new(table.insert(&spec(1, 1, 3), over));
        ended.extend(parked.go_on());
        ended.extend(sweep(&table));
        ended.sort_unstable();
        assert_eq!(ended, [1, 2], "step {at}: each is reported once");
        assert_eq!(table.lookup(&tuple(1), over), Some(again));
        assert_eq!(table.len(), 1);
        true
    });
    assert!(steps >= 6, "{steps}");
}
