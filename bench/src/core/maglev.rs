//! Maglev tables: how long one takes to build, and how many slots move when a server leaves and comes back.

use crate::core::clock;
use crate::core::measure::{least, median};
use crate::core::plan::MAGLEV_SLOTS;
use ringlead_pick::{FrontHash, Maglev, Member};
use ringlead_wire::Ip;
use serde::Serialize;
use std::hint::black_box;

/// What came of one size.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Built {
    /// For comparisons.
    pub name: String,
    /// Servers in the table.
    pub servers: usize,
    /// Slots of the table.
    pub slots: u32,
    /// Thread CPU time of one build, the least of the rounds, in nanoseconds.
    pub build_ns: f64,
    /// The median of the rounds.
    pub median_ns: f64,
    /// What moves when one server leaves, and when it comes back.
    pub disruption: Disruption,
}

/// How much a change of one server moves besides its own slots: Maglev trades a little of that for even shares.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Disruption {
    /// The share of the remaining servers' slots that go to another server when one leaves, 0 to 1.
    pub leave: f64,
    /// The share of their slots that go to another remaining server when it comes back, 0 to 1.
    pub back: f64,
    /// Whether the table is then what it was before.
    pub restored: bool,
}

/// Builds tables of every size, each once a round.
#[must_use]
pub fn all(servers: &[usize], rounds: usize) -> Vec<Built> {
    let pools: Vec<Vec<Member>> = servers.iter().map(|&servers| members(servers)).collect();
    let mut times = vec![Vec::with_capacity(rounds); pools.len()];
    for _ in 0..rounds {
        for (pool, times) in pools.iter().zip(&mut times) {
            times.push(clock::timed(|| drop(black_box(Maglev::build(pool, MAGLEV_SLOTS)))) as f64);
        }
    }
    let built = |(pool, times): (&Vec<Member>, Vec<f64>)| Built {
        name: format!("maglev/{}", pool.len()),
        servers: pool.len(),
        slots: MAGLEV_SLOTS,
        build_ns: least(&times, rounds).unwrap_or(f64::NAN),
        median_ns: median(&times, rounds).unwrap_or(f64::NAN),
        disruption: disruption(pool, pool.len() / 2),
    };
    pools.iter().zip(times).map(built).collect()
}

/// What moves when the server at a place leaves and comes back.
fn disruption(pool: &[Member], leaver: usize) -> Disruption {
    let mut fewer = pool.to_vec();
    fewer.remove(leaver);
    let before = owners(pool);
    let without = owners(&fewer);
    let again = owners(pool);
    let gone = pool[leaver].identity;
    Disruption {
        leave: moved(&before, &without, gone),
        back: moved(&without, &again, gone),
        restored: before == again,
    }
}

/// Of the slots that are not one server's in either table, the share that changes hands.
fn moved(from: &[u64], to: &[u64], gone: u64) -> f64 {
    let others = || from.iter().zip(to).filter(|(a, b)| **a != gone && **b != gone);
    others().filter(|(a, b)| a != b).count() as f64 / others().count().max(1) as f64
}

/// Each slot's server.
fn owners(pool: &[Member]) -> Vec<u64> {
    let table = Maglev::build(pool, MAGLEV_SLOTS);
    table.slots().iter().map(|&member| pool[usize::from(member)].identity).collect()
}

fn members(servers: usize) -> Vec<Member> {
    let hash = FrontHash::new([7; 16]);
    let identity = |n: usize| {
        let [.., c, d] = n.to_be_bytes();
        hash.server(Ip::from_v4([10, 2, c, d]), 8080)
    };
    (0..servers).map(|n| Member { identity: identity(n), weight: 1 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_hundred_moves_few_slots_of_the_others_and_comes_back_to_its_own() {
        let pool = members(100);
        let found = disruption(&pool, 50);
        assert!(found.leave > 0.0 && found.leave < 0.03, "{found:?}");
        assert!((found.leave - found.back).abs() < 1e-9, "the same slots move back: {found:?}");
        assert!(found.restored);
    }

    #[test]
    fn shares_are_of_slots_that_the_leaver_never_had() {
        // 9 leaves: its slot is nobody's disruption; of the other three slots one changes hands.
        assert!((moved(&[1, 2, 9, 1], &[1, 1, 2, 1], 9) - 1.0 / 3.0).abs() < 1e-9);
        assert!(
            moved(&[1, 2, 1], &[1, 9, 1], 9).abs() < 1e-9,
            "one that comes takes, and moves nothing else"
        );
        // Modulo hashing, for comparison, would move nearly all of them.
        let modulo = |servers: u64| (0..65_537).map(|slot| slot % servers).collect::<Vec<u64>>();
        assert!(moved(&modulo(100), &modulo(99), 99) > 0.9);
    }

    #[test]
    fn every_size_is_built_in_every_round() {
        let built = all(&[10, 100], 3);
        assert_eq!(
            built.iter().map(|b| (b.servers, b.slots)).collect::<Vec<_>>(),
            [(10, 65_537), (100, 65_537)]
        );
        assert!(built.iter().all(|b| b.build_ns > 0.0 && b.median_ns >= b.build_ns));
    }
}
