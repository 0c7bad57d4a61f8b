//! Flows to test with.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "a test")]
#![allow(unreachable_pub, dead_code, reason = "each test uses a part")]

use ringlead_flow::{
    Flow, FlowSpec, FlowTable, Hit, Inserted, Link, Packed, Profile, ServerId, Sizes, Tick, Tuple,
};
use ringlead_wire::{Ip, TcpFlags};

/// A first SYN.
pub const SYN: TcpFlags = TcpFlags(TcpFlags::SYN);
/// A plain segment.
pub const ACK: TcpFlags = TcpFlags(TcpFlags::ACK);

/// A table of that many flows of each family.
pub fn table(flows_max: usize) -> FlowTable {
    FlowTable::new(&Sizes { flows_max, workers: 2, seed: [1, 2, 3, 4] }).unwrap()
}

/// Client number `n` as it sends.
pub fn client(n: u32, v4: bool) -> Tuple {
    Tuple { src: ip(0x0a00_0000 | n >> 14, v4), dst: ip(0xc000_0201, v4), sport: low(n), dport: 80, proto: 6 }
}

/// The server's side of client number `n`.
pub fn server(n: u32, v4: bool) -> Tuple {
    let client = client(n, v4);
    Tuple { src: ip(0xac10_0001, v4), dst: client.src, sport: 8080, dport: client.sport, proto: 6 }
}

/// A flow in the middle of its life.
pub fn spec(client: Tuple, server: Option<Tuple>, id: u32) -> FlowSpec {
    FlowSpec {
        client,
        server,
        server_id: ServerId(id),
        service: id ^ 0xffff,
        profile: Profile::Lb,
        link: link(id),
        first: ACK,
        account: None,
    }
}

/// A link that tells its number in every field.
pub fn link(n: u32) -> Link {
    let [a, b, c, d] = n.to_be_bytes();
    Link { mac: [d, c, b, a, d, c], port: d & 15, vlans: d % 3, vlan: [low(n), !low(n)] }
}

/// What bursts of 64 find.
pub fn lookup_bursts(table: &FlowTable, tuples: &[Tuple], now: Tick) -> Vec<Option<Flow>> {
    let mut hits = [Hit::NONE; 64];
    let mut flows = Vec::new();
    for tuples in tuples.chunks(64) {
        let packed: Vec<Packed> = tuples.iter().map(Packed::from).collect();
        let found = table.lookup_burst(&packed, &mut hits, now);
        flows.extend((0..tuples.len()).map(|i| (found >> i & 1 != 0).then(|| hits[i].flow())));
    }
    flows
}

/// The flow of a tuple, whatever the family of its other one: as a packet finds it.
pub fn find(table: &FlowTable, tuple: &Tuple, now: Tick) -> Option<Hit> {
    let mut hits = [Hit::NONE; 1];
    let packed = Packed::from(tuple);
    let found = table.lookup_burst(&[packed], &mut hits, now);
    if found == 1 { Some(hits[0]) } else { table.lookup_widened(&packed, now) }
}

/// The new flow.
pub fn new(inserted: Inserted) -> Flow {
    match inserted {
        Inserted::New(flow) => flow,
        other => panic!("no new flow: {other:?}"),
    }
}

fn ip(n: u32, v4: bool) -> Ip {
    let [a, b, c, d] = n.to_be_bytes();
    if v4 {
        Ip::from_v4([a, b, c, d])
    } else {
        Ip::from_v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, d, 0, 0, 0, a, b, c, d])
    }
}

fn low(n: u32) -> u16 {
    u16::try_from(n & 0x3fff).unwrap()
}
