//! The results as tables for people, and as lines of comma-separated values.

use crate::core::cell::{Axis, Cell};
use crate::core::control::PHASES;
use crate::core::outcome::{Outcome, PathRow};
use crate::core::tables::Cost;
use comfy_table::{Cell as Field, CellAlignment, ContentArrangement, Table, TableComponent, presets};
use std::fmt::Write;

/// All tables, plain text.
#[must_use]
pub fn tables(outcome: &Outcome) -> String {
    let mut text = String::new();
    let mut part = |title: &str, table: Option<Table>| {
        if let Some(table) = table {
            let _ = writeln!(text, "{title}\n{table}\n");
        }
    };
    let axis = |axis| outcome.of(axis).collect::<Vec<_>>();
    let (path, services, servers) = (axis(Axis::Path), axis(Axis::Services), axis(Axis::Servers));
    part("ns a packet by flows", pivot(&path, |cell| cell.flows));
    part("Scaling: packets a second of CPU time of all workers against one", speedups(&path));
    part("us of a full turn, one worker", turn_times(&path));
    part("ns a packet of stages by themselves, one worker, existing flows", stages(&path));
    part("ns a packet by services", pivot(&services, |cell| cell.services));
    part("ns a packet by servers", pivot(&servers, |cell| cell.servers));
    part(
        "ns a packet, packets and bytes of each flow not counted (0) and counted (1)",
        pivot(&axis(Axis::Accounts), |cell| usize::from(cell.accounts)),
    );
    part("ns a key in tables that are two thirds full", compared(outcome));
    part("Maglev tables", maglev(outcome));
    part("ms of CPU time to load and reload", control(outcome));
    for (title, lines) in [("Left out", &outcome.plan.left_out), ("Warnings", &outcome.warnings)] {
        if !lines.is_empty() {
            let _ = writeln!(text, "{title}:\n  {}", lines.join("\n  "));
        }
    }
    text
}

/// A line a value: the row's name, the value's name, the value.
#[must_use]
pub fn csv(outcome: &Outcome) -> String {
    let mut text = String::from("name,metric,value\n");
    let mut line = |name: &str, metric: &str, value: Option<f64>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{name},{metric},{value}");
        }
    };
    for row in &outcome.path {
        let name = row.cell.name();
        line(&name, "ns_per_packet", row.ns_per_packet);
        line(&name, "median_ns", row.median_ns);
        line(&name, "floor_ns", row.floor_ns);
        line(&name, "instructions_per_packet", row.instructions_per_packet);
        line(&name, "speedup", row.speedup);
        if let Some(times) = row.turn_ns {
            for (metric, ns) in
                [("p50", times.p50), ("p99", times.p99), ("p999", times.p999), ("max", times.max)]
            {
                line(&name, &format!("turn_ns_{metric}"), Some(ns as f64));
            }
        }
        for (stage, ns) in &row.stages_ns {
            line(&name, &format!("{stage}_ns"), Some(*ns));
        }
    }
    for row in &outcome.tables {
        for (metric, cost) in costs(row) {
            line(&row.name, &format!("{metric}_ns"), cost.map(|cost| cost.ns));
            line(&row.name, &format!("{metric}_median_ns"), cost.map(|cost| cost.median_ns));
        }
        line(&row.name, "bytes_per_flow", row.bytes_per_flow);
    }
    for row in &outcome.maglev {
        line(&row.name, "build_ns", Some(row.build_ns));
        line(&row.name, "median_ns", Some(row.median_ns));
        line(&row.name, "moved_leave", Some(row.disruption.leave));
        line(&row.name, "moved_back", Some(row.disruption.back));
    }
    for row in &outcome.control {
        for phase in &row.phases {
            line(&row.name, &format!("{}_ns", phase.name), Some(phase.ns));
            line(&row.name, &format!("{}_median_ns", phase.name), Some(phase.median_ns));
        }
    }
    text
}

