//! The daemon itself: what it is, since when, its configuration and its memory of flows and source ports.

use super::exposition::Page;
use super::figures::Figures;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::time::Duration;

pub(super) fn write(figures: &Figures, page: &mut Page<'_, '_>) -> fmt::Result {
    let version = [("version", figures.status.version.as_str())];
    let help = "The program that runs.";
    page.0.encode_descriptor("ringlead_build", help, None, MetricType::Info)?.encode_info(&version)?;
    process(figures, page)?;
    configuration(figures, page)?;
    memory(figures, page)?;
    let help = "Calls that reported servers' health over HTTP, by the status that they were answered with.";
    let calls = figures.reports.iter().map(|(code, calls)| ([("code", code.as_str())], *calls));
    page.counters("ringlead_report_calls", help, calls)?;
    let help = "For how long the control loop was kept by this scrape, before it was rendered elsewhere.";
    page.gauge("ringlead_scrape_control_seconds", help, figures.control.as_secs_f64())
}

fn process(figures: &Figures, page: &mut Page<'_, '_>) -> fmt::Result {
    let help = "When the process started, in seconds since 1970.";
    page.gauge("process_start_time_seconds", help, figures.started_at_s)?;
    if let Ok(used) = getrusage(UsageWho::RUSAGE_SELF) {
        let micros = used.user_time().num_microseconds() + used.system_time().num_microseconds();
        let used = Duration::from_micros(micros.try_into().unwrap_or(0)).as_secs_f64();
        let help = "CPU time of all threads. Workers poll: their load is in ringlead_worker_load_ratio.";
        page.counter("process_cpu_seconds", help, used)?;
    }
    if let Some(bytes) = resident_bytes() {
        page.gauge("process_resident_memory_bytes", "Memory in use.", bytes)?;
    }
    let help = "Lines of the log that were lost because nobody took them in time.";
    page.counter("ringlead_log_lines_lost", help, crate::logs::lines_lost())?;
    page.gauge("ringlead_uptime_seconds", "Time since the start.", figures.status.uptime_s)?;
    let help = "Whether the daemon has started completely.";
    page.gauge("ringlead_ready", help, u64::from(figures.status.ready))
}

/// The second number of `statm`, in pages.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page).ok()?)
}

fn configuration(figures: &Figures, page: &mut Page<'_, '_>) -> fmt::Result {
    let reload = &figures.status.reload;
    let help = "Whether the last reload was taken over; 1 before the first.";
    page.gauge("ringlead_config_last_reload_successful", help, u64::from(reload.successful))?;
    if let Some(at) = reload.at {
        let help = "When the last reload ended, in seconds since 1970.";
        page.gauge("ringlead_config_last_reload_timestamp_seconds", help, at)?;
    }
    page.counter("ringlead_config_reloads", "Reloads that were tried.", reload.count)?;
    let help = "Whether the last reload waits to be confirmed, and will be undone otherwise.";
    page.gauge("ringlead_config_unconfirmed", help, u64::from(reload.waits_s.is_some()))?;
    page.gauge("ringlead_snapshot_epoch", "The tables that control has published last.", figures.status.epoch)
}

fn memory(figures: &Figures, page: &mut Page<'_, '_>) -> fmt::Result {
    let flows = &figures.status.flows;
    let entries = [([("family", "ipv4")], flows.ipv4 as u64), ([("family", "ipv6")], flows.ipv6 as u64)];
    page.gauges("ringlead_flow_table_entries", "Flows in the table.", entries)?;
    let room = ["ipv4", "ipv6"].map(|family| ([("family", family)], flows.max as u64));
    page.gauges("ringlead_flow_table_entries_max", "Flows that the table has room for.", room)?;
    page.counter("ringlead_flows_created", "Flows that began.", flows.created)?;
    page.counter("ringlead_flows_ended", "Flows that ended.", flows.ended)?;
    let pools = || {
        let all = figures.status.snat.iter();
        all.flat_map(|s| {
            [("tcp", &s.tcp), ("udp", &s.udp)].map(|(transport, ports)| (s.name.as_str(), transport, ports))
        })
    };
    let labels = |name, transport| [("snat", name), ("transport", transport)];
    let used = pools().map(|(name, transport, ports)| (labels(name, transport), ports.used as u64));
    page.gauges("ringlead_snat_ports_used", "Source ports that a flow holds.", used)?;
    let resting = pools().map(|(name, transport, ports)| (labels(name, transport), ports.quarantined as u64));
    page.gauges(
        "ringlead_snat_ports_quarantined",
        "Source ports of ended flows that are not free yet.",
        resting,
    )?;
    let all = pools().map(|(name, transport, ports)| (labels(name, transport), ports.total as u64));
    page.gauges("ringlead_snat_ports_max", "Source ports that there are.", all)?;
    let tables = || figures.status.persistence.iter();
    let known = tables().map(|table| ([("persistence", table.name.as_str())], table.used as u64));
    page.gauges("ringlead_persistence_entries", "Clients that are remembered.", known)?;
    let room = tables().map(|table| ([("persistence", table.name.as_str())], table.size as u64));
    page.gauges("ringlead_persistence_entries_max", "Clients that can be remembered.", room)
}
