//! What a run gives: typed rows, and the record that `--json` prints.

use crate::core::cell::{Axis, Cell};
use crate::core::control::Loaded;
use crate::core::instructions::{self, Known};
use crate::core::maglev::Built;
use crate::core::measure::{Measured, STAGES, least, median};
use crate::core::plan::Plan;
use crate::core::tables::Compared;
use hdrhistogram::Histogram;
use ringlead_report::{Environment, Metric, Report, Row, Unit};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// All that a run measured.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Where.
    pub environment: Environment,
    /// What was planned.
    pub plan: Plan,
    /// The packet path: all axes.
    pub path: Vec<PathRow>,
    /// The compared tables.
    pub tables: Vec<Compared>,
    /// The Maglev tables.
    pub maglev: Vec<Built>,
    /// Loads and reloads.
    pub control: Vec<Loaded>,
    /// What a reader has to know before believing the figures.
    pub warnings: Vec<String>,
}

/// A row of the packet path.
#[derive(Clone, Debug, Serialize)]
pub struct PathRow {
    /// What was measured.
    #[serde(flatten)]
    pub cell: Cell,
    /// Thread CPU time a packet of whole turns, the least of the rounds of use; of several workers their mean. None when
    /// too few rounds were of use.
    pub ns_per_packet: Option<f64>,
    /// The median of those rounds.
    pub median_ns: Option<f64>,
    /// What of it is the in-memory port's own: the least of the rounds.
    pub floor_ns: Option<f64>,
    /// Rounds.
    pub rounds: usize,
    /// Rounds of use: those in which all workers ran at the same time.
    pub rounds_counted: usize,
    /// Instructions a packet, from the record of this toolchain, where there is one.
    pub instructions_per_packet: Option<f64>,
    /// Packets of a full turn.
    pub turn_packets: usize,
    /// How long full turns took.
    pub turn_ns: Option<TurnTimes>,
    /// Packets a second of CPU time of all workers against one in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speedup: Option<f64>,
    /// Nanoseconds a packet of stages by themselves; empty where they are not measured.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stages_ns: BTreeMap<&'static str, f64>,
}

/// Times of single turns in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct TurnTimes {
    /// Half of the turns were not slower.
    pub p50: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1000.
    pub p999: u64,
    /// All.
    pub max: u64,
}

impl TurnTimes {
    fn of(turns: &Histogram<u64>) -> Option<Self> {
        let at = |part| turns.value_at_quantile(part);
        let times = Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: turns.max() };
        (!turns.is_empty()).then_some(times)
    }
}

/// The rows of what was measured, with what only several rows together tell.
#[must_use]
pub fn rows(measured: Vec<Measured>, known: &Known) -> Vec<PathRow> {
    let mut rows: Vec<PathRow> = measured.into_iter().map(|measured| row(measured, known)).collect();
    let single = |cell: &Cell| Cell { workers: 1, ..cell.clone() };
    let alone: Vec<(Cell, Option<f64>)> = rows.iter().map(|r| (r.cell.clone(), r.ns_per_packet)).collect();
    for row in rows.iter_mut().filter(|row| row.cell.workers > 1) {
        let one = alone.iter().find(|(cell, _)| *cell == single(&row.cell)).and_then(|(_, ns)| *ns);
        let both = one.zip(row.ns_per_packet);
        row.speedup = both.map(|(one, many)| rounded(row.cell.workers as f64 * one / many));
    }
    rows
}

