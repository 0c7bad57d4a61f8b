//! A run of random packets, some of them maltreated at random: every count is that of a simple model.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![allow(clippy::wildcard_enum_match_arm, reason = "tests meet few of etherparse's headers")]

mod honest;

use honest::{Plan, SERVICES, at_server, forward, server};
use proptest::prelude::*;
use ringlead_witness::{Checksum, Kind};
use std::collections::BTreeMap;

const PLAN: Plan = Plan { vlan: None, checksum: Checksum::Right, extra: 20, fragmentable: false };

/// What happens to one packet on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Arrives,
    Dropped,
    Twice,
    /// It arrives after the flow's next packet that arrives.
    Late,
    /// From here on the flow goes to its next server.
    Moves,
    /// Its last byte is damaged behind the checksum's back.
    Damaged,
    Ttl,
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Arrives),
        2 => Just(Fate::Dropped),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Late),
        1 => Just(Fate::Moves),
        1 => Just(Fate::Damaged),
        1 => Just(Fate::Ttl),
    ]
}

#[derive(Default)]
struct Flow {
    sent: u32,
    server: u16,
    came: bool,
    held: Option<Vec<u8>>,
}

proptest! {
    #[test]
    fn every_fault_is_counted_once(steps in prop::collection::vec((0..u32::from(SERVICES), fates()), 1..200)) {
        let mut witness = PLAN.witness(SERVICES.into());
        let mut flows: Vec<Flow> = (0..SERVICES).map(|_| Flow::default()).collect();
        let mut expected: BTreeMap<Kind, u64> = BTreeMap::new();
        let mut add = |kind, count: u64| if count > 0 { *expected.entry(kind).or_default() += count };
        for (number, fate) in steps {
            let flow = &mut flows[usize::try_from(number).unwrap()];
            if fate == Fate::Moves && flow.held.is_none() {
                flow.server += 1;
                add(Kind::WrongServer, flow.came.into());
            }
            let to = server(number, flow.server);
            let mut parts = forward(number, &PLAN.frame(number, flow.sent), to);
            match fate {
                Fate::Damaged => *parts.payload.last_mut().unwrap() ^= 0x80,
                Fate::Ttl => parts.set_ttl(7),
                _ => {}
            }
            flow.sent += 1;
            let frame = parts.encode(Checksum::Right);
            match fate {
                Fate::Dropped => {
                    add(Kind::Lost, 1);
                    continue;
                }
                Fate::Late if flow.held.is_none() => {
                    flow.held = Some(frame);
                    continue;
                }
                Fate::Twice => {
                    witness.look(&frame, &at_server(to, 1));
                    add(Kind::Duplicate, 1);
                }
                Fate::Damaged => add(Kind::BadPayload, 1),
                Fate::Ttl => add(Kind::WrongTtl, 1),
                _ => {}
            }
            witness.look(&frame, &at_server(to, 1));
            flow.came = true;
            if let Some(held) = flow.held.take() {
                witness.look(&held, &at_server(to, 1));
                add(Kind::Reordered, 1);
            }
        }
        add(Kind::Lost, flows.iter().map(|flow| u64::from(flow.held.is_some())).sum());
        let found = witness.finish(|flow| u64::from(flows[usize::try_from(flow).unwrap()].sent));
        prop_assert_eq!(&found.counts, &expected, "{:#?}", found.examples);
        prop_assert_eq!(found.is_clean(), expected.is_empty());
        prop_assert_eq!(found.missing.forward.iter().map(|gap| u64::from(gap.count)).sum::<u64>(), found.forward.lost);
        let sent: u64 = flows.iter().map(|flow| u64::from(flow.sent)).sum();
        prop_assert_eq!(found.forward.received + found.forward.lost, sent + found.count(Kind::Duplicate));
    }
}
