//! The table against a plain map, one thread and a clock that jumps.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "a test")]
#![cfg(not(loom))]
#![allow(missing_docs, reason = "a test")]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use ringlead_flow::{Flow, FlowSpec, FlowTable, Inserted, Packed, Profile, Tick, Tuple};
use ringlead_wire::TcpFlags;
use support::{client, find, link, lookup_bursts, server, spec, table};

const SIZE: usize = 12;
/// The number of the first server tuple of a translated flow.
const TRANSLATED: u32 = 100;

#[derive(Clone, Debug)]
enum Op {
    Insert { client: u32, server: Option<u32>, v4: bool, mixed: bool, flags: u8, rfc5382: bool },
    Touch { client: u32, v4: bool, server_side: bool, flags: u8 },
    Link { client: u32, v4: bool, link: u32 },
    Remove { client: u32, v4: bool },
    Age { budget: usize },
    Wait { ticks: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0..16_u32;
    let flags = prop::sample::select(vec![0x02, 0x10, 0x12, 0x11, 0x04]);
    prop_oneof![
        4 => (n.clone(), prop::option::of(n.clone()), any::<[bool; 2]>(), flags.clone(), any::<bool>()).prop_map(
            |(client, server, [v4, mixed], flags, rfc5382)| Op::Insert { client, server, v4, mixed, flags, rfc5382 }
        ),
        4 => (n.clone(), any::<bool>(), any::<bool>(), flags)
            .prop_map(|(client, v4, server_side, flags)| Op::Touch { client, v4, server_side, flags }),
        1 => (n.clone(), any::<bool>(), 0..200_u32).prop_map(|(client, v4, link)| Op::Link { client, v4, link }),
        1 => (n, any::<bool>()).prop_map(|(client, v4)| Op::Remove { client, v4 }),
        1 => (0..20_usize).prop_map(|budget| Op::Age { budget }),
        2 => prop::sample::select(vec![1, 19, 21, 119, 121, 959, 961, 1201, 29_761])
            .prop_map(|ticks| Op::Wait { ticks }),
    ]
}

/// What should be in the table: by client number and family, with flows that expired but were not reported.
struct Model {
    table: FlowTable,
    now: Tick,
    flows: BTreeMap<(u32, bool), (FlowSpec, Flow)>,
    unreported: Vec<u32>,
    next_id: u32,
    shard: usize,
}

impl Model {
    fn apply(&mut self, op: &Op) {
        self.expire();
        match *op {
            Op::Insert { client: n, server: s, v4, mixed, flags, rfc5382 } => {
                self.next_id += 1;
                let profile = if rfc5382 { Profile::Rfc5382 } else { Profile::Lb };
                // The address and port of a translated flow are of a pool, so no flow of one family has them.
                let server = s.map(|s| if mixed { server(s + TRANSLATED, !v4) } else { server(s, v4) });
                let first = TcpFlags(flags);
                let spec = FlowSpec { profile, first, ..spec(client(n, v4), server, self.next_id) };
                self.insert((n, v4), spec);
            }
            Op::Touch { client: n, v4, server_side, flags } => {
                let Some((spec, flow)) = self.flows.get_mut(&(n, v4)) else { return };
                let tuple = spec.server.filter(|_| server_side).unwrap_or(spec.client);
                let found = find(&self.table, &tuple, self.now).unwrap().flow();
                assert!(self.table.touch(&found, TcpFlags(flags), self.now));
                flow.state = find(&self.table, &tuple, self.now).unwrap().state();
                assert_eq!(flow.state.last_seen(), self.now);
            }
            Op::Link { client, v4, link: n } => {
                let Some((_, flow)) = self.flows.get_mut(&(client, v4)) else { return };
                self.table.set_link(&*flow, link(n));
                flow.link = link(n);
            }
            Op::Remove { client, v4 } => {
                let Some((_, flow)) = self.flows.remove(&(client, v4)) else { return };
                assert!(self.table.remove(&flow).is_some());
                assert!(self.table.remove(&flow).is_none());
            }
            Op::Age { budget } => {
                self.shard = (self.shard + 1) % self.table.shards();
                self.age(self.shard, budget);
            }
            Op::Wait { ticks } => self.now = self.now.plus(ticks),
        }
    }

