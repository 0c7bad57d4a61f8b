//! Stage: per mode, the packet becomes what the next hop must see. Checksums by difference (RFC 1624 eq. 3).

use crate::burst::{Egress, Fate};
use crate::drops::Reason;
use crate::neighbours::Neighbours;
use crate::run::Run;
use crate::schedule::source_mac;
use crate::tables::Server;
use crate::worker::Worker;
use ringlead_flow::{Hit, Link, Side};
use ringlead_io::Port;
use ringlead_io::port::BURST;
use ringlead_wire::{Kind, Meta, checksum, rewrite as wire};

/// Where the IP header starts behind an Ethernet header without tags.
pub(crate) const UNTAGGED: u16 = 14;

/// Rewrites every frame of the burst that has a flow, decides where it leaves and counts it for its service.
#[inline(never)]
#[allow(clippy::indexing_slicing, reason = "arrays of BURST, and places below BURST")]
pub(crate) fn rewrite<P: Port>(worker: &mut Worker<P>, queue: usize) {
    let Some((port, partial)) = worker.queues.get(queue).map(|q| (q.port_index, q.partial_checksums)) else {
        return;
    };
    let burst = &mut *worker.burst;
    let mut run = Run::new();
    for k in 0..burst.lives.min(BURST) {
        let place = usize::from(burst.live[k]) % BURST;
        let Some(frame) = burst.frames.get_mut(place) else { continue };
        let (hit, meta, fate) = (&burst.hits[k], &burst.metas[place], &mut burst.fates[place]);
        if matches!(fate, Fate::Drop(_)) {
            continue;
        }
        let len = frame.len();
        let bytes = worker.frames.bytes_mut(frame);
        if partial && meta.kind != Kind::IcmpError && checksum::fix_partial(bytes, meta) {
            worker.tally.completed_checksums += 1;
        }
        if burst.found >> k & 1 == 0 {
            continue;
        }
        // Each arm writes the fate where it stays: one value of several sources would be copied twice.
        match hit.side() {
            Side::Client => {
                if !hit.has_link(wire::source_mac(bytes), port, meta.vlans, meta.vlan)
                    && meta.kind != Kind::IcmpError
                {
                    let link = Link { mac: source_mac(bytes), port, vlans: meta.vlans, vlan: meta.vlan };
                    worker.flows.set_link(hit, link);
                }
                if let Err(reason) = to_server(bytes, meta, hit) {
                    *fate = Fate::Drop(reason.into());
                } else if let Some(server) = worker.tables.server(hit.server_id()) {
                    *fate = towards(&worker.shared.neighbours, server);
                } else {
                    *fate = Fate::Drop(Reason::NoServer.into());
                }
            }
            Side::Server => match to_client(bytes, meta, hit) {
                Ok(()) => *fate = back(hit),
                Err(reason) => *fate = Fate::Drop(reason.into()),
            },
        }
        if let Fate::Send(egress) = *fate
            && egress.vlans() == 0
            && meta.l3 == UNTAGGED
            && let Some(src) = worker.macs.get(usize::from(egress.port()))
        {
            wire::set_macs(bytes, egress.mac, *src);
            *fate = Fate::Ready(egress.port());
        }
        if !matches!(fate, Fate::Drop(_)) {
            run.add(hit, len, &worker.counters);
        }
    }
    run.settle(&worker.counters);
}

/// The next hop of a server, or the wait for it.
#[inline]
pub(crate) fn towards(neighbours: &Neighbours, server: &Server) -> Fate {
    neighbours
        .hop(server.neighbour)
        .map_or(Fate::Hold(server.neighbour), |hop| Fate::Send(Egress::untagged(hop)))
}

/// Replies leave by the port, MAC and VLAN that the client's packets came from.
#[inline]
const fn back(flow: &Hit) -> Fate {
    let (mac, port, vlans, vlan) = flow.way_back();
    Fate::Send(Egress::new(mac, port, vlans, vlan))
}

/// nat: destination := server, routed (RFC 1812 §5.3.1). dsr: the packet itself stays as it is.
#[inline]
fn to_server(bytes: &mut [u8], meta: &Meta, flow: &Hit) -> Result<(), Reason> {
    if !flow.is_two_sided() {
        return Ok(());
    }
    if meta.ttl <= 1 {
        return Err(Reason::TtlExpired);
    }
    if meta.kind == Kind::IcmpError {
        error_to_server(bytes, meta, flow);
    } else if flow.is_v4() {
        let (ip, port) = flow.server_v4();
        wire::route_to_server_v4(bytes, meta, ip, port);
    } else {
        let (ip, port) = flow.server_v6();
        wire::route_to_server_v6(bytes, meta, ip, port);
    }
    Ok(())
}

/// nat: source := service, routed.
#[inline]
fn to_client(bytes: &mut [u8], meta: &Meta, flow: &Hit) -> Result<(), Reason> {
    if meta.ttl <= 1 {
        return Err(Reason::TtlExpired);
    }
    if meta.kind == Kind::IcmpError {
        error_to_client(bytes, meta, flow);
    } else if flow.is_v4() {
        let (ip, port) = flow.service_v4();
        wire::route_to_client_v4(bytes, meta, ip, port);
    } else {
        let (ip, port) = flow.service_v6();
        wire::route_to_client_v6(bytes, meta, ip, port);
    }
    Ok(())
}

#[cold]
fn error_to_server(bytes: &mut [u8], meta: &Meta, flow: &Hit) {
    if let Some(server) = flow.flow().server {
        wire::icmp_error_to_server(bytes, meta, server.src, server.sport);
        wire::decrement_ttl(bytes, meta);
    }
}

#[cold]
fn error_to_client(bytes: &mut [u8], meta: &Meta, flow: &Hit) {
    let flow = flow.flow();
    let service = &flow.client;
    let server = flow.server.map_or(service.dst, |answers| answers.src);
    wire::icmp_error_to_client(bytes, meta, server, service.dst, service.dport);
    wire::decrement_ttl(bytes, meta);
}
