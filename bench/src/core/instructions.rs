//! Instructions a packet, counted by callgrind: they repeat exactly, so they show what a clock on a busy machine cannot.

use crate::core::cell::{Axis, Cell, Family, Kind, MODES};
use crate::core::control;
use crate::core::plan::SERVERS;
use crate::core::round::counted_turns;
use crate::core::world::{Shape, World};
use ringlead_io::port::BURST;
use ringlead_l4::tables::Mode;
use ringlead_report::Environment;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A count that rises by more than this part of itself fails the check.
pub const RISE_MAX: f64 = 0.03;
/// Flows in the table of every counted cell.
const FLOWS: usize = 1000;
/// Turns that are counted.
const TURNS: usize = 256;
/// The record that this program was built with.
const BUILT_IN: &str = include_str!("../../instructions.json");
/// The C library's memory functions in the form that every x86-64 has: else the processor decides the count.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM";

/// Instructions a packet by cell.
pub type Known = BTreeMap<String, f64>;

/// Counts and what they were made with.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The compiler.
    pub rustc: String,
    /// What it built for.
    pub target: String,
    /// The processor that it built for.
    pub target_cpu: String,
    /// The counter.
    pub valgrind: String,
    /// Instructions a packet.
    pub cells: Known,
}

/// Services of the configurations whose tables are picked up: the counts must be alike.
const PICKED_UP: [usize; 2] = [1, 10_000];

/// A cell that is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// Packets of one mode and family.
    Path {
        /// How servers are reached.
        mode: Mode,
        /// The family of both ends.
        family: Family,
        /// Of known flows, or of new ones.
        kind: Kind,
    },
    /// A worker's turns without packets that find new tables, of so many services.
    PickUp(usize),
}

/// Every mode and family with known flows, new flows where most is written: with translation; and new tables.
#[must_use]
pub fn cells() -> Vec<Counted> {
    let of = |modes: &[Mode], kind| -> Vec<Counted> {
        let families = |mode: &Mode| Family::ALL.map(|family| Counted::Path { mode: *mode, family, kind });
        modes.iter().flat_map(families).collect()
    };
    [of(&MODES, Kind::Existing), of(&[Mode::Nat], Kind::New), PICKED_UP.map(Counted::PickUp).to_vec()]
        .concat()
}

impl Counted {
    /// `nat4`, `dsr6`, `nat4-new`, `pick-up-10000`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Path { mode, family, kind } => {
                let family = if family.is_v6() { 6 } else { 4 };
                let kind = if kind == Kind::New { "-new" } else { "" };
                format!("{}{family}{kind}", mode.name())
            }
            Self::PickUp(services) => format!("pick-up-{services}"),
        }
    }

    /// The cell of this name.
    ///
    /// # Errors
    /// The names that there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let names = || cells().into_iter().map(Self::name).collect::<Vec<_>>().join(", ");
        cells()
            .into_iter()
            .find(|cell| cell.name() == name)
            .ok_or_else(|| format!("no cell: {} exist", names()))
    }

    /// Runs turns of this cell and nothing else inside [`counted_turns`]. Returns how many packets, or pick-ups, that were.
    #[must_use]
    pub fn run(self) -> usize {
        match self {
            Self::Path { mode, family, kind } => Self::run_path(mode, family, kind),
            Self::PickUp(services) => control::pick_up(services, TURNS),
        }
    }

    fn run_path(mode: Mode, family: Family, kind: Kind) -> usize {
        let shape = Shape {
            mode,
            families: vec![family],
            flows: FLOWS,
            services: 1,
            servers: SERVERS,
            workers: 1,
            accounts: false,
        };
        let mut world = World::new(shape);
        let now_ns = world.now_ns(false);
        let table = std::sync::Arc::clone(&world.shared.flows);
        let (lanes, traffic) = world.lanes_and_traffic(family);
        let Some(lane) = lanes.first_mut() else { return 0 };
        let a_turn = lane.turn_packets(kind, BURST);
        let a_batch = match kind {
            Kind::Existing => a_turn * 32,
            Kind::New => lane.fresh_batch(),
        };
        let mut packets = 0;
        while packets < TURNS * a_turn {
            let first = match kind {
                Kind::Existing => {
                    lane.feed(traffic, a_batch, BURST);
                    None
                }
                Kind::New => Some(lane.feed_fresh(traffic, a_batch)),
            };
            counted_turns(&mut lane.worker, now_ns, a_batch / a_turn);
            lane.collect(a_batch);
            if let Some(first) = first {
                lane.remove_fresh(traffic, &table, first, a_batch);
            }
            packets += a_batch;
        }
        packets
    }
}

