//! [`Rules`] as the keys of the program's maps. The layout is that of `bpf/maps.h`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use ringlead_wire::{Endpoint, Ip};

use super::nodes::Nodes;
use super::rules::Rules;

/// The version of keys, values and meaning of all pinned maps: part of the pin directory's name, because a pinned map of
/// another layout would be taken over without a question.
pub(super) const LAYOUT: u32 = 4;

/// Queues of one port (`QUEUES_MAX` in `bpf/maps.h`).
pub(super) const QUEUES_MAX: u32 = 64;

/// Ports (`max_entries` of `ports` in `bpf/maps.h`).
pub(super) const PORTS_MAX: usize = 64;

/// `struct key`: address 16, 0, protocol, port in network order.
pub(super) type Bytes = [u8; 20];

/// Bits of [`Bytes`]: a prefix of this length is one port.
pub(super) const BITS: u32 = 160;

/// A key of any set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key {
    /// Leading bits that count: [`BITS`] but in the trie.
    pub(super) bits: u32,
    pub(super) bytes: Bytes,
}

/// The sets, in the order in which they grow: a frame's address is asked for before its port, and what spares this node's
/// own traffic stands before what takes a server's.
pub(super) const SETS: [&str; 6] =
    ["local_addresses", "addresses", "server_addresses", "servers", "snat", "services"];

/// The place of the trie in [`SETS`]; the others are hash maps.
pub(super) const TRIE: usize = 4;

/// What the maps are to hold.
#[derive(Debug)]
pub(super) struct Wanted {
    /// In the order of [`SETS`].
    pub(super) sets: [BTreeSet<Key>; SETS.len()],
    pub(super) l7: BTreeMap<Bytes, Nodes>,
}

/// The wanted contents of all maps.
pub(super) fn compile(rules: &Rules) -> Wanted {
    let l7 = rules.l7.iter().map(|(at, nodes)| (endpoint(at).bytes, nodes.clone())).collect();
    Wanted { sets: compile_sets(rules), l7 }
}

fn compile_sets(rules: &Rules) -> [BTreeSet<Key>; SETS.len()] {
    let snat_ports = rules.snat_ports();
    let local = rules.local.iter().map(|ip| key(*ip, 0, 0)).collect();
    let of_services = rules.services.iter().chain(rules.shared()).map(|s| key(s.ip, s.protocol.number(), 0));
    let of_snat = snat_ports.keys().map(|(ip, protocol)| key(*ip, protocol.number(), 0));
    let of_servers = rules.nat_servers.iter().map(|s| key(s.ip, s.protocol.number(), 0));
    let mut snat = BTreeSet::new();
    for ((ip, protocol), ranges) in &snat_ports {
        for (port, bits) in ranges.iter().cloned().flat_map(prefixes) {
            snat.insert(Key { bits: BITS - 16 + bits, ..key(*ip, protocol.number(), port) });
        }
    }
    [
        local,
        of_services.chain(of_snat).collect(),
        of_servers.collect(),
        rules.nat_servers.iter().map(endpoint).collect(),
        snat,
        rules.services.iter().map(endpoint).collect(),
    ]
}

fn endpoint(e: &Endpoint) -> Key {
    key(e.ip, e.protocol.number(), e.port)
}

fn key(ip: Ip, protocol: u8, port: u16) -> Key {
    let mut bytes = [0; 20];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[17] = protocol;
    bytes[18..].copy_from_slice(&port.to_be_bytes());
    Key { bits: BITS, bytes }
}

/// The fewest prefixes of a 16-bit port that cover a range exactly: (first port, bits), at most 30.
fn prefixes(range: RangeInclusive<u16>) -> Vec<(u16, u32)> {
    let (mut next, end) = (u32::from(*range.start()), u32::from(*range.end()) + 1);
    let mut all = Vec::new();
    while let Ok(port) = u16::try_from(next) {
        if next >= end {
            break;
        }
        // The largest aligned block that starts here and ends in time.
        let size = next.trailing_zeros().min((end - next).ilog2()).min(16);
        all.push((port, 16 - size));
        next += 1 << size;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_cover_a_range_exactly_and_once() {
        for (first, last) in
            [(0, 65_535), (1, 65_534), (1024, 65_535), (32_768, 60_999), (7, 7), (0, 0), (65_535, 65_535)]
        {
            let mut seen = vec![0; 65_536];
            let all = prefixes(first..=last);
            assert!(all.len() <= 30, "{first}-{last}: {}", all.len());
            for (port, bits) in all {
                let size = 1_usize << (16 - bits);
                assert_eq!(usize::from(port) % size, 0, "a prefix starts on its own boundary");
                seen[usize::from(port)..usize::from(port) + size].iter_mut().for_each(|n| *n += 1);
            }
            for (port, times) in (0..=u16::MAX).zip(seen) {
                assert_eq!(times == 1, (first..=last).contains(&port), "port {port} of {first}-{last}");
            }
        }
    }
}
