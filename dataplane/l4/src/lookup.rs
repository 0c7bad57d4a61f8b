//! Stage: known flows. Hash all, prefetch all, then look all up.

use crate::burst::Fate;
use crate::drops::Reason;
use crate::tables::ServiceId;
use crate::worker::Worker;
use ringlead_flow::{Flow, Phase, Side};
use ringlead_io::Port;
use ringlead_wire::{Kind, Meta};

/// Finds the flows of the burst, refreshes them and lets go of those that must choose again.
///
/// This comes before `classify`, which only misses need: so the cost of a packet does not grow with services.
#[inline]
pub(crate) fn lookup<P: Port>(worker: &mut Worker<P>) {
    let burst = &mut *worker.burst;
    let flows = &*worker.flows;
    let now = worker.tick;
    if let Some(found) = burst.flows.get_mut(..burst.tuples.len()) {
        flows.lookup_burst(&burst.tuples, found, now);
    }
    for (k, (&place, found)) in (0_u8..).zip(burst.live.iter().zip(&mut burst.flows)) {
        let place = usize::from(place);
        let (Some(meta), Some(fate)) = (burst.metas.get(place), burst.fates.get_mut(place)) else { continue };
        let Some(flow) = &*found else {
            burst.misses.push(k);
            continue;
        };
        if worker.tables.service(ServiceId::from_u32(flow.service)).is_none() {
            *fate = Fate::Drop(Reason::NotOurs.into());
        } else if flow.side == Side::Client
            && may_choose_again(meta)
            && must_choose_again(&worker.tables, flow)
        {
            if flows.remove(flow) {
                worker.counters.add_server_flows(flow.server_id.0, -1);
                worker.counters.flows_ended.add(1);
            }
            *found = None;
            burst.misses.push(k);
        } else if meta.kind != Kind::IcmpError {
            // RFC 4787 R12: an ICMP error neither refreshes nor ends a flow.
            flows.touch(flow, meta.flags, now);
        }
    }
}

/// A UDP packet or a SYN can go to another server without breaking anything that still works.
#[inline]
fn may_choose_again(meta: &Meta) -> bool {
    meta.kind == Kind::Udp || meta.kind == Kind::Tcp && meta.flags.is_syn()
}

/// Its server is down; or it takes no new flows, and this packet starts one on the ports of a connection that has ended.
#[inline]
fn must_choose_again(tables: &crate::tables::Tables, flow: &Flow) -> bool {
    let ended = || matches!(flow.state.phase(), Phase::Closed | Phase::Reset);
    tables.server(flow.server_id).is_none_or(|server| server.down || !server.accepts && ended())
}
