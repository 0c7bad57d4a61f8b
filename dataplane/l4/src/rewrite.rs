//! Stage: per mode, the packet becomes what the next hop must see. Checksums by difference (RFC 1624 eq. 3).

use crate::burst::{Egress, Fate};
use crate::drops::Reason;
use crate::neighbours::{Hop, NeighbourId, Neighbours};
use crate::run::Run;
use crate::schedule::source_mac;
use crate::snat;
use crate::tables::{Server, ServiceId, Tables, Way};
use crate::tunnel::{self, Entrance};
use crate::worker::{PORTS_MAX, Worker};
use ringlead_flow::{FlowTable, Hit, Link, Side};
use ringlead_io::Port;
use ringlead_io::port::BURST;
use ringlead_wire::answer::Made;
use ringlead_wire::mss::clamp_mss;
use ringlead_wire::{Kind, Meta, TcpFlags, checksum, rewrite as wire};

/// Where the IP header starts behind an Ethernet header without tags.
pub(crate) const UNTAGGED: u16 = 14;

/// Rewrites every frame of the burst that has a flow, decides where it leaves and counts it for its service.
///
/// nat and dsr in the loop itself; what needs more comes after it, so that nearly every packet has the registers to itself.
#[inline(never)]
#[allow(clippy::indexing_slicing, reason = "arrays of BURST, and places below BURST")]
pub(crate) fn rewrite<P: Port>(worker: &mut Worker<P>, queue: usize) {
    let Some((port, partial)) = worker.queues.get(queue).map(|q| (q.port_index, q.partial_checksums)) else {
        return;
    };
    let burst = &mut *worker.burst;
    let mut run = Run::new(&worker.flows, worker.now_us);
    let fits = usize::from(worker.fits);
    let offers = if worker.tables.services.clamps() { TcpFlags::SYN } else { 0 };
    let (mut others, mut tunnels) = (0_u64, 0_u64);
    for k in 0..burst.lives.min(BURST) {
        let place = usize::from(burst.live[k]) % BURST;
        let Some(frame) = burst.frames.get_mut(place) else { continue };
        let (hit, meta, fate) = (&burst.hits[k], &burst.metas[place], &mut burst.fates[place]);
        if !matches!(fate, Fate::Pending) || burst.found >> k & 1 == 0 {
            continue;
        }
        let len = frame.len();
        // One branch for all three: none of them is worth one of its own.
        let detour = Way::detour(hit.service());
        if detour | u32::from(len > fits) | u32::from(meta.flags.0 & offers) != 0 {
            others |= 1 << k;
            tunnels |= u64::from(detour == Way::Tunnel as u32) << k;
            continue;
        }
        let bytes = worker.frames.bytes_mut(frame);
        if partial && meta.kind != Kind::IcmpError && checksum::fix_partial(bytes, meta) {
            worker.tally.completed_checksums += 1;
        }
        learn(&worker.flows, hit, bytes, meta, port);
        translate(bytes, meta, hit, fate, &worker.tables, &worker.shared.neighbours);
        label(bytes, meta, fate, &worker.macs);
        if !matches!(fate, Fate::Drop(_) | Fate::Answer(..)) {
            run.add(hit, len, &worker.counters);
        }
    }
    run.settle(&worker.counters);
    if tunnels != 0 {
        tunnel::enter_all(worker, partial, tunnels);
    }
    others &= !tunnels;
    if others != 0 {
        rewrite_others(worker, port, partial, others);
    }
}

/// The packets of the burst that are long, or offer a segment size that may be too large, or whose way is another than
/// nat's and dsr's and no tunnel: a bit each, by place in `live`.
#[inline(never)]
#[allow(clippy::indexing_slicing, reason = "arrays of BURST, and places below BURST")]
fn rewrite_others<P: Port>(worker: &mut Worker<P>, port: u8, partial: bool, mut others: u64) {
    let burst = &mut *worker.burst;
    let clamps = worker.tables.services.clamps();
    let mut run = Run::new(&worker.flows, worker.now_us);
    let mut entrance = Entrance {
        tables: &worker.tables,
        neighbours: &worker.shared.neighbours,
        frames: &mut worker.frames,
        frame_max: &worker.frame_max,
        macs: &worker.macs,
        ids: &mut worker.ids,
    };
    while others != 0 {
        let k = others.trailing_zeros() as usize;
        others &= others - 1;
        let place = usize::from(burst.live[k]) % BURST;
        let Some(frame) = burst.frames.get_mut(place) else { continue };
        let (hit, meta, fate) = (&burst.hits[k], &mut burst.metas[place], &mut burst.fates[place]);
        let (len, way) = (frame.len(), Way::of(hit.service()));
        if partial
            && meta.kind != Kind::IcmpError
            && checksum::fix_partial(entrance.frames.bytes_mut(frame), meta)
        {
            worker.tally.completed_checksums += 1;
        }
        if clamps && meta.flags.0 & TcpFlags::SYN != 0 {
            clamp(entrance.tables, entrance.frames.bytes_mut(frame), meta, hit);
        }
        let bytes = entrance.frames.bytes_mut(frame);
        learn(&worker.flows, hit, bytes, meta, port);
        if way == Way::Translate {
            *fate = entrance.cross(frame, meta, hit, port);
        } else if len > usize::from(worker.fits)
            && let Some(made) = too_big(entrance.tables, entrance.neighbours, &worker.frame_max, hit, meta)
        {
            *fate = Fate::Answer(Reason::TooBig, made);
        } else if way == Way::Snat {
            *fate = snat::translate(bytes, meta, hit, entrance.tables, entrance.neighbours);
        } else {
            *fate = long(bytes, meta, hit, entrance.tables, entrance.neighbours);
        }
        label(entrance.frames.bytes_mut(frame), meta, fate, &worker.macs);
        if !matches!(fate, Fate::Drop(_) | Fate::Answer(..)) {
            run.add(hit, len, &worker.counters);
        }
    }
    run.settle(&worker.counters);
}

