//! A whole run: everything that a plan says, in order.

use crate::core::outcome::{Outcome, rows};
use crate::core::plan::Plan;
use crate::core::round::Clock;
use crate::core::tables::rte;
use crate::core::{clock, control, instructions, maglev, measure, tables};
use ringlead_report::Environment;

/// From this median of a row's rounds over its least on, the run was disturbed.
const DISTURBED: f64 = 1.5;

/// Measures what the plan says. `child` is how this program is started to be DPDK's side; `tell` hears of the progress.
///
/// # Panics
/// When something was not measured as meant: a packet that was dropped, a flow that was not made.
#[must_use]
pub fn run(plan: Plan, environment: Environment, child: &rte::Child, tell: &mut dyn FnMut(&str)) -> Outcome {
    let mut warnings = Vec::new();
    if environment.is_debug() {
        warnings.push("a debug build: its figures mean nothing".to_owned());
    }
    let cores = Clock::new();
    if !clock::pin(&cores.cores, 0) {
        warnings.push("not pinned to a core: expect more noise".to_owned());
    }
    let known = instructions::known(&environment);
    let mut measured = Vec::new();
    for group in &plan.groups {
        measured.extend(measure::group(group, plan.rounds, &cores, tell));
    }
    let path = rows(measured, &known);
    let mut compared = Vec::new();
    for &flows in &plan.tables {
        compared.extend(tables::all(flows, plan.rounds, child, tell));
    }
    if !plan.maglev.is_empty() {
        tell("maglev");
    }
    let maglev = maglev::all(&plan.maglev, plan.rounds);
    let control = control::all(&plan.control, plan.rounds, tell);
    let disturbed = path.iter().filter(|row| {
        row.median_ns.zip(row.ns_per_packet).is_some_and(|(median, least)| median > DISTURBED * least)
    });
    let disturbed = disturbed.count();
    if disturbed > 0 {
        warnings.push(format!(
            "{disturbed} of {} rows have a median above {DISTURBED} times their least: others used this machine",
            path.len()
        ));
    }
    let alone = path.iter().filter(|row| row.ns_per_packet.is_none()).count();
    if alone > 0 {
        warnings.push(format!("{alone} rows have no figure: their workers hardly ever ran at the same time"));
    }
    Outcome { environment, plan, path, tables: compared, maglev, control, warnings }
}