    fn insert(&mut self, key: (u32, bool), spec: FlowSpec) {
        // As a packet does: it is looked up, and in the wider form too, before it makes a flow.
        if let Some(wide) = self.table.lookup_widened(&Packed::from(&spec.client), self.now) {
            assert_eq!(self.flows.get(&key).map(|(_, flow)| *flow), Some(wide.flow()));
            assert!(wide.is_mixed());
            return;
        }
        let inserted = self.table.insert(&spec, self.now);
        let taken = |flow: &Flow| flow.server.is_some() && flow.server == spec.server;
        let in_use = self.table.count();
        let in_use = if spec.client.is_v4() && !spec.is_mixed() { in_use.v4 } else { in_use.v6 };
        if let Some((_, flow)) = self.flows.get(&key) {
            assert_eq!(inserted, Inserted::Existing(*flow));
        } else if self.flows.values().any(|(_, flow)| taken(flow)) {
            assert_eq!(inserted, Inserted::TupleTaken);
        } else if let Inserted::New(flow) = inserted {
            assert_eq!((flow.client, flow.server, flow.link), (spec.client, spec.server, spec.link));
            self.flows.insert(key, (spec, flow));
        } else {
            assert_eq!(inserted, Inserted::Full);
            assert!(in_use >= SIZE, "full with {in_use} entries in use");
        }
    }

    /// Flows that are over move to the list of those that are still to be reported.
    fn expire(&mut self) {
        let (now, unreported) = (self.now, &mut self.unreported);
        self.flows.retain(|_, (_, flow)| {
            let over = now.since(flow.state.last_seen()) > flow.state.timer();
            if over {
                unreported.push(flow.server_id.0);
            }
            !over
        });
    }

    fn age(&mut self, shard: usize, budget: usize) {
        let unreported = &mut self.unreported;
        self.table.age(shard, self.now, budget, &mut |gone| {
            // Reported without reason, or twice, if it is not there.
            let at = unreported.iter().position(|id| *id == gone.flow.server_id.0);
            unreported.swap_remove(at.unwrap());
        });
    }

    /// Every tuple leads where the model says, singly and in a burst.
    fn check(&mut self) {
        self.expire();
        let all = (0..16).flat_map(|n| [true, false].map(|v4| (n, v4)));
        let tuples: Vec<Tuple> =
            all.flat_map(|(n, v4)| [client(n, v4), server(n, v4), server(n + TRANSLATED, v4)]).collect();
        for (tuple, found) in tuples.iter().zip(lookup_bursts(&self.table, &tuples, self.now)) {
            let wide = self.table.lookup_widened(&Packed::from(tuple), self.now).map(|hit| hit.flow());
            assert!(found.is_none() || wide.is_none(), "a tuple has one flow");
            let found = found.or(wide);
            let owner = self
                .flows
                .values()
                .map(|(_, flow)| *flow)
                .find(|f| f.client == *tuple || f.server == Some(*tuple));
            let found = found.map(|flow: Flow| Flow { side: ringlead_flow::Side::Client, ..flow });
            assert_eq!(found, owner);
        }
        assert_eq!(self.table.len(), self.flows.len() + self.unreported.len());
    }

    fn finish(mut self) {
        self.now = self.now.plus(100_000);
        self.expire();
        for shard in 0..self.table.shards() {
            self.age(shard, usize::MAX);
        }
        assert_eq!((self.unreported.len(), self.table.len()), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_table_does_what_a_map_does(ops in prop::collection::vec(op(), 1..120), start: u32) {
        let mut model = Model {
            table: table(SIZE), now: Tick(start), flows: BTreeMap::new(), unreported: Vec::new(), next_id: 0, shard: 0,
        };
        for op in &ops {
            model.apply(op);
            model.check();
        }
        model.finish();
    }
}
