//! Stage: what a frame without a flow asks for: a service, or nothing that we have.

use crate::burst::Fate;
use crate::drops::Reason;
use crate::tables::{Tables, protocol};
use crate::worker::Worker;
use ringlead_flow::Tuple;
use ringlead_io::Port;
use ringlead_wire::{Endpoint, Kind};

/// Gives each miss the service it wants, or drops it by name.
#[inline(never)]
pub(crate) fn classify<P: Port>(worker: &mut Worker<P>) {
    let burst = &mut *worker.burst;
    for (&miss, wanted) in burst.misses.iter().zip(&mut burst.wanted) {
        *wanted = None;
        let miss = usize::from(miss);
        let (Some(&place), Some(key)) = (burst.live.get(miss), burst.keys.get(miss)) else { continue };
        let place = usize::from(place);
        let (Some(meta), Some(fate)) = (burst.metas.get(place), burst.fates.get_mut(place)) else { continue };
        match service_of(&worker.tables, &key.tuple()) {
            Ok(slot) => *wanted = Some(slot),
            Err(_) if meta.kind == Kind::IcmpError => *fate = Fate::Drop(Reason::IcmpWithoutFlow.into()),
            Err(reason) => *fate = Fate::Drop(reason.into()),
        }
    }
}

/// The slot of the service that a packet without a flow is for.
fn service_of(tables: &Tables, tuple: &Tuple) -> Result<u16, Reason> {
    let protocol = protocol(tuple.proto).ok_or(Reason::NotOurs)?;
    if let Some(service) = tables.listener(Endpoint { ip: tuple.dst, port: tuple.dport, protocol }) {
        return Ok(service.id.slot);
    }
    if tables.is_nat_server(Endpoint { ip: tuple.src, port: tuple.sport, protocol }) {
        return Err(Reason::ServerWithoutFlow);
    }
    if tables.snat.contains_key(&tuple.dst) {
        return Err(Reason::ServerWithoutFlow);
    }
    Err(Reason::NotOurs)
}
