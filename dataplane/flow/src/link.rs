//! Where a client's packets come from, and its two words in an entry.

/// The way back to a client: the port, neighbour and VLAN tags that its packets came with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Link {
    /// The source MAC address of the client's packets.
    pub mac: [u8; 6],
    /// The port's index; 255 = unknown, see [`Link::NONE`].
    pub port: u8,
    /// How many VLAN tags: 0, 1 or 2.
    pub vlans: u8,
    /// The tags' control information (PCP, DEI, VID), outermost first; 0 when absent.
    pub vlan: [u16; 2],
}

impl Link {
    /// Not known: the way to the client is to be looked up.
    pub const NONE: Self = Self { mac: [0; 6], port: 255, vlans: 0, vlan: [0; 2] };

    /// Whether the way is known.
    #[inline]
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.port != Self::NONE.port
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::NONE
    }
}

/// A link in two words that change one after the other: `[vlan 32, vlans 2, count 30]` and `[mac 48, port 8, count 8]`.
///
/// The counts tell a reader that the words belong together, and go on when the entry is reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pair {
    pub(crate) tags: u64,
    pub(crate) mac: u64,
}

impl Pair {
    const COUNT: u64 = (1 << 30) - 1;

    /// The words of a link that replaces another one.
    #[inline]
    pub(crate) fn after(old_tags: u64, link: Link) -> Self {
        let count = old_tags.wrapping_add(1) & Self::COUNT;
        let vlan = u64::from(link.vlan[0]) << 16 | u64::from(link.vlan[1]);
        let [a, b, c, d, e, f] = link.mac;
        let mac = u64::from_be_bytes([a, b, c, d, e, f, link.port, 0]);
        Self { tags: vlan << 32 | u64::from(link.vlans & 3) << 30 | count, mac: mac | count & 0xff }
    }

    /// Whether the words belong together and are the link of these parts, the address as a number of 48 bits.
    #[inline]
    pub(crate) const fn is(self, mac: u64, port: u8, vlans: u8, vlan: [u16; 2]) -> bool {
        let tags = if vlans == 0 { 0 } else { (vlan[0] as u64) << 18 | (vlan[1] as u64) << 2 | vlans as u64 };
        let odd = self.tags >> 30 ^ tags | self.mac >> 8 ^ (mac << 8 | port as u64);
        odd | (self.tags ^ self.mac) & 0xff == 0
    }

    /// The link, unless the words are of two.
    #[inline]
    pub(crate) const fn link(self) -> Link {
        let (mac, port, vlans, vlan) = self.parts();
        if port == Link::NONE.port {
            return Link::NONE;
        }
        let [_, _, a, b, c, d, e, f] = mac.to_be_bytes();
        Link { mac: [a, b, c, d, e, f], port, vlans, vlan }
    }

    /// Address, port, number of tags and tags; the port is that of [`Link::NONE`] when the words are of two links.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "fields are cut out of the words")]
    pub(crate) const fn parts(self) -> (u64, u8, u8, [u16; 2]) {
        let whole = (self.tags ^ self.mac) & 0xff == 0;
        let port = if whole { (self.mac >> 8) as u8 } else { Link::NONE.port };
        let vlan = [(self.tags >> 48) as u16, (self.tags >> 32) as u16];
        (self.mac >> 16, port, (self.tags >> 30) as u8 & 3, vlan)
    }
}

#[cfg(test)]
mod tests {
    use super::{Link, Pair};

    const A: Link = Link { mac: [1, 2, 3, 4, 5, 0xff], port: 3, vlans: 2, vlan: [0x8064, 0xffff] };
    const B: Link = Link { mac: [0xff; 6], port: 0, vlans: 0, vlan: [0, 0] };

    #[test]
    fn a_link_survives_its_words_at_every_count() {
        for count in [0, 0xfe, 0xff, (1 << 30) - 1, u64::MAX] {
            for link in [A, B, Link::NONE] {
                let pair = Pair::after(count, link);
                assert_eq!(pair.link(), link);
                let [a, b, c, d, e, f] = link.mac;
                let mac = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
                let [outer, inner] = link.vlan;
                assert!(pair.is(mac, link.port, link.vlans, link.vlan));
                assert!(!pair.is(mac ^ 1, link.port, link.vlans, link.vlan));
                assert!(!pair.is(mac, link.port ^ 1, link.vlans, link.vlan));
                assert!(!pair.is(mac, link.port, link.vlans ^ 1, link.vlan));
                // Without tags there is nothing to compare.
                let tagged = link.vlans != 0;
                assert_eq!(!pair.is(mac, link.port, link.vlans, [outer ^ 1, inner]), tagged);
                assert_eq!(!pair.is(mac, link.port, link.vlans, [outer, inner ^ 1]), tagged);
            }
        }
    }

    #[test]
    fn words_of_two_links_are_no_link() {
        let old = Pair::after(5, A);
        let new = Pair::after(old.tags, B);
        assert_eq!(Pair { tags: new.tags, mac: old.mac }.link(), Link::NONE);
        assert_eq!(Pair { tags: old.tags, mac: new.mac }.link(), Link::NONE);
        assert!(!Pair { tags: new.tags, mac: new.mac ^ 1 }.is(0xffff_ffff_ffff, 0, 0, [0, 0]));
    }
}
