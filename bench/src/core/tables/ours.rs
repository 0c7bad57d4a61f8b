//! The flow table among its peers.

use crate::core::clock;
use crate::core::tables::keys::{BULK, Op, capacity, sum, tuple};
use crate::core::tables::{Peer, Refused};
use ringlead_flow::{
    FlowSpec, FlowTable, Hit, Inserted, Link, Packed, Profile, ServerId, Sizes, Tick, Tuple,
};
use ringlead_wire::TcpFlags;
use std::hint::black_box;

const NOW: Tick = Tick(1);

/// The flow table with flows of one key each: what the peers hold too.
pub(super) struct Ours {
    table: FlowTable,
    bytes: f64,
}

impl Ours {
    pub(super) fn new(flows: usize) -> Self {
        let sizes = Sizes { flows_max: capacity(flows), workers: 2, seed: [1, 2, 3, 4] };
        let table = FlowTable::new(&sizes).expect("memory for the flow table");
        let bytes = v4_bytes(capacity(flows)) / flows as f64;
        let mut ours = Self { table, bytes };
        let all: Vec<u32> = (0..u32::try_from(flows).unwrap_or(u32::MAX)).collect();
        for part in all.chunks(1 << 16) {
            let inserted = ours.run(Op::Insert, part);
            assert!(inserted.is_ok(), "the flow table took all keys");
        }
        ours
    }
}

/// Bytes of the IPv4 half of a table: both halves have the same slots, and entries of 64 and of 128 bytes.
fn v4_bytes(flows: usize) -> f64 {
    let (both, flows) = (FlowTable::bytes_for(flows) as f64, flows as f64);
    (both - 192.0 * flows) / 2.0 + 64.0 * flows
}

impl Peer for Ours {
    fn name(&self) -> &'static str {
        "ringlead"
    }

    fn note(&self) -> String {
        let full = v4_bytes(1 << 20) / f64::from(1 << 20);
        format!(
            "lock-free; inserts 64 at once; 64 at once: the key as the parser packs it, the flow's words; {full:.0} bytes a flow when full"
        )
    }

    fn bytes_per_flow(&self) -> Option<f64> {
        Some(self.bytes)
    }

    fn run(&mut self, op: Op, keys: &[u32]) -> Result<u64, Refused> {
        let tuples: Vec<Tuple> = keys.iter().map(|&n| tuple(n)).collect();
        let mut got = 0u64;
        let ns = match op {
            Op::LookupBulk => {
                let packed: Vec<Packed> = tuples.iter().map(Packed::from).collect();
                let mut hits = [Hit::NONE; BULK];
                clock::timed(|| {
                    for part in packed.chunks(BULK) {
                        let found = self.table.lookup_burst(part, &mut hits, NOW);
                        let part = black_box(&hits)[..part.len()].iter().enumerate();
                        let found = part.filter(|(n, _)| found >> n & 1 != 0);
                        got += found.map(|(_, hit)| u64::from(hit.server_id().0)).sum::<u64>();
                    }
                })
            }
            Op::Lookup => clock::timed(|| {
                for tuple in &tuples {
                    let found = black_box(self.table.lookup(tuple, NOW));
                    got += found.map_or(0, |flow| u64::from(flow.server_id.0));
                }
            }),
            Op::Insert => {
                // As the packet path does it: a burst's misses ask for their memory before the first is inserted.
                let packed: Vec<Packed> = tuples.iter().map(Packed::from).collect();
                let specs: Vec<FlowSpec> = tuples.iter().zip(keys).map(|(t, &n)| spec(*t, n)).collect();
                clock::timed(|| {
                    for ((packed, specs), keys) in
                        packed.chunks(BULK).zip(specs.chunks(BULK)).zip(keys.chunks(BULK))
                    {
                        packed.iter().for_each(|key| self.table.prefetch(key));
                        for (spec, &n) in specs.iter().zip(keys) {
                            let new = matches!(black_box(self.table.insert(spec, NOW)), Inserted::New(_));
                            got += if new { u64::from(n) } else { 0 };
                        }
                    }
                })
            }
            Op::Delete => clock::timed(|| {
                for (tuple, &n) in tuples.iter().zip(keys) {
                    let gone =
                        self.table.lookup(tuple, NOW).is_some_and(|flow| self.table.remove(&flow).is_some());
                    got += if gone { u64::from(n) } else { 0 };
                }
            }),
        };
        Refused::unless(got == sum(keys), ns)
    }
}

fn spec(client: Tuple, n: u32) -> FlowSpec {
    FlowSpec {
        client,
        server: None,
        server_id: ServerId(n),
        service: 0,
        profile: Profile::Lb,
        link: Link::NONE,
        first: TcpFlags(TcpFlags::ACK),
        account: None,
    }
}
