//! Next hops' Ethernet addresses: a small table of atomics beside the snapshot, written by control, read per packet.

use crate::worker::PORTS_MAX;
use ringlead_wire::Vid;
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
    /// The VLAN that it is reached in: frames get this tag, with priority 0. `None`: they leave untagged.
    pub vlan: Option<Vid>,
    /// The destination Ethernet address.
    pub mac: [u8; 6],
}

/// The word of a next hop: 0 = unresolved, else `{VID 12, port 4, MAC 48}`, highest bits first; VID 0 = untagged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hop(u64);

const _: () = assert!(PORTS_MAX <= 16, "a port has four bits in a word");

impl Hop {
    fn new(hop: NextHop) -> Self {
        let m = hop.mac;
        let mac = u64::from_be_bytes([0, 0, m[0], m[1], m[2], m[3], m[4], m[5]]);
        // No host has the address of zeros, and no port is beyond the last: a hop without one is none.
        if mac == 0 || usize::from(hop.port) >= PORTS_MAX {
            return Self(0);
        }
        let vid = hop.vlan.map_or(0, Vid::get);
        Self(u64::from(vid) << 52 | u64::from(hop.port) << 48 | mac)
    }

    /// Whether it is resolved and gets no tag, in one comparison: nearly every packet asks.
    #[inline]
    pub(crate) const fn is_plain(self) -> bool {
        self.0.wrapping_sub(1) >> 52 == 0
    }

    #[inline]
    pub(crate) const fn is_resolved(self) -> bool {
        self.0 != 0
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a field is cut out of the word")]
    pub(crate) const fn port(self) -> u8 {
        (self.0 >> 48 & 0xf) as u8
    }

    /// The tag's control information; 0 where there is none.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a field is cut out of the word")]
    pub(crate) const fn tag(self) -> u16 {
        (self.0 >> 52) as u16
    }

    /// The Ethernet address, a number of 48 bits.
    #[inline]
    pub(crate) const fn mac(self) -> u64 {
        self.0 & 0xffff_ffff_ffff
    }
}

/// One atomic word a next hop, see [`Hop`].
#[derive(Debug)]
pub struct Neighbours {
    words: Box<[AtomicU64]>,
}

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
        let hop = self.hop(id);
        let [_, _, mac @ ..] = hop.mac().to_be_bytes();
        hop.is_resolved().then(|| NextHop { port: hop.port(), vlan: Vid::new(hop.tag()), mac })
    }

    /// The same as the packet path wants it; unresolved beyond the capacity.
    #[inline]
    pub(crate) fn hop(&self, id: NeighbourId) -> Hop {
        Hop(self.words.get(id.0 as usize).map_or(0, |word| word.load(Ordering::Relaxed)))
    }

    /// Sets or clears one next hop. One whose address is all zeros, or whose port none has, counts as unresolved. Ids beyond
    /// the capacity are ignored; control never makes one.
    pub fn set(&self, id: NeighbourId, hop: Option<NextHop>) {
        let Hop(word) = hop.map_or(Hop(0), Hop::new);
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
        let hop = NextHop { port: 7, vlan: None, mac: [0xfe, 1, 2, 3, 4, 0xff] };
        assert_eq!(table.get(NeighbourId(3)), None);
        table.set(NeighbourId(3), Some(hop));
        assert_eq!(table.get(NeighbourId(3)), Some(hop));
        assert!(table.hop(NeighbourId(3)).is_plain());
        assert_eq!(table.get(NeighbourId(2)), None);
        table.set(NeighbourId(3), None);
        assert_eq!(table.get(NeighbourId(3)), None);
        table.set(NeighbourId(4), Some(hop));
        assert_eq!(table.get(NeighbourId(4)), None, "beyond the capacity");
    }
    #[test]
    fn every_port_tag_and_address_survives_its_word() {
        let table = Neighbours::new(1);
        let id = NeighbourId(0);
        for port in [0, 1, 15] {
            for vlan in [None, Vid::new(1), Vid::new(0x800), Vid::new(Vid::MAX)] {
                for mac in [[0xff; 6], [0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0]] {
                    let hop = NextHop { port, vlan, mac };
                    table.set(id, Some(hop));
                    assert_eq!(table.get(id), Some(hop));
                    assert_eq!(table.hop(id).is_plain(), vlan.is_none(), "{hop:?}");
                }
            }
        }
    }

    #[test]
    fn what_no_frame_can_go_to_is_unresolved() {
        let table = Neighbours::new(1);
        for (port, mac) in [(0, [0; 6]), (16, [2; 6])] {
            table.set(NeighbourId(0), Some(NextHop { port, vlan: Vid::new(20), mac }));
            assert_eq!(table.get(NeighbourId(0)), None);
            assert!(!table.hop(NeighbourId(0)).is_plain());
        }
    }
}
