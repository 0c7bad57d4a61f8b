//! The services of a snapshot by slot.

use super::way::{SLOT, Way};
use super::{Mode, Service};
use std::sync::Arc;

/// The services of a snapshot by slot, with holes where one was removed.
#[derive(Debug, Default)]
pub struct Services {
    all: Box<[Option<Arc<Service>>]>,
    /// The id in each slot, or [`NO_SERVICE`]: known flows need no more, and thousands of services fit into the caches.
    ids: Box<[u32]>,
    /// Whether any of them has a say in the segment sizes of its connections.
    clamps: bool,
    /// Whether any of them packs its packets.
    packs: bool,
}

/// No id: no slot has that number.
const NO_SERVICE: u32 = u32::MAX;

impl Services {
    /// The service in a slot.
    #[inline]
    #[must_use]
    pub fn get(&self, slot: u16) -> Option<&Arc<Service>> {
        self.all.get(usize::from(slot))?.as_ref()
    }

    /// Whether the service whose id is in a flow's word is still there.
    #[inline]
    pub(super) fn has(&self, word: u32) -> bool {
        self.ids.get((word & SLOT) as usize) == Some(&(word & !Way::MASK))
    }

    /// Whether SYNs have to be looked at for their maximum segment size.
    #[inline]
    pub(crate) const fn clamps(&self) -> bool {
        self.clamps
    }

    /// Whether outer headers may have to go in front of packets.
    #[inline]
    pub(crate) const fn packs(&self) -> bool {
        self.packs
    }

    /// All slots in order.
    #[must_use]
    pub fn slots(&self) -> &[Option<Arc<Service>>] {
        &self.all
    }
}

impl From<Vec<Option<Arc<Service>>>> for Services {
    fn from(all: Vec<Option<Arc<Service>>>) -> Self {
        let ids = all.iter().map(|service| service.as_ref().map_or(NO_SERVICE, |s| s.id.to_u32())).collect();
        let clamps = all.iter().flatten().any(|service| service.mss.is_some());
        let packs = all.iter().flatten().any(|service| service.delivery.mode() == Mode::Tunnel);
        Self { all: all.into(), ids, clamps, packs }
    }
}
