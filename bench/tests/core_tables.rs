//! All compared tables hold the same keys and find all of them.
#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::panic, reason = "a test")]

use ringlead_bench::core::tables::{Op, Peer, Refused, local, rte};
use std::path::PathBuf;

const FLOWS: usize = 2000;
/// A key that no table holds.
const NOBODY: u32 = 2005;

/// Runs every piece of work; which of them the table can do.
fn work(peer: &mut dyn Peer) -> Vec<Op> {
    let mut done = Vec::new();
    for round in 0..3 {
        for op in Op::ALL {
            match peer.round(op, FLOWS, round) {
                Ok(_) => done.push(op),
                Err(Refused::Never) => assert_eq!(op, Op::LookupBulk, "{}", peer.name()),
                Err(why) => panic!("{}: {op:?}: {why:?}", peer.name()),
            }
        }
    }
    done.truncate(done.len() / 3);
    done
}

#[test]
fn every_table_finds_all_keys_and_no_other() {
    let mut peers = local(FLOWS);
    let names: Vec<_> = peers.iter().map(|peer| peer.name()).collect();
    assert_eq!(names, ["ringlead", "std HashMap + ahash", "DashMap", "papaya"]);
    let all: Vec<u32> = (0..2000).collect();
    for peer in &mut peers {
        let name = peer.name();
        let bulk = usize::from(name == "ringlead");
        assert_eq!(work(&mut **peer).len(), 3 + bulk, "{name}");
        for op in [Op::Lookup, Op::LookupBulk].into_iter().take(1 + bulk) {
            assert!(peer.run(op, &all).is_ok(), "{name}");
            assert_eq!(peer.run(op, &[1, NOBODY]), Err(Refused::Wrong), "{name} found what is not there");
        }
        assert_eq!(peer.run(Op::Insert, &[7]), Err(Refused::Wrong), "{name} took a key twice");
        assert_eq!(peer.run(Op::Delete, &[NOBODY]), Err(Refused::Wrong), "{name}");
    }
    let bytes = peers[0].bytes_per_flow().unwrap();
    // 64 of the entry and twice 8/0.5625 of slots, for half as many again as there are.
    assert!((135.0..150.0).contains(&bytes), "{bytes} bytes a flow");
}

/// In this process: DPDK's environment takes it over, so this is the only test that starts it.
#[test]
fn rte_hash_answers_or_says_that_it_is_not_installed() {
    let orders = "lookup 0\nlookup_bulk 0\ninsert 1\ndelete 1\nlookup 5\nfly 1\n";
    let mut said = Vec::new();
    rte::serve(FLOWS, orders.as_bytes(), &mut said).unwrap();
    let said = String::from_utf8(said).unwrap();
    let lines: Vec<&str> = said.lines().map(|line| line.strip_prefix("> ").unwrap()).collect();
    if lines[0].contains("not installed") {
        assert_eq!(lines.len(), 1);
        return;
    }
    assert_eq!((lines.len(), lines[0]), (7, "0"), "{said}");
    assert!(lines[1..6].iter().all(|line| line.parse::<u64>().is_ok_and(|ns| ns > 0)), "{said}");
    assert!(lines[6].contains("is no order"), "{said}");
}

#[test]
fn a_child_that_is_no_child_leaves_a_row_that_says_so() {
    let child = rte::Child { program: PathBuf::from("/bin/false"), args: vec![] };
    let rows = ringlead_bench::core::tables::all(FLOWS, 1, &child, &mut |_| {});
    let dpdk = rows.iter().find(|row| row.table == rte::NAME).unwrap();
    assert!(dpdk.lookup.is_none() && (dpdk.note.contains("not installed") || dpdk.note.contains("ended")));
    let ours = &rows[0];
    assert_eq!((ours.table.as_str(), ours.name.as_str()), ("ringlead", "tables/ringlead/2000"));
    for row in rows.iter().filter(|row| row.table != rte::NAME) {
        let (lookup, insert, delete) = (row.lookup.unwrap(), row.insert.unwrap(), row.delete.unwrap());
        assert!([lookup, insert, delete].iter().all(|cost| cost.ns > 0.0 && cost.median_ns >= cost.ns));
        assert_eq!(row.lookup_bulk.is_some(), row.table == "ringlead");
    }
}