/// As [`translate`], where it shall not crowd its caller: few packets are long and still fit.
#[inline(never)]
fn long(bytes: &mut [u8], meta: &Meta, hit: &Hit, tables: &Tables, neighbours: &Neighbours) -> Fate {
    let mut fate = Fate::Pending;
    translate(bytes, meta, hit, &mut fate, tables, neighbours);
    fate
}

/// Notes where a client's packets come from, if that is not what its flow says.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the loop's middle, and the path of nearly every packet")]
fn learn(flows: &FlowTable, hit: &Hit, bytes: &[u8], meta: &Meta, port: u8) {
    if hit.side() == Side::Client
        && !hit.has_link(wire::source_mac(bytes), port, meta.vlans, meta.vlan)
        && meta.kind != Kind::IcmpError
    {
        let link = Link { mac: source_mac(bytes), port, vlans: meta.vlans, vlan: meta.vlan };
        flows.set_link(hit, link);
    }
}

/// Lowers the segment size that a SYN offers to what its service allows (RFC 9293 §3.7.1); never raises it.
#[cold]
pub(crate) fn clamp(tables: &Tables, bytes: &mut [u8], meta: &Meta, hit: &Hit) {
    let service = tables.services.get(ServiceId::from_u32(hit.service()).slot);
    if let (Some(most), Kind::Tcp) = (service.and_then(|service| service.mss), meta.kind) {
        clamp_mss(bytes, meta, most);
    }
}

/// nat and dsr: the packet as its next hop must see it, and its fate. Written where it stays: one value of several sources
/// would be copied twice.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the loop's middle, and the path of nearly every packet")]
fn translate(
    bytes: &mut [u8],
    meta: &Meta,
    hit: &Hit,
    fate: &mut Fate,
    tables: &Tables,
    neighbours: &Neighbours,
) {
    match hit.side() {
        Side::Client => {
            if let Err(refused) = to_server(bytes, meta, hit) {
                *fate = refused;
            } else if let Some(server) = tables.server(hit.server_id()) {
                *fate = towards(neighbours, server);
            } else {
                *fate = Fate::Drop(Reason::NoServer.into());
            }
        }
        Side::Server => match to_client(bytes, meta, hit) {
            Ok(()) => *fate = back(hit),
            Err(refused) => *fate = refused,
        },
    }
}

/// Writes the Ethernet header while the frame is at hand, where no tag changes.
#[inline]
pub(crate) fn label(bytes: &mut [u8], meta: &Meta, fate: &mut Fate, macs: &[u64; PORTS_MAX]) {
    if let Fate::Send(egress) = *fate
        && egress.vlans() == 0
        && meta.l3 == UNTAGGED
        && let Some(src) = macs.get(usize::from(egress.port()))
    {
        wire::set_macs(bytes, egress.mac, *src);
        *fate = Fate::Ready(egress.port());
    }
}

/// What to say about a long packet that the way out does not take; `None` when it does, or is not known yet.
fn too_big(
    tables: &Tables,
    neighbours: &Neighbours,
    frame_max: &[u16; PORTS_MAX],
    hit: &Hit,
    meta: &Meta,
) -> Option<Made> {
    let way = match hit.side() {
        Side::Client => towards(neighbours, tables.server(hit.server_id())?),
        Side::Server => back(hit),
    };
    let Fate::Send(egress) = way else { return None };
    let mtu = frame_max.get(usize::from(egress.port())).filter(|max| **max > 0)? - UNTAGGED;
    (meta.end - meta.l3 > mtu).then_some(Made::TooBig { mtu })
}

/// The next hop of a server, or the wait for it.
#[inline]
pub(crate) fn towards(neighbours: &Neighbours, server: &Server) -> Fate {
    let hop = neighbours.hop(server.neighbour);
    if hop.is_plain() {
        return Fate::Send(Egress::untagged(hop));
    }
    tagged(hop, server.neighbour)
}

/// A next hop in a VLAN, or one that is not resolved: kept out of the way of those that are neither.
#[inline(never)]
pub(crate) fn tagged(hop: Hop, id: NeighbourId) -> Fate {
    Egress::to(hop).map_or(Fate::Hold(id), Fate::Send)
}

/// Replies leave by the port, MAC and VLAN that the client's packets came from.
#[inline]
pub(crate) const fn back(flow: &Hit) -> Fate {
    let (mac, port, vlans, vlan) = flow.way_back();
    Fate::Send(Egress::new(mac, port, vlans, vlan))
}

/// nat: destination := server, routed (RFC 1812 §5.3.1). dsr: the packet itself stays as it is.
#[inline]
fn to_server(bytes: &mut [u8], meta: &Meta, flow: &Hit) -> Result<(), Fate> {
    if !flow.is_two_sided() {
        return Ok(());
    }
    if meta.ttl <= 1 {
        return Err(Fate::Answer(Reason::TtlExpired, Made::TtlExceeded));
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
fn to_client(bytes: &mut [u8], meta: &Meta, flow: &Hit) -> Result<(), Fate> {
    if meta.ttl <= 1 {
        return Err(Fate::Answer(Reason::TtlExpired, Made::TtlExceeded));
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