/// A row for all cells that differ only in one number, which makes the columns.
fn pivot(rows: &[&PathRow], of: impl Fn(&Cell) -> usize) -> Option<Table> {
    let mut sizes: Vec<usize> = rows.iter().map(|row| of(&row.cell)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let heads = sizes.iter().map(|size| short(*size)).chain(["noise", "floor"].map(str::to_owned));
    let mut table =
        table(["mode", "ip", "packets of", "workers"].map(str::to_owned).into_iter().chain(heads));
    let mut keys: Vec<[String; 4]> = Vec::new();
    for row in rows {
        if !keys.contains(&key(row)) {
            keys.push(key(row));
        }
    }
    for wanted in &keys {
        let same: Vec<&&PathRow> = rows.iter().filter(|row| key(row) == *wanted).collect();
        let at =
            |size: &usize| same.iter().find(|row| of(&row.cell) == *size).and_then(|row| row.ns_per_packet);
        let worst =
            same.iter().filter_map(|row| Some(row.median_ns? / row.ns_per_packet?)).fold(1.0, f64::max);
        let floor = same.iter().filter_map(|row| row.floor_ns).fold(f64::NAN, f64::max);
        let figures = sizes
            .iter()
            .map(|size| figure(at(size), 1))
            .chain([figure(Some(worst), 2), figure(Some(floor), 1)]);
        add(&mut table, wanted.iter().cloned().chain(figures));
    }
    (!keys.is_empty()).then_some(table)
}

fn speedups(rows: &[&PathRow]) -> Option<Table> {
    let mut table = table(
        ["mode", "ip", "packets of", "workers", "in table", "speed-up", "rounds side by side"]
            .map(str::to_owned),
    );
    let many: Vec<&&PathRow> = rows.iter().filter(|row| row.cell.workers > 1).collect();
    for row in &many {
        let rounds = format!("{} of {}", row.rounds_counted, row.rounds);
        let tail = [short(row.cell.flows), figure(row.speedup, 2), rounds];
        add(&mut table, key(row).into_iter().chain(tail));
    }
    (!many.is_empty()).then_some(table)
}

fn turn_times(rows: &[&PathRow]) -> Option<Table> {
    let heads = ["mode", "ip", "packets of", "workers", "in table", "packets", "p50", "p99", "p99.9", "max"];
    let mut table = table(heads.map(str::to_owned));
    let timed: Vec<_> = rows.iter().filter_map(|row| Some((row, row.turn_ns?))).collect();
    for (row, times) in &timed {
        let us = [times.p50, times.p99, times.p999, times.max].map(|ns| figure(Some(ns as f64 / 1000.0), 1));
        let [mode, ip, kind, _] = key(row);
        let head = [mode, ip, kind, short(row.cell.flows), row.turn_packets.to_string()].into_iter();
        add(&mut table, head.chain(us));
    }
    (!timed.is_empty()).then_some(table)
}

fn stages(rows: &[&PathRow]) -> Option<Table> {
    let with: Vec<&&PathRow> = rows.iter().filter(|row| !row.stages_ns.is_empty()).collect();
    let names: Vec<&str> = with.first()?.stages_ns.keys().copied().collect();
    let heads = ["mode", "ip", "in table", "turn", "instructions"].into_iter().chain(names.iter().copied());
    let mut table = table(heads.map(str::to_owned));
    for row in with {
        let [mode, ip, ..] = key(row);
        let head = [mode, ip, short(row.cell.flows), figure(row.ns_per_packet, 1)];
        let count = figure(row.instructions_per_packet, 0);
        let stages = names.iter().map(|name| figure(row.stages_ns.get(name).copied(), 1));
        add(&mut table, head.into_iter().chain([count]).chain(stages));
    }
    Some(table)
}

fn compared(outcome: &Outcome) -> Option<Table> {
    let heads =
        ["flows", "table", "look-up, 64 at once", "look-up", "insert", "delete", "bytes a flow", "note"];
    let mut table = table(heads.map(str::to_owned));
    for row in &outcome.tables {
        let costs = costs(row).map(|(_, cost)| figure(cost.map(|cost| cost.ns), 1));
        let head = [short(row.flows), row.table.clone()].into_iter().chain(costs);
        add(&mut table, head.chain([figure(row.bytes_per_flow, 0), row.note.clone()]));
    }
    (!outcome.tables.is_empty()).then_some(table)
}

fn maglev(outcome: &Outcome) -> Option<Table> {
    let heads =
        ["servers", "slots", "build, us", "one leaves: % of the others' slots move", "it comes back: %"];
    let mut table = table(heads.map(str::to_owned));
    for row in &outcome.maglev {
        let (build, moved) = (row.build_ns / 1000.0, row.disruption);
        let figures = [(build, 0), (100.0 * moved.leave, 2), (100.0 * moved.back, 2)];
        let head = [row.servers.to_string(), row.slots.to_string()].into_iter();
        add(&mut table, head.chain(figures.map(|(value, digits)| figure(Some(value), digits))));
    }
    (!outcome.maglev.is_empty()).then_some(table)
}

fn control(outcome: &Outcome) -> Option<Table> {
    let heads = ["services", "servers"].into_iter().chain(PHASES);
    let mut table = table(heads.map(str::to_owned));
    for row in &outcome.control {
        let figures = row.phases.iter().map(|phase| figure(Some(phase.ns / 1e6), 3));
        add(&mut table, [short(row.services), row.servers.to_string()].into_iter().chain(figures));
    }
    (!outcome.control.is_empty()).then_some(table)
}

fn costs(row: &crate::core::tables::Compared) -> [(&'static str, Option<Cost>); 4] {
    [("lookup_bulk", row.lookup_bulk), ("lookup", row.lookup), ("insert", row.insert), ("delete", row.delete)]
}

/// What rows of one line have in common.
fn key(row: &PathRow) -> [String; 4] {
    let Cell { mode, family, kind, workers, .. } = &row.cell;
    [mode.name().to_owned(), family.name().to_owned(), format!("{} flows", kind.name()), workers.to_string()]
}

fn table(heads: impl IntoIterator<Item = String>) -> Table {
    let mut table = Table::new();
    // Never cut to the terminal's width: figures that are not seen are no figures.
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    let lines = [
        TableComponent::HorizontalLines,
        TableComponent::MiddleIntersections,
        TableComponent::LeftBorderIntersections,
        TableComponent::RightBorderIntersections,
    ];
    for line in lines {
        table.remove_style(line);
    }
    table.set_header(heads);
    table
}

/// Words to the left, figures to the right.
fn add(table: &mut Table, fields: impl IntoIterator<Item = String>) {
    let aligned = |text: String| {
        let figure = text.chars().all(|c| c.is_ascii_digit() || "-. kM".contains(c));
        Field::new(text).set_alignment(if figure { CellAlignment::Right } else { CellAlignment::Left })
    };
    table.add_row(fields.into_iter().map(aligned));
}

fn figure(value: Option<f64>, digits: usize) -> String {
    value
        .filter(|value| value.is_finite())
        .map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// 1, 10, 1 k, 100 k, 1 M.
fn short(n: usize) -> String {
    match n {
        _ if n >= 1_000_000 && n.is_multiple_of(1_000_000) => format!("{} M", n / 1_000_000),
        _ if n >= 1000 && n.is_multiple_of(1000) => format!("{} k", n / 1000),
        _ => n.to_string(),
    }
}
