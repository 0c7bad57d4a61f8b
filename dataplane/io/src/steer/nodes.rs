//! L7 services of several nodes: which of their flows this node's kernel accepts.

use std::fmt;
use std::sync::Arc;

use ringlead_pick::{FrontHash, Maglev, slot_of};
use ringlead_wire::{Ip, Protocol};

/// Slots of the largest table (`NODE_SLOTS_MAX` in `bpf/maps.h`): the largest Maglev size.
pub const NODE_SLOTS_MAX: usize = 65_537;

/// Whose flows of an l7 service are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Nodes {
    /// All are this node's. The service may have its address with L4 services, also with one on any port.
    Alone,
    /// Each flow is the node's that the table says. What is another node's goes to a worker
    /// ([`Rule::Node`](super::Rule::Node)), except what this node's kernel already has a socket for.
    Several(Arc<NodeTable>),
}

/// A Maglev table over the nodes of an l7 service, of which the front keeps only "this node or another".
///
/// Its hash is the front's over the 5-tuple ([`FrontHash::flow`]), the slot [`slot_of`] it: what [`Maglev::pick`] answers for
/// the same key and nodes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeTable {
    key: [u8; 16],
    size: usize,
    /// Slot n is this node's: bit n % 64 of word n / 64.
    own: Box<[u64]>,
    /// Own slots that other nodes' connections may still come in by.
    guests: Box<[u64]>,
}

/// Whose a flow is by the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// This node's.
    Own,
    /// A new one is this node's. Of one that its kernel has no connection for, a worker may know whose it is.
    Guests,
    /// Another node's.
    Anothers,
}

impl NodeTable {
    /// From the table that workers use. `key` is the front's hash key, `this` the index of this node among the members.
    ///
    /// An empty table (no node has weight) leaves every flow to this node, in one slot: there is nobody else.
    #[must_use]
    pub fn new(key: [u8; 16], nodes: &Maglev, this: usize) -> Self {
        let size = nodes.slots().len().min(NODE_SLOTS_MAX);
        let mut own = vec![0_u64; size.div_ceil(64)];
        for (slot, &node) in nodes.slots().iter().enumerate().take(size) {
            if usize::from(node) == this {
                own[slot / 64] |= 1 << (slot % 64);
            }
        }
        if size == 0 {
            own.push(1);
        }
        let guests = vec![0; own.len()].into_boxed_slice();
        Self { key, size: size.max(1), own: own.into_boxed_slice(), guests }
    }

    /// The same, where other nodes' connections may come in by the slots in `strayed`, as far as they are this node's now: slot
    /// n is bit n % 64 of word n / 64, and what is missing is 0.
    #[must_use]
    pub fn with_guests(mut self, strayed: &[u64]) -> Self {
        for ((guests, own), strayed) in self.guests.iter_mut().zip(&self.own).zip(strayed) {
            *guests = own & strayed;
        }
        self
    }

    /// Whether a new flow from a client to the service is this node's. Ports are in host order.
    #[inline]
    #[must_use]
    pub fn is_own(
        &self,
        client: Ip,
        service: Ip,
        client_port: u16,
        service_port: u16,
        protocol: Protocol,
    ) -> bool {
        self.whose(client, service, client_port, service_port, protocol) != Whose::Anothers
    }

    /// Whose a flow from a client to the service is. Ports are in host order.
    #[inline]
    #[must_use]
    pub fn whose(
        &self,
        client: Ip,
        service: Ip,
        client_port: u16,
        service_port: u16,
        protocol: Protocol,
    ) -> Whose {
        let hash =
            FrontHash::new(self.key).flow(client, service, client_port, service_port, protocol.number());
        let slot = slot_of(hash, self.size);
        let has = |words: &[u64]| words.get(slot / 64).map(|word| word >> (slot % 64) & 1 == 1);
        match (has(&self.own), has(&self.guests)) {
            (Some(false), _) => Whose::Anothers,
            (Some(true), Some(true)) => Whose::Guests,
            _ => Whose::Own,
        }
    }

    /// `struct node_table` of `bpf/maps.h`.
    #[allow(clippy::large_stack_arrays, reason = "16 KiB, on a control thread's stack")]
    pub(super) fn words(&self) -> Words {
        let half = |at: usize| self.key[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        let mut words = [0; WORDS];
        words[0] = half(0);
        words[1] = half(8);
        words[2] = self.size as u64;
        words[3..][..self.own.len()].copy_from_slice(&self.own);
        words[3 + BITMAP..][..self.guests.len()].copy_from_slice(&self.guests);
        words
    }
}

impl fmt::Debug for NodeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |words: &[u64]| words.iter().map(|word| word.count_ones()).sum::<u32>();
        let (own, guests) = (count(&self.own), count(&self.guests));
        write!(f, "NodeTable({own} of {} slots, {guests} with guests)", self.size)
    }
}

/// Words of a bit a slot.
const BITMAP: usize = NODE_SLOTS_MAX.div_ceil(64);

/// Words of [`Words`].
pub(super) const WORDS: usize = 3 + 2 * BITMAP;

/// `struct node_table`: k0, k1, slots in use, one bit a slot for own ones and one for those with guests.
pub(super) type Words = [u64; WORDS];