/// The count that belongs to a row, if there is one.
#[must_use]
pub fn of(cell: &Cell, known: &Known) -> Option<f64> {
    let counted = Counted::Path { mode: cell.mode, family: cell.family, kind: cell.kind };
    let same = cell.axis == Axis::Path && cell.flows == FLOWS && cell.workers == 1;
    known.get(&counted.name()).copied().filter(|_| same)
}

/// The counts of the record that this program was built with, if it was built as the record says.
#[must_use]
pub fn known(environment: &Environment) -> Known {
    let record: Record = serde_json::from_str(BUILT_IN).unwrap_or_default();
    let valgrind = record.valgrind.clone();
    if record.differences(&Record::of(environment, valgrind)).is_empty() {
        record.cells
    } else {
        Known::new()
    }
}

impl Record {
    /// No counts yet, for this build.
    fn of(environment: &Environment, valgrind: String) -> Self {
        let Environment { rustc, target, target_cpu, .. } = environment.clone();
        Self { rustc, target, target_cpu, valgrind, cells: Known::new() }
    }

    /// Where two were not made with the same tools.
    fn differences(&self, other: &Self) -> Vec<String> {
        let pairs = [
            ("compiler", &self.rustc, &other.rustc),
            ("target", &self.target, &other.target),
            ("target-cpu", &self.target_cpu, &other.target_cpu),
            ("valgrind", &self.valgrind, &other.valgrind),
        ];
        pairs
            .iter()
            .filter(|(_, a, b)| a != b)
            .map(|(what, a, b)| format!("{what}: {a:?}, now {b:?}"))
            .collect()
    }

    /// Compares new counts with recorded ones: the text for people, and whether nothing rose too much. Counts of other
    /// tools cannot be compared: that is said, and is fine.
    #[must_use]
    pub fn check(&self, now: &Self) -> (String, bool) {
        let mut text = String::new();
        let differences = self.differences(now);
        if !differences.is_empty() {
            text.push_str(
                "the record was made with other tools: re-record with `bench/instructions record`\n",
            );
            differences.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
            return (text, true);
        }
        let mut fine = true;
        for (cell, count) in &now.cells {
            let Some(before) = self.cells.get(cell) else {
                fine = false;
                let _ = writeln!(text, "{cell:<9} {count:>8.2}  not in the record: re-record");
                continue;
            };
            let change = count / before - 1.0;
            let rose = change > RISE_MAX;
            fine &= !rose;
            let mark = if rose { "  ROSE" } else { "" };
            let _ = writeln!(text, "{cell:<9} {before:>8.2} -> {count:>8.2}  {:+.2} %{mark}", change * 100.0);
        }
        for cell in self.cells.keys().filter(|cell| !now.cells.contains_key(*cell)) {
            fine = false;
            let _ = writeln!(text, "{cell:<9} is in the record and was not counted: re-record");
        }
        if !fine {
            let _ = writeln!(
                text,
                "more than {:.0} % above the record: find out why, or explain it in the commit that re-records with \
                 `bench/instructions record`",
                RISE_MAX * 100.0
            );
        }
        (text, fine)
    }
}

/// How this program is started to run a cell; the cell's name follows.
#[derive(Clone, Debug)]
pub struct Counter {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Counter {
    /// Counts all cells.
    ///
    /// # Errors
    /// When valgrind is missing or a run goes wrong.
    pub fn count(&self, environment: &Environment, tell: &mut dyn FnMut(&str)) -> Result<Record, String> {
        let mut record = Record::of(environment, version()?);
        for cell in cells() {
            tell(&format!("counting {}", cell.name()));
            record.cells.insert(cell.name(), self.one(cell)?);
        }
        Ok(record)
    }

