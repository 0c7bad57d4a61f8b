//! Workers and the ports that they drive.

use super::exposition::Page;
use super::figures::Figures;
use crate::engine::status::{QueueStatus, WorkerStatus};
use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;
use ringlead_l4::latency::{BOUNDS_NS, LatencyCounts};
use std::fmt;
use std::time::Duration;

/// The windows of a worker's load, as [`WorkerStatus::load`] has them.
const WINDOWS: [&str; 3] = ["1s", "10s", "60s"];

pub(super) fn write(figures: &Figures, page: &mut Page<'_, '_>) -> fmt::Result {
    time(figures, page)?;
    latency(figures, page)?;
    let help = "Seconds since a worker's last heartbeat, which comes with every turn.";
    let beats = of_workers(figures, |w| Duration::from_millis(w.beat_ms).as_secs_f64());
    page.gauges("ringlead_worker_beat_age_seconds", help, beats)?;
    let epochs = of_workers(figures, |w| w.epoch);
    page.gauges("ringlead_worker_epoch", "The tables that a worker uses.", epochs)?;
    page.counters(
        "ringlead_worker_frames_received",
        "Frames taken off receive rings.",
        of_workers(figures, |w| w.received),
    )?;
    page.counters(
        "ringlead_worker_frames_sent",
        "Frames given to transmit rings.",
        of_workers(figures, |w| w.sent),
    )?;
    let help = "Frames that a worker made itself: resets and ICMP errors.";
    page.counters("ringlead_worker_frames_made", help, of_workers(figures, |w| w.made))?;
    let help = "Frames that wait for a next hop or a transmit ring.";
    page.gauges("ringlead_worker_frames_held", help, of_workers(figures, |w| w.held))?;
    ports(figures, page)
}

fn time(figures: &Figures, page: &mut Page<'_, '_>) -> fmt::Result {
    let cores: Vec<String> = figures.workers.iter().map(|worker| worker.core.to_string()).collect();
    let times = figures.workers.iter().zip(&cores).flat_map(|(worker, core)| {
        let labels = |kind| [("core", core.as_str()), ("kind", kind)];
        [(labels("busy"), worker.busy.as_secs_f64()), (labels("idle"), worker.idle.as_secs_f64())]
    });
    let help =
        "A worker's time: in turns that moved frames, and in others. It polls, so its CPU time says nothing.";
    page.counters("ringlead_worker_seconds", help, times)?;
    let loads = figures.status.workers.iter().flat_map(|worker| {
        let of_window = |(window, load): (_, f64)| {
            ([("core", worker.core.to_string()), ("window", str::to_owned(window))], load)
        };
        WINDOWS.into_iter().zip(worker.load).map(of_window)
    });
    page.gauges(
        "ringlead_worker_load_ratio",
        "The share of a worker's time that went into frames, 0 to 1.",
        loads,
    )
}

fn latency(figures: &Figures, page: &mut Page<'_, '_>) -> fmt::Result {
    let help = "How long frames took from the start of the turn that took them off a receive ring to the end of that which gave them to a transmit ring.";
    let name = "ringlead_forward_latency_seconds";
    let mut family = page.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for worker in &figures.workers {
        let (buckets, count) = buckets_of(&worker.latency);
        let sum = Duration::from_nanos(worker.latency.sum_ns).as_secs_f64();
        let labels = [("core", worker.core.to_string())];
        family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
    }
    Ok(())
}

/// By upper bound in seconds; the last has none, which the encoder knows by `f64::MAX`.
fn buckets_of(latency: &LatencyCounts) -> (Vec<(f64, u64)>, u64) {
    let bounds = BOUNDS_NS.iter().map(|ns| Duration::from_nanos(*ns).as_secs_f64()).chain([f64::MAX]);
    (bounds.zip(latency.buckets).collect(), latency.buckets.iter().sum())
}

fn of_workers<V>(
    figures: &Figures,
    get: fn(&WorkerStatus) -> V,
) -> impl Iterator<Item = ([(&'static str, String); 1], V)> {
    figures.status.workers.iter().map(move |worker| ([("core", worker.core.to_string())], get(worker)))
}

fn ports(figures: &Figures, page: &mut Page<'_, '_>) -> fmt::Result {
    let ports = figures
        .status
        .ports
        .iter()
        .map(|port| ([("port", port.name.as_str()), ("mode", port.mode.as_str())], 1_u64));
    page.gauges("ringlead_port_mode", "1, with how the port is driven.", ports)?;
    let help = "Frames that a queue received, as its driver told last: once a second.";
    page.counters("ringlead_port_frames_received", help, of_queues(figures, |q| q.rx))?;
    page.counters("ringlead_port_frames_sent", "Frames that a queue sent.", of_queues(figures, |q| q.tx))?;
    let help = "Frames that the kernel lost because a ring was full.";
    page.counters("ringlead_port_frames_lost", help, of_queues(figures, |q| q.rx_lost))?;
    let help = "Frames that the device refused to send.";
    page.counters("ringlead_port_frames_refused", help, of_queues(figures, |q| q.tx_invalid))?;
    let steered = figures.status.steering.iter().map(|(verdict, n)| ([("verdict", verdict.as_str())], *n));
    let help = "Frames that the steering program redirected to workers, or passed to the kernel.";
    page.counters("ringlead_steered_frames", help, steered)
}

fn of_queues(
    figures: &Figures,
    get: fn(&QueueStatus) -> u64,
) -> impl Iterator<Item = ([(&'static str, String); 2], u64)> {
    figures.status.ports.iter().flat_map(move |port| {
        let labels = |q: &QueueStatus| [("port", port.name.clone()), ("queue", q.queue.to_string())];
        port.queues.iter().map(move |queue| (labels(queue), get(queue)))
    })
}
