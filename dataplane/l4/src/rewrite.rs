//! Stage: per mode, the packet becomes what the next hop must see. Checksums by difference (RFC 1624 eq. 3).

use crate::burst::{Egress, Fate};
use crate::drops::Reason;
use crate::neighbours::Neighbours;
use crate::run::Run;
use crate::schedule::source_mac;
use crate::tables::Server;
use crate::worker::Worker;
use ringlead_flow::{Flow, Link, Side};
use ringlead_io::Port;
use ringlead_wire::{Kind, Meta, checksum, rewrite as wire};

/// Rewrites every frame of the burst that has a flow, decides where it leaves and counts it for its service.
#[inline]
pub(crate) fn rewrite<P: Port>(worker: &mut Worker<P>, queue: usize) {
    let Some((port, partial)) = worker.queues.get(queue).map(|q| (q.port_index, q.partial_checksums)) else {
        return;
    };
    let burst = &mut *worker.burst;
    let mut run = Run::new();
    for (&place, flow) in burst.live.iter().zip(&burst.flows) {
        let place = usize::from(place);
        let (Some(frame), Some(meta), Some(fate)) =
            (burst.frames.get_mut(place), burst.metas.get(place), burst.fates.get_mut(place))
        else {
            continue;
        };
        if matches!(fate, Fate::Drop(_)) {
            continue;
        }
        let len = frame.len();
        let bytes = worker.frames.bytes_mut(frame);
        if partial && meta.kind != Kind::IcmpError && checksum::fix_partial(bytes, meta) {
            worker.tally.completed_checksums += 1;
        }
        let Some(flow) = flow else { continue };
        // Each arm writes the fate where it stays: one value of several sources would be copied twice.
        match flow.side {
            Side::Client => {
                let link = Link { mac: source_mac(bytes), port, vlans: meta.vlans, vlan: meta.vlan };
                if link != flow.link && meta.kind != Kind::IcmpError {
                    worker.flows.set_link(flow, link);
                }
                if let Err(reason) = to_server(bytes, meta, flow) {
                    *fate = Fate::Drop(reason.into());
                } else if let Some(server) = worker.tables.server(flow.server_id) {
                    *fate = towards(&worker.shared.neighbours, server);
                } else {
                    *fate = Fate::Drop(Reason::NoServer.into());
                }
            }
            Side::Server => match to_client(bytes, meta, flow) {
                Ok(()) => *fate = back(&flow.link),
                Err(reason) => *fate = Fate::Drop(reason.into()),
            },
        }
        if !matches!(fate, Fate::Drop(_)) {
            run.add(flow, len, &worker.counters);
        }
    }
    run.settle(&worker.counters);
}

/// The next hop of a server, or the wait for it. Servers are reached untagged.
#[inline]
pub(crate) fn towards(neighbours: &Neighbours, server: &Server) -> Fate {
    neighbours.get(server.neighbour).map_or(Fate::Hold(server.neighbour), |hop| {
        Fate::Send(Egress { port: hop.port, vlans: 0, vlan: [0; 2], mac: hop.mac })
    })
}

/// Replies leave by the port, MAC and VLAN that the client's packets came from.
#[inline]
fn back(link: &Link) -> Fate {
    Fate::Send(Egress { port: link.port, vlans: link.vlans, vlan: link.vlan, mac: link.mac })
}

/// nat: destination := server, routed (RFC 1812 §5.3.1). dsr: the packet itself stays as it is.
#[inline]
fn to_server(bytes: &mut [u8], meta: &Meta, flow: &Flow) -> Result<(), Reason> {
    let Some(answers) = &flow.server else { return Ok(()) };
    if meta.ttl <= 1 {
        return Err(Reason::TtlExpired);
    }
    if meta.kind == Kind::IcmpError {
        wire::icmp_error_to_server(bytes, meta, answers.src, answers.sport);
    } else {
        wire::to_server(bytes, meta, answers.src, answers.sport);
    }
    wire::decrement_ttl(bytes, meta);
    Ok(())
}

/// nat: source := service, routed.
#[inline]
fn to_client(bytes: &mut [u8], meta: &Meta, flow: &Flow) -> Result<(), Reason> {
    if meta.ttl <= 1 {
        return Err(Reason::TtlExpired);
    }
    let service = &flow.client;
    if meta.kind == Kind::IcmpError {
        let server = flow.server.map_or(service.dst, |answers| answers.src);
        wire::icmp_error_to_client(bytes, meta, server, service.dst, service.dport);
    } else {
        wire::to_client(bytes, meta, service.dst, service.dport);
    }
    wire::decrement_ttl(bytes, meta);
    Ok(())
}
