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
