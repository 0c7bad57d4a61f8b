//! Next hops' Ethernet addresses: a small table of atomics beside the snapshot, written by control, read per packet.

use std::sync::atomic::{AtomicU64, Ordering};

/// The most next hops (servers on the link and gateways) a node can have.
pub const NEIGHBOURS_MAX: usize = 65_536;

/// A place in [`Neighbours`]; control gives one to each next hop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct NeighbourId(pub u32);

/// Where a frame goes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextHop {
    /// The port to leave by (index of the configured port).
    pub port: u8,
    /// The destination Ethernet address.
    pub mac: [u8; 6],
}

/// The word of a next hop that is resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hop(u64);

impl Hop {
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a field is cut out of the word")]
    pub(crate) const fn port(self) -> u8 {
        (self.0 >> 48 & 0x7f) as u8
    }

    /// The Ethernet address, a number of 48 bits.
    #[inline]
    pub(crate) const fn mac(self) -> u64 {
        self.0 & 0xffff_ffff_ffff
    }
}

/// One atomic word a next hop: 0 = unresolved, else bit 63 set, port in bits 48–55, MAC in bits 0–47.
#[derive(Debug)]
pub struct Neighbours {
    words: Box<[AtomicU64]>,
}

const RESOLVED: u64 = 1 << 63;

impl Neighbours {
    /// A table with room for `capacity` next hops (at most [`NEIGHBOURS_MAX`]), all unresolved.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { words: (0..capacity.min(NEIGHBOURS_MAX)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// How many next hops it has room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.words.len()
    }

    /// The next hop, or `None` while its Ethernet address is not known.
    #[must_use]
    pub fn get(&self, id: NeighbourId) -> Option<NextHop> {
        let hop = self.hop(id)?;
        let [_, _, mac @ ..] = hop.mac().to_be_bytes();
        Some(NextHop { port: hop.port(), mac })
    }

    /// The same as the packet path wants it.
    #[inline]
    pub(crate) fn hop(&self, id: NeighbourId) -> Option<Hop> {
        let word = self.words.get(id.0 as usize)?.load(Ordering::Relaxed);
        (word & RESOLVED != 0).then_some(Hop(word))
    }

    /// Sets or clears one next hop. Ids beyond the capacity are ignored; control never makes one.
    pub fn set(&self, id: NeighbourId, hop: Option<NextHop>) {
        let word = hop.map_or(0, |hop| {
            let m = hop.mac;
            RESOLVED | u64::from_be_bytes([0, hop.port, m[0], m[1], m[2], m[3], m[4], m[5]])
        });
        if let Some(place) = self.words.get(id.0 as usize) {
            place.store(word, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_port_and_mac_and_forgets() {
        let table = Neighbours::new(4);
        let hop = NextHop { port: 7, mac: [0xfe, 1, 2, 3, 4, 0xff] };
        assert_eq!(table.get(NeighbourId(3)), None);
        table.set(NeighbourId(3), Some(hop));
        assert_eq!(table.get(NeighbourId(3)), Some(hop));
        assert_eq!(table.get(NeighbourId(2)), None);
        table.set(NeighbourId(3), None);
        assert_eq!(table.get(NeighbourId(3)), None);
        table.set(NeighbourId(4), Some(hop));
        assert_eq!(table.get(NeighbourId(4)), None, "beyond the capacity");
    }
}
