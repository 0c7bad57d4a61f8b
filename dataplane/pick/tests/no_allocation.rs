//! Picking, counting and persistence allocate nothing: a counting allocator watches this thread.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ringlead_pick::{
    Cursor, FrontHash, HashBy, LeastFlows, Loads, Maglev, Member, RandomTwo, RoundRobin, Sticky, StickySpec,
};
use ringlead_wire::Ip;

#[path = "../../io/tests/support/counting.rs"]
mod counting;
use counting::allocations;

#[test]
fn a_pick_allocates_nothing() {
    let weights: Vec<u16> = (0..300).map(|m| 1 + m % 7 * 1_000).collect();
    let members: Vec<Member> =
        (0_u64..).zip(&weights).map(|(identity, &weight)| Member { identity, weight }).collect();
    let (hash, maglev) = (FrontHash::new([1; 16]), Maglev::build(&members, 65_537));
    let (turns, least, two) =
        (RoundRobin::new(&weights), LeastFlows::new(&weights), RandomTwo::new(&weights));
    let loads = Loads::new(300);
    let spec = StickySpec { entries: 512, prefix_v4: 24, prefix_v6: 64, timeout_ticks: 50, seed: [1; 16] };
    let sticky = Sticky::new(&spec).unwrap();
    let mut cursor = Cursor::new(1);
    let load = |m: usize| loads.get(u32::try_from(m).unwrap());
    // Every second pick finds nearly all full, so the searches run too.
    assert_eq!(allocations(|| drop(Vec::<u8>::with_capacity(1))), 1, "the counter counts");
    let allocated = allocations(|| {
        for n in 0..2_000_u32 {
            let may = |m: usize| n % 2 == 0 || m == 299;
            let source = Ip::from_v4_bits(n << 8);
            for by in HashBy::ALL {
                assert!(maglev.pick(hash.flow_by(by, source, source, 1, 2, 6)).is_some());
            }
            assert!(turns.next_where(&mut cursor, may).is_some());
            let picks = [least.pick(load, may, &mut cursor), two.pick(load, may, &mut cursor)];
            let key = sticky.key(source, 1);
            for server in picks.map(|pick| u32::try_from(pick.unwrap()).unwrap()) {
                loads.add(server);
                assert!(sticky.put(&key, server, n / 10));
                assert_eq!(sticky.get(&key, n / 10), Some(server));
            }
            loads.sub(n % 300);
        }
        assert!(sticky.len(200) > 0 && sticky.forget_server(299) > 0);
    });
    assert_eq!(allocated, 0);
}
