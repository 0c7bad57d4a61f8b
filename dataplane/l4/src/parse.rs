//! Stage: bytes → [`Meta`], or a drop by name.

use crate::burst::Fate;
use crate::drops::Reason;
use crate::worker::Worker;
use ringlead_flow::Tuple;
use ringlead_io::Port;
use ringlead_wire::{Kind, parse as wire};

/// How many frames ahead the next headers are fetched: a header is in cache again after about this many parses.
const AHEAD: usize = 8;

/// Parses the burst. Frames that can belong to a flow go on in `live`, with their keys.
#[inline]
pub(crate) fn parse<P: Port>(worker: &mut Worker<P>) {
    let burst = &mut *worker.burst;
    for frame in burst.frames.iter().take(AHEAD) {
        worker.frames.prefetch(frame);
    }
    let slots = burst.metas.iter_mut().zip(&mut burst.fates);
    for (place, (frame, (meta, fate))) in (0_u8..).zip(burst.frames.iter().zip(slots)) {
        if let Some(next) = burst.frames.get(usize::from(place) + AHEAD) {
            worker.frames.prefetch(next);
        }
        *fate = match wire::parse_into(worker.frames.bytes(frame), meta) {
            Ok(()) => match meta.kind {
                Kind::Tcp | Kind::Udp | Kind::IcmpError => {
                    burst.live.push(place);
                    Fate::Pending
                }
                Kind::Fragment => Fate::Drop(Reason::Fragment.into()),
                Kind::Icmp | Kind::Other => Fate::Drop(Reason::NotOurs.into()),
            },
            Err(malformed) => Fate::Drop(malformed.into()),
        };
    }
    // Not above: there the meta has just been written in small pieces, and reading it in large ones would wait for them.
    for &place in &burst.live {
        if let Some(meta) = burst.metas.get(usize::from(place)) {
            burst.tuples.push(Tuple::from(meta));
        }
    }
}
