//! Whether an insert would find room, for diagnosis.

use crate::FlowTable;
use crate::key::Key;
use crate::processor::matches;
use crate::slot::Slot;
use crate::table::Table;
use crate::tuple::Tuple;

/// How much room the table of one family has, and whether it does for one flow. Workers insert and end flows meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Whether the flow would be kept among the IPv4 ones.
    pub v4: bool,
    /// Entries that no flow has, roughly. An expired flow has its entry until the sweep comes to it.
    pub free: usize,
    /// All entries.
    pub entries: usize,
    /// Whether an insert would find an entry, and a slot for each of the flow's tuples: those have two buckets each, which
    /// may be full while entries are free.
    pub fits: bool,
}

impl FlowTable {
    /// The room for a flow of a client's tuple and, where it is known, the one that its server answers by. `v4`: both are IPv4
    /// ones. For control: it reads what [`insert`](Self::insert) would and changes nothing.
    #[must_use]
    pub fn room(&self, client: &Tuple, server: Option<&Tuple>, v4: bool) -> Room {
        if v4 { self.v4.room(client, server) } else { self.v6.room(client, server) }
    }
}

impl<K: Key> Table<K> {
    fn room(&self, client: &Tuple, server: Option<&Tuple>) -> Room {
        let entries = self.size as usize;
        let entry = self.shards.iter().any(|shard| !shard.is_full());
        let slots = [Some(client), server].into_iter().flatten().all(|tuple| self.has_slot(K::pack(tuple)));
        Room { v4: K::V4, free: entries.saturating_sub(self.len()), entries, fits: entry && slots }
    }

    fn has_slot(&self, key: K) -> bool {
        let [first, second] = self.spot(key).buckets.map(|bucket| self.bucket(bucket));
        matches(first, second, Slot::EMPTY.tag()) != 0
    }
}
