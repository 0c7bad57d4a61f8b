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
}

impl NodeTable {
    /// From the table that workers use. `key` is the front's hash key, `this` the index of this node among the members.
    ///
    /// An empty table (no node has weight) leaves every flow to this node: there is nobody else.
    #[must_use]
    pub fn new(key: [u8; 16], nodes: &Maglev, this: usize) -> Self {
        let size = nodes.slots().len().min(NODE_SLOTS_MAX);
        let mut own = vec![0_u64; size.div_ceil(64)];
        for (slot, &node) in nodes.slots().iter().enumerate().take(size) {
            if usize::from(node) == this {
                own[slot / 64] |= 1 << (slot % 64);
            }
        }
        Self { key, size, own: own.into_boxed_slice() }
    }

    /// Whether a flow from a client to the service is this node's. Ports are in host order.
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
        let hash =
            FrontHash::new(self.key).flow(client, service, client_port, service_port, protocol.number());
        let slot = slot_of(hash, self.size);
        self.own.get(slot / 64).is_none_or(|word| word >> (slot % 64) & 1 == 1)
    }

    /// `struct node_table` of `bpf/maps.h`.
    pub(super) fn words(&self) -> Words {
        let half = |at: usize| self.key[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        let mut words = [0; WORDS];
        words[0] = half(0);
        words[1] = half(8);
        words[2] = self.size as u64;
        for (to, own) in words[3..].iter_mut().zip(&self.own) {
            *to = *own;
        }
        words
    }
}

impl fmt::Debug for NodeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own: u32 = self.own.iter().map(|word| word.count_ones()).sum();
        write!(f, "NodeTable({own} of {} slots)", self.size)
    }
}

/// Words of [`Words`].
pub(super) const WORDS: usize = 3 + NODE_SLOTS_MAX.div_ceil(64);

/// `struct node_table`: k0, k1, slots in use, one bit a slot.
pub(super) type Words = [u64; WORDS];
