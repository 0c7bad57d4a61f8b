//! Workers on in-memory ports over one flow table, and frames of its flows to feed them with.

use crate::core::cell::Family;
use ringlead_flow::{FlowTable, Sizes};
use ringlead_l4::Shared;
use ringlead_l4::ends::Accounts;
use ringlead_l4::neighbours::{NeighbourId, NextHop};
use ringlead_l4::tables::Mode;
use std::sync::Arc;

mod lane;
mod random;
mod tables;
mod traffic;

pub use lane::Lane;
pub use random::Random;
pub use traffic::{Segment, Traffic};

/// The port towards clients.
pub const WAN: usize = 0;
/// The port towards servers.
pub const LAN: usize = 1;
/// Chunks of packet memory of each worker, all in use.
pub const CHUNKS: usize = 16_384;
/// Bytes of a chunk.
const CHUNK: usize = 2048;
/// Most new flows of one worker that are in the table at once.
pub(super) const FRESH_MAX: usize = 4096;
/// The time at which all flows were made, in nanoseconds.
const START_NS: u64 = 1_000_000_000_000;
/// Last-seen times are kept in steps of 250 ms.
const TICK_NS: u64 = 250_000_000;

/// What a world consists of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    /// The mode of all its services.
    pub mode: Mode,
    /// The families that have services and flows.
    pub families: Vec<Family>,
    /// Flows of each of them, at least 1.
    pub flows: usize,
    /// Services of each of them, at least 1.
    pub services: usize,
    /// Servers of every pool, 1 to 65 535.
    pub servers: usize,
    /// Workers, at least 1.
    pub workers: usize,
    /// Whether packets and bytes of each flow are counted.
    pub accounts: bool,
}

impl Shape {
    /// Flows of each family that the table has room for: it is two thirds full, and three quarters at most with the
    /// new flows of a round.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.flows + self.flows / 2 + 192
    }

    /// How many new flows each worker makes at once.
    #[must_use]
    pub fn fresh(&self) -> usize {
        let share = self.flows / 8 / self.workers;
        (share - share % 64).clamp(64, FRESH_MAX)
    }

    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let choices = ringlead_pick::default_size(self.servers) as usize * 2 + self.servers * 4;
        let accounts = if self.accounts { FlowTable::account_bytes_for(self.capacity()) } else { 0 };
        FlowTable::bytes_for(self.capacity())
            + accounts
            + self.workers * CHUNKS * CHUNK
            + self.families.len() * (self.services * (choices + 1024) + 2 * self.flows)
    }
}

/// Workers of one mode with flows of one or both families.
pub struct World {
    /// The table, the snapshot and the counters that the workers share.
    pub shared: Shared,
    /// What it consists of.
    pub shape: Shape,
    /// A worker each, with its frames.
    pub lanes: Vec<Lane>,
    families: Vec<(Family, Traffic)>,
    ticks: u64,
}

impl World {
    /// Workers with flows in a table of [`Shape::capacity`].
    ///
    /// The flows are made by the first worker itself, from packets of their clients.
    ///
    /// # Panics
    /// When there is not enough memory or the worker does not forward every packet.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let sizes = Sizes { flows_max: shape.capacity(), workers: shape.workers, seed: [1, 2, 3, 4] };
        let table = Arc::new(FlowTable::new(&sizes).expect("memory for the flow table"));
        let ids = 2 * shape.servers;
        let shared = Shared::new(tables::tables(&shape), table, ids, ids, shape.workers);
        if shape.accounts {
            shared.flows.keep_accounts().expect("memory for accounts");
            shared.ends.take(1, &[], Accounts::All);
        }
        for id in 0..ids {
            let hop = NextHop {
                port: u8::try_from(LAN).unwrap_or(0),
                vlan: None,
                mac: traffic::server_mac(id / 2),
            };
            shared.neighbours.set(NeighbourId(narrow(id)), Some(hop));
        }
        let mut lanes: Vec<Lane> =
            (0..shape.workers).map(|index| Lane::new(&shape, &shared, index)).collect();
        let traffic = |&family| (family, Traffic::new(&shape, family));
        let mut families: Vec<(Family, Traffic)> = shape.families.iter().map(traffic).collect();
        for (_, traffic) in &mut families {
            lanes[0].populate(traffic);
        }
        let counted = shared.flows.count();
        for (family, traffic) in &families {
            let made = if family.is_v6() { counted.v6 } else { counted.v4 };
            assert_eq!(made, traffic.flows(), "flows that are no flows");
        }
        Self { shared, shape, lanes, families, ticks: 0 }
    }

    /// A family's flows.
    ///
    /// # Panics
    /// When the shape has no such family.
    #[must_use]
    pub fn traffic(&self, family: Family) -> &Traffic {
        let found = self.families.iter().find(|(this, _)| *this == family);
        &found.expect("the family is one of the shape's").1
    }

    /// The workers and a family's flows together.
    ///
    /// # Panics
    /// When the shape has no such family.
    pub fn lanes_and_traffic(&mut self, family: Family) -> (&mut [Lane], &Traffic) {
        let found = self.families.iter().find(|(this, _)| *this == family);
        (&mut self.lanes, &found.expect("the family is one of the shape's").1)
    }

    /// The time to give to the turns of a round. With `refresh` all flows were last seen in an earlier tick, without it
    /// none. Flows that are never used expire after 1200 rounds with `refresh`, 300 s.
    pub fn now_ns(&mut self, refresh: bool) -> u64 {
        if !refresh {
            // A flow that was last seen later than now is neither refreshed nor expired.
            return START_NS;
        }
        self.ticks += 1;
        START_NS + self.ticks * TICK_NS
    }
}

/// A small number in the width that ids and counts of chunks have.
fn narrow(n: usize) -> u32 {
    u32::try_from(n).expect("a small number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringlead_io::Frame;
    use ringlead_io::frames::HEADROOM;
    use ringlead_io::port::BURST;

    #[test]
    fn packets_begin_where_received_ones_do_whichever_family_was_before() {
        let families = vec![Family::Ipv6, Family::Ipv4];
        let shape = Shape {
            mode: Mode::Tunnel,
            families,
            flows: 64,
            services: 1,
            servers: 1,
            workers: 1,
            accounts: false,
        };
        let mut world = World::new(shape.clone());
        for family in (0..2).flat_map(|_| shape.families.clone()) {
            let (lanes, traffic) = world.lanes_and_traffic(family);
            lanes[0].feed(traffic, CHUNKS, BURST);
            (0..CHUNKS / BURST).for_each(|_| {
                lanes[0].worker.turn(START_NS);
            });
            lanes[0].collect(CHUNKS);
            let starts: Vec<usize> = lanes[0].idle.iter().map(Frame::headroom).collect();
            let outer = HEADROOM - tables::ENCAPSULATION.overhead(!family.is_v6());
            assert!(
                starts.iter().all(|start| *start == outer),
                "{family:?}: {:?}, not {outer}",
                &starts[..8]
            );
        }
    }
}
