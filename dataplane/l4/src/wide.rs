//! The second look-up of IPv4 packets. A flow with a tuple of each family is kept among the IPv6 ones, so its IPv4 packets
//! miss at first: all that a NAT64's servers and a NAT46's clients send.

use crate::parse::narrow;
use arrayvec::ArrayVec;
use ringlead_flow::{FlowTable, Hit, Packed, Tick};
use ringlead_io::port::BURST;

/// Room for the misses of a burst. It is touched only where there are such flows.
#[derive(Debug)]
pub(crate) struct Wide {
    /// The IPv4 tuples as the IPv6 table keeps them.
    keys: ArrayVec<Packed, BURST>,
    /// Where each stands in the burst.
    places: ArrayVec<u8, BURST>,
    hits: [Hit; BURST],
}

impl Wide {
    pub(crate) const fn new() -> Self {
        Self { keys: ArrayVec::new_const(), places: ArrayVec::new_const(), hits: [Hit::NONE; BURST] }
    }

    /// Looks up again, side by side, what of `keys` is IPv4 and has no bit in `found`. Fills their `hits` in, and returns the
    /// bits of those that have a flow.
    #[inline(never)]
    pub(crate) fn look_up(
        &mut self,
        keys: &[Packed],
        hits: &mut [Hit; BURST],
        found: u64,
        flows: &FlowTable,
        now: Tick,
    ) -> u64 {
        self.keys.clear();
        self.places.clear();
        for (place, key) in keys.iter().enumerate().take(BURST) {
            if found >> place & 1 == 0
                && let Some(wide) = key.widened()
            {
                self.keys.push(wide);
                self.places.push(narrow(place));
            }
        }
        if self.keys.is_empty() {
            return 0;
        }
        let hit = flows.lookup_burst(&self.keys, &mut self.hits, now);
        let mut late = 0;
        for (k, (&place, wide)) in self.places.iter().zip(&self.hits).enumerate() {
            if hit >> k & 1 != 0
                && let Some(known) = hits.get_mut(usize::from(place))
            {
                *known = *wide;
                late |= 1 << place;
            }
        }
        late
    }
}
