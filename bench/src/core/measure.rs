//! Interleaved rounds: each piece of work of each row of a group once a round.

use crate::core::cell::{Cell, Kind};
use crate::core::plan::Group;
use crate::core::round::{Clock, Round, Work, round};
use crate::core::world::World;
use hdrhistogram::Histogram;
use ringlead_io::port::BURST;

/// Tries to get a round in which all workers ran at the same time.
const TRIES: usize = 3;
/// The port's floor and the stages by themselves explain a row; they are measured in every such round only.
const SIDE_EVERY: usize = 3;
/// Rounds that must have been of use before a row has a figure.
const ROUNDS_MIN: usize = 3;

/// The stages that are measured by themselves for existing flows and one worker.
pub const STAGES: [(&str, Work); 5] = [
    ("turn_32", Work::Turns { burst: 32, refresh: false, singly: false }),
    ("refresh", Work::Turns { burst: BURST, refresh: true, singly: false }),
    ("parse", Work::Parse),
    ("lookup", Work::Lookup),
    ("rewrite", Work::Rewrite),
];

/// What came of one row.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The row.
    pub cell: Cell,
    /// Nanoseconds a packet of each round of use.
    pub turn: Vec<f64>,
    /// The same of the port alone.
    pub floor: Vec<f64>,
    /// The same of each of [`STAGES`]; empty where they are not measured.
    pub stages: Vec<Vec<f64>>,
    /// Nanoseconds of single turns.
    pub turns: Histogram<u64>,
    /// Packets of a full turn.
    pub turn_packets: usize,
    /// Rounds in all.
    pub rounds: usize,
}

/// Measures the rows of a group, all of them once a round. `tell` hears of the progress: done, all.
pub fn group(group: &Group, rounds: usize, clock: &Clock, tell: &mut dyn FnMut(&str)) -> Vec<Measured> {
    let mut worlds = Vec::with_capacity(group.worlds.len());
    for (n, shape) in group.worlds.iter().enumerate() {
        tell(&format!("{}: making flows ({} of {})", group.name, n + 1, group.worlds.len()));
        worlds.push(World::new(shape.clone()));
    }
    let begin = |(world, cell): &(usize, Cell)| Running::new(cell, &worlds[*world], rounds);
    let mut rows: Vec<Running> = group.cells.iter().map(begin).collect();
    for number in 0..rounds {
        tell(&format!("{}: round {} of {rounds}", group.name, number + 1));
        for (row, (world, _)) in rows.iter_mut().zip(&group.cells) {
            row.round(&mut worlds[*world], number, clock);
        }
    }
    rows.into_iter().map(Running::finish).collect()
}

/// A row that is being measured.
struct Running {
    works: Vec<Work>,
    times: Vec<Vec<f64>>,
    result: Measured,
}

impl Running {
    fn new(cell: &Cell, world: &World, rounds: usize) -> Self {
        let mut works = vec![Work::TURN, Work::EACH, Work::Floor];
        if cell.kind == Kind::Existing && cell.workers == 1 {
            works.extend(STAGES.map(|(_, work)| work));
        }
        let result = Measured {
            cell: cell.clone(),
            turn: Vec::new(),
            floor: Vec::new(),
            stages: Vec::new(),
            turns: Histogram::new(3).expect("three digits are possible"),
            turn_packets: world.lanes[0].turn_packets(cell.kind, BURST),
            rounds,
        };
        Self { times: vec![Vec::with_capacity(rounds); works.len()], works, result }
    }

    fn round(&mut self, world: &mut World, number: usize, clock: &Clock) {
        for step in 0..self.works.len() {
            // Whatever comes first finds the caches full of another row's: each piece of work has its turn to be that.
            let place = (number + step) % self.works.len();
            let work = self.works[place];
            if is_side(work) && !number.is_multiple_of(SIDE_EVERY) {
                continue;
            }
            let mut tries = (0..TRIES).map(|_| round(world, &self.result.cell, work, clock));
            let Some(Round { ns, turns, .. }) = tries.find(|round| round.side_by_side) else { continue };
            self.times[place].push(ns);
            for ns in turns {
                self.result.turns.record(ns).expect("the histogram grows");
            }
        }
    }

    fn finish(self) -> Measured {
        let mut times = self.times.into_iter();
        let mut result = self.result;
        result.turn = times.next().unwrap_or_default();
        let _each = times.next();
        result.floor = times.next().unwrap_or_default();
        result.stages = times.collect();
        result
    }
}

/// Whether a piece of work is not the turn itself.
fn is_side(work: Work) -> bool {
    work != Work::TURN && work != Work::EACH
}

/// The least of some rounds; `None` when too few were of use.
#[must_use]
pub fn least(times: &[f64], rounds: usize) -> Option<f64> {
    let enough = times.len() >= ROUNDS_MIN.min(rounds);
    times.iter().copied().min_by(f64::total_cmp).filter(|_| enough)
}

/// The median of some rounds; `None` when too few were of use.
#[must_use]
pub fn median(times: &[f64], rounds: usize) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().filter(|_| sorted.len() >= ROUNDS_MIN.min(rounds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_and_median_want_enough_rounds() {
        let times = [5.0, 3.0, 9.0];
        assert_eq!((least(&times, 15), median(&times, 15)), (Some(3.0), Some(5.0)));
        assert_eq!((least(&times[..2], 15), median(&times[..2], 15)), (None, None));
        assert_eq!((least(&times[..1], 1), median(&times[..1], 1)), (Some(5.0), Some(5.0)));
        assert_eq!((least(&[], 1), median(&[], 1)), (None, None));
    }
}
