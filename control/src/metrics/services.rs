//! Services: traffic, and what was dropped.

use super::exposition::Page;
use super::figures::Figures;
use crate::engine::status::ServiceStatus;
use ringlead_l4::drops::OF_SERVICE;
use std::fmt;

pub(super) fn write(figures: &Figures, page: &mut Page<'_, '_>) -> fmt::Result {
    let help = "Frames that were sent on: in, to servers; out, to clients (nat and snat).";
    page.counters("ringlead_service_packets", help, both_ways(figures, |s| [s.packets_in, s.packets_out]))?;
    let help = "Their bytes, whole frames.";
    page.counters("ringlead_service_bytes", help, both_ways(figures, |s| [s.bytes_in, s.bytes_out]))?;
    let flows = of_each(figures, |service| service.flows_created);
    page.counters("ringlead_service_flows", "Flows that began.", flows)?;
    let eligible = of_each(figures, |service| service.servers_eligible as u64);
    page.gauges("ringlead_service_servers_eligible", "Servers that may get new flows.", eligible)?;
    let servers = of_each(figures, |service| service.servers as u64);
    page.gauges("ringlead_service_servers", "Servers of its pool.", servers)?;
    let listening =
        figures.status.services.iter().filter_map(|service| {
            Some(([("service", service.name.as_str())], u64::from(service.listening?)))
        });
    let help = "Whether a socket of this node listens where a service of layer l7 does.";
    page.gauges("ringlead_service_listening", help, listening)?;
    drops(figures, page)
}

/// What each service counts in both directions.
fn both_ways(
    figures: &Figures,
    get: fn(&ServiceStatus) -> [u64; 2],
) -> impl Iterator<Item = ([(&'static str, &str); 2], u64)> {
    figures.status.services.iter().flat_map(move |service| {
        let [inward, outward] = get(service);
        let labels = |dir| [("service", service.name.as_str()), ("dir", dir)];
        [(labels("in"), inward), (labels("out"), outward)]
    })
}

/// A number of each service.
fn of_each(
    figures: &Figures,
    get: fn(&ServiceStatus) -> u64,
) -> impl Iterator<Item = ([(&'static str, &str); 1], u64)> {
    figures.status.services.iter().map(move |service| ([("service", service.name.as_str())], get(service)))
}

/// Every reason without a service, and of services those that occurred.
fn drops(figures: &Figures, page: &mut Page<'_, '_>) -> fmt::Result {
    let other = figures.other_drops.iter().map(|(reason, n)| ([("service", ""), ("reason", *reason)], *n));
    let of_services = figures.service_drops.iter().flat_map(|of| {
        let counts = OF_SERVICE.iter().zip(of.counts).filter(|(_, n)| *n > 0);
        counts.map(|(reason, n)| ([("service", of.service.as_str()), ("reason", reason.name())], n))
    });
    let help = "Frames that were not sent on; without a service where it is not known. `ringlead explain REASON` says more.";
    page.counters("ringlead_drops", help, other.chain(of_services))
}
