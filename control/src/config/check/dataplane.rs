//! `[dataplane]`.

use super::super::HASH_KEY_DEFAULT;
use super::super::model::{DataplaneConfig, Idle};
use super::super::raw::{Dataplane, File, Table};
use super::super::values::{choice, key128, number};
use super::{Findings, Once, codes, optional, required};

const WORKERS_MAX: usize = 64;
/// Far above any machine; the kernel decides which cores exist.
const CORE_MAX: i64 = 4_095;
const FLOWS_DEFAULT: usize = 1_000_000;
const FRAMES_DEFAULT: u32 = 16_384;

const IDLE: [(&str, Idle); 3] = [("busy", Idle::Busy), ("adaptive", Idle::Adaptive), ("sleep", Idle::Sleep)];

pub(super) fn check(file: &File, findings: &mut Findings) -> Option<DataplaneConfig> {
    let Some(table) = &file.dataplane else {
        if !file.broken.contains("dataplane") {
            findings
                .error(codes::MISSING, 0..0, "[dataplane] is missing")
                .help("add [dataplane] with, for example, cores = [2, 3]");
        }
        return None;
    };
    let raw = &table.raw;
    let driver =
        optional(raw.driver.as_ref(), |v| choice("driver", v, &[("af-xdp", ())], &["dpdk"], findings));
    let cores = cores(table, findings);
    let control_core =
        optional(raw.control_core.as_ref(), |v| number("control-core", v, 0..=CORE_MAX, findings));
    let idle = optional(raw.idle.as_ref(), |v| choice("idle", v, &IDLE, &[], findings));
    let flows_max =
        optional(raw.max_flows.as_ref(), |v| number("max-flows", v, 1_024..=100_000_000, findings));
    let hash_key = optional(raw.hash_key.as_ref(), |v| key128("hash-key", v, findings));
    let frames = optional(raw.frames.as_ref(), |v| number("frames", v, 2_048..=1_048_576, findings));
    shared_core(raw, findings);
    driver.ok()?;
    Some(DataplaneConfig {
        cores: cores?,
        control_core: control_core.ok()?,
        idle: idle.ok()?.unwrap_or_default(),
        flows_max: flows_max.ok()?.unwrap_or(FLOWS_DEFAULT),
        hash_key: hash_key.ok()?.unwrap_or(HASH_KEY_DEFAULT),
        frames: frames.ok()?.unwrap_or(FRAMES_DEFAULT),
    })
}

fn cores(table: &Table<Dataplane>, findings: &mut Findings) -> Option<Vec<usize>> {
    let list = required(table, "cores", &table.raw.cores, "[2, 3]", findings)?;
    if list.get_ref().is_empty() {
        findings
            .error(codes::MISSING, list.span(), "`cores` is empty")
            .label("at least one worker is needed");
    }
    if let Some(core) = list.get_ref().get(WORKERS_MAX) {
        findings.error(codes::TOO_MANY, core.span(), format!("more than {WORKERS_MAX} cores"));
    }
    let mut once = Once::new();
    for core in list.get_ref() {
        if let Some(first) = once.first(*core.get_ref(), &core.span()) {
            findings
                .error(codes::CORE_TWICE, core.span(), format!("core {} is listed twice", core.get_ref()))
                .also(&first, "first here")
                .help("each core runs one worker");
        }
    }
    list.get_ref().iter().map(|core| number("cores", core, 0..=CORE_MAX, findings)).collect()
}

/// Not wrong on a small machine, but worth a word.
fn shared_core(raw: &Dataplane, findings: &mut Findings) {
    let (Some(control), Some(cores)) = (&raw.control_core, &raw.cores) else { return };
    if let Some(core) = cores.get_ref().iter().find(|c| c.get_ref() == control.get_ref()) {
        findings
            .warning(
                codes::CORE_SHARED,
                control.span(),
                format!("core {} is both a worker's and the control core", control.get_ref()),
            )
            .also(&core.span(), "a worker runs here")
            .help("give control a core of its own: its work delays this worker's packets");
    }
}