    /// Instructions a packet of one cell, to the hundredth.
    fn one(&self, cell: Counted) -> Result<f64, String> {
        let said = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted_turns*"])
            .arg(&self.program)
            .args(&self.args)
            .arg(cell.name())
            .env("GLIBC_TUNABLES", TUNABLES)
            .stdin(Stdio::null())
            .output()
            .map_err(|why| format!("valgrind: {why}"))?;
        let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        let found = said.status.success().then(|| number(&out, "packets:").zip(number(&err, "Collected :")));
        match found.flatten() {
            Some((packets, instructions)) if packets > 0.0 && instructions > 0.0 => {
                Ok((100.0 * instructions / packets).round() / 100.0)
            }
            _ => Err(format!("{} could not be counted ({}):\n{err}", cell.name(), said.status)),
        }
    }
}

/// The number behind a word.
fn number(text: &str, word: &str) -> Option<f64> {
    let (_, rest) = text.split_once(word)?;
    rest.split_whitespace().next()?.parse().ok()
}

fn version() -> Result<String, String> {
    let said = Command::new("valgrind").arg("--version").output();
    let said = said.map_err(|why| format!("valgrind cannot be started: {why}"))?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(cells: &[(&str, f64)]) -> Record {
        Record {
            rustc: "rustc 1.0".to_owned(),
            target: "x86_64".to_owned(),
            target_cpu: "generic".to_owned(),
            valgrind: "valgrind-3".to_owned(),
            cells: cells.iter().map(|(cell, count)| ((*cell).to_owned(), *count)).collect(),
        }
    }

    #[test]
    fn a_rise_of_more_than_three_percent_in_any_cell_fails() {
        let before = record(&[("nat4", 1000.0), ("dsr4", 500.0)]);
        for (nat, dsr, fine) in [
            (1000.0, 500.0, true),
            (1029.9, 500.0, true),
            (1030.1, 500.0, false),
            (900.0, 516.0, false),
            (10.0, 5.0, true),
        ] {
            let (text, got) = before.check(&record(&[("nat4", nat), ("dsr4", dsr)]));
            assert_eq!(got, fine, "{text}");
            assert_eq!(text.contains("ROSE") && text.contains("re-record"), !fine, "{text}");
        }
    }

    #[test]
    fn a_cell_that_is_missing_on_either_side_fails() {
        let (one, two) = (record(&[("nat4", 9.0)]), record(&[("nat4", 9.0), ("dsr4", 9.0)]));
        for (before, now) in [(&one, &two), (&two, &one)] {
            let (text, fine) = before.check(now);
            assert!(!fine && text.contains("dsr4"), "{text}");
        }
    }

    #[test]
    fn counts_of_other_tools_are_not_compared() {
        let before = record(&[("nat4", 1000.0)]);
        let worse = record(&[("nat4", 2000.0)]);
        let others: [fn(&mut Record); 4] = [
            |r| r.rustc.push('x'),
            |r| r.target.push('x'),
            |r| r.target_cpu.push('x'),
            |r| r.valgrind.push('x'),
        ];
        for change in others {
            let mut other = worse.clone();
            change(&mut other);
            let (text, fine) = before.check(&other);
            assert!(fine && text.contains("re-record") && text.contains('x'), "{text}");
        }
        assert!(!before.check(&worse).1);
    }

    #[test]
    fn cells_have_names_that_lead_back_and_run_whole_turns() {
        let names: Vec<String> = cells().into_iter().map(Counted::name).collect();
        assert_eq!(
            names,
            [
                "nat4",
                "nat6",
                "dsr4",
                "dsr6",
                "tunnel4",
                "tunnel6",
                "snat4",
                "snat6",
                "nat4-new",
                "nat6-new",
                "pick-up-1",
                "pick-up-10000",
            ]
        );
        for cell in cells() {
            assert_eq!(Counted::named(&cell.name()), Ok(cell));
        }
        assert!(Counted::named("nat5").is_err_and(|why| why.contains("nat4-new")));
        assert_eq!(Counted::named("nat6").unwrap().run(), 256 * 128);
        assert_eq!(Counted::named("nat4-new").unwrap().run() % 64, 0);
        assert_eq!(Counted::named("pick-up-1").unwrap().run(), 256);
    }

    #[test]
    fn rows_find_their_counts() {
        let known = record(&[("nat4", 900.0), ("nat4-new", 2000.0)]).cells;
        let row = |flows, kind, workers| Cell {
            axis: Axis::Path,
            mode: Mode::Nat,
            family: Family::Ipv4,
            flows,
            services: 1,
            servers: SERVERS,
            kind,
            workers,
            accounts: false,
        };
        assert_eq!(of(&row(1000, Kind::Existing, 1), &known), Some(900.0));
        assert_eq!(of(&row(1000, Kind::New, 1), &known), Some(2000.0));
        assert_eq!(of(&row(1000, Kind::Existing, 2), &known), None);
        assert_eq!(of(&row(999, Kind::Existing, 1), &known), None);
        assert_eq!(of(&Cell { mode: Mode::Dsr, ..row(1000, Kind::Existing, 1) }, &known), None);
    }

    /// What a worker touches when tables change is its own and the new tables' head, however many services there are.
    #[test]
    fn picking_up_many_services_costs_what_one_does() {
        let record: Record = serde_json::from_str(BUILT_IN).unwrap();
        let [one, many] = PICKED_UP.map(|services| record.cells[&Counted::PickUp(services).name()]);
        assert!((many / one - 1.0).abs() < 0.02, "{one} and {many} instructions");
    }

    #[test]
    fn the_built_in_record_can_be_read() {
        let record: Record = serde_json::from_str(BUILT_IN).unwrap();
        let mut environment =
            Environment { rustc: record.rustc, target: record.target, ..Environment::default() };
        environment.target_cpu = record.target_cpu;
        assert_eq!(known(&environment), record.cells);
        environment.rustc.push('x');
        assert!(known(&environment).is_empty());
    }
}
