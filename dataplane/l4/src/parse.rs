//! Stage: bytes → [`Meta`], or a drop by name.

use crate::burst::Fate;
use crate::drops::Reason;
use crate::worker::Worker;
use ringlead_io::Port;
use ringlead_io::port::BURST;
use ringlead_wire::{Kind, parse as wire};

/// How many frames ahead the next headers are fetched into the first cache.
///
/// Chunks lie 2 KiB apart, so that headers share few places in every cache: with several workers many of those that
/// `receive` asked for are only in memory by now, whose time sixteen parsed headers cover and six do not (two workers
/// at the same time: 48 against 55 ns a packet). The first cache has room for 24 of them; from 32 on they push each
/// other out.
const AHEAD: usize = 16;

/// Parses the burst. Frames that can belong to a flow go on in `live`, with their keys.
#[inline(never)]
#[allow(clippy::indexing_slicing, reason = "arrays of BURST, and places below BURST")]
pub(crate) fn parse<P: Port>(worker: &mut Worker<P>) {
    let burst = &mut *worker.burst;
    for frame in burst.frames.iter().take(AHEAD) {
        worker.frames.prefetch(frame);
    }
    let mut lives = 0;
    for (place, frame) in burst.frames.iter().enumerate() {
        if let Some(next) = burst.frames.get(place + AHEAD) {
            worker.frames.prefetch(next);
        }
        let (meta, fate) = (&mut burst.metas[place % BURST], &mut burst.fates[place % BURST]);
        let bytes = worker.frames.bytes(frame);
        *fate = match wire::parse_into(bytes, meta) {
            Ok(()) if matches!(meta.kind, Kind::Tcp | Kind::Udp | Kind::IcmpError) => {
                burst.live[lives % BURST] = narrow(place);
                burst.keys[lives % BURST].set(bytes, meta);
                lives += 1;
                Fate::Pending
            }
            Ok(()) if meta.kind == Kind::Fragment => Fate::Drop(Reason::Fragment.into()),
            Ok(()) => Fate::Drop(Reason::NotOurs.into()),
            Err(malformed) => Fate::Drop(malformed.into()),
        };
    }
    burst.lives = lives;
}

#[allow(clippy::cast_possible_truncation, reason = "below BURST")]
pub(crate) const fn narrow(place: usize) -> u8 {
    place as u8
}