fn row(measured: Measured, known: &Known) -> PathRow {
    let Measured { cell, turn, floor, stages, turns, turn_packets, rounds } = measured;
    let stage =
        |((name, _), times): ((&'static str, _), &Vec<f64>)| Some((name, rounded(least(times, rounds)?)));
    PathRow {
        ns_per_packet: least(&turn, rounds).map(rounded),
        median_ns: median(&turn, rounds).map(rounded),
        floor_ns: least(&floor, rounds).map(rounded),
        rounds,
        rounds_counted: turn.len(),
        instructions_per_packet: instructions::of(&cell, known),
        turn_packets,
        turn_ns: TurnTimes::of(&turns),
        speedup: None,
        stages_ns: STAGES.into_iter().zip(&stages).filter_map(stage).collect(),
        cell,
    }
}

/// To the thousandth: what lies behind is noise.
fn rounded(ns: f64) -> f64 {
    (ns * 1000.0).round() / 1000.0
}

impl Outcome {
    /// The rows of one axis.
    pub fn of(&self, axis: Axis) -> impl Iterator<Item = &PathRow> {
        self.path.iter().filter(move |row| row.cell.axis == axis)
    }

    /// The record: `results` has the packet path; `services`, `servers`, `accounts`, `tables`, `maglev` and `control` lie beside it, in rows
    /// of the same layout; `left_out` says what was not measured, and why.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = Report::new("core", self.environment.clone());
        report.warnings.clone_from(&self.warnings);
        report.results = self.of(Axis::Path).map(path_row).collect();
        let mut add = |name: &str, rows: Vec<Row>| report.extra.insert(name.to_owned(), json(&rows));
        add("services", self.of(Axis::Services).map(path_row).collect());
        add("servers", self.of(Axis::Servers).map(path_row).collect());
        add("accounts", self.of(Axis::Accounts).map(path_row).collect());
        add("tables", self.tables.iter().map(table_row).collect());
        add("maglev", self.maglev.iter().map(maglev_row).collect());
        add("control", self.control.iter().map(control_row).collect());
        report.extra.insert("left_out".to_owned(), json(&self.plan.left_out));
        report.extra.insert("rounds".to_owned(), json(&self.plan.rounds));
        report
    }
}

fn path_row(row: &PathRow) -> Row {
    let mut of = Row { name: row.cell.name(), fields: fields(row), ..Row::default() };
    of = with_cost(of, "ns-per-packet", row.ns_per_packet, row.median_ns);
    if let Some(times) = row.turn_ns {
        of = of.metric("turn-p99", Metric::less(times.p99 as f64, Unit::Ns));
    }
    if let Some(speedup) = row.speedup {
        of = of.metric("speedup", Metric::more(speedup, Unit::Plain));
    }
    of
}

fn table_row(row: &Compared) -> Row {
    let mut of = Row { name: row.name.clone(), fields: fields(row), ..Row::default() };
    let costs = [
        ("lookup-bulk", row.lookup_bulk),
        ("lookup", row.lookup),
        ("insert", row.insert),
        ("delete", row.delete),
    ];
    for (name, cost) in costs {
        of = with_cost(of, name, cost.map(|cost| cost.ns), cost.map(|cost| cost.median_ns));
    }
    of
}

fn maglev_row(row: &Built) -> Row {
    let of = Row { name: row.name.clone(), fields: fields(row), ..Row::default() };
    with_cost(of, "build", Some(row.build_ns), Some(row.median_ns))
        .metric("moved-percent", Metric::less(100.0 * row.disruption.leave, Unit::Percent))
}

fn control_row(row: &Loaded) -> Row {
    let of = Row { name: row.name.clone(), fields: fields(row), ..Row::default() };
    row.phases.iter().fold(of, |of, phase| with_cost(of, phase.name, Some(phase.ns), Some(phase.median_ns)))
}

/// The least of the rounds, with the way to their median as its spread.
fn with_cost(row: Row, name: &str, least: Option<f64>, median: Option<f64>) -> Row {
    let Some((least, median)) = least.zip(median) else { return row };
    row.metric(name, Metric::less(least, Unit::Ns).spread(least, median))
}

/// What a row says in plain fields; its name stands before them.
fn fields(row: &impl Serialize) -> Map<String, Value> {
    let Value::Object(mut fields) = json(row) else { return Map::new() };
    fields.remove("name");
    fields
}

fn json(what: &impl Serialize) -> Value {
    serde_json::to_value(what).expect("rows of numbers and words become JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cell::{Family, Kind};
    use ringlead_l4::tables::Mode;

    fn measured(workers: usize, turn: &[f64]) -> Measured {
        let cell = Cell {
            axis: Axis::Path,
            mode: Mode::Nat,
            family: Family::Ipv4,
            flows: 5,
            services: 1,
            servers: 16,
            kind: Kind::Existing,
            workers,
            accounts: false,
        };
        let mut turns = Histogram::new(3).unwrap();
        (1..=1000).for_each(|ns| turns.record(ns).unwrap());
        let stages = if workers == 1 { vec![vec![3.0, 2.0, 4.0]; STAGES.len()] } else { vec![] };
        let (turn, floor) = (turn.to_vec(), vec![9.0, 8.0, 7.0]);
        Measured { cell, turn, floor, stages, turns, turn_packets: 128, rounds: 3 }
    }

    #[test]
    fn two_workers_are_compared_with_one_of_the_same_row() {
        let rows =
            rows(vec![measured(1, &[50.0, 60.0, 40.0]), measured(2, &[44.0, 55.0, 50.0])], &Known::default());
        let [one, two] = &rows[..] else { panic!("two rows") };
        assert_eq!((one.ns_per_packet, one.median_ns, one.floor_ns), (Some(40.0), Some(50.0), Some(7.0)));
        assert_eq!((one.speedup, two.speedup), (None, Some(1.818)), "2 x 40 / 44");
        assert_eq!(one.stages_ns["lookup"].to_bits(), 2.0f64.to_bits());
        let times = one.turn_ns.unwrap();
        assert_eq!((times.p50, times.p99, times.max), (500, 990, 1000));
        assert!(two.stages_ns.is_empty());
    }

    #[test]
    fn too_few_rounds_side_by_side_give_no_figure() {
        let rows = rows(vec![measured(1, &[50.0, 60.0, 40.0]), measured(2, &[44.0])], &Known::default());
        assert_eq!((rows[1].ns_per_packet, rows[1].speedup, rows[1].rounds_counted), (None, None, 1));
    }
}
