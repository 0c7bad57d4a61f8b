//! What bpf/decap.c and this crate agree on: the layouts and numbers of its maps.

use aya::Pod;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `struct settings`: the GUE port in network order.
pub(crate) type Settings = [u8; 2];

/// `struct address`: the family in host order, then the address in network order.
pub(crate) type Address = [u8; 20];

/// The key of `ip` in the map of addresses.
pub(crate) fn address(ip: IpAddr) -> Address {
    let mut key = [0; 20];
    let (family, bytes) = key.split_at_mut(4);
    match ip {
        IpAddr::V4(ip) => {
            family.copy_from_slice(&4_u32.to_ne_bytes());
            bytes[..4].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            family.copy_from_slice(&6_u32.to_ne_bytes());
            bytes.copy_from_slice(&ip.octets());
        }
    }
    key
}

/// `struct outer`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawOuter {
    /// From 1, in the order taken; 0: never written.
    pub(crate) number: u64,
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
    /// In network order.
    pub(crate) port: [u8; 2],
    pub(crate) family: u8,
    pub(crate) kind: u8,
    pub(crate) service: u8,
    pub(crate) unused: [u8; 3],
}

// SAFETY: integers and bytes without padding (48 of them), so every bit pattern is a value; the C side has the same layout.
#[allow(unsafe_code, reason = "aya asks for this promise about what comes out of a map")]
unsafe impl Pod for RawOuter {}
const _: () = assert!(size_of::<RawOuter>() == 48);

/// The address in 16 bytes of `struct outer`.
pub(crate) fn ip(family: u8, bytes: [u8; 16]) -> IpAddr {
    let [a, b, c, d, ..] = bytes;
    if family == 4 { Ipv4Addr::new(a, b, c, d).into() } else { Ipv6Addr::from(bytes).into() }
}

/// Places in the map of counters behind the packets taken, which are kind * 4 + outer family * 2 + inner family, where a
/// family is 0 for IPv4 and 1 for IPv6.
pub(crate) const DROPPED_ECN: usize = 12;
pub(crate) const REFUSED: usize = 13;
pub(crate) const PASSED: usize = 14;
/// How many counters there are.
pub(crate) const COUNTERS: usize = 15;
