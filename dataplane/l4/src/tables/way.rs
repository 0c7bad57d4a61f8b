//! What a flow's word says: its service, and what `rewrite` has to do to its packets.

use super::{Delivery, SERVICES_MAX, Service};

/// A service in a snapshot: a slot that is reused and a generation that is not, so a flow of a removed service never
/// belongs to the one that took its slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ServiceId {
    /// Index into [`Tables::services`], below [`SERVICES_MAX`].
    pub slot: u16,
    /// Counts the slot's tenants.
    pub generation: u16,
}

/// Bits of a service's slot in a word.
pub(super) const SLOT: u32 = 0x3fff;
const _: () =
    assert!(SERVICES_MAX == SLOT as usize + 1, "two bits between slot and generation are the way's");

impl ServiceId {
    /// In one word, as flow entries keep it: `{generation 16, way 2, slot 14}`, highest bits first, the way 0.
    #[inline]
    #[must_use]
    pub const fn to_u32(self) -> u32 {
        (self.generation as u32) << 16 | self.slot as u32 & SLOT
    }

    /// From the word that [`to_u32`](Self::to_u32) made, whatever way it has been given.
    #[inline]
    #[must_use]
    pub const fn from_u32(word: u32) -> Self {
        Self { slot: (word & SLOT) as u16, generation: (word >> 16) as u16 }
    }
}

/// What `rewrite` has to do to a flow's packets. The flow itself says it, in its service's word: known flows then need no
/// look at their service, and keep their way when the service's mode changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Way {
    /// What the flow's two ends say: nat with a server's end, dsr without.
    Plain = 0,
    /// Both ends, as the flow's say.
    Snat = 1 << 14,
    /// Into a tunnel, or to another node: what is to be done, the service says.
    Tunnel = 2 << 14,
    /// Both ends, which are of the other family.
    Translate = 3 << 14,
}

const SNAT: u32 = Way::Snat as u32;
const TUNNEL: u32 = Way::Tunnel as u32;
const TRANSLATE: u32 = Way::Translate as u32;

impl Way {
    pub(super) const MASK: u32 = 0b11 << Self::SHIFT;
    /// Where the two bits are in a service's word.
    pub(crate) const SHIFT: u32 = 14;

    /// A service's word with the way of its mode. `crosses`: the flow's server is of the other family than its client.
    #[inline]
    pub(crate) fn mark(service: &Service, crosses: bool) -> u32 {
        let way = match &service.delivery {
            Delivery::Nat | Delivery::Dsr if service.own.is_some() => Self::Tunnel,
            Delivery::Nat | Delivery::Dsr => Self::Plain,
            Delivery::Tunnel(_) => Self::Tunnel,
            Delivery::Snat(_) if crosses => Self::Translate,
            Delivery::Snat(_) => Self::Snat,
        };
        service.id.to_u32() | way as u32
    }

    /// 0 where a flow's way is [`Plain`](Self::Plain).
    #[inline]
    pub(crate) const fn detour(word: u32) -> u32 {
        word & Self::MASK
    }

    /// Of a flow.
    #[inline]
    pub(crate) const fn of(word: u32) -> Self {
        match word & Self::MASK {
            SNAT => Self::Snat,
            TUNNEL => Self::Tunnel,
            TRANSLATE => Self::Translate,
            _ => Self::Plain,
        }
    }

    /// Whether the flow holds a source port.
    pub(super) const fn holds_port(self) -> bool {
        self as u32 & SNAT != 0
    }
}
