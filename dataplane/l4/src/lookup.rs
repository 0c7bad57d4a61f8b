//! Stage: known flows. Hash all, prefetch all, then look all up.

use crate::attempts::note_errors;
use crate::burst::Fate;
use crate::drops::Reason;
use crate::parse::narrow;
use crate::removed::is_current;
use crate::worker::Worker;
use ringlead_flow::{Hit, Phase, Side};
use ringlead_io::Port;
use ringlead_io::port::BURST;
use ringlead_wire::{Kind, Meta};

/// Finds the flows of the burst, refreshes them and lets go of those that must choose again. Flows of a service that was
/// removed end here, so that what listens there now gets the packet as if it were a flow's first.
///
/// This comes before `classify`, which only misses need: so the cost of a packet does not grow with services.
#[inline(never)]
#[allow(clippy::indexing_slicing, reason = "arrays of BURST, and places below BURST")]
pub(crate) fn lookup<P: Port>(worker: &mut Worker<P>) {
    let burst = &mut *worker.burst;
    let flows = &*worker.flows;
    let now = worker.tick;
    let Some(keys) = burst.keys.get(..burst.lives) else { return };
    let mut found = flows.lookup_burst(keys, &mut burst.hits, now);
    if worker.tables.mixed {
        found |= burst.wide.look_up(keys, &mut burst.hits, found, flows, now);
    }
    let (mut changed, mut errors) = (false, false);
    let attempts = &*worker.attempts;
    let mut tell = |server, outcome| attempts.note(server, outcome);
    for k in 0..burst.lives.min(BURST) {
        if found >> k & 1 == 0 {
            burst.misses.push(narrow(k));
            continue;
        }
        let place = usize::from(burst.live[k]) % BURST;
        let (hit, meta) = (&burst.hits[k], &burst.metas[place]);
        let known = worker.tables.has_service(hit.service());
        if !known && !is_current(&worker.tables, &mut worker.latest) {
            // A newer service, perhaps: what this turn knows does not do for this packet.
            burst.fates[place] = Fate::Drop(Reason::NotOurs.into());
        } else if !known
            || may_choose_again(meta) && hit.side() == Side::Client && must_choose_again(&worker.tables, hit)
        {
            if let Some(gone) = flows.remove(hit) {
                worker.tables.give_port_back(&gone.flow);
                worker.shared.ends.left(&worker.tables, &gone);
                worker.shared.loads.sub(hit.server_id().0);
                worker.counters.flows_ended.add(1);
            }
            found &= !(1 << k);
            burst.misses.push(narrow(k));
        } else if meta.kind != Kind::IcmpError {
            // RFC 4787 R12: an ICMP error neither refreshes nor ends a flow.
            flows.touch_hit(hit, meta.flags, now, &mut changed, &mut tell);
        } else {
            errors = true;
        }
    }
    burst.found = found;
    if errors {
        note_errors(worker);
    }
}

/// A UDP packet or a SYN can go to another server without breaking anything that still works.
#[inline]
fn may_choose_again(meta: &Meta) -> bool {
    meta.kind == Kind::Udp || meta.kind == Kind::Tcp && meta.flags.is_syn()
}

/// Its server is down; or it takes no new flows, and this packet starts one on the ports of a connection that has ended.
#[inline]
pub(crate) fn must_choose_again(tables: &crate::tables::Tables, flow: &Hit) -> bool {
    let ended = || matches!(flow.state().phase(), Phase::Closed | Phase::Reset);
    tables.server(flow.server_id()).is_none_or(|server| server.down || !server.accepts && ended())
}
