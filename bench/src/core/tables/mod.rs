//! The flow table beside other tables: the same keys in the same order, in the same rounds.

use crate::core::measure::{least, median};
use serde::Serialize;

mod huge;
mod keys;
mod maps;
mod ours;
pub mod rte;

pub use keys::Op;

/// A table to be compared.
pub trait Peer {
    /// What it is.
    fn name(&self) -> &'static str;
    /// How it is used here, in a few words.
    fn note(&self) -> String;
    /// Bytes of memory a flow, where they are known.
    fn bytes_per_flow(&self) -> Option<f64> {
        None
    }
    /// Does a piece of work with keys and returns the thread CPU time in nanoseconds.
    ///
    /// # Errors
    /// When the table cannot do that, or did not do it.
    fn run(&mut self, op: Op, keys: &[u32]) -> Result<u64, Refused>;
    /// The same, with the keys that an [`Op`] has in a round.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    fn round(&mut self, op: Op, flows: usize, round: usize) -> Result<u64, Refused> {
        self.run(op, &op.keys(flows, round))
    }
}

/// Why there is no figure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The table has no such function.
    Never,
    /// It did not find, insert or delete all keys.
    Wrong,
    /// Something else, in words.
    Failed(String),
}

impl Refused {
    /// `ns`, if all is right.
    fn unless(right: bool, ns: u64) -> Result<u64, Self> {
        if right { Ok(ns) } else { Err(Self::Wrong) }
    }
}

/// What one piece of work costs.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Cost {
    /// Nanoseconds a key, the least of the rounds.
    pub ns: f64,
    /// The median of the rounds.
    pub median_ns: f64,
}

/// A row of the comparison.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Compared {
    /// For comparisons of runs.
    pub name: String,
    /// The table.
    pub table: String,
    /// Flows in it; it is two thirds full.
    pub flows: usize,
    /// Look-ups of 64 keys at a time; none where the table cannot.
    pub lookup_bulk: Option<Cost>,
    /// Look-ups one by one.
    pub lookup: Option<Cost>,
    /// Inserts of new keys.
    pub insert: Option<Cost>,
    /// Removals by key.
    pub delete: Option<Cost>,
    /// Bytes of memory a flow at that load; known for our own table.
    pub bytes_per_flow: Option<f64>,
    /// How it is used, or why there is no figure.
    pub note: String,
}

/// Compares all tables with so many flows each. `child` is how this program is started to be DPDK's side; `tell` hears
/// of the progress.
#[must_use]
pub fn all(flows: usize, rounds: usize, child: &rte::Child, tell: &mut dyn FnMut(&str)) -> Vec<Compared> {
    tell(&format!("tables, {flows} flows: filling"));
    let dpdk = rte::Process::start(child, flows);
    let (dpdk, absent) = match dpdk {
        Ok(peer) => (Some(peer), None),
        Err(why) => (None, Some(why)),
    };
    let mut peers = local(flows);
    if let Some(peer) = dpdk {
        peers.push(Box::new(peer));
    }
    huge::everywhere();
    let mut times = vec![[const { Vec::new() }; Op::ALL.len()]; peers.len()];
    let mut failed: Vec<Option<String>> = vec![None; peers.len()];
    for round in 0..rounds {
        tell(&format!("tables, {flows} flows: round {} of {rounds}", round + 1));
        for step in 0..peers.len() {
            // Each table has its turn to be first.
            let place = (round + step) % peers.len();
            if failed[place].is_none() {
                failed[place] = one_round(&mut *peers[place], flows, round, &mut times[place]).err();
            }
        }
    }
    let rows = peers.iter().zip(times).zip(failed);
    let mut rows: Vec<Compared> =
        rows.map(|((peer, times), failed)| row(&**peer, flows, &times, failed)).collect();
    if let Some(why) = absent {
        rows.push(Compared::absent(rte::NAME, flows, why));
    }
    rows
}

/// The tables of this process, full.
#[must_use]
pub fn local(flows: usize) -> Vec<Box<dyn Peer>> {
    use ahash::RandomState;
    use keys::{Key, Value};
    vec![
        Box::new(ours::Ours::new(flows)),
        Box::new(maps::MapPeer::<std::collections::HashMap<Key, Value, RandomState>>::new(flows)),
        Box::new(maps::MapPeer::<dashmap::DashMap<Key, Value, RandomState>>::new(flows)),
        Box::new(maps::MapPeer::<papaya::HashMap<Key, Value, RandomState>>::new(flows)),
    ]
}

/// A round of one table; `Err` says why there will be no more of it.
fn one_round(
    peer: &mut dyn Peer,
    flows: usize,
    round: usize,
    times: &mut [Vec<f64>; 4],
) -> Result<(), String> {
    for (op, times) in Op::ALL.into_iter().zip(times) {
        match peer.round(op, flows, round) {
            Ok(ns) => times.push(ns as f64 / op.keys(flows, round).len() as f64),
            Err(Refused::Never) => {}
            Err(Refused::Wrong) => return Err(format!("{} went wrong: a key was missed", op.name())),
            Err(Refused::Failed(why)) => return Err(why),
        }
    }
    Ok(())
}

fn row(peer: &dyn Peer, flows: usize, times: &[Vec<f64>; 4], failed: Option<String>) -> Compared {
    let whole = failed.is_none();
    let cost = |times: &Vec<f64>| {
        let rounds = times.len();
        let (ns, median_ns) = (least(times, rounds)?, median(times, rounds)?);
        whole.then_some(Cost { ns, median_ns })
    };
    let [lookup_bulk, lookup, insert, delete] = times.each_ref().map(cost);
    Compared {
        name: name(peer.name(), flows),
        table: peer.name().to_owned(),
        flows,
        lookup_bulk,
        lookup,
        insert,
        delete,
        bytes_per_flow: peer.bytes_per_flow(),
        note: failed.unwrap_or_else(|| peer.note()),
    }
}

impl Compared {
    fn absent(table: &str, flows: usize, note: String) -> Self {
        Self {
            name: name(table, flows),
            table: table.to_owned(),
            flows,
            lookup_bulk: None,
            lookup: None,
            insert: None,
            delete: None,
            bytes_per_flow: None,
            note,
        }
    }
}

fn name(table: &str, flows: usize) -> String {
    let first = table.split(' ').map(str::to_lowercase).collect::<Vec<_>>().join("-");
    format!("tables/{first}/{flows}")
}
